"""Cells of the bank's own columns that cannot carry a score are told of before anybody is charged."""

import json

import pytest

from clients.errors import InputError
from clients.own_cells import check_own_cells
from clients.rows import Rows
from clients.scorecard_file import parse_scorecard

CARD = parse_scorecard(
    json.dumps(
        {
            "format": "bourse-scorecard/1",
            "name": "Own columns",
            "base_points": 0,
            "bank": {
                "missing_values": ["NA"],
                "columns": [
                    {
                        "name": "age",
                        "bins": [
                            {"label": "missing", "missing": True, "points": 0},
                            {"label": "all", "lower": None, "upper": None, "points": 1},
                        ],
                    },
                    {
                        "name": "job",
                        "bins": [
                            {"label": "missing", "missing": True, "points": 0},
                            {"label": "clerk", "categories": ["clerk"], "points": 1},
                            {"label": "other", "other": True, "points": 2},
                        ],
                    },
                ],
            },
            "providers": [],
        }
    ).encode()
)


def rows(ages, jobs=None):
    return Rows(
        tuple(f"p-{number}" for number in range(len(ages))),
        {"age": ages, "job": jobs or ["clerk"] * len(ages)},
    )


def test_good_and_absent_cells_are_nothing_to_speak_of():
    assert check_own_cells(CARD, rows(["1", " 2.5 ", "NA", "", None, "1e3"])) == []


def test_the_odd_cell_that_is_no_number_is_told_of_and_not_quoted():
    (remark,) = check_own_cells(CARD, rows(["1"] * 9 + ["secret", "NA"]))
    assert remark == (
        'column "age": 1 of 10 cells that hold something are no numbers; first such rows 10. '
        "They count as missing."
    )


def test_a_column_that_is_mostly_no_numbers_is_refused_with_rows_and_way_out():
    with pytest.raises(InputError, match=r"6 of 11 cells .* rows 1, 2, 3, 4, 5\.") as error:
        check_own_cells(CARD, rows(["1.234,50"] * 6 + ["7"] * 5))
    assert "nothing has been sent" in error.value.way_out
    assert "1.234" not in str(error.value)
    assert len(check_own_cells(CARD, rows(["x"] * 5 + ["7"] * 5))) == 1


def test_one_person_without_a_number_is_no_bad_column():
    assert len(check_own_cells(CARD, rows(["unknown"]))) == 1


def test_a_column_that_is_mostly_of_unlisted_categories_is_told_of():
    (remark,) = check_own_cells(CARD, rows(["1"] * 3, ["Clerk", "CLERK", "clerk"]))
    assert 'column "job": 2 of 3 cells' in remark
    assert check_own_cells(CARD, rows(["1"] * 2, ["baker", "clerk"])) == []
