"""Revisions: digests that pin every row, and gathering that shows no row but those asked for."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from bourse.type.v1 import description_pb2
from hypothesis import given
from hypothesis import strategies as st

from compute.records.convert import describe
from compute.records.errors import RecordsUnreadableError
from compute.records.quality import ColumnQuality
from compute.records.revision import (
    PreparedRevision,
    bins_commitment,
    gather,
    revision_digest,
    rows_at_least,
)
from tests.unit.records_world import SECRET, publish
from wire.bins import category_column, interval_column
from wire.columns import column_from_pb
from wire.strict import parse_strict

SALT = bytes(range(32))
EXAMPLE = "applicant,age,job\nn-1, 29,b\nn-2,,z\nn-30,61,NA\n"


def described(prepared, **changes):
    arguments = {
        "dataset": "datasets/tiny",
        "revision": 1,
        "provider": "parties/registry",
        "bins_commitment": bins_commitment(SALT, prepared),
        "prepare_time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "change_note": "first",
    }
    return describe(prepared, **arguments | changes)


def test_the_known_answer_of_the_specification(tmp_path):
    prepared = publish(tmp_path, EXAMPLE)
    payload = described(prepared)
    assert bins_commitment(SALT, prepared).hex() == (
        "322486f8857c144d3d69bdc2cb0dbb8f783971b6a7dcee30d54a84886af9446f"
    )
    assert len(payload) == 288
    assert (
        revision_digest(payload).hex() == "94c377a668ee374eb9dfd1041caebb22625ce52ed2946d8b9f290787b5bec932"
    )


def test_the_same_file_and_specification_give_the_same_bytes(tmp_path):
    assert described(publish(tmp_path, EXAMPLE)) == described(publish(tmp_path, EXAMPLE))


def test_a_description_is_strict_and_holds_columns_that_obey_the_rules(tmp_path):
    prepared = publish(tmp_path, EXAMPLE)
    message = parse_strict(description_pb2.DatasetDescription, described(prepared), 1 << 20)
    assert tuple(column_from_pb(column) for column in message.columns) == prepared.columns
    assert (message.version, message.dataset, message.revision, message.provider) == (
        1,
        "datasets/tiny",
        1,
        "parties/registry",
    )
    assert [(one.column, one.complete_permille, one.valid_permille) for one in message.quality] == [
        ("age", 666, 666),
        ("job", 666, 666),
    ]
    assert message.rows_at_least == 3
    assert message.prepare_time.ToDatetime(UTC) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_a_description_holds_no_identifier_and_no_row(tmp_path):
    rows = "".join(f"{SECRET}-{n},3{n % 10},{SECRET}cell{n}\n" for n in range(50))
    assert SECRET.encode() not in described(publish(tmp_path, "applicant,age,job\n" + rows))


def test_a_description_that_is_too_long_is_refused_with_the_way_out():
    columns = tuple(
        category_column(f"c{n}", "", [(f"{k}" * 120, (f"{k}" * 120,)) for k in range(10)]) for n in range(500)
    )
    prepared = PreparedRevision(columns, (np.zeros(1, np.uint8),) * len(columns), [b"a"], (), ())
    with pytest.raises(RecordsUnreadableError, match="at most 1048576 can be published; publish fewer"):
        described(prepared)


@pytest.mark.parametrize(
    ("rows", "published"),
    [
        (0, 0),
        (1, 1),
        (9, 9),
        (10, 10),
        (19, 10),
        (999, 900),
        (1000, 1000),
        (1999, 1000),
        (10_000_000, 10_000_000),
    ],
)
def test_the_number_of_rows_is_published_to_one_digit(rows, published):
    assert rows_at_least(rows) == published


@st.composite
def revisions(draw):
    rows = draw(st.integers(1, 8))
    attributes = draw(st.integers(1, 3))
    return PreparedRevision(
        columns=tuple(interval_column(f"c{n}", "", "", [1.0, 2.0]) for n in range(attributes)),
        bins=tuple(
            np.array(draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), np.uint8)
            for _ in range(attributes)
        ),
        ids=draw(st.lists(st.binary(min_size=1, max_size=5), min_size=rows, max_size=rows, unique=True)),
        quality=tuple(ColumnQuality(f"c{n}", 1000, 1000) for n in range(attributes)),
        remarks=(),
    )


@given(prepared=revisions(), data=st.data())
def test_the_commitment_changes_with_any_bit_of_salt_identifiers_and_bins(prepared, data):
    before = bins_commitment(SALT, prepared)
    bit = 1 << data.draw(st.integers(0, 7))
    place = data.draw(st.integers(0, 31))
    salt = bytes(byte ^ (bit if n == place else 0) for n, byte in enumerate(SALT))
    assert bins_commitment(salt, prepared) != before

    row = data.draw(st.integers(0, prepared.rows - 1))
    attribute = data.draw(st.integers(0, len(prepared.bins) - 1))
    bins = [column.copy() for column in prepared.bins]
    bins[attribute][row] ^= bit
    assert bins_commitment(SALT, replace(prepared, bins=tuple(bins))) != before

    place = data.draw(st.integers(0, len(prepared.ids[row]) - 1))
    ids = list(prepared.ids)
    ids[row] = bytes(byte ^ (bit if n == place else 0) for n, byte in enumerate(ids[row]))
    assert bins_commitment(SALT, replace(prepared, ids=ids)) != before


@given(
    one=st.lists(st.binary(min_size=1, max_size=3), max_size=6),
    other=st.lists(st.binary(min_size=1, max_size=3), max_size=6),
)
def test_no_two_lists_of_identifiers_share_a_commitment(one, other):
    digests = {
        bins_commitment(SALT, PreparedRevision((), (), ids, (), ())) for ids in (tuple(one), tuple(other))
    }
    assert len(digests) == (1 if one == other else 2)


def test_the_commitment_tells_columns_apart_that_only_swap_their_bins(tmp_path):
    prepared = publish(tmp_path, EXAMPLE)
    swapped = replace(prepared, bins=prepared.bins[::-1])
    assert bins_commitment(SALT, swapped) != bins_commitment(SALT, prepared)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_of_another_length_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="salt: must be 32 bytes"):
        bins_commitment(bytes(size), publish(tmp_path, EXAMPLE))


@given(prepared=revisions(), data=st.data())
def test_gathering_gives_the_rows_asked_for_and_no_neighbor(prepared, data):
    rows = data.draw(st.lists(st.integers(-1, prepared.rows - 1), max_size=20))
    gathered = gather(prepared.bins, rows)
    assert gathered.shape == (len(rows), len(prepared.bins))
    assert gathered.dtype == np.uint8
    for place, row in enumerate(rows):
        expected = [0] * len(prepared.bins) if row == -1 else [int(bins[row]) for bins in prepared.bins]
        assert gathered[place].tolist() == expected

    asked = set(rows)
    scrambled = [
        np.array([value if row in asked else 3 - value for row, value in enumerate(bins)], np.uint8)
        for bins in prepared.bins
    ]
    assert np.array_equal(gather(scrambled, rows), gathered)


@pytest.mark.parametrize("row", [-2, 3, 2**31, -(2**63)])
def test_a_row_that_does_not_exist_is_refused_rather_than_wrapped_around(row):
    with pytest.raises(ValueError, match="rows: must be -1"):
        gather([np.zeros(3, np.uint8)], [0, row])


def test_gathering_from_stored_bytes_is_the_same(tmp_path):
    prepared = publish(tmp_path, EXAMPLE)
    stored = [np.frombuffer(bins.tobytes(), np.uint8) for bins in prepared.bins]
    assert gather(stored, np.array([2, -1, 0], np.int32)).tolist() == [[3, 0], [0, 0], [1, 2]]
