"""How numbers and digests become fields of a hash: fixed width, big-endian, range-checked.

Source: docs/spec/hash.md.
"""

from sealed.errors import FieldError

DIGEST_BYTES = 32


def u32(name: str, number: int) -> bytes:
    """Return `number` as 4 bytes big-endian; `name` is the field a `FieldError` speaks of."""
    if not 0 <= number < 1 << 32:
        raise FieldError(f"{name} must lie between 0 and 2^32 − 1")
    return number.to_bytes(4, "big")


def bytes32(name: str, value: bytes) -> bytes:
    """Return `value` unchanged, or raise `FieldError` unless it is 32 bytes long."""
    if len(value) != DIGEST_BYTES:
        raise FieldError(f"{name} must be {DIGEST_BYTES} bytes, not {len(value)}")
    return value


def text(name: str, value: str) -> bytes:
    """Return `value` in UTF-8, or raise `FieldError` when it is empty or no Unicode text."""
    if not value:
        raise FieldError(f"{name} must not be empty")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FieldError(f"{name} must be Unicode text without lone surrogates") from error
