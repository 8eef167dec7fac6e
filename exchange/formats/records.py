"""Entries of the trade ledger and receipts for them: built once, kept as they were built.

Source: docs/spec/record.md; RFC 6962, sections 2.1 and 3.2.
"""

import hashlib
from datetime import datetime
from typing import Final

from bourse.type.v1 import query_pb2, record_pb2

from exchange.domain.names import dataset_name, license_name, party_name
from exchange.domain.records import RecordDraft
from exchange.formats.enums import enum_to_pb
from exchange.formats.signed import signed_to_pb
from exchange.formats.times import time_to_pb

MAX_ENTRY_BYTES: Final = 60_000
SALT_BYTES: Final = 16

_VERSION: Final = 1
_LEAF_PREFIX: Final = b"\x00"


def entry_bytes(draft: RecordDraft, *, actor: str, member: str, time: datetime, salt: bytes) -> bytes:
    """Return the entry's bytes: at most 60,000, with 16 bytes of fresh `salt`.

    `actor` and `member` are ids. Raises ValueError beyond these sizes, which the formats of what an entry
    carries exclude.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"salt: must be {SALT_BYTES} bytes")
    entry = record_pb2.TradeRecordEntry(
        version=_VERSION,
        kind=enum_to_pb(record_pb2.RecordKind, draft.kind),
        time=time_to_pb(time),
        actor=party_name(actor),
        member=member,
        parties=[party_name(party) for party in parties_of(draft, actor)],
        dataset=dataset_name(draft.dataset) if draft.dataset else "",
        revision=draft.revision,
        license=license_name(draft.license) if draft.license else "",
        scenario=draft.scenario,
        query_kind=enum_to_pb(query_pb2.QueryKind, draft.query_kind)
        if draft.query_kind
        else query_pb2.QUERY_KIND_UNSPECIFIED,
        reason=draft.reason,
        statements=[signed_to_pb(statement) for statement in draft.statements],
        salt=salt,
        revision_digest=draft.revision_digest,
    )
    if draft.charge is not None:
        entry.usage.rows_gathered = draft.charge.rows_gathered
        entry.usage.rows_opened = draft.charge.rows_opened
        entry.usage.rows_charged = draft.charge.rows_charged
        entry.usage.bits_charged = draft.charge.bits_charged
    written = entry.SerializeToString(deterministic=True)
    if len(written) > MAX_ENTRY_BYTES:
        raise ValueError(f"entry: longer than {MAX_ENTRY_BYTES} bytes")
    return written


def parties_of(draft: RecordDraft, actor: str) -> tuple[str, ...]:
    """Return the ids of all parties concerned, the actor first, each once."""
    return tuple(dict.fromkeys((actor, *draft.concerns)))


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(00 || entry), 32 bytes."""
    return hashlib.sha256(_LEAF_PREFIX + entry).digest()


def receipt_statement(*, origin: str, leaf: bytes, time: datetime) -> bytes:
    """Return the bytes that the exchange signs to promise that the entry of this leaf hash will be logged."""
    return record_pb2.ReceiptStatement(
        version=_VERSION, origin=origin, leaf_hash=leaf, time=time_to_pb(time)
    ).SerializeToString(deterministic=True)


def payloads_of(entry: bytes) -> tuple[bytes, ...]:
    """Return the payloads of the statements that an entry of ours carries."""
    return tuple(one.payload for one in record_pb2.TradeRecordEntry.FromString(entry).statements)
