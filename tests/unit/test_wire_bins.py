"""Published bins: every value falls into exactly one, and everybody agrees into which."""

import math
import unicodedata

import pytest
from bourse.type.v1 import column_pb2
from hypothesis import assume, given
from hypothesis import strategies as st

from wire.bins import (
    WHITE_SPACE,
    CategoryBin,
    Column,
    ColumnError,
    IntervalBin,
    MissingBin,
    OtherBin,
    bin_finder,
    category_column,
    choose_categories,
    choose_edges,
    interval_column,
    parse_number,
    three_digits,
    trimmed,
)
from wire.columns import column_from_pb, column_to_pb

finite = st.floats(allow_nan=False, allow_infinity=False)
edge_lists = st.lists(finite, max_size=20, unique=True).map(sorted)
category = st.text(min_size=1, max_size=20).filter(
    lambda text: (
        trimmed(text) == text and not any(unicodedata.category(char) in {"Cc", "Cs"} for char in text)
    )
)
category_lists = st.lists(category, max_size=12, unique=True)


@given(edges=edge_lists, number=finite)
def test_every_number_lies_in_the_one_interval_it_is_put_into(edges, number):
    column = interval_column("x", "", "", edges)
    found = bin_finder(column)(repr(number))
    holding = [
        index
        for index, one in enumerate(column.bins)
        if isinstance(one, IntervalBin)
        and (one.lower is None or one.lower <= number)
        and (one.upper is None or number < one.upper)
    ]
    assert holding == [found]


@given(values=category_lists, cell=st.text(max_size=20))
def test_every_category_falls_into_its_bin_or_the_other_bin(values, cell):
    column = category_column("x", "", [(value, (value,)) for value in values])
    found = column.bins[bin_finder(column)(cell)]
    match found:
        case MissingBin():
            assert not trimmed(cell)
        case CategoryBin():
            assert found.values == (trimmed(cell),)
        case _:
            assert isinstance(found, OtherBin)
            assert trimmed(cell) not in values


@given(edges=edge_lists, cell=st.text(max_size=10))
def test_a_cell_that_is_no_number_is_in_the_missing_bin(edges, cell):
    assume(parse_number(trimmed(cell)) is None)
    assert bin_finder(interval_column("x", "", "", edges))(cell) == 0


@pytest.mark.parametrize("cell", [None, "", "  ", "NA", " NA\t", "\u00a0", "\u3000NA"])
def test_absent_cells_are_in_the_missing_bin(cell):
    assert bin_finder(interval_column("x", "", "", [1.0]), ["NA"])(cell) == 0
    assert bin_finder(category_column("x", "", [("a", ("a",))]), ["NA"])(cell) == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0),
        ("-0", 0.0),
        ("+1", 1.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5e-1", -0.05),
        ("1E3", 1000.0),
        ("007", 7.0),
        ("1e-999", 0.0),
        ("9" * 64, 1e64),
    ],
)
def test_numbers_are_signs_digits_point_and_exponent(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1,000",
        "1.000,5",
        "1 000",
        "1_000",
        "0x10",
        "inf",
        "nan",
        "1e",
        ".",
        "+",
        "--1",
        "1e999",
        "1\n",
        "١",
        "²",
        "1a",
        "9" * 65,
    ],
)
def test_what_only_looks_like_a_number_is_none(text):
    assert parse_number(text) is None


@given(number=finite)
def test_every_double_survives_its_shortest_spelling(number):
    assert parse_number(repr(number)) == number


@given(text=st.text())
def test_trimming_takes_the_listed_white_space_and_nothing_else(text):
    core = trimmed(text)
    assert core in text
    assert not core or (core[0] not in WHITE_SPACE and core[-1] not in WHITE_SPACE)


def test_labels_spell_the_edges_shortly():
    column = interval_column("x", "", "", [-0.0, 0.1, 12, 1e15, 1e300])
    assert [one.label for one in column.bins] == [
        "missing",
        "(-inf, 0)",
        "[0, 0.1)",
        "[0.1, 12)",
        "[12, 1000000000000000.0)",
        "[1000000000000000.0, 1e+300)",
        "[1e+300, inf)",
    ]


def test_a_category_named_like_a_fixed_bin_keeps_a_label_of_its_own():
    column = category_column("x", "", [(text, (text,)) for text in ("missing", "other", "other (2)")])
    assert [one.label for one in column.bins] == [
        "missing",
        "missing (2)",
        "other (2)",
        "other (2) (2)",
        "other",
    ]
    find = bin_finder(column)
    assert [find(text) for text in ("missing", "other", "other (2)", "z", None)] == [1, 2, 3, 4, 0]


def test_rare_categories_get_no_bin_of_their_own():
    counts = {"b": 500, "a": 480, "rare": 9, "c": 11}
    assert choose_categories(counts, 1000, 10) == ["a", "b", "c"]
    assert choose_categories(counts, 1000, 490) == ["b"]


def test_a_category_that_few_persons_hold_is_never_published_however_small_the_table():
    assert choose_categories({"a": 5, "b": 4}, 9, 1) == ["a"]


def test_of_too_many_categories_the_most_frequent_are_published():
    counts = {f"c{n:03}": 1000 - n for n in range(300)}
    assert choose_categories(counts, 1, 1) == [f"c{n:03}" for n in range(253)]
    assert choose_categories(dict.fromkeys(reversed(counts), 7), 1, 1) == [f"c{n:03}" for n in range(253)]


