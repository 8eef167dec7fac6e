"""Column specifications: what a steward may ask a node for."""

import contextlib
import math

import pytest
from bourse.compute.v1 import publication_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from compute.records.convert import specification_from_pb
from compute.records.errors import SpecificationError
from compute.records.specification import (
    CategoryGroup,
    CategoryRule,
    ColumnRule,
    ColumnSpecification,
    EdgeRule,
)
from tests.unit.records_world import AGE, JOB, categories, of_columns, quantiles


def group(*values, label=""):
    return CategoryGroup(label, values)


def grouped(*groups, min_share_permille=0):
    return ColumnRule("x", CategoryRule(groups, min_share_permille))


@pytest.mark.parametrize(
    ("make", "field", "words"),
    [
        (lambda: ColumnSpecification("", (AGE,)), "id_column", "empty"),
        (lambda: ColumnSpecification("i" * 129, (AGE,)), "id_column", "128 bytes"),
        (lambda: ColumnSpecification("i\x1f", (AGE,)), "id_column", "control"),
        (lambda: ColumnSpecification("age", (AGE,)), "columns[0].name", "never published"),
        (of_columns, "columns", "1 to 256"),
        (lambda: of_columns(*[quantiles(f"c{n}") for n in range(257)]), "columns", "1 to 256"),
        (lambda: of_columns(AGE, JOB, AGE), "columns[2].name", "given twice"),
        (lambda: of_columns(quantiles("a\x1fb")), "columns[0].name", "control"),
        (lambda: of_columns(quantiles("e\u0301")), "columns[0].name", "normal form C"),
        (lambda: of_columns(quantiles("\ud800")), "columns[0].name", "control"),
        (lambda: of_columns(AGE, min_valid_permille=1001), "min_valid_permille", "0 to 1000"),
        (lambda: of_columns(AGE, missing_values=("NA", "NA")), "missing_values[1]", "twice"),
        (lambda: of_columns(AGE, missing_values=(" NA",)), "missing_values[0]", "trim"),
        (lambda: of_columns(AGE, missing_values=("N" * 129,)), "missing_values[0]", "128 bytes"),
        (
            lambda: of_columns(AGE, missing_values=tuple(map(str, range(101)))),
            "missing_values",
            "at most 100",
        ),
        (lambda: of_columns(ColumnRule("x", EdgeRule((1.0,)), "m" * 501)), "columns[0].meaning", "500"),
        (lambda: of_columns(ColumnRule("x", EdgeRule((1.0,)), "m\n")), "columns[0].meaning", "control"),
        (lambda: of_columns(ColumnRule("x", EdgeRule((1.0,)), "", "u" * 65)), "columns[0].unit", "64"),
        (lambda: of_columns(ColumnRule("x", CategoryRule(), "", "EUR")), "columns[0].unit", "only numbers"),
        (lambda: of_columns(ColumnRule("x", EdgeRule(()))), "columns[0].edges.edges", "1 to 253"),
        (
            lambda: of_columns(ColumnRule("x", EdgeRule(tuple(map(float, range(254)))))),
            "columns[0].edges.edges",
            "1 to 253",
        ),
        (lambda: of_columns(ColumnRule("x", EdgeRule((1.0, 1.0)))), "columns[0].edges.edges[1]", "above"),
        (lambda: of_columns(ColumnRule("x", EdgeRule((0.0, -0.0)))), "columns[0].edges.edges[1]", "above"),
        (
            lambda: of_columns(ColumnRule("x", EdgeRule((2.0, 3.0, 1.0)))),
            "columns[0].edges.edges[2]",
            "above",
        ),
        (
            lambda: of_columns(ColumnRule("x", EdgeRule((1.0, math.nan)))),
            "columns[0].edges.edges[1]",
            "finite",
        ),
        (
            lambda: of_columns(ColumnRule("x", EdgeRule((-math.inf, 1.0)))),
            "columns[0].edges.edges[0]",
            "finite",
        ),
        (lambda: of_columns(quantiles("x", 1)), "columns[0].quantiles.bins", "2 to 64"),
        (lambda: of_columns(quantiles("x", 65)), "columns[0].quantiles.bins", "2 to 64"),
        (lambda: of_columns(categories("x", 1001)), "columns[0].categories.min_share_permille", "0 to 1000"),
        (
            lambda: of_columns(grouped(group("a"), min_share_permille=5)),
            "columns[0].categories.min_share_permille",
            "groups",
        ),
        (lambda: of_columns(grouped(group())), "columns[0].categories.groups[0].values", "1 to 1000"),
        (
            lambda: of_columns(grouped(group("a"), group("b", "a"))),
            "columns[0].categories.groups[1].values[1]",
            "two places",
        ),
        (
            lambda: of_columns(grouped(group("a", "a"))),
            "columns[0].categories.groups[0].values[1]",
            "two places",
        ),
        (lambda: of_columns(grouped(group("a "))), "columns[0].categories.groups[0].values[0]", "trim"),
        (
            lambda: of_columns(grouped(group("a", label="x"), group("b", label="x"))),
            "columns[0].categories.groups[1].label",
            "taken",
        ),
        (
            lambda: of_columns(grouped(group("a", label="missing"))),
            "columns[0].categories.groups[0].label",
            "taken",
        ),
        (lambda: of_columns(grouped(group("other"))), "columns[0].categories.groups[0].label", "taken"),
        (
            lambda: of_columns(grouped(group("a" * 70, "b" * 70))),
            "columns[0].categories.groups[0].label",
            "128 bytes",
        ),
        (
            lambda: of_columns(grouped(group("NA")), missing_values=("NA",)),
            "columns[0].categories.groups[0].values[0]",
            "missing_values",
        ),
        (
            lambda: of_columns(grouped(*[group(str(n)) for n in range(254)])),
            "columns[0].categories.groups",
            "at most 253",
        ),
    ],
)
def test_an_unusable_specification_is_refused_at_its_field(make, field, words):
    with pytest.raises(SpecificationError) as refused:
        make()
    assert [place for place, _ in refused.value.violations] == [field]
    assert words in refused.value.violations[0][1]
    assert refused.value.reason == "FIELD_INVALID"


