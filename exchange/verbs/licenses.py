"""Negotiating licenses: request, offer, counter, accept; then three signatures over the same bytes."""

from dataclasses import replace

from exchange.domain.callers import Caller
from exchange.domain.datasets import Dataset, DatasetState, Revision, check_reviewed
from exchange.domain.errors import (
    DatasetNotFoundError,
    DatasetStateError,
    FieldInvalidError,
    LicenseNotFoundError,
    PartyStateError,
    RoleNotAllowedError,
    ScenarioNotPermittedError,
    SignatureRefusedError,
    SigningKeyUnusableError,
)
from exchange.domain.licenses import License, LicenseState, Pins, Step, Usage, check_not_over
from exchange.domain.names import license_name
from exchange.domain.parties import KeyPurpose, Party, PartyState
from exchange.domain.records import RecordDraft, RecordKind
from exchange.domain.signed import SignedBytes, verify_one
from exchange.domain.terms import Terms, check_terms
from exchange.formats.agreement import agreement_bytes
from exchange.store import Transaction
from exchange.store.datasets import get_revision
from exchange.store.licenses import get_license, insert_license, update_license
from exchange.verbs.acts import Act, record
from exchange.verbs.datasets import licensed_dataset, visible_dataset
from exchange.verbs.parties import existing_party
from exchange.verbs.requests import check_etag
from wire.signing import PUBLIC_KEY_BYTES, Purpose

_UNKNOWN_KEYS = Pins(bytes(PUBLIC_KEY_BYTES), bytes(PUBLIC_KEY_BYTES), bytes(PUBLIC_KEY_BYTES))


def visible_license(tx: Transaction, caller: Caller, license_id: str) -> License:
    """Return a license that the caller may see, or raise LicenseNotFoundError."""
    license_ = get_license(tx, license_id)
    if license_ is None or not license_.visible_to(caller):
        raise LicenseNotFoundError("there is no license of this name that you may see")
    return license_


def provided_license(tx: Transaction, caller: Caller, license_id: str) -> License:
    """Return a license whose provider the caller is. Raises LicenseNotFoundError or RoleNotAllowedError."""
    license_ = visible_license(tx, caller, license_id)
    if license_.provider != caller.party:
        raise RoleNotAllowedError("this call is for the license's provider")
    return license_


def banked_license(tx: Transaction, caller: Caller, license_id: str) -> License:
    """Return a license whose bank the caller is. Raises LicenseNotFoundError or RoleNotAllowedError."""
    license_ = visible_license(tx, caller, license_id)
    if license_.bank != caller.party:
        raise RoleNotAllowedError("this call is for the license's bank")
    return license_


def own_license(tx: Transaction, caller: Caller, license_id: str) -> License:
    """Return a license that the caller is a side of. Raises LicenseNotFoundError or RoleNotAllowedError."""
    license_ = visible_license(tx, caller, license_id)
    if caller.party not in {license_.provider, license_.bank}:
        raise RoleNotAllowedError("this call is for the license's provider or bank")
    return license_


def request_license(
    tx: Transaction,
    act: Act,
    license_id: str,
    *,
    dataset_id: str,
    revision: int,
    scenario: str,
    terms: Terms,
    note: str,
) -> License:
    """Ask for a license; revision 0 means the newest.

    Raises DatasetNotFoundError, DatasetStateError, ScenarioNotPermittedError, PartyStateError,
    TermNotEnforcedError or FieldInvalidError.
    """
    dataset = visible_dataset(tx, act.caller, dataset_id)
    _check_listed(dataset)
    if scenario not in dataset.listing.scenarios:
        raise ScenarioNotPermittedError("the dataset is not listed for this scenario; see its scenarios")
    licensed = dataset.latest if revision == 0 else get_revision(tx, dataset_id, revision)
    if licensed is None:
        raise DatasetNotFoundError("the dataset has no such revision")
    license_ = License(
        license=license_id,
        dataset=dataset_id,
        revision=licensed.number,
        revision_digest=licensed.digest,
        scenario=scenario,
        provider=dataset.provider,
        bank=act.caller.party,
        state=LicenseState.REQUESTED,
        terms=terms,
        history=(Step(LicenseState.REQUESTED, act.caller.party, act.now, terms, note),),
        agreement=None,
        pins=None,
        state_reason="",
        usage=Usage(),
        version=1,
        create_time=act.now,
        update_time=act.now,
    )
    _check_sides(tx, license_)
    _check_offerable(tx, act, "license.terms", license_, dataset, licensed)
    number, kept = _record(tx, act, license_, RecordKind.LICENSE_REQUESTED)
    insert_license(tx, kept, number)
    return kept


