"""The trade ledger: records with their receipts, then their places in the log.

A record is added in the transaction of the change that it tells of. Its index is given afterwards, by one
sequencer at a time, in the order of the records' numbers, without gaps.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Select, delete, exists, func, insert, select

from exchange.domain.records import Receipt, RecordDraft, Recorded, RecordFilter, TradeRecord
from exchange.domain.signed import Signature, SignedBytes
from exchange.store import Transaction
from exchange.store.columns import to_micros
from exchange.store.pages import Page, load_page
from exchange.store.tables import log_entry, record, record_party, record_pending

# One transaction of the sequencer; what is left waits for the next.
SEQUENCED_AT_ONCE: Final = 1000


def append_record(
    tx: Transaction,
    draft: RecordDraft,
    *,
    entry: bytes,
    leaf: bytes,
    receipt: Receipt,
    parties: Sequence[str],
    time: datetime,
) -> Recorded:
    """Add a record, for good, and mark it as waiting for its index."""
    (signature,) = receipt.statement.signatures
    number: int = tx.execute(
        insert(record)
        .values(
            source=draft.source,
            leaf=leaf,
            entry=entry,
            receipt=receipt.statement.payload,
            receipt_key_id=signature.key_id,
            receipt_signature=signature.value,
            kind=draft.kind.value,
            time=to_micros(time),
            dataset=draft.dataset or None,
            license=draft.license or None,
        )
        .returning(record.c.number)
    ).scalar_one()
    tx.execute(insert(record_party), [{"party": party, "record": number} for party in parties])
    tx.execute(insert(record_pending).values(record=number))
    return Recorded(number, entry, receipt)


def find_record(tx: Transaction, source: str) -> Recorded | None:
    """Return the record of an act, or None."""
    row = tx.execute(select(record).where(record.c.source == source)).first()
    return None if row is None else Recorded(row.number, row.entry, _receipt(row))


def sequence(tx: Transaction) -> int:
    """Give indexes to records that have none, and return how many got one.

    To be run in a transaction that excludes every other sequencer and sees what those before it did.
    """
    waiting = (
        tx.execute(select(record_pending.c.record).order_by(record_pending.c.record).limit(SEQUENCED_AT_ONCE))
        .scalars()
        .all()
    )
    if not waiting:
        return 0
    last = tx.execute(select(func.max(log_entry.c.log_index))).scalar_one()
    first = 0 if last is None else last + 1
    tx.execute(
        insert(log_entry),
        [{"log_index": first + place, "record": number} for place, number in enumerate(waiting)],
    )
    tx.execute(delete(record_pending).where(record_pending.c.record.in_(waiting)))
    return len(waiting)


def get_trade_record(tx: Transaction, index: int, seen_by: str | None) -> TradeRecord | None:
    """Return a record by its index if it concerns the party `seen_by`, or at all when that is None."""
    row = tx.execute(
        _visible(_logged(), RecordFilter(seen_by=seen_by)).where(log_entry.c.log_index == index)
    ).first()
    return None if row is None else _trade_record(row)


def list_trade_records(
    tx: Transaction, wanted: RecordFilter, *, after: int | None, size: int
) -> Page[TradeRecord]:
    """Return the records that pass the filter in order of their index, those after `after` in this order."""
    index = log_entry.c.log_index
    query = _visible(select(index).join(record, record.c.number == log_entry.c.record), wanted)
    if after is not None:
        query = query.where(index < after if wanted.newest_first else index > after)
    query = query.order_by(index.desc() if wanted.newest_first else index).limit(size + 1)
    keys = tx.execute(query).scalars().all()

    def load(chunk: Sequence[int]) -> list[TradeRecord]:
        rows = tx.execute(
            _logged().where(index.in_(chunk)).order_by(index.desc() if wanted.newest_first else index)
        )
        return [_trade_record(row) for row in rows]

    return load_page(keys, size, load, lambda one: len(one.entry) + 256)


def _logged() -> Select[Any]:
    return select(log_entry.c.log_index, record).join(record, record.c.number == log_entry.c.record)


def _visible(query: Select[Any], wanted: RecordFilter) -> Select[Any]:
    for party in {wanted.seen_by, wanted.party} - {None}:
        query = query.where(
            exists().where(record_party.c.party == party, record_party.c.record == record.c.number)
        )
    if wanted.dataset is not None:
        query = query.where(record.c.dataset == wanted.dataset)
    if wanted.license is not None:
        query = query.where(record.c.license == wanted.license)
    if wanted.kinds:
        query = query.where(record.c.kind.in_([kind.value for kind in wanted.kinds]))
    if wanted.start is not None:
        query = query.where(record.c.time >= to_micros(wanted.start))
    if wanted.end is not None:
        query = query.where(record.c.time < to_micros(wanted.end))
    return query


def _trade_record(row: Any) -> TradeRecord:
    return TradeRecord(row.log_index, row.entry, _receipt(row))


def _receipt(row: Any) -> Receipt:
    return Receipt(SignedBytes(row.receipt, (Signature(row.receipt_key_id, row.receipt_signature),)))
