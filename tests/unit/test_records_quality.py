"""Quality: what is published of it, what the steward is told, and what is refused."""

import pytest

from compute.records.errors import QualityTooLowError
from compute.records.specification import CategoryGroup, CategoryRule, ColumnRule
from tests.unit.records_world import SECRET, categories, of_columns, publish, quantiles


def table(*values):
    return "applicant,x\n" + "".join(f"p{row},{value}\n" for row, value in enumerate(values))


def quality_of(tmp_path, rule, *values, **changes):
    one = publish(tmp_path, table(*values), of_columns(rule, **changes)).quality[0]
    return one.complete_permille, one.valid_permille


def test_shares_are_rounded_down_so_that_nothing_looks_better_than_it_is(tmp_path):
    assert quality_of(tmp_path, quantiles("x"), *["1"] * 1999, "") == (999, 999)
    assert quality_of(tmp_path, quantiles("x"), *["1"] * 1999, SECRET) == (1000, 999)
    assert quality_of(tmp_path, quantiles("x"), "1", "", SECRET, min_valid_permille=500) == (666, 333)


def test_every_category_is_valid(tmp_path):
    assert quality_of(tmp_path, categories("x"), "a", "b", "", "NA", missing_values=("NA",)) == (500, 500)


def test_absent_cells_do_not_count_against_the_share_that_must_parse(tmp_path):
    assert quality_of(tmp_path, quantiles("x"), "1", *[""] * 99, min_valid_permille=1000) == (10, 10)


def test_too_few_numbers_are_refused_with_column_share_limit_rows_and_way_out(tmp_path):
    values = ["1"] * 898 + [SECRET] * 102
    with pytest.raises(QualityTooLowError) as refused:
        publish(tmp_path, table(*values), of_columns(quantiles("x"), min_valid_permille=900))
    assert str(refused.value) == (
        "column `x`: only 89.8 % of the cells that hold something parse as numbers, at least 90.0 % must; "
        "first bad rows 899, 900, 901, 902, 903. Correct the file, name what means absent in missing_values, "
        "use `categories` or `groups`, or lower min_valid_permille"
    )
    assert refused.value.reason == "QUALITY_TOO_LOW"


def test_exactly_the_share_asked_for_is_enough(tmp_path):
    assert quality_of(tmp_path, quantiles("x"), *["1"] * 9, SECRET, min_valid_permille=900) == (1000, 900)


def remarks_of(tmp_path, rule, *values, **changes):
    return publish(tmp_path, table(*values), of_columns(rule, **changes)).remarks


def test_the_steward_learns_which_rows_do_not_parse_but_not_what_they_hold(tmp_path):
    values = [*range(4), SECRET, *range(10), SECRET, *range(984)]
    (remark,) = remarks_of(tmp_path, quantiles("x"), *values)
    assert remark == (
        "column `x`: 0.2 % of cells do not parse as numbers; they are in the missing bin; first bad "
        "rows 5, 16"
    )


def test_a_clean_column_needs_no_remark(tmp_path):
    assert remarks_of(tmp_path, quantiles("x"), *range(100)) == ()
    assert remarks_of(tmp_path, categories("x"), *["a", "b"] * 50) == ()


@pytest.mark.parametrize(
    ("rule", "values", "remark"),
    [
        (quantiles("x"), ["", *range(999)], "0.1 % of cells are absent; they are in the missing bin"),
        (
            quantiles("x"),
            ["", *range(1999)],
            "less than 0.1 % of cells are absent; they are in the missing bin",
        ),
        (quantiles("x"), [""] * 9, "holds nothing; every row is in the missing bin"),
        (categories("x"), [""] * 9, "holds nothing; every row is in the missing bin"),
        (
            quantiles("x", 4),
            [1, 1, 1, 2],
            "2 of the 4 bins asked for were made; its numbers are few or repeat",
        ),
        (
            categories("x"),
            [*["a"] * 97, SECRET, SECRET, f"{SECRET}2"],
            "3.0 % of rows are in the other bin; its categories are rare or too long",
        ),
        (
            ColumnRule("x", CategoryRule((CategoryGroup("", ("a",)), CategoryGroup("", ("A",))))),
            ["a"] * 9,
            "no row is in groups[1]; check the spelling of its values",
        ),
        (
            ColumnRule("x", CategoryRule((CategoryGroup("", ("a",)),))),
            [*["a"] * 9, SECRET],
            "10.0 % of rows are in the other bin; a value may be missing in the groups",
        ),
    ],
)
def test_the_steward_is_told_what_may_be_wrong(tmp_path, rule, values, remark):
    found = remarks_of(tmp_path, rule, *values)
    assert f"column `x`: {remark}" in found
    assert SECRET not in " ".join(found)
