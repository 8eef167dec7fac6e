"""Publications: a steward names a file, the node reads it in a thread, and keeps one outcome, whole.

What the node's stop interrupted runs again from the start. Publications run one after another: a revision's
number is one above the last, and two large files at once would cost twice the memory.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from compute.domain.evaluation import entity_key
from compute.domain.names import uid_from
from compute.domain.signed import Signed, sign_alone
from compute.formats.payloads import specification_from_bytes
from compute.records.convert import describe
from compute.records.errors import RecordsError
from compute.records.preparation import prepare
from compute.records.revision import SALT_BYTES, PreparedRevision, bins_commitment, revision_digest
from compute.store import idempotency, publications, revisions
from compute.store.database import Connection
from compute.store.idempotency import RequestKey
from compute.store.publications import PublicationRow, PublicationState
from compute.store.revisions import PreparedColumn, RevisionRow
from compute.vault import Secret
from compute.verbs.node import Node
from compute.verbs.running import Tasks
from wire.event_log import facts_of, log_event
from wire.signing import Purpose

_UID_BYTES: Final = 16
FAILED: Final = "the node failed; its operator finds the detail in the log"


@dataclass(frozen=True)
class Progress:
    """How far a running publication has come: rows and bytes read, and the file's bytes."""

    rows_read: int = 0
    bytes_read: int = 0
    bytes_total: int = 0


@dataclass(frozen=True)
class PublicationView:
    """A publication as a steward may see it."""

    row: PublicationRow
    progress: Progress
    description: Signed | None


class _StoppedError(Exception):
    """The node stops while a file is read: the publication runs again at the next start."""


class Publishing:
    """The publications of one node, from files in `directory`."""

    def __init__(self, node: Node, directory: Path, tasks: Tasks) -> None:
        self._node = node
        self._directory = directory
        self._tasks = tasks
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publication")
        self._one_at_a_time = asyncio.Lock()
        self._stopping = threading.Event()
        self._running: set[str] = set()
        # Written by the reading thread, whole values at a time; read by others.
        self._progress: dict[str, Progress] = {}

    async def create(
        self, row: PublicationRow, key: RequestKey, reply: Callable[[PublicationView], bytes]
    ) -> bytes:
        """Start a publication as `row` says, under a fresh name; return the reply, the first when repeated.

        `row.specification` and `row.file` have been checked. Raises RequestIdReusedError.
        """
        named = replace(
            row,
            name=f"publications/{uid_from(self._node.entropy(_UID_BYTES))}",
            create_time=self._node.now(),
        )

        def change(connection: Connection) -> tuple[bytes, bool]:
            first = idempotency.first_reply(connection, key)
            if first is not None:
                return first, False
            publications.add(connection, named)
            view = reply(PublicationView(named, Progress(), None))
            return idempotency.keep_reply(connection, key, view, named.create_time), True

        return await self._tasks.to_the_end(self._added(named.name, change))

    async def _added(self, name: str, add: Callable[[Connection], tuple[bytes, bool]]) -> bytes:
        """Add a publication and start it, though its caller may have hung up; the reply to it."""
        answer, added = await self._node.database.write(add)
        if added:
            self._start(name)
        return answer

    async def get(self, name: str) -> PublicationView:
        """Return a publication with its progress, or raise PublicationNotFoundError."""
        return await self._node.database.read(
            lambda connection: self._view(connection, publications.get(connection, name))
        )

    async def page(self, before: int | None, size: int) -> tuple[list[PublicationView], int | None]:
        """Return up to `size` publications, the newest first, and where the next page begins."""

        def query(connection: Connection) -> tuple[list[PublicationView], int | None]:
            rows, more = publications.page(connection, before, size)
            return [self._view(connection, row) for row in rows], more

        return await self._node.database.read(query)

    async def resume(self) -> None:
        """Start every publication without an outcome that does not run: a stop or a failing disk left it."""
        for name in await self._node.database.read(publications.running):
            self._start(name)

    def _start(self, name: str) -> None:
        if name not in self._running:
            self._running.add(name)
            self._tasks.in_background(self._run(name))

    async def _run(self, name: str) -> None:
        """Prepare a publication; whatever fails is its outcome."""
        try:
            async with self._one_at_a_time:
                await self._outcome(name)
        finally:
            self._running.discard(name)

    async def _outcome(self, name: str) -> None:
        row = await self._node.database.read(lambda connection: publications.get(connection, name))
        try:
            prepared, entity_keys = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._prepare, row
            )
            now = self._node.now()
            await self._node.database.write(
                lambda connection: self._keep(connection, row, prepared, entity_keys, now)
            )
        except _StoppedError:
            return
        except RecordsError as error:
            await self._fail(name, error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, the steward must see an outcome
            facts = facts_of(error)
            log_event(self._node.log, logging.ERROR, "publication_failed", publication=name, **facts)
            await self._fail(name, "INTERNAL", FAILED)
        finally:
            self._progress.pop(name, None)

    def stop(self) -> None:
        """Have the reading thread end at the next batch of rows."""
        self._stopping.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _fail(self, name: str, reason: str, message: str) -> None:
        await self._node.database.write(
            lambda connection: publications.fail(connection, name, reason, message)
        )

    def _prepare(self, row: PublicationRow) -> tuple[PreparedRevision, list[bytes]]:
        specification = specification_from_bytes(row.specification)

        def progress(rows_read: int, bytes_read: int, bytes_total: int) -> None:
            self._progress[row.name] = Progress(rows_read, bytes_read, bytes_total)
            if self._stopping.is_set():
                raise _StoppedError

        prepared = prepare(self._directory, row.file, specification, progress)
        keys = [entity_key(self._node.entity_secret, row.dataset, entity_id) for entity_id in prepared.ids]
        return prepared, keys

    def _keep(
        self,
        connection: Connection,
        row: PublicationRow,
        prepared: PreparedRevision,
        entity_keys: list[bytes],
        now: datetime,
    ) -> None:
        """Store revision and outcome in one transaction."""
        number = revisions.next_number(connection, row.dataset)
        salt = self._node.entropy(SALT_BYTES)
        payload = describe(
            prepared,
            dataset=row.dataset,
            revision=number,
            provider=self._node.pins.provider,
            bins_commitment=bins_commitment(salt, prepared),
            prepare_time=now,
            change_note=row.change_note,
        )
        revisions.add(
            connection,
            RevisionRow(row.dataset, number, revision_digest(payload), prepared.rows),
            sign_alone(self._node.signing_key, Purpose.DATASET_DESCRIPTION, payload),
            self._node.vault.close(Secret.BINS_SALT, f"{row.dataset}/revisions/{number}", salt),
            (
                PreparedColumn(column.name, len(column.bins), bins.tobytes())
                for column, bins in zip(prepared.columns, prepared.bins, strict=True)
            ),
            entity_keys,
            now,
        )
        progress = self._progress.get(row.name, Progress())
        publications.succeed(
            connection, row.name, number, prepared.rows, progress.bytes_total, prepared.remarks
        )

    def _view(self, connection: Connection, row: PublicationRow) -> PublicationView:
        if row.state is not PublicationState.SUCCEEDED or row.revision is None:
            return PublicationView(row, self._progress.get(row.name, Progress()), None)
        done = Progress(row.rows, row.bytes_total, row.bytes_total)
        return PublicationView(row, done, revisions.description(connection, row.dataset, row.revision))
