"""One labeled table, parted among a bank and its providers as if it had never been one.

The split file says which party holds which columns. Rows get stable identifiers when they have none, and a
training and a held-out part: which row goes where depends on the seed and its identifier alone.

Source: docs/spec/split.md.
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from clients.errors import InputError
from clients.files import write_atomically
from clients.rows import Cell, read_columns, read_rows
from clients.tomlfile import Reader, load_document
from wire.bins import category_problem, name_problem, trimmed

ID_COLUMN = "applicant"
HISTORY_FILE = "history.csv"
APPLICANTS_FILE = "applicants.csv"
MAX_PROVIDERS = 8
MAX_MISSING_VALUES = 100
MAX_SEED = 2**32 - 1
QUANTILES = 5
# A scorecard needs both outcomes on both sides; fewer rows than this fit nothing.
MIN_ROWS_PER_OUTCOME = 10
_PARTY_NAME = re.compile(r"[a-z][a-z0-9-]{1,62}")
_SEED_TAG = b"bourse/demo/v1/split"


@dataclass(frozen=True)
class Holding:
    """The columns that one provider holds. `name` is that of its party and of its dataset."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Split:
    """A split file: who holds what, and what is to be predicted. `bad` is the label's value of the bad
    outcome.
    """

    label: str
    bad: str
    id: str | None
    numeric: frozenset[str]
    test_fraction: float
    seed: int
    missing_values: tuple[str, ...]
    bank: tuple[str, ...]
    providers: tuple[Holding, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that some party holds, the bank's first."""
        return (*self.bank, *(column for holding in self.providers for column in holding.columns))

    @property
    def id_column(self) -> str:
        """The column of identifiers in the files that are written."""
        name = self.id or ID_COLUMN
        while not self.id and name in {self.label, *self.columns}:
            name += "_id"
        return name


@dataclass(frozen=True)
class Table:
    """The labeled rows in their file's order: identifiers, labels, which are bad, and cells by column."""

    ids: tuple[str, ...] = field(repr=False)
    labels: tuple[str, ...] = field(repr=False)
    bad: tuple[bool, ...] = field(repr=False)
    columns: Mapping[str, Sequence[Cell]] = field(repr=False)

    def cells(self, column: str, rows: Sequence[int]) -> list[Cell]:
        """Return a column's cells of these rows."""
        cells = self.columns[column]
        return [cells[row] for row in rows]


@dataclass(frozen=True)
class Parts:
    """Places of rows in the table, rising: those a scorecard may be fitted on, and those held out to be
    scored.
    """

    training: tuple[int, ...]
    held_out: tuple[int, ...]


def load_split(path: Path) -> Split:
    """Return the split in a `.toml` or `.json` file. Raises InputError that names the key."""
    document = load_document(path)
    bank = document.table("bank")
    split = Split(
        label=_name(document, "label"),
        bad=_category(document, "bad"),
        id=_name(document, "id") if document.has("id") else None,
        numeric=frozenset(document.texts("numeric", [])),
        test_fraction=_fraction(document, "test_fraction"),
        seed=_seed(document),
        missing_values=tuple(document.texts("missing_values", [])),
        bank=_names(bank),
        providers=tuple(_holding(provider) for provider in document.tables("provider")),
    )
    bank.finish()
    document.finish()
    _check_once(document, split)
    return split


def read_table(path: Path, split: Split) -> Table:
    """Return the rows of a CSV or Parquet file with the columns that `split` names, and no others.

    Raises InputError when the file cannot be read, lacks a column, has a row without label, or too few rows
    of one outcome.
    """
    wanted = [split.label, *split.columns]
    if split.id is None:
        columns = read_columns(path, wanted)
        count = len(columns[split.label])
        width = max(6, len(str(count)))
        ids = tuple(f"{ID_COLUMN}-{row:0{width}}" for row in range(1, count + 1))
    else:
        rows = read_rows(path, id_column=split.id, columns=wanted)
        ids, columns = rows.ids, {name: list(cells) for name, cells in rows.columns.items()}
    labels = [trimmed(cell or "") for cell in columns.pop(split.label)]
    for row, label in enumerate(labels, 1):
        if not label or label in split.missing_values:
            raise InputError(
                f'{path.name}, row {row}, column "{split.label}": the label is missing.',
                way_out="Remove the rows whose outcome is not known.",
            )
    bad = tuple(label == split.bad for label in labels)
    for outcome, count in (("bad", sum(bad)), ("other", len(bad) - sum(bad))):
        if count < MIN_ROWS_PER_OUTCOME:
            raise InputError(
                f'{path.name}, column "{split.label}": {count} rows of the {outcome} outcome.',
                limit=f"at least {MIN_ROWS_PER_OUTCOME} of each",
                way_out="Check the split's `label` and `bad`.",
            )
    return Table(ids, tuple(labels), bad, columns)


def part_rows(table: Table, split: Split) -> Parts:
    """Part the rows into training and held-out, each outcome in the same proportion.

    Of each outcome, the rows whose hash of seed and identifier is smallest are held out; at least one row of
    each outcome is on each side.
    """
    held_out: list[int] = []
    for outcome in (False, True):
        rows = [row for row, bad in enumerate(table.bad) if bad is outcome]
        count = min(max(1, round(len(rows) * split.test_fraction)), len(rows) - 1)
        held_out += sorted(rows, key=lambda row: _draw(split.seed, table.ids[row]))[:count]
    chosen = frozenset(held_out)
    return Parts(tuple(row for row in range(len(table.ids)) if row not in chosen), tuple(sorted(chosen)))


def write_bank_files(table: Table, split: Split, parts: Parts, directory: Path) -> None:
    """Write what the bank holds: `history.csv` (training rows: identifier, own columns, label) and
    `applicants.csv` (held-out rows: identifier and own columns; their outcome is not known yet).
    """
    history = _rows(table, split.bank, parts.training)
    for cells, row in zip(history, parts.training, strict=True):
        cells.append(table.labels[row])
    _write_csv(directory / HISTORY_FILE, [split.id_column, *split.bank, split.label], history)
    applicants = _rows(table, split.bank, parts.held_out)
    _write_csv(directory / APPLICANTS_FILE, [split.id_column, *split.bank], applicants)


def write_provider_files(table: Table, split: Split, holding: Holding, directory: Path) -> tuple[Path, Path]:
    """Write what a provider holds: `<name>.csv` with the identifiers and its columns of all rows, and
    `<name>.toml`, the column specification to publish them by. Return both paths.
    """
    records = directory / f"{holding.name}.csv"
    rows = _rows(table, holding.columns, range(len(table.ids)))
    _write_csv(records, [split.id_column, *holding.columns], rows)
    specification = directory / f"{holding.name}.toml"
    write_atomically(specification, column_specification(split, holding).encode())
    return records, specification


def column_specification(split: Split, holding: Holding) -> str:
    """Return the column specification file, TOML, of a provider's columns: quantiles for numbers, else
    categories.
    """
    lines = [f"id_column = {_toml(split.id_column)}"]
    if split.missing_values:
        lines.append(f"missing_values = [{', '.join(map(_toml, split.missing_values))}]")
    for column in holding.columns:
        rule = f"quantiles = {QUANTILES}" if column in split.numeric else "categories = {}"
        lines += ["", "[[column]]", f"name = {_toml(column)}", rule]
    return "\n".join(lines) + "\n"


def _holding(provider: Reader) -> Holding:
    name = provider.text("name")
    if not _PARTY_NAME.fullmatch(name):
        raise provider.error("name", "must be 2 to 63 of a-z, 0-9 and hyphen, and begin with a letter")
    holding = Holding(name, _names(provider))
    provider.finish()
    return holding


def _names(reader: Reader) -> tuple[str, ...]:
    names = reader.texts("columns")
    if not names:
        raise reader.error("columns", "must name at least one column")
    for place, name in enumerate(names):
        problem = name_problem(name)
        if problem:
            raise reader.error(f"columns[{place}]", problem)
    return tuple(names)


def _name(reader: Reader, key: str) -> str:
    name = reader.text(key)
    problem = name_problem(name)
    if problem:
        raise reader.error(key, problem)
    return name


def _category(reader: Reader, key: str) -> str:
    value = reader.text(key)
    problem = category_problem(value)
    if problem:
        raise reader.error(key, problem)
    return value


def _seed(reader: Reader) -> int:
    seed = reader.whole("seed")
    if not 0 <= seed <= MAX_SEED:
        raise reader.error("seed", f"must be 0 to {MAX_SEED}")
    return seed


def _fraction(reader: Reader, key: str) -> float:
    fraction = reader.number(key)
    if not 0 < fraction < 1:
        raise reader.error(key, "must lie between 0 and 1")
    return fraction


def _check_once(document: Reader, split: Split) -> None:
    if not 1 <= len(split.providers) <= MAX_PROVIDERS:
        raise document.error("provider", f"must be 1 to {MAX_PROVIDERS} providers")
    names = [holding.name for holding in split.providers]
    if len(set(names)) < len(names):
        raise document.error("provider", "two providers have the same name")
    if split.id == split.label:
        raise document.error("id", "must not be the label")
    _check_columns_once(document, split)
    for column in sorted(split.numeric - set(split.columns)):
        raise document.error("numeric", f'no party holds the column "{column}"')
    if len(split.missing_values) > MAX_MISSING_VALUES:
        raise document.error("missing_values", f"must be at most {MAX_MISSING_VALUES}")
    for place, value in enumerate(split.missing_values):
        problem = category_problem(value)
        if not problem and value in split.missing_values[:place]:
            problem = "is given twice; remove one"
        if problem:
            raise document.error(f"missing_values[{place}]", problem)
    if split.bad in split.missing_values:
        raise document.error("bad", "is one of missing_values")


def _check_columns_once(document: Reader, split: Split) -> None:
    holder = {split.label: "the label"} | ({split.id: "the id"} if split.id else {})
    parties = [("bank", split.bank)]
    parties += [(f"provider[{place}]", one.columns) for place, one in enumerate(split.providers)]
    for party, columns in parties:
        for place, column in enumerate(columns):
            if column in holder:
                raise document.error(
                    f"{party}.columns[{place}]",
                    f'"{column}" is {holder[column]} already; each column has one place',
                )
            holder[column] = f"in {party}"


def _draw(seed: int, identifier: str) -> bytes:
    return hashlib.sha256(_SEED_TAG + seed.to_bytes(4, "big") + identifier.encode()).digest()


def _rows(table: Table, columns: Sequence[str], rows: Sequence[int]) -> list[list[str]]:
    return [[table.ids[row], *(table.columns[column][row] or "" for column in columns)] for row in rows]


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
