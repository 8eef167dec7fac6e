"""Withdrawn consent by dataset: persons as entity keys, numbered in the order of their withdrawal."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select

from compute.store.packing import micros
from compute.store.schema import withdrawal


def count(connection: Connection, dataset: str) -> int:
    """Return how many withdrawals were applied to the dataset so far."""
    return connection.execute(
        select(func.count()).select_from(withdrawal).where(withdrawal.c.dataset == dataset)
    ).scalar_one()


def add(connection: Connection, dataset: str, entity_key: bytes, now: datetime) -> int:
    """Withdraw a person, known or not, unless withdrawn already; return the number of withdrawals."""
    before = count(connection, dataset)
    if withdrawn(connection, dataset, [entity_key]):
        return before
    connection.execute(
        insert(withdrawal).values(
            dataset=dataset, entity_key=entity_key, sequence=before + 1, create_time=micros(now)
        )
    )
    return before + 1


def withdrawn(connection: Connection, dataset: str, entity_keys: Sequence[bytes]) -> set[bytes]:
    """Return which of the persons have withdrawn."""
    found = connection.execute(
        select(withdrawal.c.entity_key).where(
            withdrawal.c.dataset == dataset, withdrawal.c.entity_key.in_(entity_keys)
        )
    )
    return {bytes(key) for key in found.scalars()}
