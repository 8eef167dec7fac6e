"""TOML files that users write, read with errors that name the place.

A `Reader` walks one table: it takes each key once, checks its type, and at the end refuses what nobody took,
so that a misspelled key never passes unnoticed.
"""

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any

from clients.errors import InputError
from clients.files import read_bounded
from clients.jsontext import JSONTextError, parse_json

MAX_FILE_BYTES = 2**20


def load_document(path: Path) -> "Reader":
    """Return the reader of a file ending in `.toml` or `.json`, at most 1 MiB. Raises InputError."""
    data = read_bounded(path, MAX_FILE_BYTES, InputError)
    if path.suffix.lower() not in {".toml", ".json"}:
        raise InputError(f"{path.name}: the file's name must end in .toml or .json.")
    try:
        document: object = (
            parse_json(data) if path.suffix.lower() == ".json" else tomllib.loads(data.decode("utf-8"))
        )
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: not UTF-8.") from None
    except (JSONTextError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path.name}: {error}.") from None
    return Reader(path.name, "", document)


class Reader:
    """One table of a document at a place such as `column[2]`. Takes keys; `finish` refuses the rest."""

    def __init__(self, file: str, place: str, value: object) -> None:
        self._file = file
        self._place = place
        if not isinstance(value, dict):
            raise self.error("", "must be a table")
        self._table: Mapping[str, Any] = value
        self._known: list[str] = []

    def error(self, key: str, problem: str, *, way_out: str = "") -> InputError:
        """Return the error that says `problem` of a key here."""
        where = ".".join(part for part in (self._place, key) if part)
        return InputError(f"{self._file}: {where or 'the document'}: {problem}.", way_out=way_out)

    def has(self, key: str) -> bool:
        """Return whether the key is there; it is known from then on."""
        self._known.append(key)
        return key in self._table

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text; `default` when the key is absent, else it must be there."""
        found: str = self._typed(key, str, "text", default)
        return found

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a whole number."""
        found: int = self._typed(key, int, "a whole number", default)
        return found

    def texts(self, key: str, default: list[str] | None = None) -> list[str]:
        """Return a list of texts."""
        values: list[str] = self._typed(key, list, "a list of texts", default)
        if not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of texts")
        return values

    def numbers(self, key: str) -> list[float]:
        """Return a list of numbers."""
        values: list[object] = self._typed(key, list, "a list of numbers", None)
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            raise self.error(key, "must be a list of numbers")
        return [float(value) for value in values if isinstance(value, int | float)]

    def number(self, key: str) -> float:
        """Return a number, whole or not."""
        self._typed(key, int | float, "a number", None)
        return float(self._table[key])

    def moment(self, key: str, default: datetime | None = None) -> datetime:
        """Return a time; one without offset is UTC. In JSON it is text, such as `2026-01-31T00:00:00Z`."""
        if isinstance(self._table.get(key), str):
            try:
                found = datetime.fromisoformat(self.text(key))
            except ValueError:
                raise self.error(key, "must be a time, such as 2026-01-31T00:00:00Z") from None
        else:
            found = self._typed(key, datetime, "a time, such as 2026-01-31T00:00:00Z", default)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)

    def table(self, key: str) -> "Reader":
        """Return the reader of a table inside."""
        return Reader(self._file, self._inside(key), self._typed(key, dict, "a table", None))

    def tables(self, key: str) -> list["Reader"]:
        """Return the readers of a list of tables."""
        values: list[object] = self._typed(key, list, "a list of tables", None)
        return [
            Reader(self._file, f"{self._inside(key)}[{index}]", value) for index, value in enumerate(values)
        ]

    def finish(self) -> None:
        """Raise InputError for a key that nobody has asked for."""
        for key in self._table:
            if key not in self._known:
                raise self.error(key, "no such key", way_out=f"Known here: {', '.join(self._known)}.")

    def _typed(self, key: str, kind: type | UnionType, words: str, default: Any) -> Any:
        if not self.has(key):
            if default is None:
                raise self.error(key, "is missing")
            return default
        value = self._table[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(key, f"must be {words}")
        return value

    def _inside(self, key: str) -> str:
        return ".".join(part for part in (self._place, key) if part)
