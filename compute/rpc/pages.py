"""Pages of a list: sizes coerced, tokens opaque and read strictly (AIP-158)."""

import base64
from typing import Final

from compute.domain.errors import FieldError, PageTokenError
from wire.strict import StrictParseError, parse_base64

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 1000
_PREFIX: Final = b"publications\0"
_PLACE_BYTES: Final = 8


def page_size(asked: int) -> int:
    """Return the size of a page: 0 means 50, above 1000 means 1000. Raises FieldError below 0."""
    if asked < 0:
        raise FieldError("page_size", f"must be 1 to {MAX_SIZE}; 0 means {DEFAULT_SIZE}")
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def token_of(place: int | None) -> str:
    """Return the token of the page that begins below `place`; empty when there is none."""
    if place is None:
        return ""
    return base64.urlsafe_b64encode(_PREFIX + place.to_bytes(_PLACE_BYTES, "big")).decode()


def place_of(token: str) -> int | None:
    """Return where the token's page begins, None for the first page. Raises PageTokenError."""
    if not token:
        return None
    try:
        data = parse_base64(token, max_bytes=len(_PREFIX) + _PLACE_BYTES, urlsafe=True)
    except StrictParseError as error:
        raise PageTokenError(_INVALID) from error
    if len(data) != len(_PREFIX) + _PLACE_BYTES or not data.startswith(_PREFIX):
        raise PageTokenError(_INVALID)
    return min(int.from_bytes(data[len(_PREFIX) :], "big"), 2**63 - 1)


_INVALID: Final = "page_token: not a token of this list; begin again with an empty one"
