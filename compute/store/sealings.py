"""Sealings: context, sealed columns, the bank's statement and the record of its deployment."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from compute.domain.errors import SealingNotFoundError
from compute.domain.license import QueryKind
from compute.domain.model import Sealing, SealingState
from compute.domain.signed import Signed
from compute.release.receipt import Recorded
from compute.store.packing import micros, pack_signatures, signed_of, time_of
from compute.store.schema import sealed_column, sealing


@dataclass(frozen=True)
class Deployment:
    """What the exchange is asked to record of a sealed model: the same bytes at every attempt."""

    c0_digest: bytes
    sealing_statement: Signed
    model_statement: Signed
    request_id: str


def add(connection: Connection, row: Sealing) -> None:
    """Store a sealing that waits for its columns."""
    connection.execute(
        insert(sealing).values(
            name=row.name,
            license=row.license,
            kind=row.kind.value,
            owner_nonce=row.owner_nonce,
            sealing_nonce=row.sealing_nonce,
            context=row.context,
            columns=row.columns,
            state=row.state.value,
            blocks=0,
            create_time=micros(row.create_time),
        )
    )


def get(connection: Connection, name: str) -> Sealing:
    """Return a sealing, or raise SealingNotFoundError."""
    row = connection.execute(select(sealing).where(sealing.c.name == name)).one_or_none()
    if row is None:
        raise SealingNotFoundError("sealing: your party has no sealing of this name")
    return Sealing(
        row.name,
        row.license,
        QueryKind(row.kind),
        bytes(row.owner_nonce),
        bytes(row.sealing_nonce),
        bytes(row.context),
        row.columns,
        SealingState(row.state),
        time_of(row.create_time),
    )


def column(connection: Connection, name: str, place: int) -> bytes | None:
    """Return one sealed column, or None."""
    data = connection.execute(
        select(sealed_column.c.data).where(sealed_column.c.sealing == name, sealed_column.c.place == place)
    ).scalar_one_or_none()
    return None if data is None else bytes(data)


def put_column(connection: Connection, name: str, place: int, data: bytes) -> None:
    """Store one sealed column in place of what stood there."""
    values = {"sealing": name, "place": place, "data": data}
    if column(connection, name, place) is None:
        connection.execute(insert(sealed_column).values(**values))
    else:
        connection.execute(
            update(sealed_column)
            .where(sealed_column.c.sealing == name, sealed_column.c.place == place)
            .values(data=data)
        )


def places_present(connection: Connection, name: str) -> list[int]:
    """Return which sealed columns are there, in rising order."""
    found = connection.execute(
        select(sealed_column.c.place).where(sealed_column.c.sealing == name).order_by(sealed_column.c.place)
    )
    return list(found.scalars())


def columns(connection: Connection, name: str) -> Iterator[bytes]:
    """Yield the sealed columns in order, one at a time."""
    for place in places_present(connection, name):
        data = column(connection, name, place)
        if data is not None:
            yield data


def fix(connection: Connection, name: str, deployment: Deployment) -> None:
    """Fix the columns of an open sealing and keep what the exchange is to record: OPEN -> RECORDING."""
    connection.execute(
        update(sealing)
        .where(sealing.c.name == name, sealing.c.state == SealingState.OPEN.value)
        .values(
            state=SealingState.RECORDING.value,
            c0_digest=deployment.c0_digest,
            statement=deployment.sealing_statement.payload,
            statement_signatures=pack_signatures(deployment.sealing_statement),
            model_statement=deployment.model_statement.payload,
            model_statement_signatures=pack_signatures(deployment.model_statement),
            request_id=deployment.request_id,
        )
    )


def deployment(connection: Connection, name: str) -> Deployment | None:
    """Return what is, or was, to be recorded of a sealing; None while it is open."""
    row = connection.execute(
        select(
            sealing.c.c0_digest,
            sealing.c.statement,
            sealing.c.statement_signatures,
            sealing.c.model_statement,
            sealing.c.model_statement_signatures,
            sealing.c.request_id,
        ).where(sealing.c.name == name)
    ).one()
    if row.statement is None:
        return None
    return Deployment(
        bytes(row.c0_digest),
        signed_of(row.statement, row.statement_signatures),
        signed_of(row.model_statement, row.model_statement_signatures),
        row.request_id,
    )


def accept(connection: Connection, name: str, recorded: Recorded) -> None:
    """Open a recorded sealing for evaluations: RECORDING -> ACCEPTED."""
    connection.execute(
        update(sealing)
        .where(sealing.c.name == name, sealing.c.state == SealingState.RECORDING.value)
        .values(
            state=SealingState.ACCEPTED.value,
            entry=recorded.entry,
            receipt=recorded.receipt.payload,
            receipt_signatures=pack_signatures(recorded.receipt),
        )
    )


def reopen(connection: Connection, name: str) -> None:
    """Forget a statement that the exchange definitely refused: RECORDING -> OPEN."""
    connection.execute(
        update(sealing)
        .where(sealing.c.name == name, sealing.c.state == SealingState.RECORDING.value)
        .values(
            state=SealingState.OPEN.value,
            c0_digest=None,
            statement=None,
            statement_signatures=None,
            model_statement=None,
            model_statement_signatures=None,
            request_id=None,
        )
    )


def recorded(connection: Connection, name: str) -> Recorded | None:
    """Return the record of a sealing's deployment, or None before it is accepted."""
    row = connection.execute(
        select(sealing.c.entry, sealing.c.receipt, sealing.c.receipt_signatures).where(sealing.c.name == name)
    ).one()
    if row.entry is None:
        return None
    return Recorded(bytes(row.entry), signed_of(row.receipt, row.receipt_signatures))


def blocks_so_far(connection: Connection, name: str) -> int:
    """Return in how many blocks the sealing was to be evaluated so far."""
    blocks: int = connection.execute(select(sealing.c.blocks).where(sealing.c.name == name)).scalar_one()
    return blocks


def count_blocks(connection: Connection, name: str, more: int) -> None:
    """Count blocks of a new evaluation."""
    connection.execute(update(sealing).where(sealing.c.name == name).values(blocks=sealing.c.blocks + more))