def offer(
    tx: Transaction, act: Act, license_: License, *, terms: Terms | None, note: str, etag: str
) -> License:
    """Answer a request with the provider's terms; None offers the terms requested.

    Raises EtagMismatchError, LicenseStateError, and what `request_license` raises of dataset and terms.
    """
    return _propose(tx, act, license_, "offer", terms or license_.terms, note, etag)


def counter(tx: Transaction, act: Act, license_: License, *, terms: Terms, note: str, etag: str) -> License:
    """Answer an offer with the bank's terms. Raises what `offer` raises."""
    return _propose(tx, act, license_, "counter", terms, note, etag)


def accept(tx: Transaction, act: Act, license_: License, *, etag: str) -> License:
    """Accept an offer and fix the agreement's bytes, with the keys in use now.

    Raises FieldInvalidError without an etag, EtagMismatchError, LicenseStateError, DatasetStateError,
    PartyStateError, ClauseRefusedError or SigningKeyUnusableError.
    """
    if not etag:
        raise FieldInvalidError(("etag", "is required, so that nobody accepts other terms than they saw"))
    check_etag(etag, license_name(license_.license), license_.version)
    accepted = license_.moved("accept", act.caller.party, act.now)
    provider, bank, revision = _check_tradeable(tx, act, license_)
    pins = Pins(
        steward_key=provider.pinned_key(KeyPurpose.STEWARD),
        node_key=provider.pinned_key(KeyPurpose.NODE),
        bank_key=bank.pinned_key(KeyPurpose.BANK),
    )
    payload = _agreement(act, accepted, pins, revision)
    accepted = replace(accepted, agreement=SignedBytes(payload, ()), pins=pins)
    return _keep(tx, act, accepted, RecordKind.LICENSE_ACCEPTED)


def agree(tx: Transaction, act: Act, license_: License, signed: SignedBytes) -> License:
    """Take the provider's signature over the agreement's bytes.

    Raises LicenseStateError, SignatureRefusedError, SigningKeyUnusableError and what `accept` raises of
    dataset, parties and terms.
    """
    agreed = license_.moved("agree", act.caller.party, act.now)
    agreement, pins = _signable(tx, act, license_, signed)
    verify_one("agreement", signed, Purpose.AGREEMENT, pins.steward_key)
    agreed = replace(agreed, agreement=agreement.and_signed(signed.signatures[0]))
    return _keep(tx, act, agreed, RecordKind.LICENSE_AGREED, with_agreement=True)


def verify(tx: Transaction, act: Act, license_: License, signed: SignedBytes) -> License:
    """Take the bank's signature over the agreement's bytes and countersign: the license is in force.

    Raises what `agree` raises.
    """
    verified = license_.moved("verify", act.caller.party, act.now)
    agreement, pins = _signable(tx, act, license_, signed)
    verify_one("agreement", signed, Purpose.AGREEMENT, pins.bank_key)
    countersigned = agreement.and_signed(signed.signatures[0]).and_signed(
        act.office.signature(Purpose.AGREEMENT, agreement.payload)
    )
    final = verified.moved("finalize", act.office.operator, act.now)
    final = replace(final, agreement=countersigned)
    return _keep(tx, act, final, RecordKind.LICENSE_FINALIZED, with_agreement=True)


def terminate(tx: Transaction, act: Act, license_: License, *, reason: str, etag: str) -> License:
    """End a negotiation or a license. Raises EtagMismatchError or LicenseStateError."""
    check_etag(etag, license_name(license_.license), license_.version)
    ended = license_.moved("terminate", act.caller.party, act.now, reason=reason)
    return _keep(tx, act, ended, RecordKind.LICENSE_TERMINATED, reason=reason)


