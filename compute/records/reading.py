"""Reading a file of records, batch by batch: whatever holds them, out come texts.

CSV and Parquet give the same texts for the same values, so everything behind this module knows one kind of
cell. A batch holds each column as distinct trimmed texts and the index of its text for every row; the empty
text is an absent cell. Memory is bounded by the batch, not by the file.

Source: docs/spec/column-specification.md, "Files of records".
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from compute.records.csv_bytes import MAX_ROW_BYTES, CheckedCsv, line_of_row
from compute.records.errors import RecordsUnreadableError
from compute.records.files import RecordsFile
from compute.records.parquet_text import check_type, texts_of
from wire.bins import WHITE_SPACE, trimmed

# A place in memory is kept for every row's identifier and bins; beyond this, divide the dataset.
MAX_ROWS = 10_000_000
_PARQUET_BATCH_ROWS = 32_768
_PARQUET_BUFFER_BYTES = 1 << 20
_ROWS_NAMED = 5

Progress = Callable[[int, int], None]
"""Is told the rows and bytes read so far."""


@dataclass(frozen=True)
class Wanted:
    """What to read: the column of identifiers (None to leave them), the attributes, and which of these are
    numbers.
    """

    id_column: str | None
    attributes: tuple[str, ...]
    numbers: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns to read, the identifiers first."""
        return self.attributes if self.id_column is None else (self.id_column, *self.attributes)


@dataclass(frozen=True)
class Cells:
    """One column of a batch: `codes[i]` (int32) is the place in `texts` of row i's trimmed text; "" is
    absent.
    """

    codes: NDArray[np.int32]
    texts: pa.StringArray


@dataclass(frozen=True)
class Batch:
    """Consecutive rows. `first_row` counts from 0; `ids` are trimmed texts, None when not wanted."""

    first_row: int
    rows: int
    ids: pa.StringArray | None
    columns: tuple[Cells, ...]


def read_batches(file: RecordsFile, wanted: Wanted, progress: Progress) -> Iterator[Batch]:
    """Read the rows of `file` in order. Raises RecordsUnreadableError for whatever keeps it from being read
    whole.
    """
    read = _read_csv if file.format == "csv" else _read_parquet
    rows = 0
    for batch, bytes_read in read(file, wanted):
        if rows + batch.num_rows > MAX_ROWS:
            raise RecordsUnreadableError(
                f"file: has more than {MAX_ROWS} rows; divide it into several datasets"
            )
        if batch.num_rows:
            yield _batch(batch, wanted, rows)
        rows += batch.num_rows
        progress(rows, bytes_read)
    if rows == 0:
        raise RecordsUnreadableError("file: holds a header and no rows; there is nothing to publish")
    file.check_unchanged()


def _batch(batch: pa.RecordBatch, wanted: Wanted, first_row: int) -> Batch:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    ids = None
    if wanted.id_column is not None:
        ids = _texts(columns.pop(0), wanted.id_column, first_row)
    cells = tuple(
        _cells(column, name, first_row) for name, column in zip(wanted.attributes, columns, strict=True)
    )
    return Batch(first_row, batch.num_rows, ids, cells)


def _cells(column: pa.Array, name: str, first_row: int) -> Cells:
    column = _encodable(column)
    encoded = column.dictionary_encode(null_encoding="encode")
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return Cells(codes, _texts(encoded.dictionary, name, first_row))


def _encodable(column: pa.Array) -> pa.Array:
    """Return the same values in a type that Arrow can encode as a dictionary."""
    kind = column.type
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return column.cast(pa.decimal128(kind.precision, kind.scale))
    return column


def _texts(values: pa.Array, name: str, first_row: int) -> pa.StringArray:
    try:
        texts = texts_of(values, name, first_row)
    except pa.ArrowException:
        raise RecordsUnreadableError(
            f"column `{name}`: in the rows from {first_row + 1} on, a value has no text; convert it to text"
        ) from None
    return pc.fill_null(pc.utf8_trim(texts, characters=WHITE_SPACE), "")


