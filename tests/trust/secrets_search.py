"""Looking for secrets where they must not be, in every spelling that a program may have given them.

    found = find_in({"node.log": path.read_bytes(), "node.db": database_bytes(path)}, planted)
    assert found == []

A spelling is a string of bytes: the value itself, hexadecimal, base64 at any alignment, the escapes of
Python, JSON and protobuf's text format, lists of decimals, packed integers and their varints.
"""

import base64
import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysqlite3.dbapi2

_LEAST_BYTES = 6
"""A shorter string turns up by chance."""
_AT_ONCE = 2**20


@dataclass(frozen=True)
class Planted:
    """A secret, and how it may be spelled."""

    what: str
    spellings: Mapping[str, bytes]

    def __post_init__(self) -> None:
        short = [name for name, spelling in self.spellings.items() if len(spelling) < _LEAST_BYTES]
        assert self.spellings, self.what
        assert not short, f"{self.what}: {short} would turn up by chance"


def secret_bytes(what: str, value: bytes) -> Planted:
    """Bytes: a key, a salt, a seed, a digest, a part of a ciphertext."""
    return Planted(what, _spelled(value))


def secret_text(what: str, text: str) -> Planted:
    """Text: an identifier, a cell, a column's name; also its plain SHA-256, which guessing reverses."""
    spellings = _spelled(text.encode())
    spellings["JSON"] = json.dumps(text)[1:-1].encode()
    spellings["UTF-16"] = text.encode("utf-16-le")
    digest = hashlib.sha256(text.encode()).digest()
    spellings |= {f"SHA-256 in {name}": spelling for name, spelling in _spelled(digest).items()}
    return Planted(what, spellings)


def secret_numbers(what: str, numbers: Sequence[int]) -> Planted:
    """Integers in order: weights, scores, mask values."""
    spellings = {
        f"decimals by {separator!r}": separator.join(map(str, numbers)).encode()
        for separator in (", ", ",", " ", ";", "\n")
    }
    for code in ("<b", "<h", ">h", "<i", ">i", "<q", ">q"):
        try:
            packed = b"".join(struct.pack(code, number) for number in numbers)
        except struct.error:
            continue
        if len(packed) >= _LEAST_BYTES:
            spellings |= {f"{name} of {code}": spelling for name, spelling in _spelled(packed).items()}
    spellings["varints"] = b"".join(_varint(number % 2**64) for number in numbers)
    spellings["zigzag varints"] = b"".join(
        _varint(number << 1 if number >= 0 else (-number << 1) - 1) for number in numbers
    )
    return Planted(what, spellings)


def find_in(places: Mapping[str, bytes], planted: Iterable[Planted]) -> list[str]:
    """Return what was found where and how it was spelled; nothing else of it."""
    planted = list(planted)
    heads = np.unique([_head(spelling) for one in planted for spelling in one.spellings.values()])
    found = []
    for place, data in places.items():
        begun = _present(heads, data)
        found += [
            f"{one.what} in {place} as {name}"
            for one in planted
            for name, spelling in one.spellings.items()
            if _head(spelling) in begun and spelling in data
        ]
    return found


def _head(data: bytes) -> int:
    return int.from_bytes(data[:_LEAST_BYTES], "little")


def _present(heads: np.ndarray, data: bytes) -> set[int]:
    """Which of the first bytes of spellings occur: one pass, so that few spellings are looked for in full."""
    present: set[int] = set()
    for start in range(0, len(data), _AT_ONCE):
        octets = np.frombuffer(data[start : start + _AT_ONCE + _LEAST_BYTES - 1], dtype=np.uint8)
        windows = np.zeros(max(len(octets) - _LEAST_BYTES + 1, 0), dtype=np.int64)
        for place in range(_LEAST_BYTES):
            windows |= octets[place : place + len(windows)].astype(np.int64) << 8 * place
        nearest = np.minimum(np.searchsorted(heads, windows), len(heads) - 1)
        present.update(windows[heads[nearest] == windows].tolist())
    return present


def file_bytes(*paths: Path) -> bytes:
    """All bytes of files, and of all files below folders."""
    files = [
        file
        for path in paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.is_file()
    ]
    assert files, paths
    return b"\n".join(file.read_bytes() for file in files)


def database_bytes(path: Path) -> bytes:
    """A SQLite database: every byte of its files, and every value, whole, which pages may have cut in two."""
    values = b"\n".join(_values(path))
    return b"\n".join([file_bytes(*sorted(path.parent.glob(f"{path.name}*"))), values])


def _values(path: Path) -> Iterator[bytes]:
    connection = pysqlite3.dbapi2.connect(path)
    try:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    yield value if isinstance(value, bytes) else str(value).encode()
    finally:
        connection.close()


def _spelled(value: bytes) -> dict[str, bytes]:
    spellings = {
        "itself": value,
        "hex": value.hex().encode(),
        "HEX": value.hex().upper().encode(),
        "Python escapes": repr(value)[2:-1].encode(),
        "octal escapes": "".join(chr(b) if 32 <= b < 127 else f"\\{b:03o}" for b in value).encode(),
        "hex by colons": value.hex(":").encode(),
    }
    for shift in range(3):
        # What stands before and after shares the outer characters; the inner ones are the value's own.
        encoded = base64.b64encode(bytes(shift) + value)
        inner = encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6]
        spellings[f"base64 at {shift}"] = inner
        spellings[f"URL-safe base64 at {shift}"] = inner.replace(b"+", b"-").replace(b"/", b"_")
    if len(value) <= 64:
        for separator in (", ", ","):
            spellings[f"decimals by {separator!r}"] = separator.join(map(str, value)).encode()
    return spellings


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
