"""Strict readers of foreign bytes: one value has one spelling, and every other spelling is refused.

`int()` takes signs, spaces and underscores, `b64decode` skips what it does not know, and a protobuf parser
keeps unknown fields: each lets two byte strings stand for one value, which hashes and signatures must never
allow.

Source: docs/spec/signing.md, "Reading signed bytes".
"""

import base64
import binascii
import re
from typing import TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

_MessageT = TypeVar("_MessageT", bound=Message)

_DECIMAL = re.compile(r"0|[1-9][0-9]*")


class StrictParseError(ValueError):
    """Foreign bytes are too long, not of this type, or not in their one accepted spelling."""


def parse_strict(message_type: type[_MessageT], data: bytes, max_bytes: int) -> _MessageT:
    """Return the message that `data` spells canonically.

    Canonical is what `SerializeToString(deterministic=True)` writes: fields in order of number, each once,
    no default spelled out, shortest varints, map keys sorted, nothing unknown at any depth. Raises
    StrictParseError otherwise and above `max_bytes`.
    """
    name = message_type.DESCRIPTOR.name
    if len(data) > max_bytes:
        raise StrictParseError(f"{name}: {len(data)} bytes, at most {max_bytes} are accepted")
    message = message_type()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise StrictParseError(f"{name}: the bytes are not a message of this type") from None
    if _has_unknown_fields(message):
        raise StrictParseError(
            f"{name}: holds fields this version does not know; upgrade, or send fewer fields"
        )
    if message.SerializeToString(deterministic=True) != data:
        raise StrictParseError(f"{name}: not in canonical form; serialize it deterministically")
    return message


def parse_decimal(text: str, *, max_value: int) -> int:
    """Return the number in `text`: ASCII digits without sign, space or leading zero, at most `max_value`.

    Raises StrictParseError otherwise; the length is checked before the digits are read.
    """
    if len(text) > len(str(max_value)) or not _DECIMAL.fullmatch(text) or int(text) > max_value:
        raise StrictParseError(f"number: must be decimal digits without leading zero, at most {max_value}")
    return int(text)


def parse_base64(text: str, *, max_bytes: int, urlsafe: bool = False) -> bytes:
    """Return the bytes that `text` spells in padded base64 (RFC 4648, section 4; section 5 when `urlsafe`).

    Raises StrictParseError when encoding the result again would not give `text`, or above `max_bytes`.
    """
    if len(text) > 4 * -(-max_bytes // 3):
        raise StrictParseError(f"base64: more than {max_bytes} bytes")
    try:
        encoded = text.encode("ascii")
        data = base64.b64decode(encoded, altchars=b"-_" if urlsafe else None, validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise StrictParseError("base64: not padded base64") from None
    again = base64.urlsafe_b64encode(data) if urlsafe else base64.b64encode(data)
    if again != encoded or len(data) > max_bytes:
        raise StrictParseError("base64: not in its one canonical spelling")
    return data


def _has_unknown_fields(message: Message) -> bool:
    if len(UnknownFieldSet(message)):
        return True
    for descriptor, value in message.ListFields():
        if any(_has_unknown_fields(child) for child in _child_messages(descriptor, value)):
            return True
    return False


def _child_messages(descriptor: FieldDescriptor, value: object) -> list[Message]:
    if isinstance(value, Message):
        return [value]
    entry = descriptor.message_type
    if entry is None:
        return []
    if entry.GetOptions().map_entry:
        if entry.fields_by_name["value"].message_type is None:
            return []
        return list(value.values())  # type: ignore[attr-defined]  # a map field, which has no common base class
    return list(value)  # type: ignore[call-overload,no-any-return]  # a repeated message field, likewise
