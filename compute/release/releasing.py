"""Release: the only opening. Reserve, have it recorded, then send: in this order, whatever breaks in between.

(A) one transaction charges the node's own counters and keeps the signed statement: RESERVED
    the exchange records the statement and charges too; its receipt is checked
(B) one transaction keeps the receipt: RECORDED
    the mask is derived again from its seed, and the top bits of the rows asked for leave

Killed before (A): nothing happened. Killed after (A): the same request, or the node's next start, asks the
exchange again under the same request id. Killed after (B): the same request gets the same bytes. A definite
refusal gives the charge back in one transaction. Releases of one block wait for each other, so one that is in
doubt is settled before another is charged.

Source: docs/spec/release.md.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from compute.domain.caps import NOTHING, Charge, charge_for
from compute.domain.errors import EvaluationStateError, ExchangeRefusedError, NodeError
from compute.domain.evaluation import SealedBlock
from compute.domain.license import Agreement
from compute.domain.model import Sealing
from compute.domain.names import block_name, split_block, uid_from
from compute.domain.signed import Signed, sign_alone
from compute.exchange_link import ExchangeLink
from compute.formats.payloads import release_request_from_payload, release_statement_payload
from compute.release import policy
from compute.release.policy import ReleaseRequest, Target
from compute.release.receipt import Expected, Recorded, RecordKind
from compute.release.recording import recorded_by_exchange
from compute.release.statement import ReleaseStatement, request_id_of, sha256
from compute.store import evaluations, licenses, releases, sealings
from compute.store.database import Connection, DurableError
from compute.store.releases import ReleaseRow, ReleaseState
from compute.vault import Secret
from compute.verbs.evaluating import own_evaluation
from compute.verbs.held import HeldLicense, held_license, sealing_with_license
from compute.verbs.node import Node
from compute.verbs.running import NamedLocks, Tasks
from sealed.block import mask_of, release
from sealed.packing import pack_released
from wire.event_log import facts_of, log_event
from wire.signing import Purpose

_UID_BYTES: Final = 16


@dataclass(frozen=True)
class Released:
    """What leaves the node: the top bits of each row's mask, and the proof that it was recorded."""

    released: bytes = field(repr=False)
    statement: Signed
    recorded: Recorded


@dataclass(frozen=True)
class _Block:
    """Everything that a release of a block is decided on."""

    sealed: SealedBlock
    sealing: Sealing
    c0_digest: bytes
    consent_digest: bytes
    held: HeldLicense

    @property
    def name(self) -> str:
        return block_name(self.sealed.evaluation, self.sealed.number)

    @property
    def target(self) -> Target:
        return Target(
            self.name,
            self.c0_digest,
            self.sealed.sha256,
            self.sealing.kind,
            self.held.agreement.terms.drop,
            self.sealed.rows,
        )


