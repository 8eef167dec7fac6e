"""Which exchange this database is: its log's origin, its key, its operator. Written once."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select

from exchange.store import Transaction
from exchange.store.tables import exchange

_ONLY: Final = 1


@dataclass(frozen=True)
class Founding:
    """The origin of the log, the Ed25519 public key (32 bytes), and the operator's id."""

    origin: str
    public_key: bytes
    operator: str


def get_founding(tx: Transaction) -> Founding | None:
    """Return which exchange this is, or None before `init`."""
    row = tx.execute(select(exchange).where(exchange.c.number == _ONLY)).first()
    return None if row is None else Founding(row.origin, row.public_key, row.operator)


def insert_founding(tx: Transaction, founding: Founding) -> None:
    """Write down which exchange this is."""
    tx.execute(
        insert(exchange).values(
            number=_ONLY,
            origin=founding.origin,
            public_key=founding.public_key,
            operator=founding.operator,
        )
    )
