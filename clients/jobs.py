"""Scoring jobs: everything random is drawn and written down before the first message leaves.

A job that was interrupted, at any point, goes on with the same request ids, nonces and salts. The node then
sees the same requests again, answers the same bytes and charges nothing twice.

    plan                who is asked, under which deployments, and all ids, nonces and salts
    rows-<c>            chunk c: identifiers and the bank's own part
    evaluation-<p>-<c>  the evaluation's name of chunk c at provider p
    block-<p>-<c>-<b>   the opened parts of block b, and the evidence of their release

Source: docs/spec/keystore.md, "Jobs".
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from clients.errors import BourseError, KeystoreError
from clients.files import make_secret_directory
from clients.jsontext import JSONTextError, canonical_json, parse_json
from clients.secretstore import SecretStore
from wire.envelope import DataKey

_Value = TypeVar("_Value")

FORMAT = "bourse-job/1"
PURPOSE = "bourse/bank/job"
# As many persons as one evaluation takes, and one block gathers (docs/spec/release.md).
CHUNK_ROWS = 65_536
BLOCK_ROWS = 8192


@dataclass(frozen=True)
class BlockDraw:
    """What a release request of one block is made unique with: 32 bytes each."""

    nonce: bytes = field(repr=False)
    rows_salt: bytes = field(repr=False)


@dataclass(frozen=True)
class ChunkDraw:
    """One evaluation to come: its request id, and a draw for each of its blocks."""

    request_id: str
    blocks: tuple[BlockDraw, ...]


@dataclass(frozen=True)
class ProviderPlan:
    """What one provider is asked: by which deployment, in which chunks."""

    deployment: str
    dataset: str
    chunks: tuple[ChunkDraw, ...]


@dataclass(frozen=True)
class Plan:
    """A whole job, fixed before it starts. `rows` counts all rows; chunk c holds those from 65,536·c on."""

    scorecard_name: str
    consent_reference: str
    rows: int
    providers: tuple[ProviderPlan, ...]
    create_time: datetime


@dataclass(frozen=True)
class ChunkRows:
    """Identifiers and the bank's own part of up to 65,536 rows, in the bank's order."""

    ids: tuple[str, ...] = field(repr=False)
    own: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class OpenedBlock:
    """A block's opened parts, and what proves its release: serialized messages and the record's entry."""

    parts: tuple[int, ...] = field(repr=False)
    statement: bytes
    entry: bytes
    receipt: bytes


def draw_chunks(rows: int, new_request_id: Callable[[], str]) -> tuple[ChunkDraw, ...]:
    """Return fresh draws for all evaluations and blocks of `rows` rows."""
    return tuple(
        ChunkDraw(
            new_request_id(),
            tuple(
                BlockDraw(secrets.token_bytes(32), secrets.token_bytes(32))
                for _ in range(0, min(CHUNK_ROWS, rows - start), BLOCK_ROWS)
            ),
        )
        for start in range(0, rows, CHUNK_ROWS)
    )


class Job:
    """One job's encrypted files. `locked` keeps other processes out while it runs."""

    def __init__(self, directory: Path, *, party: str, data_key: Callable[[bytes], DataKey]) -> None:
        self.name = directory.name
        self.directory = directory
        self._store = SecretStore(
            directory, purpose=PURPOSE, place=f"{party}/{directory.name}", data_key=data_key
        )
        self.locked = self._store.locked

    def start(self, plan: Plan, chunks: Sequence[ChunkRows]) -> None:
        """Write rows and plan, the plan last: a job without a plan has never started."""
        make_secret_directory(self.directory)
        for number, chunk in enumerate(chunks):
            self._write(f"rows-{number}", {"ids": list(chunk.ids), "own": list(chunk.own)})
        self._write(
            "plan",
            {
                "scorecard_name": plan.scorecard_name,
                "consent_reference": plan.consent_reference,
                "rows": plan.rows,
                "create_time": plan.create_time.isoformat(),
                "providers": [
                    {
                        "deployment": one.deployment,
                        "dataset": one.dataset,
                        "chunks": [
                            {
                                "request_id": chunk.request_id,
                                "blocks": [[draw.nonce.hex(), draw.rows_salt.hex()] for draw in chunk.blocks],
                            }
                            for chunk in one.chunks
                        ],
                    }
                    for one in plan.providers
                ],
            },
        )

    def plan(self) -> Plan:
        """Return the job's plan. Raises BourseError when there is none."""
        if not self._store.holds("plan"):
            raise BourseError(
                "JOB_UNKNOWN",
                f"There is no job {self.name} that has started.",
                way_out="`bourse bank jobs` lists them.",
            )
        return self._read(
            "plan",
            lambda document: Plan(
                document["scorecard_name"],
                document["consent_reference"],
                document["rows"],
                tuple(
                    ProviderPlan(
                        one["deployment"],
                        one["dataset"],
                        tuple(
                            ChunkDraw(
                                chunk["request_id"],
                                tuple(
                                    BlockDraw(bytes.fromhex(nonce), bytes.fromhex(salt))
                                    for nonce, salt in chunk["blocks"]
                                ),
                            )
                            for chunk in one["chunks"]
                        ),
                    )
                    for one in document["providers"]
                ),
                datetime.fromisoformat(document["create_time"]),
            ),
        )

    def progress(self) -> dict[str, Any]:
        """Return how far the job came: blocks to open, and blocks opened."""
        plan = self.plan()
        opened = sum(name.startswith("block-") for name in self._store.names())
        return {
            "job": self.name,
            "scorecard": plan.scorecard_name,
            "rows": plan.rows,
            "blocks": sum(len(chunk.blocks) for one in plan.providers for chunk in one.chunks),
            "blocks_opened": opened,
            "create_time": plan.create_time.isoformat(),
        }

    def started(self) -> bool:
        """Return whether the job has a plan: without one nothing was ever sent."""
        return self._store.holds("plan")

    def rows(self, chunk: int) -> ChunkRows:
        """Return a chunk's identifiers and own parts."""
        return self._read(
            f"rows-{chunk}", lambda document: ChunkRows(tuple(document["ids"]), tuple(document["own"]))
        )

    def evaluation(self, provider: int, chunk: int) -> str | None:
        """Return the name of a chunk's evaluation, None before it is known."""
        name = f"evaluation-{provider}-{chunk}"
        if not self._store.holds(name):
            return None
        return self._read(name, lambda document: str(document["name"]))

    def save_evaluation(self, provider: int, chunk: int, evaluation: str) -> None:
        """Write down the name of a chunk's evaluation."""
        self._write(f"evaluation-{provider}-{chunk}", {"name": evaluation})

    def block(self, provider: int, chunk: int, block: int) -> OpenedBlock | None:
        """Return an opened block, None before it is opened."""
        name = f"block-{provider}-{chunk}-{block}"
        if not self._store.holds(name):
            return None
        return self._read(
            name,
            lambda document: OpenedBlock(
                tuple(document["parts"]),
                bytes.fromhex(document["statement"]),
                bytes.fromhex(document["entry"]),
                bytes.fromhex(document["receipt"]),
            ),
        )

    def save_block(self, provider: int, chunk: int, block: int, opened: OpenedBlock) -> None:
        """Write down an opened block and the evidence of its release."""
        self._write(
            f"block-{provider}-{chunk}-{block}",
            {
                "parts": list(opened.parts),
                "statement": opened.statement.hex(),
                "entry": opened.entry.hex(),
                "receipt": opened.receipt.hex(),
            },
        )

    def _write(self, name: str, document: dict[str, Any]) -> None:
        self._store.put(name, canonical_json({"format": FORMAT, **document}))

    def _read(self, name: str, read: Callable[[dict[str, Any]], _Value]) -> _Value:
        try:
            document = parse_json(self._store.get(name))
            if document["format"] == FORMAT:
                return read(document)
        except (JSONTextError, KeyError, TypeError, ValueError):
            pass
        raise KeystoreError(f"{self.directory.name}/{name}: holds nothing that this release reads.")


def new_job_name(now: datetime) -> str:
    """Return a fresh name that sorts by time, such as `20260131-130500-4f2a`."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
