"""Evaluations and their blocks: who was asked for, as entity keys, what was gathered, and the sealed bytes.

Seeds and salts are envelopes here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, insert, select, update

from compute.domain.errors import EvaluationNotFoundError
from compute.domain.evaluation import Evaluation, EvaluationState, SealedBlock
from compute.store.packing import (
    entity_keys_of,
    micros,
    pack_entity_keys,
    pack_rows,
    rows_of,
    time_of,
)
from compute.store.schema import block, evaluation, license_


@dataclass(frozen=True)
class PreparedRow:
    """What a block is made of, as stored: `seed` and `salt` are envelopes."""

    rows: tuple[int, ...] = field(repr=False)
    withdrawals: int
    place: bytes
    salt: bytes
    seed: bytes


def add(
    connection: Connection, row: Evaluation, consent_salt: bytes, blocks: Sequence[Sequence[bytes]]
) -> None:
    """Store an evaluation that starts to run; `blocks` holds the persons' entity keys, block by block."""
    connection.execute(
        insert(evaluation).values(
            name=row.name,
            sealing=row.sealing,
            license=row.license,
            rows=row.rows,
            blocks=row.blocks,
            state=row.state.value,
            error=row.error,
            consent_salt=consent_salt,
            consent_digest=row.consent_digest,
            create_time=micros(row.create_time),
        )
    )
    _count_waiting(connection, row.name, len(blocks))
    connection.execute(
        insert(block),
        [
            {
                "evaluation": row.name,
                "number": number,
                "rows": len(keys),
                "entity_keys": pack_entity_keys(keys),
            }
            for number, keys in enumerate(blocks)
        ],
    )


def get(connection: Connection, name: str) -> Evaluation:
    """Return an evaluation with its progress, or raise EvaluationNotFoundError."""
    row = connection.execute(select(evaluation).where(evaluation.c.name == name)).one_or_none()
    if row is None:
        raise EvaluationNotFoundError("name: your party has no evaluation of this name")
    done = connection.execute(
        select(func.count()).where(block.c.evaluation == name, block.c.sha256.is_not(None))
    ).scalar_one()
    return Evaluation(
        row.name,
        row.sealing,
        row.license,
        row.rows,
        row.blocks,
        done,
        EvaluationState(row.state),
        row.error,
        bytes(row.consent_digest),
        time_of(row.create_time),
    )


def running(connection: Connection) -> list[str]:
    """Return the names of the evaluations that have no outcome yet, the oldest first."""
    found = connection.execute(
        select(evaluation.c.name)
        .where(evaluation.c.state == EvaluationState.RUNNING.value)
        .order_by(evaluation.c.create_time, evaluation.c.name)
    )
    return list(found.scalars())


def fail(connection: Connection, name: str, error: str) -> None:
    """Give a running evaluation its error; its blocks without bytes wait for nothing any more."""
    failed = connection.execute(
        update(evaluation)
        .where(evaluation.c.name == name, evaluation.c.state == EvaluationState.RUNNING.value)
        .values(state=EvaluationState.FAILED.value, error=error)
    )
    if failed.rowcount:
        _count_waiting(connection, name, -len(blocks_to_do(connection, name)))


def blocks_to_do(connection: Connection, name: str) -> list[int]:
    """Return the numbers of the blocks that have no bytes yet."""
    found = connection.execute(
        select(block.c.number)
        .where(block.c.evaluation == name, block.c.sha256.is_(None))
        .order_by(block.c.number)
    )
    return list(found.scalars())


def entity_keys(connection: Connection, name: str, number: int) -> tuple[bytes, ...]:
    """Return who was asked for in a block that exists, in order."""
    packed = connection.execute(
        select(block.c.entity_keys).where(block.c.evaluation == name, block.c.number == number)
    ).scalar_one()
    return entity_keys_of(packed)


def prepared(connection: Connection, name: str, number: int) -> PreparedRow | None:
    """Return what a block that exists is made of, or None before that is decided."""
    row = connection.execute(
        select(
            block.c.gathered, block.c.withdrawals, block.c.place, block.c.gathered_salt, block.c.seed
        ).where(block.c.evaluation == name, block.c.number == number)
    ).one()
    if row.place is None:
        return None
    return PreparedRow(
        rows_of(row.gathered), row.withdrawals, bytes(row.place), bytes(row.gathered_salt), bytes(row.seed)
    )


def keep_prepared(connection: Connection, name: str, number: int, row: PreparedRow) -> None:
    """Decide what a block without bytes is made of."""
    connection.execute(
        update(block)
        .where(block.c.evaluation == name, block.c.number == number, block.c.sha256.is_(None))
        .values(
            gathered=pack_rows(row.rows),
            withdrawals=row.withdrawals,
            place=row.place,
            gathered_salt=row.salt,
            seed=row.seed,
        )
    )


def keep_block(
    connection: Connection, name: str, number: int, where: bytes, data: bytes, sha256: bytes
) -> None:
    """Store a block's bytes, unless it has some, and only if it is still made of what `where` says.

    The last block gives the evaluation its outcome.
    """
    connection.execute(
        update(block)
        .where(
            block.c.evaluation == name,
            block.c.number == number,
            block.c.place == where,
            block.c.sha256.is_(None),
        )
        .values(data=data, sha256=sha256)
    )
    if not blocks_to_do(connection, name):
        connection.execute(
            update(evaluation)
            .where(evaluation.c.name == name, evaluation.c.state == EvaluationState.RUNNING.value)
            .values(state=EvaluationState.SUCCEEDED.value)
        )


def block_data(connection: Connection, name: str, number: int) -> tuple[int, bytes, bytes | None]:
    """Return how many rows a block gathers, and SHA-256 and bytes once they are there.

    Raises EvaluationNotFoundError when the evaluation has no such block.
    """
    row = connection.execute(
        select(block.c.rows, block.c.sha256, block.c.data).where(
            block.c.evaluation == name, block.c.number == number
        )
    ).one_or_none()
    if row is None:
        raise EvaluationNotFoundError("name: your party has no block of this name")
    if row.data is None:
        return row.rows, b"", None
    return row.rows, bytes(row.sha256), bytes(row.data)


def sealed_block(connection: Connection, name: str, number: int) -> SealedBlock | None:
    """Return a block that may be released from, or None while it has no bytes.

    Raises EvaluationNotFoundError when the evaluation has no such block.
    """
    row = connection.execute(
        select(block.c.rows, block.c.place, block.c.sha256, block.c.charged_by).where(
            block.c.evaluation == name, block.c.number == number
        )
    ).one_or_none()
    if row is None:
        raise EvaluationNotFoundError("request.block: your party has no block of this name")
    if row.sha256 is None:
        return None
    return SealedBlock(name, number, row.rows, bytes(row.place), bytes(row.sha256), row.charged_by)


def charge_by(connection: Connection, name: str, number: int, release: str | None) -> None:
    """Note which release was charged for a block; None when the charge is given back and it waits again."""
    _count_waiting(connection, name, 1 if release is None else -1)
    connection.execute(
        update(block).where(block.c.evaluation == name, block.c.number == number).values(charged_by=release)
    )


def _count_waiting(connection: Connection, name: str, more: int) -> None:
    """Count so many more blocks that were asked for and not charged to the evaluation's license."""
    owner = select(evaluation.c.license).where(evaluation.c.name == name).scalar_subquery()
    connection.execute(
        update(license_).where(license_.c.name == owner).values(waiting=license_.c.waiting + more)
    )
