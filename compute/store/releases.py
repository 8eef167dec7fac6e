"""Releases: what was reserved, what the exchange recorded of it, and what may therefore leave again."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from compute.domain.caps import Charge
from compute.domain.signed import Signed
from compute.release.policy import packed_rows
from compute.release.receipt import Recorded
from compute.store.packing import micros, pack_signatures, signed_of, time_of
from compute.store.schema import release


class ReleaseState(StrEnum):
    """RESERVED is charged and waits for the exchange; RECORDED may leave; REFUSED was given back."""

    RESERVED = "reserved"
    RECORDED = "recorded"
    REFUSED = "refused"


@dataclass(frozen=True)
class ReleaseRow:
    """One release of rows of a block, as it stands at the exchange as well."""

    name: str
    evaluation: str
    number: int
    license: str
    request_sha256: bytes
    request: Signed
    rows: tuple[int, ...] = field(repr=False)
    charge: Charge
    statement: Signed
    request_id: str
    state: ReleaseState
    recorded: Recorded | None
    create_time: datetime


def find_same(
    connection: Connection, evaluation: str, number: int, request_sha256: bytes
) -> ReleaseRow | None:
    """Return the release that this very request led to, unless it was refused; else None."""
    return _find(
        connection,
        (release.c.evaluation == evaluation)
        & (release.c.number == number)
        & (release.c.request_sha256 == request_sha256)
        & (release.c.state != ReleaseState.REFUSED.value),
    )


def find(connection: Connection, name: str) -> ReleaseRow | None:
    """Return a release by name, or None."""
    return _find(connection, release.c.name == name)


def count(connection: Connection, evaluation: str, number: int) -> int:
    """Return how many releases of a block there are, refused ones left out."""
    return connection.execute(
        select(func.count())
        .select_from(release)
        .where(
            release.c.evaluation == evaluation,
            release.c.number == number,
            release.c.state != ReleaseState.REFUSED.value,
        )
    ).scalar_one()


def reserved(connection: Connection) -> list[ReleaseRow]:
    """Return all releases whose outcome at the exchange is not known, the oldest first."""
    found = connection.execute(
        select(release)
        .where(release.c.state == ReleaseState.RESERVED.value)
        .order_by(release.c.create_time, release.c.name)
    )
    return [_row(row) for row in found]


def add(connection: Connection, row: ReleaseRow) -> None:
    """Store a release that is reserved, in place of a refusal of the same request."""
    connection.execute(
        delete(release).where(
            release.c.evaluation == row.evaluation,
            release.c.number == row.number,
            release.c.request_sha256 == row.request_sha256,
            release.c.state == ReleaseState.REFUSED.value,
        )
    )
    connection.execute(
        insert(release).values(
            name=row.name,
            evaluation=row.evaluation,
            number=row.number,
            license=row.license,
            request_sha256=row.request_sha256,
            request=row.request.payload,
            request_signatures=pack_signatures(row.request),
            rows=packed_rows(row.rows),
            rows_charged=row.charge.rows,
            bits_charged=row.charge.bits,
            statement=row.statement.payload,
            statement_signatures=pack_signatures(row.statement),
            request_id=row.request_id,
            state=row.state.value,
            create_time=micros(row.create_time),
        )
    )


def record(connection: Connection, name: str, recorded: Recorded) -> None:
    """Keep the exchange's receipt: RESERVED -> RECORDED."""
    connection.execute(
        update(release)
        .where(release.c.name == name, release.c.state == ReleaseState.RESERVED.value)
        .values(
            state=ReleaseState.RECORDED.value,
            entry=recorded.entry,
            receipt=recorded.receipt.payload,
            receipt_signatures=pack_signatures(recorded.receipt),
        )
    )


def refuse(connection: Connection, name: str) -> bool:
    """Mark a reserved release as refused; return whether it was reserved until now."""
    changed = connection.execute(
        update(release)
        .where(release.c.name == name, release.c.state == ReleaseState.RESERVED.value)
        .values(state=ReleaseState.REFUSED.value)
    )
    return changed.rowcount == 1


def _find(connection: Connection, which: ColumnElement[bool]) -> ReleaseRow | None:
    row = connection.execute(select(release).where(which)).one_or_none()
    return None if row is None else _row(row)


def _row(row: Row) -> ReleaseRow:  # type: ignore[type-arg]  # a row of `release`, typed below
    return ReleaseRow(
        row.name,
        row.evaluation,
        row.number,
        row.license,
        bytes(row.request_sha256),
        signed_of(row.request, row.request_signatures),
        tuple(np.frombuffer(row.rows, dtype="<u4").tolist()),
        Charge(row.rows_charged, row.bits_charged),
        signed_of(row.statement, row.statement_signatures),
        row.request_id,
        ReleaseState(row.state),
        None
        if row.entry is None
        else Recorded(bytes(row.entry), signed_of(row.receipt, row.receipt_signatures)),
        time_of(row.create_time),
    )
