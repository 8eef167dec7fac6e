"""From texts to bins, whole columns at a time, under the rules of `wire.bins`.

Two passes over a file: the first counts what quantiles and frequent categories need, the second puts every
row into its bin. Memory of the first is bounded whatever the file holds: numbers are counted by their three
significant digits (rounding keeps their order, so the quantiles are exact), and a column with too many
categories is refused.
"""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from compute.records.errors import RecordsUnreadableError
from compute.records.reading import Cells
from compute.records.specification import CategoryRule, ColumnRule, EdgeRule, QuantileRule
from wire.bins import (
    MAX_CATEGORY_BYTES,
    MAX_NUMBER_CHARACTERS,
    NUMBER_SYNTAX,
    CategoryBin,
    Column,
    category_column,
    choose_categories,
    choose_edges,
    interval_column,
    three_digits,
)

MAX_DISTINCT_CATEGORIES = 65_536
_WHOLE_NUMBER = rf"\A(?:{NUMBER_SYNTAX})\z"
# Powers of ten that a double holds exactly; between them, rounding by one division and one product is exact
# too.
_EXACT_POWER = 22


def parse_numbers(texts: pa.StringArray) -> NDArray[np.float64]:
    """Return the numbers that trimmed texts spell, NaN for what is no number: `wire.bins.parse_number` for
    arrays.
    """
    spelled = pc.and_(
        pc.match_substring_regex(texts, _WHOLE_NUMBER),
        pc.less_equal(pc.binary_length(texts), MAX_NUMBER_CHARACTERS),
    )
    numbers = pc.if_else(spelled, texts, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    finite: NDArray[np.float64] = np.where(np.isfinite(numbers), numbers, np.nan)
    return finite


def round_to_three_digits(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return finite numbers rounded to three significant digits: `wire.bins.three_digits` for arrays."""
    size = np.abs(numbers)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.floor(np.log10(size)) - 2
        power = 10.0 ** np.abs(exponent)
        digits = np.where(exponent >= 0, size / power, size * power)
        whole = np.rint(digits)
        unsigned = np.where(exponent >= 0, whole * power, whole / power)
        # Near a tie the scaled digits may have been rounded across it.
        plain = (np.abs(exponent) <= _EXACT_POWER) & (np.abs(digits - np.floor(digits) - 0.5) > 1e-6)
    rounded: NDArray[np.float64] = np.copysign(unsigned, numbers)
    for place in np.flatnonzero(~plain).tolist():
        rounded[place] = three_digits(float(numbers[place]))
    return rounded


class Survey:
    """What the first pass counts of one column. `needed` is False when the rule gives the bins by itself."""

    def __init__(self, rule: ColumnRule, missing_values: Sequence[str]) -> None:
        self._rule = rule
        self._absent = frozenset(missing_values) | {""}
        self._categories: dict[str, int] = {}
        self._numbers: dict[float, int] = {}

    @staticmethod
    def needed(rule: ColumnRule) -> bool:
        """Whether the bins of `rule` depend on the file."""
        return isinstance(rule.rule, QuantileRule) or (
            isinstance(rule.rule, CategoryRule) and not rule.rule.groups
        )

    def count(self, cells: Cells) -> None:
        """Count one batch. Raises RecordsUnreadableError when a column has too many categories."""
        rows = np.bincount(cells.codes, minlength=len(cells.texts))
        if isinstance(self._rule.rule, QuantileRule):
            numbers = _numbers_of(cells.texts, self._absent)
            valid = ~np.isnan(numbers)
            values, place = np.unique(round_to_three_digits(numbers[valid]), return_inverse=True)
            for value, count in zip(
                values.tolist(), np.bincount(place, rows[valid]).astype(np.int64).tolist(), strict=True
            ):
                self._numbers[value] = self._numbers.get(value, 0) + count
            return
        for text, count in zip(cells.texts.to_pylist(), rows.tolist(), strict=True):
            if text not in self._absent and len(text) <= MAX_CATEGORY_BYTES:
                self._categories[text] = self._categories.get(text, 0) + count
        if len(self._categories) > MAX_DISTINCT_CATEGORIES:
            raise RecordsUnreadableError(
                f"column `{self._rule.name}`: has more than {MAX_DISTINCT_CATEGORIES} categories; give "
                "`groups`, or `edges` or `quantiles` if it holds numbers, or leave it out if it is free text"
            )

    def column(self, rows: int) -> Column:
        """Return the published column, once all `rows` are counted."""
        rule = self._rule
        if isinstance(rule.rule, QuantileRule):
            return interval_column(
                rule.name, rule.meaning, rule.unit, choose_edges(self._numbers, rule.rule.bins)
            )
        if isinstance(rule.rule, CategoryRule):
            chosen = choose_categories(self._categories, rows, rule.rule.min_share)
            return category_column(rule.name, rule.meaning, [(text, (text,)) for text in chosen])
        return given_column(rule)


def given_column(rule: ColumnRule) -> Column:
    """Return the published column of a rule that does not depend on the file."""
    if isinstance(rule.rule, EdgeRule):
        return interval_column(rule.name, rule.meaning, rule.unit, rule.rule.edges)
    if isinstance(rule.rule, CategoryRule) and rule.rule.groups:
        groups = [(group.published_label, group.values) for group in rule.rule.groups]
        return category_column(rule.name, rule.meaning, groups)
    raise ValueError("rule: depends on the file; survey it first")


class Binner:
    """Puts a column's cells into its published bins: `wire.bins.bin_finder` for arrays."""

    def __init__(self, column: Column, missing_values: Sequence[str]) -> None:
        self._column = column
        self._absent = frozenset(missing_values) | {""}
        self._edges = np.array(column.edges, dtype=np.float64)
        pairs = [
            (value, index)
            for index, one in enumerate(column.bins)
            if isinstance(one, CategoryBin)
            for value in one.values
        ]
        self._categories = pa.array([value for value, _ in pairs], pa.string())
        self._index_of = np.array([index for _, index in pairs] + [len(column.bins) - 1], dtype=np.uint8)

    def bins(self, cells: Cells) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
        """Return per row the bin's index (uint8), whether the cell is absent, and whether it holds something
        that does not parse.
        """
        absent = _absent(cells.texts, self._absent)
        if self._column.numeric:
            numbers = _numbers_of(cells.texts, self._absent)
            broken = np.isnan(numbers) & ~absent
            found = 1 + np.searchsorted(self._edges, numbers, side="right")
            index = np.where(np.isnan(numbers), 0, found).astype(np.uint8)
        else:
            broken = np.zeros(len(absent), dtype=np.bool_)
            place = pc.fill_null(pc.index_in(cells.texts, value_set=self._categories), len(self._categories))
            index = np.where(absent, 0, self._index_of[place.to_numpy(zero_copy_only=False)]).astype(np.uint8)
        return index[cells.codes], absent[cells.codes], broken[cells.codes]


def _absent(texts: pa.StringArray, absent: frozenset[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(texts, value_set=pa.array(sorted(absent), pa.string())).to_numpy(
        zero_copy_only=False
    )
    return found


def _numbers_of(texts: pa.StringArray, absent: frozenset[str]) -> NDArray[np.float64]:
    numbers = parse_numbers(texts)
    numbers[_absent(texts, absent)] = math.nan
    return numbers
