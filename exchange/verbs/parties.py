"""The registry: parties, their members and their signing keys. The operator's administrators keep it."""

from dataclasses import replace
from datetime import datetime

from exchange.domain.errors import (
    FieldInvalidError,
    PartyExistsError,
    PartyNotFoundError,
    PartyStateError,
    SignatureRefusedError,
    SigningKeyUnusableError,
)
from exchange.domain.names import party_name
from exchange.domain.parties import (
    KeyPurpose,
    Member,
    Party,
    PartyKind,
    PartyState,
    SigningKey,
    check_profile,
)
from exchange.domain.records import RecordDraft, RecordKind
from exchange.domain.signed import Signature, SignedBytes
from exchange.formats.possession import possession_payload
from exchange.store import Transaction
from exchange.store.exchange import Founding, get_founding, insert_founding
from exchange.store.parties import get_party, insert_party, is_key_known, update_party
from exchange.verbs.acts import Act, Office, record, record_as
from exchange.verbs.requests import check_etag
from wire.signing import Purpose, SignatureError, key_id, verify


def found_exchange(
    tx: Transaction,
    office: Office,
    *,
    display_name: str,
    members: tuple[Member, ...],
    acting: str,
    now: datetime,
) -> Party:
    """Write down which exchange this is and register its operator, once.

    `acting` is the member that the record names. Raises PartyExistsError when it was founded before, and
    FieldInvalidError.
    """
    if get_founding(tx) is not None:
        raise PartyExistsError("this database is an exchange already; nothing was changed")
    party = _new_party(
        office.operator,
        PartyKind.OPERATOR,
        display_name=display_name,
        members=members,
        node_address="",
        now=now,
    )
    draft = RecordDraft(RecordKind.PARTY_REGISTERED, _source(party))
    recorded = record_as(tx, office, draft, actor=office.operator, member=acting, now=now)
    insert_party(tx, party, recorded.number)
    insert_founding(tx, Founding(office.origin, office.public_key, office.operator))
    return replace(party, receipt=recorded.receipt)


def existing_party(tx: Transaction, party_id: str) -> Party:
    """Return a party, or raise PartyNotFoundError."""
    party = get_party(tx, party_id)
    if party is None:
        raise PartyNotFoundError("no party of this name is registered")
    return party


def create_party(
    tx: Transaction,
    act: Act,
    party_id: str,
    kind: PartyKind,
    *,
    display_name: str,
    members: tuple[Member, ...],
    node_address: str,
) -> Party:
    """Register a party. Raises PartyExistsError or FieldInvalidError."""
    if kind is PartyKind.OPERATOR:
        raise FieldInvalidError(
            ("party.kind", "an exchange has one operator, registered when it was founded")
        )
    if get_party(tx, party_id) is not None:
        raise PartyExistsError("a party of this name is registered already; choose another name")
    party = _new_party(
        party_id, kind, display_name=display_name, members=members, node_address=node_address, now=act.now
    )
    recorded = record(tx, act, RecordDraft(RecordKind.PARTY_REGISTERED, _source(party), concerns=(party_id,)))
    insert_party(tx, party, recorded.number)
    return replace(party, receipt=recorded.receipt)


def change_party(
    tx: Transaction,
    act: Act,
    party: Party,
    *,
    etag: str,
    display_name: str,
    members: tuple[Member, ...],
    node_address: str,
) -> Party:
    """Give a party another profile. Raises EtagMismatchError, FieldInvalidError or PartyStateError."""
    _check_etag(party, etag)
    check_profile("party", party.kind, display_name=display_name, members=members, node_address=node_address)
    changed = party.described(act.now, display_name=display_name, members=members, node_address=node_address)
    return _keep(tx, act, changed, RecordKind.PARTY_CHANGED)


