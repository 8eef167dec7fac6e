"""Sealings: a bank opens one under its license, sends its sealed columns, and has them accepted.

The nonces are drawn when everything else is fixed, so that nobody can choose what they make of it. A sealing
is accepted once the exchange has recorded it; from the bank's statement on, its columns cannot change.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from compute.domain import caps, model
from compute.domain import license as licensing
from compute.domain.caps import NOTHING
from compute.domain.errors import ExchangeRefusedError
from compute.domain.license import Agreement, QueryKind
from compute.domain.model import Sealing, SealingState
from compute.domain.names import uid_from
from compute.domain.signed import Signed, sign_alone
from compute.exchange_link import ExchangeLink
from compute.formats.payloads import model_statement_payload, sealing_statement_from_payload
from compute.release.receipt import Expected, Recorded, RecordKind
from compute.release.recording import recorded_by_exchange
from compute.release.statement import ModelStatement, request_id_of, sha256
from compute.store import idempotency, licenses, revisions, sealings
from compute.store.database import Connection
from compute.store.idempotency import RequestKey
from compute.store.sealings import Deployment
from compute.verbs.held import HeldLicense, held_license, own_sealing
from compute.verbs.node import Node
from compute.verbs.running import NamedLocks, Tasks
from sealed.sealing import c0_digest
from wire.signing import Purpose

_UID_BYTES: Final = 16


@dataclass(frozen=True)
class SealingView:
    """A sealing as its bank may see it."""

    sealing: Sealing
    agreement: Signed
    missing_columns: tuple[int, ...]
    recorded: Recorded | None


class Sealings:
    """The sealings of one node."""

    def __init__(self, node: Node, exchange: ExchangeLink, tasks: Tasks) -> None:
        self._node = node
        self._exchange = exchange
        self._tasks = tasks
        self._locks = NamedLocks()

    async def create(
        self,
        bank: str,
        signed: Signed,
        kind: QueryKind,
        key: RequestKey,
        reply: Callable[[SealingView], bytes],
    ) -> bytes:
        """Open a sealing under the license `signed`, and return the reply to it, the first one when repeated.

        Raises RoleError, LicenseRefusedError, ClauseRefusedError and RequestIdReusedError.
        """
        database = self._node.database
        first = await database.read(lambda connection: idempotency.first_reply(connection, key))
        if first is not None:
            return first
        now = self._node.now()
        held = held_license(signed)
        licensing.require_bank_of(held.agreement, bank)
        licensing.require_honored(signed, held.agreement, self._node.pins, now)

        def change(connection: Connection) -> bytes:
            first = idempotency.first_reply(connection, key)
            if first is not None:
                return first
            self._require_room(connection, held, kind, now)
            licenses.count_model(connection, held.agreement.license)
            sealing = self._draw(held, kind, now)
            sealings.add(connection, sealing)
            view = reply(_view(connection, sealing))
            return idempotency.keep_reply(connection, key, view, now)

        return await database.write(change)

    async def get(self, bank: str, name: str) -> SealingView:
        """Return a sealing of the bank's, or raise SealingNotFoundError."""

        def query(connection: Connection) -> SealingView:
            sealing, _ = own_sealing(connection, bank, name)
            return _view(connection, sealing)

        return await self._node.database.read(query)

    async def put_column(self, bank: str, name: str, index: int, data: bytes) -> None:
        """Store one sealed column. The same bytes again change nothing, whatever the sealing's state.

        Raises SealingNotFoundError, FieldError, SealedModelError, SealingStateError.
        """
        sealing, held = await self._node.database.read(lambda connection: own_sealing(connection, bank, name))
        model.require_column_index(sealing, index)
        model.require_well_formed_column(held.agreement.profile, data)

        def change(connection: Connection) -> None:
            if sealings.column(connection, name, index) != data:
                model.require_open(sealings.get(connection, name))
                sealings.put_column(connection, name, index, data)

        await self._node.database.write(change)

    async def accept(self, bank: str, name: str, signed: Signed) -> SealingView:
        """Have the sealed model recorded and open it for evaluations; repeating it changes nothing.

        Raises SealingNotFoundError, SignatureRefusedError, SealedModelError, SealingStateError,
        ClauseRefusedError, ExchangeRefusedError, UnrecordedError.
        """
        sealing, held = await self._node.database.read(lambda connection: own_sealing(connection, bank, name))
        statement = sealing_statement_from_payload(
            model.require_bank_signed_model(signed, held.agreement.bank_key)
        )
        model.require_statement_of(statement, sealing)
        await self._tasks.to_the_end(self._accept(name, held, signed))
        return await self.get(bank, name)

    async def _accept(self, name: str, held: HeldLicense, signed: Signed) -> None:
        async with self._locks.holding(name):
            deployment, first_attempt = await self._node.database.write(
                lambda connection: self._fix(connection, name, held, signed)
            )
            sealing = await self._node.database.read(lambda connection: sealings.get(connection, name))
            if sealing.state is SealingState.RECORDING:
                await self._record(name, held.agreement, deployment, first_attempt=first_attempt)

    def _fix(
        self, connection: Connection, name: str, held: HeldLicense, signed: Signed
    ) -> tuple[Deployment, bool]:
        """Return what is to be recorded, and whether it is new: the columns are fixed from then on."""
        fixed = sealings.deployment(connection, name)
        if fixed is not None:
            model.require_same_statement(fixed.sealing_statement.payload, signed.payload)
            return fixed, False
        sealing = sealings.get(connection, name)
        licensing.require_in_force(held.agreement.terms, self._node.now())
        model.require_all_columns(sealing, sealings.places_present(connection, name))
        digest = c0_digest(sealings.columns(connection, name))
        model.require_c0_digest(sealing_statement_from_payload(signed.payload), digest)
        deployment = self._deployment(sealing, held, signed, digest)
        sealings.fix(connection, name, deployment)
        return deployment, True

    def _deployment(self, sealing: Sealing, held: HeldLicense, signed: Signed, digest: bytes) -> Deployment:
        payload = model_statement_payload(
            ModelStatement(
                license=held.agreement.license,
                license_digest=held.digest,
                sealing=sealing.name,
                sealing_statement_sha256=sha256(signed.payload),
                columns=len(model.bins_of(held.agreement)),
            )
        )
        key = self._node.key_pinned_by(held.agreement)
        statement = sign_alone(key, Purpose.MODEL_STATEMENT, payload)
        return Deployment(digest, signed, statement, request_id_of(payload))

    async def _record(
        self, name: str, agreement: Agreement, deployment: Deployment, *, first_attempt: bool
    ) -> None:
        """Have the deployment recorded, or forget the statement when the exchange will never record it."""
        expected = Expected(
            RecordKind.MODEL_DEPLOYED,
            agreement.license,
            NOTHING,
            (deployment.model_statement, deployment.sealing_statement),
        )
        answer = self._exchange.record_model(
            deployment.model_statement, deployment.sealing_statement, deployment.request_id
        )
        try:
            recorded = await recorded_by_exchange(
                answer, expected, agreement, self._node.log, first_attempt=first_attempt
            )
        except ExchangeRefusedError:
            await self._node.database.write(lambda connection: sealings.reopen(connection, name))
            raise
        await self._node.database.write(lambda connection: sealings.accept(connection, name, recorded))

    def _require_room(
        self, connection: Connection, held: HeldLicense, kind: QueryKind, now: datetime
    ) -> None:
        """Raise unless the license is about a revision that is here, and allows one more sealing."""
        agreement = held.agreement
        revision = revisions.find(connection, agreement.dataset, agreement.revision)
        licensing.require_revision(agreement, None if revision is None else revision.digest)
        licensing.require_licensed_columns(
            agreement, revisions.published_columns(connection, agreement.dataset, agreement.revision)
        )
        licensing.require_kind_licensed(agreement.terms, kind)
        licenses.keep(connection, agreement.license, agreement.bank, held.signed, now)
        caps.require_models_left(agreement.terms, licenses.usage(connection, agreement.license))

    def _draw(self, held: HeldLicense, kind: QueryKind, now: datetime) -> Sealing:
        """Return a sealing with fresh nonces. Everything that they bind is fixed before."""
        name = f"sealings/{uid_from(self._node.entropy(_UID_BYTES))}"
        owner_nonce = self._node.entropy(model.NONCE_BYTES)
        sealing_nonce = self._node.entropy(model.NONCE_BYTES)
        return Sealing(
            name,
            held.agreement.license,
            kind,
            owner_nonce,
            sealing_nonce,
            model.context_of(held.agreement, held.digest, kind, owner_nonce, sealing_nonce),
            model.columns_of(held.agreement),
            SealingState.OPEN,
            now,
        )


def _view(connection: Connection, sealing: Sealing) -> SealingView:
    present = set(sealings.places_present(connection, sealing.name))
    return SealingView(
        sealing,
        licenses.agreement(connection, sealing.license),
        tuple(place for place in range(sealing.columns) if place not in present),
        sealings.recorded(connection, sealing.name),
    )