def _propose(
    tx: Transaction, act: Act, license_: License, verb: str, terms: Terms, note: str, etag: str
) -> License:
    check_etag(etag, license_name(license_.license), license_.version)
    proposed = license_.moved(verb, act.caller.party, act.now, terms=terms, note=note)
    dataset, revision = licensed_dataset(tx, license_)
    _check_listed(dataset)
    _check_sides(tx, license_)
    _check_offerable(tx, act, "terms", proposed, dataset, revision)
    kind = RecordKind.LICENSE_OFFERED if verb == "offer" else RecordKind.LICENSE_REQUESTED
    return _keep(tx, act, proposed, kind)


def _signable(tx: Transaction, act: Act, license_: License, signed: SignedBytes) -> tuple[SignedBytes, Pins]:
    """Return the agreement and its pins when `signed` carries its bytes and every pinned key is in use."""
    provider, bank, _ = _check_tradeable(tx, act, license_)
    agreement, pins = license_.agreement, license_.pins
    if agreement is None or pins is None or signed.payload != agreement.payload:
        raise SignatureRefusedError(
            "agreement: not the bytes that were fixed when the bank accepted; sign those of the license"
        )
    held = (
        (provider, KeyPurpose.STEWARD, pins.steward_key),
        (provider, KeyPurpose.NODE, pins.node_key),
        (bank, KeyPurpose.BANK, pins.bank_key),
    )
    for party, purpose, pinned in held:
        key = party.key_in_use(purpose)
        if key is None or key.public_key != pinned:
            raise SigningKeyUnusableError(
                f"the {purpose} key that the agreement pins is not in use any more; terminate and ask anew"
            )
    return agreement, pins


def _check_tradeable(tx: Transaction, act: Act, license_: License) -> tuple[Party, Party, Revision]:
    dataset, revision = licensed_dataset(tx, license_)
    _check_listed(dataset)
    check_not_over(license_, act.now)
    provider, bank = _check_sides(tx, license_)
    return provider, bank, revision


def _check_listed(dataset: Dataset) -> None:
    if dataset.state is not DatasetState.LISTED:
        raise DatasetStateError(f"the dataset is {dataset.state.upper()}; only LISTED ones are licensed")


def _check_sides(tx: Transaction, license_: License) -> tuple[Party, Party]:
    provider, bank = existing_party(tx, license_.provider), existing_party(tx, license_.bank)
    for side, party in (("provider", provider), ("bank", bank)):
        if party.state is not PartyState.ACTIVE:
            raise PartyStateError(
                f"the license's {side} is {party.state.upper()}; wait until it may act again"
            )
    return provider, bank


def _check_offerable(
    tx: Transaction, act: Act, field: str, license_: License, dataset: Dataset, revision: Revision
) -> None:
    reviewed = get_revision(tx, dataset.dataset, dataset.reviewed)
    check_reviewed(f"{field}.columns", license_.terms.columns, revision, reviewed)
    check_terms(field, license_.terms, dict(revision.columns), act.now)
    _agreement(act, license_, _UNKNOWN_KEYS, revision)


def _agreement(act: Act, license_: License, pins: Pins, revision: Revision) -> bytes:
    return agreement_bytes(
        license_,
        pins,
        dict(revision.columns),
        origin=act.office.origin,
        exchange_key=act.office.public_key,
    )


def _keep(
    tx: Transaction,
    act: Act,
    license_: License,
    kind: RecordKind,
    *,
    reason: str = "",
    with_agreement: bool = False,
) -> License:
    number, kept = _record(tx, act, license_, kind, reason=reason, with_agreement=with_agreement)
    update_license(tx, kept, number)
    return kept


def _record(
    tx: Transaction,
    act: Act,
    license_: License,
    kind: RecordKind,
    *,
    reason: str = "",
    with_agreement: bool = False,
) -> tuple[int, License]:
    draft = RecordDraft(
        kind,
        f"{license_name(license_.license)}/{license_.version}",
        concerns=(license_.provider, license_.bank),
        dataset=license_.dataset,
        revision=license_.revision,
        revision_digest=license_.revision_digest,
        license=license_.license,
        scenario=license_.scenario,
        reason=reason,
        statements=(license_.agreement,) if with_agreement and license_.agreement else (),
    )
    recorded = record(tx, act, draft)
    return recorded.number, replace(license_, receipt=recorded.receipt)
