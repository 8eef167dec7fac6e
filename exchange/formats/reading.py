"""How every signed message is read: canonical bytes of a known version, digests of their length."""

from collections.abc import Iterator
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from exchange.domain.errors import FieldInvalidError, refuse_invalid
from wire.strict import StrictParseError, parse_strict

DIGEST_BYTES = 32


class Versioned(Protocol):
    """A signed message that says which version of its format it is."""

    @property
    def version(self) -> int: ...


MessageT = TypeVar("MessageT", bound=Message)


def read_canonical(field: str, message_type: type[MessageT], payload: bytes, max_bytes: int) -> MessageT:
    """Return the message that `payload` spells, or raise FieldInvalidError unless it does so canonically."""
    try:
        return parse_strict(message_type, payload, max_bytes)
    except StrictParseError as error:
        raise FieldInvalidError((field, str(error))) from None


def check_shape(field: str, message: Versioned, **digests: bytes) -> None:
    """Raise FieldInvalidError unless the version is 1 and each named digest has 32 bytes."""
    refuse_invalid(_violations(field, message, digests))


def _violations(field: str, message: Versioned, digests: dict[str, bytes]) -> Iterator[tuple[str, str]]:
    if message.version != 1:
        yield f"{field}.version", "must be 1"
    for name, digest in digests.items():
        if len(digest) != DIGEST_BYTES:
            yield f"{field}.{name}", f"must be {DIGEST_BYTES} bytes"
