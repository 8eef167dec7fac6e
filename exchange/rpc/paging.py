"""Page sizes and page tokens.

A token names the last item of the page before and is bound to the list's other arguments and to the party
that asked, so that it continues that list and no other. It is no secret and grants nothing: every page is
cut from what the caller may see.

Source: AIP-158.
"""

import base64
from collections.abc import Callable
from typing import Final, TypeVar

from google.protobuf.message import Message

from exchange.domain.callers import Caller
from exchange.domain.errors import FieldInvalidError, PageTokenInvalidError
from wire.framing import tagged_hash
from wire.strict import StrictParseError, parse_base64

DEFAULT_PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 1000
MAX_POSITION_BYTES: Final = 256

_TAG: Final = "bourse/exchange/v1/page"
_BINDING_BYTES: Final = 16

PositionT = TypeVar("PositionT")


def page_size(asked: int) -> int:
    """Return how many items to send at most; raises FieldInvalidError when fewer than none are asked for."""
    if asked < 0:
        raise FieldInvalidError(("page_size", f"must be 0 to {MAX_PAGE_SIZE}; 0 means {DEFAULT_PAGE_SIZE}"))
    return min(asked or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def next_token(request: Message, caller: Caller, position: str) -> str:
    """Return the token of the page after the item at `position`."""
    encoded = position.encode()
    return base64.urlsafe_b64encode(_binding(request, caller, encoded) + encoded).decode()


def position_in(
    request: Message, token: str, caller: Caller, parse: Callable[[str], PositionT]
) -> PositionT | None:
    """Return where the page begins, as `parse` reads it, or None on the first page.

    Raises PageTokenInvalidError for a token that is malformed or was made for other arguments.
    """
    if not token:
        return None
    try:
        data = parse_base64(token, max_bytes=_BINDING_BYTES + MAX_POSITION_BYTES, urlsafe=True)
        encoded = data[_BINDING_BYTES:]
        if data[:_BINDING_BYTES] != _binding(request, caller, encoded):
            raise PageTokenInvalidError("the page token was made for other arguments; begin the list anew")
        position = encoded.decode("ascii")
        if not position.isprintable():
            raise PageTokenInvalidError("the page token is malformed; begin the list anew")
        return parse(position)
    except (StrictParseError, ValueError):
        raise PageTokenInvalidError("the page token is malformed; begin the list anew") from None


def _binding(request: Message, caller: Caller, position: bytes) -> bytes:
    arguments = type(request)()
    arguments.CopyFrom(request)
    arguments.ClearField("page_size")
    arguments.ClearField("page_token")
    fields = (
        request.DESCRIPTOR.full_name.encode(),
        arguments.SerializeToString(deterministic=True),
        caller.party.encode(),
        position,
    )
    return tagged_hash(_TAG, *fields)[:_BINDING_BYTES]
