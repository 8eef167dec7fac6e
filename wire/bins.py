"""Published bins: what they are, and which of them a value falls into.

A dataset publishes, per attribute, a list of bins; row values travel nowhere, a bin's index stands for them.
Node, bank and exchange must agree on every rule, so the rules live here once: how a cell is trimmed, what is
a number, which bin a value falls into, and how bins are made from groups, from edges and from counts.

Every value falls into exactly one bin: bin 0 is the missing bin; after it come either intervals that cover
all numbers, or categories and last the other bin. Pure values, no I/O and no arrays: a party with many rows
may compute the same faster, and must get the same.

Source: docs/spec/revision.md, "Bins".
"""

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# Trimmed from both ends of a cell: ASCII white space, the no-break space and the ideographic space.
WHITE_SPACE = " \t\n\v\f\r\u00a0\u3000"
MAX_BINS = 255
MAX_EDGES = MAX_BINS - 2
MAX_CATEGORY_BINS = MAX_BINS - 2
MAX_NAME_BYTES = 128
MAX_LABEL_BYTES = 128
MAX_CATEGORY_BYTES = 128
MAX_CATEGORIES_PER_BIN = 1000
MAX_MEANING_CHARACTERS = 500
MAX_UNIT_CHARACTERS = 64
MAX_NUMBER_CHARACTERS = 64
MISSING_LABEL = "missing"
OTHER_LABEL = "other"
# A category that fewer rows hold is never published: it could tell of a person.
MIN_CATEGORY_ROWS = 5

NUMBER_SYNTAX = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(NUMBER_SYNTAX)
_LARGEST_OF_THREE_DIGITS = 1.79e308


