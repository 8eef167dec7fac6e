"""Bins of whole columns: the same as of single cells, and made of what the file holds."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.records.binning import Binner, parse_numbers, round_to_three_digits
from compute.records.reading import Cells
from compute.records.specification import CategoryGroup, CategoryRule, ColumnRule
from tests.unit.records_world import categories, labels, of_columns, publish, quantiles
from wire.bins import (
    bin_finder,
    category_column,
    category_problem,
    interval_column,
    parse_number,
    three_digits,
    trimmed,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
number_like = st.one_of(
    finite.map(repr),
    st.integers().map(str),
    st.text("0123456789.eE+-, infa", max_size=12),
    st.text(max_size=8),
)
HEADER = "applicant,x\n"


def cells_of(texts):
    return Cells(np.arange(len(texts), dtype=np.int32), pa.array(texts, pa.string()))


def table(*values):
    return HEADER + "".join(f"p{row},{value}\n" for row, value in enumerate(values))


@given(texts=st.lists(number_like, max_size=30))
def test_a_column_of_cells_is_parsed_as_each_cell_alone(texts):
    texts = [trimmed(text) for text in texts]
    expected = [parse_number(text) for text in texts]
    found = parse_numbers(pa.array(texts, pa.string())).tolist()
    assert [None if math.isnan(number) else number for number in found] == expected


@given(numbers=st.lists(st.one_of(finite, st.integers(-(10**6), 10**6).map(lambda n: n / 1000)), max_size=30))
def test_a_column_of_numbers_is_rounded_as_each_number_alone(numbers):
    found = round_to_three_digits(np.array(numbers, dtype=np.float64)).tolist()
    assert found == [three_digits(number) for number in numbers]


def test_rounding_is_the_same_at_every_tie_and_power_of_ten():
    numbers = [
        sign * math.nextafter(digits * 10.0**power, toward)
        for sign in (1, -1)
        for power in (*range(-30, 31), -300, 300)
        for digits in (1.0, 1.005, 1.235, 9.995, 9.985, 5.5)
        for toward in (0.0, digits * 10.0**power, math.inf)
    ]
    assert round_to_three_digits(np.array(numbers)).tolist() == [three_digits(number) for number in numbers]


@given(
    edges=st.lists(finite, max_size=8, unique=True).map(sorted),
    texts=st.lists(number_like, min_size=1, max_size=30),
    missing=st.sets(st.sampled_from(["NA", "0", "-1", "inf"])),
)
def test_numbers_of_a_column_fall_into_the_bins_that_each_falls_into_alone(edges, texts, missing):
    texts = [trimmed(text) for text in texts]
    column = interval_column("x", "", "", edges)
    index, absent, broken = Binner(column, sorted(missing)).bins(cells_of(texts))
    find = bin_finder(column, missing)
    assert index.tolist() == [find(text) for text in texts]
    assert absent.tolist() == [text in missing | {""} for text in texts]
    assert broken.tolist() == [text not in missing | {""} and parse_number(text) is None for text in texts]


@given(
    values=st.lists(st.text(min_size=1, max_size=3), max_size=8, unique=True),
    texts=st.lists(st.text(max_size=3), min_size=1, max_size=30),
    missing=st.sets(st.text(max_size=2)),
)
def test_categories_of_a_column_fall_into_the_bins_that_each_falls_into_alone(values, texts, missing):
    values = [value for value in values if not category_problem(value)]
    column = category_column("x", "", [(value, (value,)) for value in values])
    texts = [trimmed(text) for text in [*texts, *values]]
    index, absent, broken = Binner(column, sorted(missing)).bins(cells_of(texts))
    find = bin_finder(column, missing)
    assert index.tolist() == [find(text) for text in texts]
    assert absent.tolist() == [text in missing | {""} for text in texts]
    assert not broken.any()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    values=st.lists(
        st.one_of(st.integers(-50, 50).map(str), finite.map(repr), st.just("")), min_size=1, max_size=60
    ),
    bins=st.integers(2, 9),
)
def test_quantiles_put_every_row_into_the_interval_that_holds_it(tmp_path, values, bins):
    revision = publish(tmp_path, table(*values), of_columns(quantiles("x", bins)))
    column = revision.columns[0]
    assert len(column.bins) <= bins + 1
    assert all(three_digits(edge) == edge for edge in column.edges)
    for value, index in zip(values, revision.bins[0].tolist(), strict=True):
        assert index == bin_finder(column)(value)
        assert (index == 0) == (value == "")


def test_quantiles_part_the_rows_into_equal_shares(tmp_path):
    revision = publish(tmp_path, table(*range(1000)), of_columns(quantiles("x", 5)))
    assert revision.columns[0].edges == (200.0, 400.0, 600.0, 800.0)
    assert np.bincount(revision.bins[0]).tolist() == [0, 200, 200, 200, 200, 200]


def test_no_edge_tells_a_value_to_more_than_three_digits(tmp_path):
    revision = publish(tmp_path, table(*[n * 1.2345 for n in range(1, 101)]), of_columns(quantiles("x", 4)))
    assert revision.columns[0].edges == (32.1, 63.0, 93.8)


def test_a_constant_column_has_one_interval(tmp_path):
    revision = publish(tmp_path, table(*[7] * 20), of_columns(quantiles("x", 5)))
    assert [one.label for one in revision.columns[0].bins] == ["missing", "(-inf, inf)"]
    assert set(revision.bins[0].tolist()) == {1}
    assert revision.remarks == (
        "column `x`: 1 of the 5 bins asked for were made; its numbers are few or repeat",
    )


def test_a_column_without_any_number_is_all_missing(tmp_path):
    revision = publish(tmp_path, table(*[""] * 20), of_columns(quantiles("x", 5)))
    assert set(revision.bins[0].tolist()) == {0}
    assert revision.quality[0].complete_permille == 0


def test_infinities_and_nan_are_in_the_missing_bin(tmp_path):
    values = ["inf", "-inf", "nan", "1e999", "-1e999", "Infinity"]
    revision = publish(tmp_path, table(*values, *range(20)), of_columns(quantiles("x", 2)))
    assert labels(revision)[:6] == ["missing"] * 6
    frame = pa.table({"applicant": [f"p{n}" for n in range(4)], "x": [math.inf, -math.inf, math.nan, 1.0]})
    revision = publish(tmp_path, frame, of_columns(quantiles("x", 2), min_valid_permille=1))
    assert labels(revision) == ["missing", "missing", "missing", "(-inf, inf)"]


def test_categories_of_the_file_are_ordered_by_text_and_rare_ones_share_the_other_bin(tmp_path):
    values = ["z"] * 600 + ["b"] * 300 + ["é"] * 80 + ["rare"] * 9 + [" b "] * 11
    revision = publish(tmp_path, table(*values), of_columns(categories("x")))
    assert [one.label for one in revision.columns[0].bins] == ["missing", "b", "z", "é", "other"]
    assert np.bincount(revision.bins[0]).tolist() == [0, 311, 600, 80, 9]


def test_a_category_held_by_four_rows_is_not_published(tmp_path):
    values = ["a"] * 5 + ["b"] * 4
    revision = publish(tmp_path, table(*values), of_columns(categories("x")))
    assert [one.label for one in revision.columns[0].bins] == ["missing", "a", "other"]


def test_more_categories_than_bins_leave_the_rarer_ones_in_the_other_bin(tmp_path):
    values = [f"c{n:03}" for n in range(300) for _ in range(5 + (n < 253))]
    revision = publish(tmp_path, table(*values), of_columns(categories("x", 1)))
    assert len(revision.columns[0].bins) == 255
    assert np.bincount(revision.bins[0])[-1] == 47 * 5


def test_missing_values_are_absent_and_never_a_category(tmp_path):
    values = ["NA"] * 10 + ["?"] * 10 + ["a"] * 10
    revision = publish(tmp_path, table(*values), of_columns(categories("x"), missing_values=("NA", "?")))
    assert np.bincount(revision.bins[0]).tolist() == [20, 10]


def test_given_groups_hold_what_they_list_and_nothing_else(tmp_path):
    rule = ColumnRule(
        "x", CategoryRule((CategoryGroup("flat", ("rent", "free")), CategoryGroup("", ("own",))))
    )
    revision = publish(tmp_path, table("own", "free", " rent", "Own", ""), of_columns(rule))
    assert labels(revision) == ["own", "flat", "flat", "other", "missing"]
