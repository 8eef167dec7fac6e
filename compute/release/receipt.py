"""Receipts: what proves to a node that the exchange has recorded its very statement.

Fail closed: whatever is not proven here has not happened, and nothing leaves.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from compute.domain.caps import Charge
from compute.domain.errors import ReceiptError, SignatureRefusedError
from compute.domain.signed import Signed, require_signatures
from wire.signing import Purpose

RECEIPT_VERSION: Final = 1
ENTRY_VERSION: Final = 1
MAX_ENTRY_BYTES: Final = 60_000


class RecordKind(StrEnum):
    """The kinds of trade record that a node causes."""

    MODEL_DEPLOYED = "model deployed"
    RESULT_RELEASED = "result released"


@dataclass(frozen=True)
class Recorded:
    """The exchange's answer as it came: the entry's bytes and the signed receipt."""

    entry: bytes
    receipt: Signed


@dataclass(frozen=True)
class ReceiptStatement:
    """What the exchange signs: this leaf will be in the log of this origin."""

    version: int
    origin: str
    leaf_hash: bytes


@dataclass(frozen=True)
class Entry:
    """What a node looks for in a trade record; `kind` is None for kinds that no node causes."""

    version: int
    kind: RecordKind | None
    license: str
    charge: Charge
    statements: tuple[Signed, ...]


@dataclass(frozen=True)
class Expected:
    """What must have been recorded: our statement first, then the bank's that it names, and the charge."""

    kind: RecordKind
    license: str
    charge: Charge
    statements: tuple[Signed, ...]


def require_recorded(
    recorded: Recorded,
    expected: Expected,
    *,
    exchange_key: bytes,
    origin: str,
    read_statement: Callable[[bytes], ReceiptStatement],
    read_entry: Callable[[bytes], Entry],
) -> None:
    """Raise ReceiptError unless the exchange signed for an entry that records exactly what is expected.

    The readers parse strictly and raise ReceiptError.
    """
    statement = require_exchange_signature(recorded, exchange_key, read_statement)
    require_our_log(statement, origin)
    require_leaf_of_entry(statement, recorded.entry)
    entry = read_entry(recorded.entry)
    require_our_kind(entry, expected)
    require_our_charge(entry, expected)
    require_our_statements(entry, expected)


def require_exchange_signature(
    recorded: Recorded, exchange_key: bytes, read_statement: Callable[[bytes], ReceiptStatement]
) -> ReceiptStatement:
    """Return the receipt's statement once the license's exchange is proven to have signed it."""
    try:
        payload = require_signatures(recorded.receipt, Purpose.RECEIPT, {"exchange": exchange_key})
    except SignatureRefusedError as error:
        raise ReceiptError(f"receipt: {error}") from error
    return read_statement(payload)


def require_our_log(statement: ReceiptStatement, origin: str) -> None:
    """Raise ReceiptError unless the promise is made for the log of the license's exchange."""
    if statement.version != RECEIPT_VERSION or statement.origin != origin:
        raise ReceiptError("receipt: promises another log, or has a format this node does not know")


def require_leaf_of_entry(statement: ReceiptStatement, entry: bytes) -> None:
    """Raise ReceiptError unless the leaf promised is this entry's: SHA-256(00 ‖ entry), RFC 6962 §2.1."""
    if statement.leaf_hash != hashlib.sha256(b"\0" + entry).digest():
        raise ReceiptError("receipt: promises another entry than the one that came with it")


def require_our_kind(entry: Entry, expected: Expected) -> None:
    """Raise ReceiptError unless the entry records this act under this license."""
    if entry.version != ENTRY_VERSION or entry.kind is not expected.kind or entry.license != expected.license:
        raise ReceiptError("entry: records another act, or another license's")


def require_our_charge(entry: Entry, expected: Expected) -> None:
    """Raise ReceiptError unless exchange and node charge the same."""
    if entry.charge != expected.charge:
        raise ReceiptError("entry: charges other than this node does")


def require_our_statements(entry: Entry, expected: Expected) -> None:
    """Raise ReceiptError unless the entry carries exactly the statements sent, signatures included."""
    if entry.statements != expected.statements:
        raise ReceiptError("entry: does not carry exactly the statements that were to be recorded")
