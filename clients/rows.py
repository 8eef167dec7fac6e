"""A bank's own rows: identifiers and the columns a scorecard needs, from a CSV or Parquet file.

Everything is checked before anything is sent: a row that cannot be asked for, or asked for twice, is found
here. Errors name column and row (counted from 1, the header not counted) and quote neither.

Source: docs/spec/column-specification.md, "Files of records".
"""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clients.errors import InputError
from wire.bins import has_control_characters, trimmed

MAX_ROWS = 1_000_000
MAX_ID_BYTES = 64

Cell = str | None


@dataclass(frozen=True)
class Rows:
    """Rows in the file's order: identifiers, unique, and the cells of each column asked for."""

    ids: tuple[str, ...] = field(repr=False)
    columns: Mapping[str, Sequence[Cell]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        """Yield each row's cells by column."""
        names = tuple(self.columns)
        if not names:
            yield from ({} for _ in self.ids)
            return
        for cells in zip(*self.columns.values(), strict=True):
            yield dict(zip(names, cells, strict=True))


def read_rows(path: Path, *, id_column: str, columns: Collection[str]) -> Rows:
    """Return the rows of a file ending in `.csv` or `.parquet`, with `id_column` and `columns` alone.

    Raises InputError when the file cannot be read, lacks a column, or holds no row, more than a million, or
    an identifier that is missing, too long or there twice.
    """
    found = read_columns(path, [id_column, *columns])
    ids = _checked_ids(path.name, id_column, found[id_column])
    return Rows(ids, {name: found[name] for name in dict.fromkeys(columns)})


def read_columns(path: Path, columns: Collection[str]) -> dict[str, list[Cell]]:
    """Return the cells of `columns` of a file ending in `.csv` or `.parquet`, row by row, and no other.

    Raises InputError when the file cannot be read, lacks a column or holds more than a million rows.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path}: the file's name must end in .csv or .parquet.")
    return read(path, list(dict.fromkeys(columns)))


def _checked_ids(name: str, column: str, cells: Sequence[Cell]) -> tuple[str, ...]:
    if not cells:
        raise InputError(f"{name}: holds no rows.")
    first_row: dict[str, int] = {}
    for row, cell in enumerate(cells, start=1):
        identifier = trimmed(cell or "")
        where = f'{name}, row {row}, column "{column}"'
        if not identifier:
            raise InputError(f"{where}: the identifier is missing.")
        if has_control_characters(identifier) or len(identifier.encode()) > MAX_ID_BYTES:
            raise InputError(
                f"{where}: an identifier has 1 to {MAX_ID_BYTES} bytes of UTF-8 without control characters."
            )
        if identifier in first_row:
            raise InputError(
                f"{where}: the identifier is that of row {first_row[identifier]} too.",
                way_out="Ask for each person once; nothing has been sent.",
            )
        first_row[identifier] = row
    return tuple(first_row)


def _read_csv(path: Path, wanted: Sequence[str]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {name: [] for name in wanted}
    row = 0
    try:
        with path.open("rb") as stream:
            lines = csv.reader(_text_lines(path.name, stream), strict=True)
            header = [trimmed(cell) for cell in next(lines, [])]
            places = [_place(path.name, header, name) for name in wanted]
            for cells in lines:
                if not cells:
                    continue
                row += 1
                if row > MAX_ROWS:
                    raise _too_many(path.name)
                if len(cells) != len(header):
                    raise InputError(
                        f"{path.name}, row {row}: has {len(cells)} cells and the header has {len(header)}.",
                        way_out="Put cells that hold commas in quotes.",
                    )
                for name, place in zip(wanted, places, strict=True):
                    found[name].append(cells[place])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None
    except csv.Error:
        raise InputError(
            f"{path.name}: after row {row}: not CSV; a quote is open or misplaced, or a cell is longer than "
            f"{csv.field_size_limit()} characters.",
            way_out="Quote cells that hold commas, quotes or line ends, and double quotes inside them.",
        ) from None
    return found


def _text_lines(name: str, stream: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of a file of UTF-8 without NUL, its byte order mark removed."""
    for number, line in enumerate(stream, start=1):
        if b"\0" in line:
            raise InputError(
                f"{name}, line {number}: holds a NUL byte.",
                way_out="Save the file as text in UTF-8 (not UTF-16).",
            )
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{name}, line {number}: not UTF-8.", way_out="Save the file as UTF-8."
            ) from None


def _read_parquet(path: Path, wanted: Sequence[str]) -> dict[str, list[Cell]]:
    import pyarrow as pa  # noqa: PLC0415 - half a second that CSV files do not need
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for name in wanted:
                _place(path.name, names, name)
            if file.metadata.num_rows > MAX_ROWS:
                raise _too_many(path.name)
            table = file.read(columns=list(wanted))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or 'not a Parquet file'}.") from None
    except pa.ArrowException:
        raise InputError(f"{path.name}: not a Parquet file, or a damaged one.") from None
    return {name: _texts(path.name, name, table.column(name)) for name in wanted}


def _texts(file: str, name: str, column: Any) -> list[Cell]:
    """Return the text that a CSV would hold of each value of a pyarrow column."""
    import pyarrow as pa  # noqa: PLC0415 - loaded already
    from pyarrow import types  # noqa: PLC0415 - as above

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    text: Callable[[Any], str]
    if types.is_string(kind) or types.is_large_string(kind) or types.is_integer(kind):
        text = str
    elif types.is_floating(kind):
        return [_float_text(value) for value in column.to_numpy()]
    elif types.is_decimal(kind):
        text = lambda value: format(value, "f")  # noqa: E731 - one of a table of readers
    elif types.is_boolean(kind):
        text = lambda value: "true" if value else "false"  # noqa: E731 - as above
    elif types.is_temporal(kind) and not types.is_duration(kind) and not types.is_interval(kind):
        column, text = column.cast(pa.string()), str
    elif types.is_null(kind):
        text = str
    else:
        raise InputError(f'{file}, column "{name}": holds a type that has no plain text; convert it to text.')
    return [None if value is None else text(value) for value in column.to_pylist()]


def _float_text(value: Any) -> Cell:
    """Return the shortest digits of a numpy float that give it again; a missing value is NaN here."""
    if value != value:  # noqa: PLR0124 - NaN alone differs from itself
        return None
    if float(value).is_integer() and abs(float(value)) < 1e15:
        return str(int(value))
    return str(value)


def _place(file: str, header: Sequence[str], name: str) -> int:
    count = header.count(name)
    if count == 1:
        return header.index(name)
    if count:
        raise InputError(f'{file}: has {count} columns "{name}"; rename all but one.')
    if not header:
        way_out = "The file is empty."
    elif len(header) == 1 and any(separator in header[0] for separator in ";\t|"):
        way_out = "It may be separated by something else than commas: save it with commas."
    else:
        way_out = f"Its columns: {', '.join(header[:50])}."
    raise InputError(f'{file}: has no column "{name}".', way_out=way_out)


def _too_many(file: str) -> InputError:
    return InputError(
        f"{file}: holds more rows than one job takes.",
        limit=f"{MAX_ROWS} rows",
        way_out="Divide the file and score each part.",
    )


_READERS: Mapping[str, Callable[[Path, Sequence[str]], dict[str, list[Cell]]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