def test_categories_that_cannot_be_published_get_no_bin():
    unfit = ["a\nb", "a" * 129, "é" * 65, "\x1f"]
    assert choose_categories(dict.fromkeys([*unfit, "é" * 64], 100), 500, 10) == ["é" * 64]


@given(
    counts=st.dictionaries(finite.map(three_digits), st.integers(1, 50), max_size=40), bins=st.integers(2, 64)
)
def test_quantile_edges_make_a_column_without_an_empty_first_bin(counts, bins):
    edges = choose_edges(counts, bins)
    assert len(edges) < bins
    assert len(interval_column("x", "", "", edges).bins) == len(edges) + 2
    assert not edges or any(value < edges[0] for value in counts)
    assert set(edges) <= set(counts)


@given(values=st.lists(st.integers(-999, 999), min_size=1, max_size=200), bins=st.integers(2, 10))
def test_quantile_edges_are_the_order_statistics_of_the_rows(values, bins):
    counts: dict[float, int] = {}
    for value in values:
        counts[float(value)] = counts.get(float(value), 0) + 1
    ranked = sorted(values)
    expected = sorted({ranked[i * len(ranked) // bins] for i in range(1, bins)} - {ranked[0]})
    assert choose_edges(counts, bins) == expected


def test_no_numbers_and_one_number_give_a_single_interval():
    assert choose_edges({}, 5) == []
    assert choose_edges({3.0: 1000}, 5) == []
    assert [one.label for one in interval_column("x", "", "", []).bins] == ["missing", "(-inf, inf)"]


@given(one=finite, other=finite)
def test_rounding_to_three_digits_keeps_the_order_and_stays_finite(one, other):
    low, high = sorted((one, other))
    assert three_digits(low) <= three_digits(high)
    assert math.isfinite(three_digits(one))


@given(edges=edge_lists, values=category_lists)
def test_a_column_survives_its_message(edges, values):
    for column in (
        interval_column("x", "meaning", "month", edges),
        category_column("x", "", [(value, (value,)) for value in values]),
    ):
        assert column_from_pb(column_to_pb(column)) == column


MISSING, OTHER, A = MissingBin(), OtherBin(), CategoryBin("a", ("a",))
LOW, HIGH = IntervalBin("low", None, 1.0), IntervalBin("high", 1.0, None)


@pytest.mark.parametrize(
    ("bins", "field"),
    [
        ((), "bins"),
        ((MISSING,), "bins"),
        ((MISSING, *[OTHER] * 255), "bins"),
        ((OTHER, MISSING), "bins[0]"),
        ((LOW, HIGH), "bins[0]"),
        ((MISSING, A), "bins[1]"),
        ((MISSING, OTHER, A), "bins[2]"),
        ((MISSING, MissingBin("again"), OTHER), "bins[1]"),
        ((MISSING, CategoryBin("a", ()), OTHER), "bins[1].values"),
        ((MISSING, CategoryBin("a", ("",)), OTHER), "bins[1].values[0]"),
        ((MISSING, CategoryBin("a", (" a",)), OTHER), "bins[1].values[0]"),
        ((MISSING, CategoryBin("a", ("a\0",)), OTHER), "bins[1].values[0]"),
        ((MISSING, A, CategoryBin("b", ("b", "a")), OTHER), "bins[2].values[1]"),
        ((MISSING, A, CategoryBin("a", ("b",)), OTHER), "bins[2].label"),
        ((MISSING, CategoryBin("missing", ("b",)), OTHER), "bins[1].label"),
        ((MISSING, CategoryBin("", ("b",)), OTHER), "bins[1].label"),
        ((MISSING, CategoryBin("l" * 129, ("b",)), OTHER), "bins[1].label"),
        ((MISSING, LOW), "bins[1].upper"),
        ((MISSING, HIGH), "bins[1].lower"),
        ((MISSING, LOW, IntervalBin("gap", 2.0, None)), "bins[2].lower"),
        ((MISSING, LOW, IntervalBin("overlap", 0.5, None)), "bins[2].lower"),
        ((MISSING, LOW, IntervalBin("empty", 1.0, 1.0), HIGH), "bins[2].upper"),
        ((MISSING, LOW, HIGH, IntervalBin("more", None, None)), "bins[2].upper"),
        ((MISSING, LOW, OTHER), "bins[2]"),
        ((MISSING, IntervalBin("l", None, math.inf), IntervalBin("h", math.inf, None)), "bins[1].upper"),
        ((MISSING, IntervalBin("l", None, math.nan), IntervalBin("h", math.nan, None)), "bins[1].upper"),
    ],
)
def test_bins_that_do_not_part_all_values_are_refused_at_their_place(bins, field):
    with pytest.raises(ColumnError) as refused:
        Column("x", "", "", bins)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must not be empty"),
        ("n" * 129, "at most 128 bytes"),
        ("é" * 65, "at most 128 bytes"),
        ("a\x1fb", "no control characters"),
        ("a\x85b", "no control characters"),
        ("e\u0301", "normal form C"),
        (" a", "white space"),
    ],
)
def test_names_that_could_be_confused_are_refused(name, words):
    with pytest.raises(ColumnError, match=words) as refused:
        interval_column(name, "", "", [1.0])
    assert refused.value.field == "name"


def test_a_unit_on_categories_is_refused():
    with pytest.raises(ColumnError, match="unit: only numbers"):
        Column("x", "", "month", (MISSING, A, OTHER))


def test_a_message_whose_bin_says_nothing_is_refused():
    message = column_pb2.Column(name="x", bins=[column_pb2.Bin(label="missing")])
    with pytest.raises(ColumnError, match=r"bins\[0\].content"):
        column_from_pb(message)
