"""JSON read strictly and written in one spelling.

Python's reader takes repeated keys, NaN and Infinity, and turns `1e2` into a number like any other; files
that decide scores must not.
"""

import json
from typing import Any, NoReturn


class JSONTextError(ValueError):
    """The bytes are not the JSON they must be; the message says where."""


def parse_json(data: bytes) -> Any:
    """Return the value of UTF-8 JSON without byte order mark, repeated keys, NaN or Infinity.

    Whole numbers are int, all others float. Raises JSONTextError.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JSONTextError(f"byte {error.start}: not UTF-8") from None
    if text.startswith("\ufeff"):
        raise JSONTextError("opens with a byte order mark; save the file as UTF-8 without one")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise JSONTextError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise JSONTextError("nested too deeply") from None


def canonical_json(value: Any) -> bytes:
    """Return `value` in its one spelling: sorted keys, no white space, UTF-8, numbers whole."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JSONTextError(f'the key "{key}" is given twice in one object')
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise JSONTextError(f"{name} is no number of JSON")


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise JSONTextError("a number has more than 20 digits")
    return int(digits)
