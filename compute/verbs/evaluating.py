"""Evaluations: a bank names persons, the node evaluates them block by block, and nothing can be read from it.

A block is first decided (rows gathered, withdrawals counted, seed drawn; all of it on disk), then evaluated,
then its bytes are kept; from then on every reply has those bytes. What an interruption left undone is done at
the next start: as it was decided, unless consent was withdrawn meanwhile; then it is decided anew, under a
new seed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from compute.domain import caps, evaluation, model
from compute.domain import license as licensing
from compute.domain.errors import EvaluationNotFoundError, SealingStateError
from compute.domain.evaluation import Evaluation, EvaluationState, Preparation
from compute.domain.names import block_name, uid_from
from compute.engine.boundary import BlockResult, BlockTask, Engine
from compute.engine.errors import ModelFileError
from compute.store import evaluations, idempotency, licenses, revisions, sealings, withdrawals
from compute.store.database import Connection
from compute.store.evaluations import PreparedRow
from compute.store.idempotency import RequestKey
from compute.vault import Secret
from compute.verbs.gathering import Gathering
from compute.verbs.held import HeldLicense, own_sealing, sealing_with_license
from compute.verbs.model_files import ModelFiles
from compute.verbs.node import Node
from compute.verbs.running import Tasks
from wire.event_log import facts_of, log_event

_UID_BYTES: Final = 16
FAILED: Final = "the node could not evaluate it; its operator finds the detail in the log; create another one"


@dataclass(frozen=True)
class BlockView:
    """An evaluated block as its bank may see it."""

    name: str
    data: bytes = field(repr=False)
    sha256: bytes
    rows: int


@dataclass(frozen=True)
class _Job:
    """What the blocks of one evaluation have in common."""

    name: str
    sealing: str
    context: bytes
    c0_digest: bytes
    held: HeldLicense


class Evaluations:
    """The evaluations of one node, at most `slots` blocks of them at a time."""

    def __init__(
        self,
        node: Node,
        engine: Engine,
        gathering: Gathering,
        files: ModelFiles,
        tasks: Tasks,
        *,
        slots: int,
    ) -> None:
        self._node = node
        self._engine = engine
        self._gathering = gathering
        self._files = files
        self._tasks = tasks
        self._slots = asyncio.Semaphore(slots)
        self._running: set[str] = set()

    async def create(
        self,
        bank: str,
        sealing_name: str,
        entity_ids: Sequence[bytes],
        consent_reference: str,
        key: RequestKey,
        reply: Callable[[Evaluation], bytes],
    ) -> bytes:
        """Start to evaluate, and return the reply to it, the first one when repeated.

        `entity_ids` has passed `check_entity_ids`. Raises SealingNotFoundError, SealingStateError,
        ClauseRefusedError, BlocksWaitingError and RequestIdReusedError. Nothing in it depends on who is
        known.
        """
        database = self._node.database
        first = await database.read(lambda connection: idempotency.first_reply(connection, key))
        if first is not None:
            return first
        _, held = await database.read(lambda connection: own_sealing(connection, bank, sealing_name))
        agreement = held.agreement
        entity_keys = await asyncio.to_thread(self._entity_keys, agreement.dataset, entity_ids)
        blocks = _in_blocks(entity_keys, agreement.profile.N)
        now = self._node.now()
        name = f"evaluations/{uid_from(self._node.entropy(_UID_BYTES))}"
        salt = self._node.entropy(evaluation.SALT_BYTES)
        job = Evaluation(
            name,
            sealing_name,
            agreement.license,
            len(entity_keys),
            len(blocks),
            0,
            EvaluationState.RUNNING,
            "",
            evaluation.consent_digest(salt, consent_reference),
            now,
        )
        closed_salt = self._node.vault.close(Secret.CONSENT_SALT, name, salt)

        def change(connection: Connection) -> tuple[bytes, bool]:
            first = idempotency.first_reply(connection, key)
            if first is not None:
                return first, False
            model.require_accepted(sealings.get(connection, sealing_name))
            licensing.require_in_force(agreement.terms, now)
            caps.require_caps_suffice(
                agreement,
                licenses.usage(connection, agreement.license),
                caps.charge_for(agreement, len(entity_keys)),
                licenses.openings(connection, agreement.license, entity_keys),
            )
            evaluation.require_room(licenses.blocks_waiting(connection, agreement.license), len(blocks))
            model.require_blocks_left(sealings.blocks_so_far(connection, sealing_name), len(blocks))
            sealings.count_blocks(connection, sealing_name, len(blocks))
            evaluations.add(connection, job, closed_salt, blocks)
            return idempotency.keep_reply(connection, key, reply(job), now), True

        return await self._tasks.to_the_end(self._added(name, change))

    async def _added(self, name: str, add: Callable[[Connection], tuple[bytes, bool]]) -> bytes:
        """Add an evaluation and start it, though its caller may have hung up; the reply to it."""
        answer, added = await self._node.database.write(add)
        if added:
            self._start(name)
        return answer

    async def get(self, bank: str, name: str) -> Evaluation:
        """Return an evaluation of the bank's, or raise EvaluationNotFoundError."""
        return await self._node.database.read(lambda connection: own_evaluation(connection, bank, name))

    async def get_block(self, bank: str, name: str, number: int) -> BlockView:
        """Return an evaluated block: the same bytes every time.

        Raises EvaluationNotFoundError, and EvaluationStateError while the block is not there.
        """

        def query(connection: Connection) -> BlockView:
            job = own_evaluation(connection, bank, name)
            rows, sha256, data = evaluations.block_data(connection, name, number)
            whole = evaluation.require_evaluated(data, job.state)
            return BlockView(block_name(name, number), whole, sha256, rows)

        return await self._node.database.read(query)

    async def resume(self) -> None:
        """Start every evaluation without an outcome that does not run: a stop or a failing disk left it."""
        for name in await self._node.database.read(evaluations.running):
            self._start(name)

    def _start(self, name: str) -> None:
        if name not in self._running:
            self._running.add(name)
            self._tasks.in_background(self._run(name))

    async def _run(self, name: str) -> None:
        """Evaluate the blocks of an evaluation that are not there yet; whatever fails is its outcome."""
        try:
            job = await self._node.database.read(lambda connection: _job(connection, name))
            to_do = await self._node.database.read(
                lambda connection: evaluations.blocks_to_do(connection, name)
            )
            async with asyncio.TaskGroup() as blocks:
                for number in to_do:
                    blocks.create_task(self._evaluate(job, number))
        except* Exception as group:  # noqa: BLE001 - whatever it is, the bank must see an outcome
            facts = facts_of(group.exceptions[0])
            log_event(self._node.log, logging.ERROR, "evaluation_failed", evaluation=name, **facts)
            await self._node.database.write(lambda connection: evaluations.fail(connection, name, FAILED))
        finally:
            self._running.discard(name)

    async def _evaluate(self, job: _Job, number: int) -> None:
        async with self._slots:
            prepared = await self._node.database.write(
                lambda connection: self._prepared(connection, job, number)
            )
            result = await self._sealed(job, prepared)
            await self._node.database.write(
                lambda connection: evaluations.keep_block(
                    connection, job.name, number, prepared.place, result.block, result.block_digest
                )
            )

    async def _sealed(self, job: _Job, prepared: Preparation) -> BlockResult:
        bins = await self._gathering.bins(job.held.agreement, prepared.rows)
        columns = tuple(model.bins_of(job.held.agreement))
        path = await self._files.path_of(job.sealing, job.c0_digest)
        task = BlockTask(
            profile=job.held.agreement.terms.profile,
            ctx=job.context,
            c0_path=path,
            c0_digest=job.c0_digest,
            bins=bins,
            attributes=len(job.held.agreement.columns),
            columns=columns,
            seed=prepared.seed,
            place=prepared.place,
        )
        try:
            return await self._engine.evaluate(task)
        except ModelFileError:
            await self._files.write_again(job.sealing, job.c0_digest)
            return await self._engine.evaluate(task)

    def _prepared(self, connection: Connection, job: _Job, number: int) -> Preparation:
        """Return what a block is made of, deciding it unless what was decided before still stands."""
        agreement = job.held.agreement
        where = block_name(job.name, number)
        count = withdrawals.count(connection, agreement.dataset)
        stored = evaluations.prepared(connection, job.name, number)
        if stored is not None:
            prepared = Preparation(
                stored.rows,
                stored.withdrawals,
                stored.place,
                self._node.vault.open(Secret.BLOCK_SEED, where, stored.seed),
            )
            if evaluation.still_stands(prepared, count):
                return prepared
        rows = revisions.rows_of_entities(
            connection,
            agreement.dataset,
            agreement.revision,
            evaluations.entity_keys(connection, job.name, number),
        )
        salt = self._node.entropy(evaluation.SALT_BYTES)
        seed = self._node.entropy(evaluation.SEED_BYTES)
        fresh = evaluation.prepare(job.name, number, agreement.revision_digest, count, rows, salt, seed)
        evaluations.keep_prepared(
            connection,
            job.name,
            number,
            PreparedRow(
                fresh.rows,
                fresh.withdrawals,
                fresh.place,
                self._node.vault.close(Secret.GATHERED_SALT, where, salt),
                self._node.vault.close(Secret.BLOCK_SEED, where, seed),
            ),
        )
        return fresh

    def _entity_keys(self, dataset: str, entity_ids: Sequence[bytes]) -> list[bytes]:
        return [
            evaluation.entity_key(self._node.entity_secret, dataset, entity_id) for entity_id in entity_ids
        ]


def _job(connection: Connection, name: str) -> _Job:
    sealing, held = sealing_with_license(connection, evaluations.get(connection, name).sealing)
    deployment = sealings.deployment(connection, sealing.name)
    if deployment is None:
        raise SealingStateError("the sealing is not accepted yet")
    return _Job(name, sealing.name, sealing.context, deployment.c0_digest, held)


def own_evaluation(connection: Connection, bank: str, name: str) -> Evaluation:
    """Return an evaluation. Raises EvaluationNotFoundError unless its license is `bank`'s."""
    found = evaluations.get(connection, name)
    if licenses.bank_of(connection, found.license) != bank:
        raise EvaluationNotFoundError("name: your party has no evaluation of this name")
    return found


def _in_blocks(entity_keys: Sequence[bytes], size: int) -> list[Sequence[bytes]]:
    return [entity_keys[start : start + size] for start in range(0, len(entity_keys), size)]