class Releasing:
    """The releases of one node. One event loop owns it; releases of one block run one after another."""

    def __init__(self, node: Node, exchange: ExchangeLink, tasks: Tasks) -> None:
        self._node = node
        self._exchange = exchange
        self._tasks = tasks
        self._locks = NamedLocks()

    async def release(self, bank: str, signed: Signed, rows: Sequence[int], salt: bytes) -> Released:
        """Return the top bits of the rows asked for, once their charge is recorded.

        The same request again returns the same and charges nothing. Raises EvaluationNotFoundError,
        EvaluationStateError, SignatureRefusedError, FieldError, ReleaseRefusedError, ClauseRefusedError,
        ExchangeRefusedError, UnrecordedError. When the caller hangs up, what was begun still ends properly.
        """
        # The block's name says whose key must have signed, so it is read, strictly, before the signature is
        # verified; nothing is done with what was read until then.
        request = release_request_from_payload(signed.payload)
        block = await self._node.database.read(lambda connection: _block(connection, bank, request.block))
        policy.require_bank_signature(signed, block.held.agreement.bank_key)
        policy.require_fits_block(request, block.target, rows, salt)
        return await self._tasks.to_the_end(self._released(block, signed, request, tuple(rows)))

    async def reconcile(self) -> int:
        """Ask the exchange again about every release in doubt; return how many remain so."""
        doubtful = await self._node.database.read(releases.reserved)
        return sum([await self._remains_in_doubt(row) for row in doubtful])

    async def _released(
        self, block: _Block, signed: Signed, request: ReleaseRequest, rows: tuple[int, ...]
    ) -> Released:
        async with self._locks.holding(block.name):
            row, first_attempt = await self._reserved(block, signed, request, rows)
            if row.state is ReleaseState.RESERVED:
                row = await self._record(row, block.held.agreement, first_attempt=first_attempt)
        return await self._opened(block, row)

    async def _reserved(
        self, block: _Block, signed: Signed, request: ReleaseRequest, rows: tuple[int, ...]
    ) -> tuple[ReleaseRow, bool]:
        """Return the release of this request, and whether it was reserved just now."""
        same = await self._node.database.read(
            lambda connection: _same(connection, block, sha256(signed.payload))
        )
        if same is not None:
            return same, False
        await self._settle_charging(block)
        now = self._node.now()
        return await self._node.database.write(
            lambda connection: self._reserve(connection, block, signed, request, rows, now)
        )

    async def _settle_charging(self, block: _Block) -> None:
        """Settle the release that charged the block, if it is in doubt: who is charged depends on it."""
        charging = await self._node.database.read(lambda connection: _charging(connection, block))
        if charging is not None and charging.state is ReleaseState.RESERVED:
            with suppress(ExchangeRefusedError):  # it was given back: this release may charge
                await self._record(charging, block.held.agreement, first_attempt=False)

    def _reserve(
        self,
        connection: Connection,
        block: _Block,
        signed: Signed,
        request: ReleaseRequest,
        rows: tuple[int, ...],
        now: datetime,
    ) -> tuple[ReleaseRow, bool]:
        """Charge the node's own counters and keep the statement (A), unless that was done before."""
        same = _same(connection, block, sha256(signed.payload))
        if same is not None:
            return same, False
        agreement = block.held.agreement
        charging = _charging(connection, block)
        policy.require_settled(charging is None or charging.state is ReleaseState.RECORDED)
        policy.require_releases_left(
            releases.count(connection, block.sealed.evaluation, block.sealed.number), block.target
        )
        entity_keys = (
            evaluations.entity_keys(connection, block.sealed.evaluation, block.sealed.number)
            if charging is None
            else ()
        )
        charge = charge_for(agreement, len(entity_keys)) if charging is None else NOTHING
        policy.require_license_pays(
            agreement,
            now,
            licenses.usage(connection, agreement.license),
            charge,
            licenses.openings(connection, agreement.license, entity_keys),
        )
        row = self._row(block, signed, request, rows, charge, now)
        releases.add(connection, row)
        if charging is None:
            licenses.charge(connection, agreement.license, charge, entity_keys)
            evaluations.charge_by(connection, row.evaluation, row.number, row.name)
        return row, True

    def _row(
        self,
        block: _Block,
        signed: Signed,
        request: ReleaseRequest,
        rows: tuple[int, ...],
        charge: Charge,
        now: datetime,
    ) -> ReleaseRow:
        agreement = block.held.agreement
        payload = release_statement_payload(
            ReleaseStatement(
                license=agreement.license,
                license_digest=block.held.digest,
                sealing=block.sealing.name,
                block=block.name,
                request_sha256=sha256(signed.payload),
                place=block.sealed.place,
                rows_gathered=block.sealed.rows,
                rows_opened=len(rows),
                charge=charge,
                consent_digest=block.consent_digest,
                kind=request.kind,
            )
        )
        key = self._node.key_pinned_by(agreement)
        return ReleaseRow(
            uid_from(self._node.entropy(_UID_BYTES)),
            block.sealed.evaluation,
            block.sealed.number,
            agreement.license,
            sha256(signed.payload),
            signed,
            rows,
            charge,
            sign_alone(key, Purpose.RELEASE_STATEMENT, payload),
            request_id_of(payload),
            ReleaseState.RESERVED,
            None,
            now,
        )

    async def _record(self, row: ReleaseRow, agreement: Agreement, *, first_attempt: bool) -> ReleaseRow:
        """Have a reserved release recorded and keep the receipt (B); give it back when definitely refused."""
        expected = Expected(RecordKind.RESULT_RELEASED, row.license, row.charge, (row.statement, row.request))
        answer = self._exchange.record_release(row.statement, row.request, row.request_id)
        try:
            recorded = await recorded_by_exchange(
                answer, expected, agreement, self._node.log, first_attempt=first_attempt
            )
        except ExchangeRefusedError:
            await self._node.database.write(lambda connection: _give_back(connection, row))
            raise
        await self._node.database.write(lambda connection: releases.record(connection, row.name, recorded))
        return replace(row, state=ReleaseState.RECORDED, recorded=recorded)

    async def _opened(self, block: _Block, row: ReleaseRow) -> Released:
        """Derive the mask again and return the top bits of the rows asked for."""
        recorded = policy.require_receipt(row.recorded)
        prepared = await self._node.database.read(
            lambda connection: evaluations.prepared(connection, row.evaluation, row.number)
        )
        if prepared is None:
            raise EvaluationStateError("the block is not evaluated yet")
        seed = self._node.vault.open(Secret.BLOCK_SEED, block.name, prepared.seed)
        released = await asyncio.to_thread(_top_bits, block, seed, row.rows)
        return Released(released, row.statement, recorded)

    async def _remains_in_doubt(self, row: ReleaseRow) -> bool:
        async with self._locks.holding(block_name(row.evaluation, row.number)):
            try:
                now, agreement = await self._node.database.read(
                    lambda connection: (releases.find(connection, row.name), _agreement(connection, row))
                )
                if now is not None and now.state is ReleaseState.RESERVED:
                    await self._record(now, agreement, first_attempt=False)
            except ExchangeRefusedError:
                return False
            except (NodeError, DurableError) as error:
                log_event(self._node.log, logging.WARNING, "release_in_doubt", **facts_of(error))
                return True
        return False


