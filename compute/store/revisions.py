"""Prepared revisions: signed descriptions, bins of every row, and which row belongs to whom."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from sqlalchemy import Connection, func, insert, select

from compute.domain.evaluation import ABSENT
from compute.domain.license import PublishedColumn
from compute.domain.signed import Signed
from compute.store import withdrawals
from compute.store.packing import micros, pack_signatures, signed_of
from compute.store.schema import entity, revision, revision_column

# Every lookup names this many persons but the last, so no query's shape depends on who is known.
_LOOKUP_BATCH: Final = 1000
_INSERT_BATCH: Final = 10_000

_T = TypeVar("_T")


@dataclass(frozen=True)
class PreparedColumn:
    """One attribute of a revision: its published bins, and the bin of every row as one byte each."""

    name: str
    bins: int
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class RevisionRow:
    """What identifies a revision. `rows` stays between node and steward."""

    dataset: str
    number: int
    digest: bytes
    rows: int


def next_number(connection: Connection, dataset: str) -> int:
    """Return the number that the dataset's next revision takes: 1 above the last."""
    last = connection.execute(
        select(func.max(revision.c.number)).where(revision.c.dataset == dataset)
    ).scalar_one()
    return (last or 0) + 1


def add(
    connection: Connection,
    row: RevisionRow,
    description: Signed,
    bins_salt: bytes,
    columns: Iterable[PreparedColumn],
    entity_keys: Iterable[bytes],
    now: datetime,
) -> None:
    """Store a revision whole; `bins_salt` is an envelope, `entity_keys` are in the order of the rows."""
    place = {"dataset": row.dataset, "number": row.number}
    connection.execute(
        insert(revision).values(
            **place,
            digest=row.digest,
            description=description.payload,
            signature=pack_signatures(description),
            bins_salt=bins_salt,
            rows=row.rows,
            create_time=micros(now),
        )
    )
    for index, column in enumerate(columns):
        connection.execute(
            insert(revision_column).values(
                **place, name=column.name, place=index, bins=column.bins, data=column.data
            )
        )
    for batch in _batches(enumerate(entity_keys), _INSERT_BATCH):
        connection.execute(insert(entity), [{**place, "entity_key": key, "row": n} for n, key in batch])


def find(connection: Connection, dataset: str, number: int) -> RevisionRow | None:
    """Return a revision, or None."""
    row = connection.execute(
        select(revision.c.digest, revision.c.rows).where(
            revision.c.dataset == dataset, revision.c.number == number
        )
    ).one_or_none()
    return None if row is None else RevisionRow(dataset, number, bytes(row.digest), row.rows)


def description(connection: Connection, dataset: str, number: int) -> Signed:
    """Return the signed description of a revision that exists."""
    row = connection.execute(
        select(revision.c.description, revision.c.signature).where(
            revision.c.dataset == dataset, revision.c.number == number
        )
    ).one()
    return signed_of(row.description, row.signature)


def published_columns(connection: Connection, dataset: str, number: int) -> list[PublishedColumn]:
    """Return the attributes of a revision in their published order."""
    found = connection.execute(
        select(revision_column.c.name, revision_column.c.bins)
        .where(revision_column.c.dataset == dataset, revision_column.c.number == number)
        .order_by(revision_column.c.place)
    )
    return [PublishedColumn(row.name, row.bins) for row in found]


def column_data(connection: Connection, dataset: str, number: int, name: str) -> bytes:
    """Return the bin of every row of one attribute, one byte each."""
    data = connection.execute(
        select(revision_column.c.data).where(
            revision_column.c.dataset == dataset,
            revision_column.c.number == number,
            revision_column.c.name == name,
        )
    ).scalar_one()
    return bytes(data)


def knows_dataset(connection: Connection, dataset: str) -> bool:
    """Return whether the node has any revision of the dataset."""
    return next_number(connection, dataset) > 1


def rows_of_entities(
    connection: Connection, dataset: str, number: int, entity_keys: Sequence[bytes]
) -> tuple[int, ...]:
    """Return each person's row, -1 for whom the revision does not know and for whoever withdrew."""
    rows: dict[bytes, int] = {}
    gone: set[bytes] = set()
    for batch in _batches(entity_keys, _LOOKUP_BATCH):
        found = connection.execute(
            select(entity.c.entity_key, entity.c.row).where(
                entity.c.dataset == dataset, entity.c.number == number, entity.c.entity_key.in_(batch)
            )
        )
        rows |= {bytes(one.entity_key): one.row for one in found}
        gone |= withdrawals.withdrawn(connection, dataset, batch)
    return tuple(ABSENT if key in gone else rows.get(key, ABSENT) for key in entity_keys)


def _batches(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, size)):
        yield batch
