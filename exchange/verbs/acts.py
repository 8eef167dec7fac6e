"""Who acts, when, and through which exchange: what every verb is given, and how its act is recorded.

A record is added in the transaction of the change it tells of, with a receipt that the exchange signs
there: either all of it is kept or nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exchange.domain.callers import Caller
from exchange.domain.records import Receipt, RecordDraft, Recorded
from exchange.domain.signed import Signature, SignedBytes
from exchange.formats.records import SALT_BYTES, entry_bytes, leaf_hash, parties_of, receipt_statement
from exchange.store import Transaction
from exchange.store.records import append_record
from wire.signing import Purpose, key_id, public_key_of, sign


@dataclass(frozen=True)
class Office:
    """The exchange itself: its log's origin, its operator's id, its key, and where random bytes come from."""

    origin: str
    operator: str
    signing_key: Ed25519PrivateKey = field(repr=False)
    random_bytes: Callable[[int], bytes] = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        return public_key_of(self.signing_key)

    def signature(self, purpose: Purpose, payload: bytes) -> Signature:
        """Return the exchange's own signature."""
        return Signature(key_id(self.public_key), sign(self.signing_key, purpose, payload))


@dataclass(frozen=True)
class Act:
    """One admitted caller's act at one moment."""

    office: Office
    caller: Caller
    now: datetime


def record(tx: Transaction, act: Act, draft: RecordDraft) -> Recorded:
    """Add the record of an act, with its receipt."""
    return record_as(tx, act.office, draft, actor=act.caller.party, member=act.caller.member, now=act.now)


def record_as(
    tx: Transaction, office: Office, draft: RecordDraft, *, actor: str, member: str, now: datetime
) -> Recorded:
    """Add a record of what `member` of the party `actor` did."""
    entry = entry_bytes(draft, actor=actor, member=member, time=now, salt=office.random_bytes(SALT_BYTES))
    leaf = leaf_hash(entry)
    statement = receipt_statement(origin=office.origin, leaf=leaf, time=now)
    receipt = Receipt(SignedBytes(statement, (office.signature(Purpose.RECEIPT, statement),)))
    return append_record(
        tx,
        draft,
        entry=entry,
        leaf=leaf,
        receipt=receipt,
        parties=parties_of(draft, actor),
        time=now,
    )
