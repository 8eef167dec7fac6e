"""First replies by caller and request id: a repeated request gets the very bytes of the first reply."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select

from compute.domain.errors import RequestIdReusedError
from compute.store.packing import micros
from compute.store.schema import idempotency


@dataclass(frozen=True)
class RequestKey:
    """Who asked, under which id, and a keyed digest of method and request, 32 bytes."""

    caller: str
    request_id: str
    sha256: bytes


def first_reply(connection: Connection, key: RequestKey) -> bytes | None:
    """Return the reply that this request got before, or None.

    Raises RequestIdReusedError when the id stood for another request.
    """
    row = connection.execute(
        select(idempotency.c.request_sha256, idempotency.c.reply).where(
            idempotency.c.caller == key.caller, idempotency.c.request_id == key.request_id
        )
    ).one_or_none()
    if row is None:
        return None
    if bytes(row.request_sha256) != key.sha256:
        raise RequestIdReusedError("request_id: used before for another request; take a new UUID")
    return bytes(row.reply)


def keep_reply(connection: Connection, key: RequestKey, reply: bytes, now: datetime) -> bytes:
    """Remember `reply` in the transaction of the change that it answers, and return it."""
    connection.execute(
        insert(idempotency).values(
            caller=key.caller,
            request_id=key.request_id,
            request_sha256=key.sha256,
            reply=reply,
            create_time=micros(now),
        )
    )
    return reply