class ColumnError(ValueError):
    """A published column breaks a rule. `field` is its path inside the column, such as `bins[2].upper`."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


@dataclass(frozen=True)
class MissingBin:
    """The bin of what is absent, withdrawn or unparsable; always index 0."""

    label: str = MISSING_LABEL


@dataclass(frozen=True)
class CategoryBin:
    """The bin of the categories listed, compared exactly after trimming."""

    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class OtherBin:
    """The bin of every category that no other bin lists; always the last."""

    label: str = OTHER_LABEL


@dataclass(frozen=True)
class IntervalBin:
    """The bin of the numbers with lower <= x < upper; None is no bound."""

    label: str
    lower: float | None
    upper: float | None


Bin = MissingBin | CategoryBin | OtherBin | IntervalBin


@dataclass(frozen=True)
class Column:
    """One published attribute. Raises ColumnError unless every value falls into exactly one of its bins."""

    name: str
    meaning: str
    unit: str
    bins: tuple[Bin, ...]

    def __post_init__(self) -> None:
        for field, problem in (
            ("name", name_problem(self.name)),
            ("meaning", text_problem(self.meaning, MAX_MEANING_CHARACTERS)),
            ("unit", text_problem(self.unit, MAX_UNIT_CHARACTERS)),
        ):
            if problem:
                raise ColumnError(field, problem)
        if not 2 <= len(self.bins) <= MAX_BINS:
            raise ColumnError("bins", f"must be 2 to {MAX_BINS}, the missing bin included")
        _check_labels(self.bins)
        if not isinstance(self.bins[0], MissingBin):
            raise ColumnError("bins[0]", "must be the missing bin")
        if isinstance(self.bins[1], IntervalBin):
            _check_intervals(self.bins)
        else:
            _check_categories(self.bins)
        if self.unit and not self.numeric:
            raise ColumnError("unit", "only numbers have a unit; leave it empty")

    @property
    def numeric(self) -> bool:
        """Whether the bins are intervals of numbers."""
        return isinstance(self.bins[1], IntervalBin)

    @property
    def edges(self) -> tuple[float, ...]:
        """The inner edges of the intervals, rising; none for categories or a single interval."""
        return tuple(one.upper for one in self.bins if isinstance(one, IntervalBin) and one.upper is not None)


def trimmed(cell: str) -> str:
    """Return `cell` without the white space around it."""
    return cell.strip(WHITE_SPACE)


def parse_number(text: str) -> float | None:
    """Return the finite number that a trimmed cell spells, or None.

    At most 64 characters: an optional sign, ASCII digits with an optional point, an optional exponent. No
    thousands separator, no decimal comma, no `inf` or `nan`; what rounds to infinity is no number.
    """
    if len(text) > MAX_NUMBER_CHARACTERS or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def bin_finder(column: Column, missing_values: Collection[str] = ()) -> Callable[[str | None], int]:
    """Return the function from a cell (None or text) to the index of its bin.

    `missing_values` are trimmed texts that mean "absent", besides the empty cell.
    """
    absent = frozenset(missing_values) | {""}
    if column.numeric:
        edges = column.edges

        def find_interval(cell: str | None) -> int:
            text = "" if cell is None else trimmed(cell)
            number = None if text in absent else parse_number(text)
            return 0 if number is None else 1 + bisect_right(edges, number)

        return find_interval
    index_of = {
        value: index
        for index, one in enumerate(column.bins)
        if isinstance(one, CategoryBin)
        for value in one.values
    }
    other = len(column.bins) - 1

    def find_category(cell: str | None) -> int:
        text = "" if cell is None else trimmed(cell)
        return 0 if text in absent else index_of.get(text, other)

    return find_category


def interval_column(name: str, meaning: str, unit: str, edges: Sequence[float]) -> Column:
    """Return the column of the bins (-inf, e1), [e1, e2), ..., [ek, inf) behind the missing bin.

    `edges` are 0 to 253 finite numbers, strictly rising. Raises ColumnError otherwise.
    """
    bounds = [None, *(edge + 0.0 for edge in edges), None]
    intervals = [IntervalBin(interval_label(lower, upper), lower, upper) for lower, upper in pairwise(bounds)]
    return Column(name, meaning, unit, (MissingBin(), *intervals))


def category_column(name: str, meaning: str, groups: Sequence[tuple[str, Sequence[str]]]) -> Column:
    """Return the column of the missing bin, one bin for each (label, values) of `groups`, and the other bin.

    A label that is taken already (by the missing or the other bin, or by a group before) gets ` (2)`,
    ` (3)`, ... appended. Raises ColumnError when the groups do not make a column.
    """
    taken = {MISSING_LABEL, OTHER_LABEL}
    bins: list[Bin] = [MissingBin()]
    for label, values in groups:
        free, number = label, 2
        while free in taken:
            free, number = f"{label} ({number})", number + 1
        taken.add(free)
        bins.append(CategoryBin(free, tuple(values)))
    return Column(name, meaning, "", (*bins, OtherBin()))


def choose_categories(counts: Mapping[str, int], rows: int, min_share_permille: int) -> list[str]:
    """Return the categories that get a bin of their own, sorted by code points.

    Chosen are those that at least `min_share_permille` per thousand of the `rows`, and at least five rows,
    hold; that are publishable (at most 128 bytes, no control characters); and of more than 253 the most
    frequent, among equals the first by code points. The order of bins tells nothing about frequencies, and
    stays when they change.
    """
    frequent = [
        text
        for text, count in counts.items()
        if count >= MIN_CATEGORY_ROWS
        and count * 1000 >= min_share_permille * rows
        and not category_problem(text)
    ]
    frequent.sort(key=lambda text: (-counts[text], text))
    return sorted(frequent[:MAX_CATEGORY_BINS])


def three_digits(number: float) -> float:
    """Return the finite `number` rounded to three significant decimal digits, half to even."""
    rounded = float(f"{number:.2e}")
    return rounded if math.isfinite(rounded) else math.copysign(_LARGEST_OF_THREE_DIGITS, number)


def choose_edges(counts: Mapping[float, int], bins: int) -> list[float]:
    """Return the inner edges that part the counted numbers into about `bins` equal parts.

    `counts` counts numbers rounded by `three_digits`; of n in all, edge i is the one at place floor(i·n/bins)
    in rising order, from 0. Rounding keeps the order, so this is the rounded quantile of the numbers
    themselves. Equal edges are merged, and an edge at the smallest number is dropped: nothing lies below it.
    No numbers give no edges.
    """
    values = sorted(counts)
    places = [i * sum(counts.values()) // bins for i in range(1, bins)]
    edges: list[float] = []
    below = 0
    for value in values:
        below += counts[value]
        while places and places[0] < below:
            places.pop(0)
            if value != values[0] and value not in edges[-1:]:
                edges.append(value + 0.0)
    return edges


def interval_label(lower: float | None, upper: float | None) -> str:
    """Return the label of an interval, such as `(-inf, 12)`, `[12, 24.5)` or `[24.5, inf)`."""
    left = "(-inf" if lower is None else f"[{_shortest(lower)}"
    return f"{left}, {'inf' if upper is None else _shortest(upper)})"


def name_problem(name: str) -> str | None:
    """Return what is wrong with an attribute's name and the way out, or None."""
    if not name:
        return "must not be empty"
    if not _fits(name, MAX_NAME_BYTES):
        return f"must have at most {MAX_NAME_BYTES} bytes of UTF-8; shorten it"
    if has_control_characters(name):
        return "must hold no control characters; remove them"
    if not unicodedata.is_normalized("NFC", name):
        return "must be in Unicode normal form C; normalize it"
    if trimmed(name) != name:
        return "must not begin or end with white space; trim it"
    return None


