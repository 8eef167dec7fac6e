"""Parquet files: typed columns stand for the texts that a CSV would hold."""

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from compute.records.errors import QualityTooLowError, RecordsUnreadableError
from compute.records.preparation import prepare
from compute.records.specification import ColumnRule, EdgeRule
from tests.unit.records_world import (
    SECRET,
    SPECIFICATION,
    categories,
    everything_said,
    labels,
    of_columns,
    publish,
    quantiles,
)

TYPED = {
    "integers": (pa.array([1, -20, 300, None], pa.int16()), ["1", "-20", "300", ""]),
    "unsigned": (pa.array([2**64 - 1, 0, 1, None], pa.uint64()), [str(2**64 - 1), "0", "1", ""]),
    "doubles": (pa.array([1.0, -0.25, math.nan, None]), ["1", "-0.25", "", ""]),
    "large doubles": (
        pa.array([1e14, 1e15, 1e300, 123456789012.0]),
        ["100000000000000", "1e+15", "1e+300", "123456789012"],
    ),
    "floats": (pa.array([0.1, 2.0, math.nan, None], pa.float32()), ["0.1", "2", "", ""]),
    "half floats": (pa.array(np.array([0.5, 2, 1, 0], np.float16)), ["0.5", "2", "1", "0"]),
    "decimals": (
        pa.array([Decimal("1.50"), Decimal("-2.00"), None, Decimal("0.01")]),
        ["1.50", "-2.00", "", "0.01"],
    ),
    "small decimals": (pa.array([Decimal("1.5"), None], pa.decimal32(5, 2)), ["1.50", ""]),
    "large decimals": (pa.array([Decimal("1.5"), None], pa.decimal256(50, 2)), ["1.50", ""]),
    "texts": (pa.array([" a ", "b", "", None]), ["a", "b", "", ""]),
    "long texts": (pa.array(["a", "b", "", None], pa.large_string()), ["a", "b", "", ""]),
    "text views": (pa.array([" a ", "b", "", None], pa.string_view()), ["a", "b", "", ""]),
    "dictionary": (pa.array(["a", "b", None, "a"]).dictionary_encode(), ["a", "b", "", "a"]),
    "dictionary of numbers": (pa.array([1, 2, None, 1]).dictionary_encode(), ["1", "2", "", "1"]),
    "nulls": (pa.nulls(4), ["", "", "", ""]),
}
TYPED_CATEGORIES = {
    "booleans": (pa.array([True, False, None, True]), ["true", "false", "", "true"]),
    "dates": (
        pa.array([date(2024, 1, 31), date(1, 1, 1), None, date(1970, 1, 1)]),
        ["2024-01-31", "0001-01-01", "", "1970-01-01"],
    ),
    "times": (
        pa.array([time(13, 5), None, time(0, 0, 1), time(1, 2, 3, 500)]),
        ["13:05:00", "", "00:00:01", "01:02:03.000500"],
    ),
    "timestamps": (
        pa.array(["2024-01-31 13:05:00", None, "2024-01-01 00:00:00.000001", "1970-01-01 00:00:00"]).cast(
            pa.timestamp("us")
        ),
        ["2024-01-31 13:05:00", "", "2024-01-01 00:00:00.000001", "1970-01-01 00:00:00"],
    ),
    "dates in milliseconds": (pa.array([date(2024, 1, 31), None], pa.date64()), ["2024-01-31", ""]),
    "dictionary of dates": (
        pa.array([date(2024, 1, 31), None]).dictionary_encode(),
        ["2024-01-31", ""],
    ),
    "zoned timestamps": (
        pa.array(
            [datetime(2024, 1, 31, 12, 5, tzinfo=UTC), None, None, None], pa.timestamp("ms", "Europe/Paris")
        ),
        ["2024-01-31 12:05:00Z", "", "", ""],
    ),
}


@pytest.mark.parametrize("kind", [*TYPED, *TYPED_CATEGORIES])
def test_parquet_and_csv_of_the_same_values_give_the_same_bins(tmp_path, kind):
    values, texts = (TYPED | TYPED_CATEGORIES)[kind]
    repeated = 5
    ids = [f"p{n}" for n in range(len(texts) * repeated)]
    as_parquet = pa.table(
        {"extra": pa.nulls(len(ids)), "x": pa.concat_arrays([values] * repeated), "applicant": ids}
    )
    as_csv = "applicant,x\n" + "".join(
        f"{one},{text}\n" for one, text in zip(ids, texts * repeated, strict=True)
    )
    rules = (
        [categories("x")] if kind in TYPED_CATEGORIES or "text" in kind else [categories("x"), quantiles("x")]
    )
    for rule in rules:
        specification = of_columns(rule, min_valid_permille=1)
        try:
            from_csv = publish(tmp_path, as_csv, specification)
        except QualityTooLowError:
            with pytest.raises(QualityTooLowError):
                publish(tmp_path, as_parquet, specification)
            continue
        from_parquet = publish(tmp_path, as_parquet, specification)
        assert from_parquet.columns == from_csv.columns
        assert from_parquet.ids == from_csv.ids
        assert from_parquet.quality == from_csv.quality
        assert from_parquet.bins[0].tolist() == from_csv.bins[0].tolist()


