"""Recording what nodes do under licenses, and charging for it. No record, no release.

In order: (1) the license is one of the node's provider, (2) both signatures are those of the pinned keys,
(3) what was recorded before is returned again, and nothing else is recorded in its place, (4) node, bank
and license say the same, (5) the license is in force, (6) the caps suffice, (7) record and charge. Steps
(1) to (3) come before any state, so that a repeated call gets its first reply for ever.
"""

from dataclasses import dataclass

from exchange.domain.callers import Caller
from exchange.domain.charges import (
    Deployed,
    charge,
    charged_by,
    check_in_force,
    check_model,
    check_release,
    deploy,
)
from exchange.domain.datasets import Dataset
from exchange.domain.errors import LicenseStateError, StatementRefusedError
from exchange.domain.licenses import License, Pins
from exchange.domain.names import party_name
from exchange.domain.parties import Role
from exchange.domain.records import Charge, RecordDraft, Recorded, RecordKind
from exchange.domain.signed import SignedBytes, verify_one
from exchange.domain.statements import ModelStatement, ReleaseRequest, ReleaseStatement, SealingStatement
from exchange.domain.terms import QueryKind
from exchange.formats.records import payloads_of
from exchange.store import Transaction
from exchange.store.licenses import (
    get_charged,
    get_deployed,
    get_license,
    insert_charged,
    insert_deployed,
    update_usage,
)
from exchange.store.records import find_record
from exchange.verbs.acts import Act, record
from exchange.verbs.datasets import licensed_dataset
from exchange.verbs.parties import existing_party
from wire.signing import Purpose


@dataclass(frozen=True)
class SignedModel:
    """A node's statement on a model and the bank's, each as signed and as read."""

    model_bytes: SignedBytes
    model: ModelStatement
    sealing_bytes: SignedBytes
    sealing: SealingStatement


@dataclass(frozen=True)
class SignedRelease:
    """A node's statement on a release and the bank's request, each as signed and as read."""

    statement_bytes: SignedBytes
    statement: ReleaseStatement
    request_bytes: SignedBytes
    request: ReleaseRequest


def seen_by(caller: Caller) -> str | None:
    """Return the party whose records alone the caller may see, or None when it may see all."""
    return None if Role.AUDITOR in caller.roles else caller.party


def node_license(tx: Transaction, caller: Caller, license_id: str) -> License:
    """Return a license that the caller's provider granted, or raise StatementRefusedError."""
    license_ = get_license(tx, license_id)
    if license_ is None or license_.provider != caller.party:
        raise StatementRefusedError("the statement's license is not one that this node's provider granted")
    return license_


def record_model(tx: Transaction, act: Act, license_: License, signed: SignedModel) -> Recorded:
    """Record that a node accepted a sealed model.

    Raises SignatureRefusedError, StatementRefusedError, LicenseStateError or ClauseRefusedError.
    """
    pins = _pins(license_)
    verify_one("model_statement", signed.model_bytes, Purpose.MODEL_STATEMENT, pins.node_key)
    verify_one("sealing_statement", signed.sealing_bytes, Purpose.SEALING, pins.bank_key)
    source = f"model/{party_name(license_.provider)}/{signed.model.sealing}"
    before = _recorded_before(tx, source, signed.model_bytes, signed.sealing_bytes)
    if before is not None:
        return before
    dataset, revision = licensed_dataset(tx, license_)
    check_model(license_, dict(revision.columns), signed.model, signed.sealing_bytes, signed.sealing)
    _check_in_force(tx, act, license_, dataset)
    after = deploy(license_)
    recorded = _record(
        tx,
        act,
        license_,
        RecordKind.MODEL_DEPLOYED,
        source,
        (signed.model_bytes, signed.sealing_bytes),
    )
    update_usage(tx, license_.license, after.usage)
    deployed = Deployed(license_.license, signed.sealing.sealing, signed.sealing.c0_digest)
    insert_deployed(tx, license_.provider, deployed)
    return recorded


def record_release(tx: Transaction, act: Act, license_: License, signed: SignedRelease) -> Recorded:
    """Record a release and charge it.

    Raises SignatureRefusedError, StatementRefusedError, LicenseStateError or ClauseRefusedError.
    """
    pins = _pins(license_)
    verify_one("release_statement", signed.statement_bytes, Purpose.RELEASE_STATEMENT, pins.node_key)
    verify_one("release_request", signed.request_bytes, Purpose.RELEASE_REQUEST, pins.bank_key)
    source = f"release/{party_name(license_.provider)}/{signed.request_bytes.sha256.hex()}"
    before = _recorded_before(tx, source, signed.statement_bytes, signed.request_bytes)
    if before is not None:
        return before
    deployed = get_deployed(tx, license_.provider, signed.statement.sealing)
    check_release(license_, deployed, signed.statement, signed.request_bytes, signed.request)
    dataset, _ = licensed_dataset(tx, license_)
    _check_in_force(tx, act, license_, dataset)
    charged = get_charged(tx, license_.provider, signed.statement.block)
    after, cost = charge(license_, charged, signed.statement, signed.request)
    recorded = _record(
        tx,
        act,
        license_,
        RecordKind.RESULT_RELEASED,
        source,
        (signed.statement_bytes, signed.request_bytes),
        query_kind=signed.statement.query_kind,
        cost=cost,
    )
    update_usage(tx, license_.license, after.usage)
    if charged is None:
        insert_charged(tx, license_.provider, charged_by(license_, signed.statement, signed.request))
    return recorded


def _pins(license_: License) -> Pins:
    if license_.pins is None:
        raise LicenseStateError(f"the license is {license_.state.upper()}; only ACTIVE ones are used")
    return license_.pins


def _recorded_before(tx: Transaction, source: str, *statements: SignedBytes) -> Recorded | None:
    before = find_record(tx, source)
    if before is not None and payloads_of(before.entry) != tuple(one.payload for one in statements):
        raise StatementRefusedError("it was recorded before with another statement; repeat that one")
    return before


def _check_in_force(tx: Transaction, act: Act, license_: License, dataset: Dataset) -> None:
    provider, bank = existing_party(tx, license_.provider), existing_party(tx, license_.bank)
    check_in_force(license_, dataset, provider, bank, act.now)


def _record(
    tx: Transaction,
    act: Act,
    license_: License,
    kind: RecordKind,
    source: str,
    statements: tuple[SignedBytes, ...],
    *,
    query_kind: QueryKind | None = None,
    cost: Charge | None = None,
) -> Recorded:
    draft = RecordDraft(
        kind,
        source,
        concerns=(license_.bank,),
        dataset=license_.dataset,
        revision=license_.revision,
        revision_digest=license_.revision_digest,
        license=license_.license,
        scenario=license_.scenario,
        query_kind=query_kind,
        charge=cost,
        statements=statements,
    )
    return record(tx, act, draft)