def label_problem(label: str) -> str | None:
    """Return what is wrong with a bin's label and the way out, or None."""
    return _short_text_problem(label, MAX_LABEL_BYTES)


def category_problem(text: str) -> str | None:
    """Return why a category cannot be published and the way out, or None."""
    return _short_text_problem(text, MAX_CATEGORY_BYTES)


def text_problem(text: str, max_characters: int) -> str | None:
    """Return what is wrong with an explanation and the way out, or None."""
    if len(text) > max_characters:
        return f"must have at most {max_characters} characters; shorten it"
    if has_control_characters(text):
        return "must hold no control characters; remove them"
    return None


def has_control_characters(text: str) -> bool:
    """Whether `text` holds a control character (Unicode category Cc) or half of a surrogate pair."""
    return any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 or 0xD800 <= ord(char) < 0xE000 for char in text)


def _short_text_problem(text: str, max_bytes: int) -> str | None:
    if not text:
        return "must not be empty"
    if not _fits(text, max_bytes):
        return f"must have at most {max_bytes} bytes of UTF-8; shorten it"
    if has_control_characters(text):
        return "must hold no control characters; remove them"
    if trimmed(text) != text:
        return "must not begin or end with white space; trim it"
    return None


def _fits(text: str, max_bytes: int) -> bool:
    return len(text) <= max_bytes and len(text.encode("utf-8", "replace")) <= max_bytes


def _shortest(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _check_labels(bins: Sequence[Bin]) -> None:
    seen: set[str] = set()
    for index, one in enumerate(bins):
        problem = label_problem(one.label)
        if problem:
            raise ColumnError(f"bins[{index}].label", problem)
        if one.label in seen:
            raise ColumnError(f"bins[{index}].label", "is given twice in the column; rename one")
        seen.add(one.label)


def _check_intervals(bins: Sequence[Bin]) -> None:
    expected: float | None = None
    for index, one in enumerate(bins[1:], 1):
        if not isinstance(one, IntervalBin):
            raise ColumnError(f"bins[{index}]", "must be an interval, as the bin before it")
        if one.lower != expected:
            begin = "have no lower bound" if index == 1 else "begin where the interval before it ends"
            raise ColumnError(f"bins[{index}].lower", f"must {begin}")
        expected = one.upper
        if expected is None:
            if index != len(bins) - 1:
                raise ColumnError(f"bins[{index}].upper", "only the last interval has no upper bound")
        elif not math.isfinite(expected) or (one.lower is not None and expected <= one.lower):
            raise ColumnError(f"bins[{index}].upper", "must be finite and above the lower bound")
    if expected is not None:
        raise ColumnError(f"bins[{len(bins) - 1}].upper", "the last interval must have no upper bound")


def _check_categories(bins: Sequence[Bin]) -> None:
    if not isinstance(bins[-1], OtherBin):
        raise ColumnError(f"bins[{len(bins) - 1}]", "the last bin of categories must be the other bin")
    seen: set[str] = set()
    for index, one in enumerate(bins[1:-1], 1):
        if not isinstance(one, CategoryBin):
            raise ColumnError(f"bins[{index}]", "must list categories")
        if not 1 <= len(one.values) <= MAX_CATEGORIES_PER_BIN:
            raise ColumnError(f"bins[{index}].values", f"must be 1 to {MAX_CATEGORIES_PER_BIN} categories")
        for place, value in enumerate(one.values):
            problem = category_problem(value)
            if not problem and value in seen:
                problem = "is listed twice in the column; keep one"
            if problem:
                raise ColumnError(f"bins[{index}].values[{place}]", problem)
            seen.add(value)
