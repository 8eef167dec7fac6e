"""Quality of columns: what the description publishes, what the steward is told, and when a file is refused.

Shares are in permille of the rows, rounded down, so that nothing looks better than it is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from compute.records.errors import QualityTooLowError
from compute.records.specification import CategoryRule, ColumnRule, QuantileRule
from wire.bins import CategoryBin, Column

_ROWS_NAMED = 5


@dataclass(frozen=True)
class ColumnQuality:
    """`complete_permille`: cells that hold something; `valid_permille`: those that parse too; both of all
    rows.
    """

    column: str
    complete_permille: int
    valid_permille: int


class Measured:
    """Counts one column's cells, batch by batch, as its rows are put into `bins` bins."""

    def __init__(self, bins: int) -> None:
        self.rows = 0
        self.absent = 0
        self.broken = 0
        self.first_broken: list[int] = []
        self.per_bin = np.zeros(bins, dtype=np.int64)

    def count(
        self, index: NDArray[np.uint8], absent: NDArray[np.bool_], broken: NDArray[np.bool_], first_row: int
    ) -> None:
        """Count a batch whose first row is `first_row`, from 0."""
        self.rows += len(index)
        self.absent += int(absent.sum())
        self.broken += int(broken.sum())
        self.per_bin += np.bincount(index, minlength=len(self.per_bin))
        if len(self.first_broken) < _ROWS_NAMED:
            rows = np.flatnonzero(broken)[: _ROWS_NAMED - len(self.first_broken)]
            self.first_broken.extend(first_row + 1 + int(row) for row in rows)

    def quality(self, name: str) -> ColumnQuality:
        """Return the column's published quality. At least one row must have been counted."""
        complete = self.rows - self.absent
        return ColumnQuality(name, complete * 1000 // self.rows, (complete - self.broken) * 1000 // self.rows)


def check_quality(measured: Measured, name: str, min_valid_permille: int) -> None:
    """Raise QualityTooLowError when fewer of the cells that hold something parse than `min_valid_permille`
    says.
    """
    complete = measured.rows - measured.absent
    valid = complete - measured.broken
    if valid * 1000 < min_valid_permille * complete:
        raise QualityTooLowError(
            f"column `{name}`: only {_percent(valid, complete)} of the cells that hold something parse as "
            f"numbers, at least {_percent(min_valid_permille, 1000)} must; {_first_rows(measured)}. Correct "
            "the file, name what means absent in missing_values, use `categories` or `groups`, or lower "
            "min_valid_permille"
        )


def remarks(rule: ColumnRule, column: Column, measured: Measured) -> list[str]:
    """Return what the steward should know of a column that was accepted. Names no cell and no category of the
    file.
    """
    found = []
    name = f"column `{rule.name}`"
    if measured.absent == measured.rows:
        found.append(f"{name}: holds nothing; every row is in the missing bin")
    elif measured.absent:
        found.append(
            f"{name}: {_percent(measured.absent, measured.rows)} of cells are absent; they are in the "
            "missing bin"
        )
    if measured.broken:
        found.append(
            f"{name}: {_percent(measured.broken, measured.rows)} of cells do not parse as numbers; they are "
            f"in the missing bin; {_first_rows(measured)}"
        )
    made = len(column.bins) - 1
    if isinstance(rule.rule, QuantileRule) and made < rule.rule.bins:
        found.append(
            f"{name}: {made} of the {rule.rule.bins} bins asked for were made; its numbers are few or repeat"
        )
    if isinstance(rule.rule, CategoryRule):
        found += _category_remarks(name, column, measured, given=bool(rule.rule.groups))
    return found


def _category_remarks(name: str, column: Column, measured: Measured, *, given: bool) -> list[str]:
    found = []
    empty = [
        index
        for index, one in enumerate(column.bins)
        if isinstance(one, CategoryBin) and not measured.per_bin[index]
    ]
    if given and empty:
        groups = ", ".join(f"groups[{index - 1}]" for index in empty[:_ROWS_NAMED])
        more = f" and {len(empty) - _ROWS_NAMED} more" if len(empty) > _ROWS_NAMED else ""
        found.append(f"{name}: no row is in {groups}{more}; check the spelling of its values")
    other = int(measured.per_bin[-1])
    if other:
        way_out = "a value may be missing in the groups" if given else "its categories are rare or too long"
        found.append(f"{name}: {_percent(other, measured.rows)} of rows are in the other bin; {way_out}")
    return found


def _first_rows(measured: Measured) -> str:
    rows = ", ".join(str(row) for row in measured.first_broken)
    return f"first bad row{'s' if len(measured.first_broken) > 1 else ''} {rows}"


def _percent(part: int, whole: int) -> str:
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %" if tenths or not part else "less than 0.1 %"