def _block(connection: Connection, bank: str, name: str) -> _Block:
    """Return a block that may be released from.

    Raises FieldError, EvaluationNotFoundError unless it is `bank`'s, EvaluationStateError until it is there.
    """
    evaluation_name, number = split_block("request.block", name)
    job = own_evaluation(connection, bank, evaluation_name)
    sealing, held = sealing_with_license(connection, job.sealing)
    sealed = evaluations.sealed_block(connection, evaluation_name, number)
    deployment = sealings.deployment(connection, sealing.name)
    if sealed is None or deployment is None:
        raise EvaluationStateError("request.block: not evaluated yet; poll GetEvaluation and ask again")
    return _Block(sealed, sealing, deployment.c0_digest, job.consent_digest, held)


def _same(connection: Connection, block: _Block, request_sha256: bytes) -> ReleaseRow | None:
    return releases.find_same(connection, block.sealed.evaluation, block.sealed.number, request_sha256)


def _charging(connection: Connection, block: _Block) -> ReleaseRow | None:
    """Return the release that is charged for the block's rows, as it stands now; None before there is one."""
    sealed = evaluations.sealed_block(connection, block.sealed.evaluation, block.sealed.number)
    if sealed is None or sealed.charged_by is None:
        return None
    return releases.find(connection, sealed.charged_by)


def _give_back(connection: Connection, row: ReleaseRow) -> None:
    """Undo (A) in one transaction, once."""
    if releases.refuse(connection, row.name) and row.charge != NOTHING:
        entity_keys = evaluations.entity_keys(connection, row.evaluation, row.number)
        licenses.give_back(connection, row.license, row.charge, entity_keys)
        evaluations.charge_by(connection, row.evaluation, row.number, None)


def _agreement(connection: Connection, row: ReleaseRow) -> Agreement:
    return held_license(licenses.agreement(connection, row.license)).agreement


def _top_bits(block: _Block, seed: bytes, rows: tuple[int, ...]) -> bytes:
    agreement, sealed = block.held.agreement, block.sealed
    mask = mask_of(agreement.profile, seed, block.sealing.context, block.c0_digest, sealed.place, sealed.rows)
    drop = agreement.terms.drop
    return pack_released(agreement.profile, release(mask, rows, drop), drop)