def test_all_that_is_wrong_is_said_at_once_up_to_a_limit():
    with pytest.raises(SpecificationError) as refused:
        ColumnSpecification("", (quantiles("a", 1), quantiles("a", 99)), 2000)
    assert [field for field, _ in refused.value.violations] == [
        "id_column",
        "min_valid_permille",
        "columns[0].quantiles.bins",
        "columns[1].name",
        "columns[1].quantiles.bins",
    ]
    with pytest.raises(SpecificationError) as refused:
        of_columns(*[quantiles(f"c{n}", 1) for n in range(256)])
    assert len(refused.value.violations) == 21
    assert refused.value.violations[-1][0] == "*"


def test_zero_stands_for_the_defaults():
    assert of_columns(AGE).min_valid == 500
    assert of_columns(AGE, min_valid_permille=900).min_valid == 900
    assert CategoryRule().min_share == 10


def test_the_widest_specifications_are_usable():
    of_columns(*[quantiles(f"c{n}", 64) for n in range(256)], min_valid_permille=1000)
    of_columns(ColumnRule("x", EdgeRule(tuple(map(float, range(253))))))
    of_columns(grouped(*[group(str(n)) for n in range(253)]))


def test_a_message_becomes_the_specification_it_holds():
    message = publication_pb2.ColumnSpecification(
        id_column="applicant",
        columns=[
            {"name": "age", "meaning": "Age", "unit": "year", "edges": {"edges": [30, 45.5]}},
            {
                "name": "job",
                "categories": {"groups": [{"label": "a", "values": ["a"]}, {"values": ["b", "c"]}]},
            },
            {"name": "amount", "quantiles": {"bins": 5}},
            {"name": "purpose", "categories": {"min_share_permille": 20}},
        ],
        min_valid_permille=900,
        missing_values=["NA"],
    )
    assert specification_from_pb(message) == of_columns(
        AGE,
        JOB,
        quantiles("amount", 5),
        categories("purpose", 20),
        min_valid_permille=900,
        missing_values=("NA",),
    )


def test_a_message_without_a_rule_is_refused_at_its_column():
    message = publication_pb2.ColumnSpecification(id_column="i", columns=[{"name": "a"}])
    with pytest.raises(SpecificationError) as refused:
        specification_from_pb(message)
    assert refused.value.violations[0][0] == "columns[0].rule"


@given(data=st.binary(max_size=200))
def test_any_message_is_usable_or_refused(data):
    message = publication_pb2.ColumnSpecification()
    with contextlib.suppress(DecodeError):
        message.ParseFromString(data)
    with contextlib.suppress(SpecificationError):
        assert specification_from_pb(message).columns
