"""Requests that were answered: what makes repeating one harmless."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select

from exchange.store import Transaction
from exchange.store.columns import to_micros
from exchange.store.tables import idempotency


@dataclass(frozen=True)
class Answered:
    """The digest of a request, 32 bytes, and the bytes of its reply."""

    request_sha256: bytes
    reply: bytes


def find_answered(tx: Transaction, caller: str, request_id: str) -> Answered | None:
    """Return what a caller's request id was answered with, or None."""
    row = tx.execute(
        select(idempotency).where(idempotency.c.caller == caller, idempotency.c.request_id == request_id)
    ).first()
    return None if row is None else Answered(row.request_sha256, row.reply)


def keep_answered(tx: Transaction, caller: str, request_id: str, answered: Answered, now: datetime) -> None:
    """Keep what a request id was answered with."""
    tx.execute(
        insert(idempotency).values(
            caller=caller,
            request_id=request_id,
            request_sha256=answered.request_sha256,
            reply=answered.reply,
            time=to_micros(now),
        )
    )
