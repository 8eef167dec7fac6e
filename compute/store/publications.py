"""Publication jobs: what was asked, and the one outcome."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, insert, select, update

from compute.domain.errors import PublicationNotFoundError
from compute.store.packing import micros, time_of
from compute.store.schema import publication


class PublicationState(StrEnum):
    """RUNNING until the revision is prepared, or cannot be."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class PublicationRow:
    """One publication. `specification` is the message's bytes; `revision` is set when it succeeded."""

    name: str
    dataset: str
    file: str
    specification: bytes = field(repr=False)
    change_note: str
    state: PublicationState
    revision: int | None
    rows: int
    bytes_total: int
    remarks: tuple[str, ...]
    error_reason: str
    error_message: str
    create_time: datetime


def add(connection: Connection, row: PublicationRow) -> None:
    """Store a publication that starts to run."""
    connection.execute(
        insert(publication).values(
            name=row.name,
            dataset=row.dataset,
            file=row.file,
            specification=row.specification,
            change_note=row.change_note,
            state=row.state.value,
            revision=row.revision,
            rows=row.rows,
            bytes_total=row.bytes_total,
            remarks=json.dumps(row.remarks),
            error_reason=row.error_reason,
            error_message=row.error_message,
            create_time=micros(row.create_time),
        )
    )


def get(connection: Connection, name: str) -> PublicationRow:
    """Return a publication, or raise PublicationNotFoundError."""
    row = connection.execute(select(publication).where(publication.c.name == name)).one_or_none()
    if row is None:
        raise PublicationNotFoundError("name: this node has no such publication")
    return _row(row)


def page(connection: Connection, before: int | None, size: int) -> tuple[list[PublicationRow], int | None]:
    """Return up to `size` publications, the newest first, and the place where the next page begins."""
    query = select(publication).order_by(publication.c.sequence.desc()).limit(size + 1)
    if before is not None:
        query = query.where(publication.c.sequence < before)
    rows = connection.execute(query).all()
    more = rows[size - 1].sequence if len(rows) > size else None
    return [_row(row) for row in rows[:size]], more


def running(connection: Connection) -> list[str]:
    """Return the names of the publications that have no outcome yet, the oldest first."""
    found = connection.execute(
        select(publication.c.name)
        .where(publication.c.state == PublicationState.RUNNING.value)
        .order_by(publication.c.sequence)
    )
    return list(found.scalars())


def succeed(
    connection: Connection, name: str, revision: int, rows: int, bytes_total: int, remarks: tuple[str, ...]
) -> None:
    """Give a running publication its revision."""
    _end(
        connection,
        name,
        state=PublicationState.SUCCEEDED.value,
        revision=revision,
        rows=rows,
        bytes_total=bytes_total,
        remarks=json.dumps(remarks),
    )


def fail(connection: Connection, name: str, reason: str, message: str) -> None:
    """Give a running publication its error."""
    _end(
        connection,
        name,
        state=PublicationState.FAILED.value,
        error_reason=reason,
        error_message=message,
    )


def _end(connection: Connection, name: str, **outcome: object) -> None:
    connection.execute(
        update(publication)
        .where(publication.c.name == name, publication.c.state == PublicationState.RUNNING.value)
        .values(**outcome)
    )


def _row(row: Row) -> PublicationRow:  # type: ignore[type-arg]  # a row of `publication`, typed below
    return PublicationRow(
        row.name,
        row.dataset,
        row.file,
        bytes(row.specification),
        row.change_note,
        PublicationState(row.state),
        row.revision,
        row.rows,
        row.bytes_total,
        tuple(json.loads(row.remarks)),
        row.error_reason,
        row.error_message,
        time_of(row.create_time),
    )
