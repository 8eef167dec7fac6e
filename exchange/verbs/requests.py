"""What every request passes: who is admitted, what was answered before, who saw the latest.

Source: AIP-154 (etags), AIP-155 (request ids).
"""

import re
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from exchange.domain.callers import Caller, admit
from exchange.domain.errors import EtagMismatchError, FieldInvalidError, RequestIDReusedError
from exchange.domain.parties import Role
from exchange.store import Transaction
from exchange.store.parties import get_party
from exchange.store.requests import Answered, find_answered, keep_answered
from wire.framing import tagged_hash
from wire.identity import Identity

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ETAG_TAG: Final = "bourse/exchange/v1/etag"
_ETAG_BYTES: Final = 12


def admitted(tx: Transaction, identity: Identity, allowed: Collection[Role]) -> Caller:
    """Return the caller that an identity stands for, by what the registry says now.

    Raises what `exchange.domain.callers.admit` raises.
    """
    return admit(identity, get_party(tx, identity.party), allowed)


def check_request_id(request_id: str) -> str:
    """Return `request_id` if it is a UUID in its one lower-case spelling, else raise FieldInvalidError."""
    if not _UUID.fullmatch(request_id):
        raise FieldInvalidError(("request_id", "must be a UUID in lower case, made anew for every request"))
    return request_id


def answer_once(
    tx: Transaction,
    caller: Caller,
    request_id: str,
    request_sha256: bytes,
    now: datetime,
    change: Callable[[], bytes],
) -> bytes:
    """Return the reply that this request was given before, or else make the change and keep its reply.

    Raises RequestIDReusedError when the caller used the id for another request.
    """
    before = find_answered(tx, caller.identity, request_id)
    if before is not None:
        if before.request_sha256 != request_sha256:
            raise RequestIDReusedError("the request id was used for another request; make a new one")
        return before.reply
    reply = change()
    keep_answered(tx, caller.identity, request_id, Answered(request_sha256, reply), now)
    return reply


def etag_of(name: str, version: int) -> str:
    """Return the etag of a resource by its name and version."""
    return tagged_hash(_ETAG_TAG, name.encode(), str(version).encode())[:_ETAG_BYTES].hex()


def check_etag(etag: str, name: str, version: int) -> None:
    """Raise EtagMismatchError unless `etag` is empty or the resource's latest."""
    if etag and etag != etag_of(name, version):
        raise EtagMismatchError("it changed since you read it; read it again and decide anew")