@pytest.mark.parametrize("kind", TYPED_CATEGORIES)
def test_dates_and_truths_are_no_numbers(tmp_path, kind):
    values, _ = TYPED_CATEGORIES[kind]
    table = pa.table({"applicant": [f"p{n}" for n in range(len(values))], "x": values})
    with pytest.raises(RecordsUnreadableError, match="column `x`: holds dates, times or booleans"):
        publish(tmp_path, table, of_columns(quantiles("x")))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("age", pa.array([[1], [2]]), "column `age`: has a nested"),
        ("age", pa.array([{SECRET: 1}, {SECRET: 2}]), "column `age`: has a nested"),
        ("age", pa.array([b"1", b"2"]), "column `age`: has a nested, binary"),
        ("age", pa.array([1, 2], pa.duration("s")), "column `age`: has a nested, binary or other"),
        ("applicant", pa.array([1.0, 2.0]), "column `applicant`: identifiers must be text or integers"),
        ("applicant", pa.array([True, False]), "column `applicant`: identifiers must be text or integers"),
        ("applicant", pa.array([b"1", b"2"]), "column `applicant`: identifiers must be text or integers"),
        ("applicant", pa.array(["x", None]), "column `applicant`: row 2: no identifier"),
        ("applicant", pa.array([7, 7]), "column `applicant`: rows 1 and 2: the same identifier"),
    ],
)
def test_parquet_columns_that_cannot_be_read_are_named(tmp_path, name, values, words):
    table = pa.table({"applicant": pa.array(["x", "y"]), "age": [1, 2], "job": ["a", "b"]} | {name: values})
    with pytest.raises(RecordsUnreadableError) as refused:
        publish(tmp_path, table)
    assert words in str(refused.value)
    assert SECRET not in everything_said(refused.value)


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([10, -2]),
        pa.array([10, -2]).dictionary_encode(),
        pa.array(["10", " -2"]),
        pa.array(["10", "-2"], pa.large_string()),
        pa.array(["10", "-2"], pa.string_view()),
        pa.array(["10", "-2"]).dictionary_encode(),
    ],
)
def test_text_and_integers_identify_rows_in_parquet(tmp_path, ids):
    revision = publish(tmp_path, pa.table({"applicant": ids, "age": [31, 5], "job": ["a", "b"]}))
    assert revision.ids == [b"10", b"-2"]


def test_a_point_in_a_name_is_no_path_into_a_nested_column(tmp_path):
    nested = pa.array([{"b": 70}, {"b": 80}])
    table = pa.table({"a": nested, "applicant": ["x", "y"], "a.b": [10, 20]})
    revision = publish(tmp_path, table, of_columns(ColumnRule("a.b", EdgeRule((15.0,)))))
    assert labels(revision) == ["(-inf, 15)", "[15, inf)"]


def test_a_parquet_text_that_is_not_utf8_is_refused(tmp_path):
    raw = pa.array([b"ok", SECRET.encode() + b"\xff"], pa.binary())
    lying = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    for name in ("job", "applicant"):
        table = pa.table({"applicant": ["x", "y"], "age": [1, 2], "job": ["a", "b"]})
        table = table.set_column(table.schema.get_field_index(name), name, lying)
        with pytest.raises(RecordsUnreadableError, match=f"column `{name}`: .* not UTF-8") as refused:
            publish(tmp_path, table)
        assert SECRET not in everything_said(refused.value)


def test_parquet_columns_twice_or_missing_are_refused_as_in_csv(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array([1]), pa.array([2])], ["applicant", "age", "age"])
    with pytest.raises(RecordsUnreadableError, match="header: columns 2 and 3 have the same name"):
        publish(tmp_path, twice)
    with pytest.raises(RecordsUnreadableError, match="header: column `job` not found"):
        publish(tmp_path, pa.table({"applicant": ["x"], "age": [1]}))
    with pytest.raises(RecordsUnreadableError, match="no rows"):
        publish(
            tmp_path,
            pa.table({"applicant": pa.array([], pa.string()), "age": pa.nulls(0), "job": pa.nulls(0)}),
        )


def test_a_damaged_parquet_file_is_refused_in_our_words(tmp_path):
    rows = 50_000
    table = pa.table(
        {"applicant": [f"p{n}" for n in range(rows)], "age": range(rows), "job": [SECRET] * rows}
    )
    publish(tmp_path, table)
    whole = (tmp_path / "records.parquet").read_bytes()
    for data in (b"", b"PAR1", b"no parquet at all", whole[:-1], whole[: len(whole) // 2]):
        (tmp_path / "records.parquet").write_bytes(data)
        with pytest.raises(RecordsUnreadableError, match="is not a Parquet file, or is damaged"):
            prepare(tmp_path, "records.parquet", SPECIFICATION, lambda *_: None)
    (tmp_path / "records.parquet").write_bytes(whole[:4] + b"\xff" * 20_000 + whole[20_004:])
    with pytest.raises(RecordsUnreadableError, match="is damaged, write it again"):
        prepare(tmp_path, "records.parquet", SPECIFICATION, lambda *_: None)


def test_many_row_groups_are_one_file(tmp_path):
    table = pa.table(
        {
            "applicant": [f"p{n}" for n in range(1000)],
            "age": [n % 90 for n in range(1000)],
            "job": ["a"] * 1000,
        }
    )
    pq.write_table(table, tmp_path / "many.parquet", row_group_size=7)
    many = prepare(tmp_path, "many.parquet", SPECIFICATION, lambda *_: None)
    one = publish(tmp_path, table)
    assert many.ids == one.ids
    assert many.bins[0].tolist() == one.bins[0].tolist()
