"""Whether the bank's own cells can carry a score, before anybody is charged for one.

A cell that is no number counts as missing, which is meant for the odd one. Where that is most of a column, as
at a node by default, it is taken for a mistake: a decimal comma, another column, a unit beside the number.

Source: docs/spec/scorecard.md, "The bank's columns".
"""

from collections.abc import Sequence

from clients.errors import InputError
from clients.rows import Cell, Rows
from clients.scorecard import OwnColumn, Scorecard
from wire.bins import bin_finder, parse_number, trimmed

SHOWN_ROWS = 5
# Fewer cells are no column: the one person asked for may well have none.
MIN_CELLS = 10


def check_own_cells(scorecard: Scorecard, rows: Rows) -> list[str]:
    """Return remarks on cells of the scorecard's own columns that count as missing or as other.

    Raises InputError, naming column and rows, when of ten or more cells that hold something in a column of
    numbers fewer than half are numbers. Quotes no cell.
    """
    absent = frozenset(scorecard.missing_values) | {""}
    remarks = []
    for own in scorecard.own_columns:
        cells = rows.columns[own.column.name]
        held = [place for place, cell in enumerate(cells) if trimmed(cell or "") not in absent]
        check = _check_numbers if own.column.numeric else _check_categories
        remarks += check(own, cells, held, scorecard.missing_values)
    return remarks


def _check_numbers(
    own: OwnColumn, cells: Sequence[Cell], held: list[int], _missing_values: Sequence[str]
) -> list[str]:
    bad = [place for place in held if parse_number(trimmed(cells[place] or "")) is None]
    if not bad:
        return []
    found = (
        f'column "{own.column.name}": {len(bad)} of {len(held)} cells that hold something are no numbers; '
        f"first such rows {_rows(bad)}"
    )
    if 2 * len(bad) > len(held) >= MIN_CELLS:
        raise InputError(
            f"{found}.",
            limit="at least half must be numbers, written like 1234.5",
            way_out="Correct the cells, or name what means absent in the scorecard's missing_values; nothing "
            "has been sent.",
        )
    return [f"{found}. They count as missing."]


def _check_categories(
    own: OwnColumn, cells: Sequence[Cell], held: list[int], missing_values: Sequence[str]
) -> list[str]:
    find, other = bin_finder(own.column, missing_values), len(own.column.bins) - 1
    unlisted = [place for place in held if find(cells[place]) == other]
    if 2 * len(unlisted) <= len(held):
        return []
    found = (
        f'column "{own.column.name}": {len(unlisted)} of {len(held)} cells that hold something are none of '
        f"the scorecard's categories; first such rows {_rows(unlisted)}"
    )
    return [f"{found}. They count as other."]


def _rows(places: list[int]) -> str:
    return ", ".join(str(place + 1) for place in places[:SHOWN_ROWS])