def _places(header: Sequence[str], wanted: Wanted) -> list[int]:
    """Return where the wanted columns stand in a header. Raises RecordsUnreadableError for repeated or
    missing names.
    """
    names = [unicodedata.normalize("NFC", trimmed(name)) for name in header]
    for name, count in Counter(names).items():
        if name and count > 1:
            first, second = (index + 1 for index in [i for i, one in enumerate(names) if one == name][:2])
            raise RecordsUnreadableError(
                f"header: columns {first} and {second} have the same name; rename or remove one"
            )
    missing = [name for name in wanted.names if name not in names]
    if missing:
        known = f"has {len(names)} column" + ("s" if len(names) > 1 else "")
        hint = ""
        if len(names) == 1 and any(mark in header[0] for mark in ";\t|"):
            hint = "; it may be separated by something else than commas: save it with commas"
        raise RecordsUnreadableError(
            f"header: {_listed(missing)} not found; the header {known}{hint}. Correct the names in the "
            "specification or in the file"
        )
    return [names.index(name) for name in wanted.names]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_ROWS_NAMED])
    more = f" and {len(names) - _ROWS_NAMED} more" if len(names) > _ROWS_NAMED else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def _read_csv(file: RecordsFile, wanted: Wanted) -> Iterator[tuple[pa.RecordBatch, int]]:
    ragged: list[tuple[int, int]] = []
    more_ragged = 0

    def note_ragged(row: pyarrow.csv.InvalidRow) -> str:
        nonlocal more_ragged
        if len(ragged) < _ROWS_NAMED:
            ragged.append((row.number, row.actual_columns))
        else:
            more_ragged += 1
        return "skip"

    with file.opened() as source:
        stream = CheckedCsv(source)
        places = [str(place) for place in _places(stream.header, wanted)]
        columns = len(stream.header)
        try:
            with pyarrow.csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                # One thread: only then are the rows of a fault numbered.
                pyarrow.csv.ReadOptions(
                    use_threads=False,
                    block_size=MAX_ROW_BYTES,
                    column_names=[str(place) for place in range(columns)],
                ),
                pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_ragged),
                pyarrow.csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(places, pa.string()),
                    include_columns=places,
                    strings_can_be_null=False,
                ),
            ) as reader:
                for batch in reader:
                    if ragged:
                        break
                    yield batch, stream.bytes_read
        except (pa.ArrowException, OSError) as error:
            if stream.refusal is not None:
                raise stream.refusal from None
            if "Empty CSV file" in str(error):
                return
            if "straddling" in str(error):
                raise RecordsUnreadableError(
                    f"file: a row is longer than {MAX_ROW_BYTES} bytes; shorten its cells"
                ) from None
            raise RecordsUnreadableError(
                "file: cannot be parsed as CSV; save it again as CSV (RFC 4180)"
            ) from None
    if ragged:
        raise _ragged_error(file, ragged, more_ragged, columns)


def _ragged_error(
    file: RecordsFile, ragged: Sequence[tuple[int, int]], more: int, columns: int
) -> RecordsUnreadableError:
    row, cells = ragged[0]
    with file.opened() as source:
        line = line_of_row(source, row)
    place = f"row {row}" + (f" (line {line})" if line else "")
    others = ", ".join(str(number) for number, _ in ragged[1:]) + (f" and {more} more" if more else "")
    return RecordsUnreadableError(
        f"{place}: has {cells} cell{'s' if cells != 1 else ''}, the header has {columns}; put cells that "
        f"hold commas in quotes{f'. So have rows {others}' if others else ''}"
    )


def _read_parquet(file: RecordsFile, wanted: Wanted) -> Iterator[tuple[pa.RecordBatch, int]]:
    with file.opened() as source:
        try:
            parquet = pq.ParquetFile(source, buffer_size=_PARQUET_BUFFER_BYTES, pre_buffer=False)
            schema = parquet.schema_arrow
            rows_in_all = parquet.metadata.num_rows
        except (pa.ArrowException, OSError):
            raise RecordsUnreadableError(
                "file: is not a Parquet file, or is damaged; write it again"
            ) from None
        if rows_in_all > MAX_ROWS:
            raise RecordsUnreadableError(
                f"file: has {rows_in_all} rows, at most {MAX_ROWS} are read; divide it into several datasets"
            )
        places = _places(schema.names, wanted)
        for name, place in zip(wanted.names, places, strict=True):
            check_type(
                schema.field(place).type,
                name,
                number=name in wanted.numbers,
                identifier=name == wanted.id_column,
            )
        names = [schema.names[place] for place in places]
        rows = 0
        try:
            for batch in parquet.iter_batches(_PARQUET_BATCH_ROWS, columns=names, use_threads=False):
                rows += batch.num_rows
                yield batch.select(names), file.size * rows // rows_in_all
        except (pa.ArrowException, OSError, KeyError):
            raise RecordsUnreadableError(
                f"file: cannot be read behind row {rows}; it is damaged, write it again"
            ) from None
