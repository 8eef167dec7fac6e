"""Trade records: what is said of one act, before and after the exchange has promised to log it.

Source: docs/spec/record.md.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from exchange.domain.signed import SignedBytes
from exchange.domain.terms import QueryKind


class RecordKind(StrEnum):
    """What a trade record is about."""

    PARTY_REGISTERED = "party_registered"
    PARTY_SUSPENDED = "party_suspended"
    PARTY_REINSTATED = "party_reinstated"
    PARTY_CHANGED = "party_changed"
    SIGNING_KEY_REGISTERED = "signing_key_registered"
    SIGNING_KEY_RETIRED = "signing_key_retired"
    DATASET_SUBMITTED = "dataset_submitted"
    DATASET_LISTED = "dataset_listed"
    DATASET_REJECTED = "dataset_rejected"
    DATASET_SUSPENDED = "dataset_suspended"
    DATASET_REINSTATED = "dataset_reinstated"
    DATASET_DELISTED = "dataset_delisted"
    DATASET_REVISED = "dataset_revised"
    LICENSE_REQUESTED = "license_requested"
    LICENSE_OFFERED = "license_offered"
    LICENSE_ACCEPTED = "license_accepted"
    LICENSE_AGREED = "license_agreed"
    LICENSE_FINALIZED = "license_finalized"
    LICENSE_TERMINATED = "license_terminated"
    MODEL_DEPLOYED = "model_deployed"
    RESULT_RELEASED = "result_released"


@dataclass(frozen=True)
class Charge:
    """What a release charged. Rows are counted per block, bits are rows times bits per row."""

    rows_gathered: int
    rows_opened: int
    rows_charged: int
    bits_charged: int


@dataclass(frozen=True)
class RecordDraft:
    """What one act adds to the ledger. `source` names the act: no two records share one.

    `concerns` are the parties' ids besides the actor's.
    """

    kind: RecordKind
    source: str
    concerns: tuple[str, ...] = ()
    dataset: str = ""
    revision: int = 0
    revision_digest: bytes = b""
    license: str = ""
    scenario: str = ""
    query_kind: QueryKind | None = None
    charge: Charge | None = None
    reason: str = ""
    statements: tuple[SignedBytes, ...] = field(default=())


@dataclass(frozen=True)
class Receipt:
    """The exchange's signed promise that an entry will be in the log: a ReceiptStatement, signed."""

    statement: SignedBytes


@dataclass(frozen=True)
class Recorded:
    """A committed record: `number` is the store's own, `entry` the exact bytes that were hashed."""

    number: int
    entry: bytes
    receipt: Receipt


@dataclass(frozen=True)
class TradeRecord:
    """A record with its place in the log, from 0 up."""

    index: int
    entry: bytes
    receipt: Receipt


@dataclass(frozen=True)
class RecordFilter:
    """Which records are asked for; what is None or empty does not restrict. Times: `start` <= t < `end`."""

    seen_by: str | None = None
    party: str | None = None
    dataset: str | None = None
    license: str | None = None
    kinds: tuple[RecordKind, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    newest_first: bool = False