def suspend_party(tx: Transaction, act: Act, party: Party, *, etag: str, reason: str) -> Party:
    """Stop a party from acting. Raises EtagMismatchError or PartyStateError."""
    if party.party == act.caller.party:
        raise PartyStateError("a party cannot suspend itself: nobody could reinstate it")
    _check_etag(party, etag)
    return _keep(tx, act, party.moved("suspend", act.now), RecordKind.PARTY_SUSPENDED, reason=reason)


def reinstate_party(tx: Transaction, act: Act, party: Party, *, etag: str, reason: str) -> Party:
    """Let a suspended party act again. Raises EtagMismatchError or PartyStateError."""
    _check_etag(party, etag)
    return _keep(tx, act, party.moved("reinstate", act.now), RecordKind.PARTY_REINSTATED, reason=reason)


def register_key(
    tx: Transaction, act: Act, party: Party, purpose: KeyPurpose, public_key: bytes, possession: bytes
) -> Party:
    """Put a key into use and retire the one of the same purpose in use before.

    Raises SignatureRefusedError when `possession`, the key's signature over party and purpose, is not that;
    SigningKeyUnusableError when anybody registered the key before, or its purpose does not fit.
    """
    payload = possession_payload(party.party, purpose)
    try:
        verify(public_key, Purpose.KEY_POSSESSION, payload, possession)
    except SignatureError as error:
        raise SignatureRefusedError(f"possession_signature: {error}") from None
    changed = party.with_key(SigningKey(purpose, public_key, possession, act.now))
    if is_key_known(tx, public_key):
        raise SigningKeyUnusableError("the key was registered before; make a new one")
    replaced = party.key_in_use(purpose)
    if replaced is not None:
        _record_key(tx, act, changed, replaced, RecordKind.SIGNING_KEY_RETIRED, "replaced by a new key")
    number, kept = _record_key(tx, act, changed, changed.keys[0], RecordKind.SIGNING_KEY_REGISTERED, "")
    update_party(tx, changed, number)
    return kept


def retire_key(tx: Transaction, act: Act, party: Party, public_key: bytes, reason: str) -> Party:
    """Take a key out of use. Raises SigningKeyUnusableError when the party has no such key in use."""
    changed = party.without_key(public_key, act.now)
    key = next(key for key in changed.keys if key.public_key == public_key)
    number, kept = _record_key(tx, act, changed, key, RecordKind.SIGNING_KEY_RETIRED, reason)
    update_party(tx, changed, number)
    return kept


def _new_party(
    party_id: str,
    kind: PartyKind,
    *,
    display_name: str,
    members: tuple[Member, ...],
    node_address: str,
    now: datetime,
) -> Party:
    check_profile("party", kind, display_name=display_name, members=members, node_address=node_address)
    return Party(
        party=party_id,
        display_name=display_name,
        kind=kind,
        state=PartyState.ACTIVE,
        members=members,
        keys=(),
        node_address=node_address,
        version=1,
        create_time=now,
        update_time=now,
    )


def _keep(tx: Transaction, act: Act, party: Party, kind: RecordKind, *, reason: str = "") -> Party:
    recorded = record(tx, act, RecordDraft(kind, _source(party), concerns=(party.party,), reason=reason))
    update_party(tx, party, recorded.number)
    return replace(party, receipt=recorded.receipt)


def _record_key(
    tx: Transaction, act: Act, party: Party, key: SigningKey, kind: RecordKind, reason: str
) -> tuple[int, Party]:
    """Record what happened to a key; its proof of possession in the record names it."""
    proof = SignedBytes(
        possession_payload(party.party, key.purpose), (Signature(key_id(key.public_key), key.possession),)
    )
    draft = RecordDraft(
        kind,
        f"{_source(party)}/{kind}",
        concerns=(party.party,),
        reason=reason,
        statements=(proof,),
    )
    recorded = record(tx, act, draft)
    return recorded.number, replace(party, receipt=recorded.receipt)


def _check_etag(party: Party, etag: str) -> None:
    check_etag(etag, party_name(party.party), party.version)


def _source(party: Party) -> str:
    return f"{party_name(party.party)}/{party.version}"
