"""A bank's rows are read exactly, or refused by row and column and never quoted."""

import datetime as dt
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clients.errors import InputError
from clients.results import Results, check_results_path, part_column, write_results
from clients.rows import read_rows


def csv_file(tmp_path, data):
    path = tmp_path / "rows.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_cells_are_read_as_csv_says_and_ids_are_trimmed(tmp_path):
    text = '\ufeffid, age ,note\r\n p-1 ,30,"a, ""b""\nc"\r\n\r\np-2,,x\r\n'
    rows = read_rows(csv_file(tmp_path, text), id_column="id", columns=["note", "age"])
    assert rows.ids == ("p-1", "p-2")
    assert [*rows] == [{"note": 'a, "b"\nc', "age": "30"}, {"note": "x", "age": ""}]
    assert "p-1" not in repr(rows)


def test_a_scorecard_without_own_columns_needs_identifiers_alone(tmp_path):
    rows = read_rows(csv_file(tmp_path, "id\np-1\np-2\n"), id_column="id", columns=[])
    assert [*rows] == [{}, {}]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "no column"),
        ("id,age\n", "holds no rows"),
        ("id,id,age\n1,2,3\n", '2 columns "id"'),
        ("name,age\nx,3\n", 'no column "id"'),
        ("id,age\np-secret,1\np-2,1\np-secret,2\n", "row 3.*row 1"),
        ("id,age\n  ,1\n", "row 1.*missing"),
        (f"id,age\n{'é' * 33},1\n", "row 1.*64 bytes"),
        ("id,age\np\x07,1\n", "row 1.*control"),
        ("id,age\np-1,1,2\n", "row 1.*3 cells"),
        ('id,age\np-1,"1\n', "not CSV"),
        (b"id,age\np-1,1\np-2,\xff\n", "line 3: not UTF-8"),
        ("id,age\np-1,1\0\n", "line 2: holds a NUL"),
        ("id,age\np-1,1\n".encode("utf-16"), "line 1: holds a NUL"),
    ],
)
def test_rows_that_cannot_be_asked_for_are_refused_by_place_and_never_quoted(tmp_path, data, words):
    with pytest.raises(InputError, match=words) as error:
        read_rows(csv_file(tmp_path, data), id_column="id", columns=["age"])
    assert "secret" not in str(error.value)


def test_a_file_of_semicolons_is_told_from_one_that_lacks_a_column(tmp_path):
    for text, words in (
        ("id;age\np-1;1\n", "save it with commas"),
        ("name,age\nx,1\n", "Its columns: name, age."),
    ):
        with pytest.raises(InputError) as error:
            read_rows(csv_file(tmp_path, text), id_column="id", columns=["age"])
        assert words in error.value.way_out


def test_parquet_reads_as_the_csv_of_the_same_values(tmp_path):
    moment = dt.datetime(2024, 1, 31, 13, 5, tzinfo=dt.UTC)
    table = pa.table(
        {
            "id": pa.array([7, 8]),
            "float": pa.array([0.1, None], pa.float32()),
            "whole": pa.array([3.0, -1e20]),
            "price": pa.array([decimal.Decimal("1.50"), None]),
            "yes": pa.array([True, False]),
            "day": pa.array([moment.date(), None]),
            "word": pa.array(["a", None]).dictionary_encode(),
        }
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path)
    rows = read_rows(path, id_column="id", columns=table.column_names[1:])
    assert rows.ids == ("7", "8")
    assert [*rows] == [
        {"float": "0.1", "whole": "3", "price": "1.50", "yes": "true", "day": "2024-01-31", "word": "a"},
        {"float": None, "whole": "-1e+20", "price": None, "yes": "false", "day": None, "word": None},
    ]


def test_parquet_that_is_none_or_holds_lists_is_refused(tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(InputError, match=r"rows\.parquet"):
        read_rows(path, id_column="id", columns=[])
    pq.write_table(pa.table({"id": ["a"], "list": [[1]]}), path)
    with pytest.raises(InputError, match='"list"'):
        read_rows(path, id_column="id", columns=["list"])


def test_a_name_with_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="must end in"):
        read_rows(tmp_path / "rows.xlsx", id_column="id", columns=[])
    with pytest.raises(InputError, match="ending in"):
        check_results_path(tmp_path / "out.xlsx")
    with pytest.raises(InputError, match="no such directory"):
        check_results_path(tmp_path / "nowhere" / "out.csv")


def test_results_are_written_in_the_banks_order_with_what_adds_up(tmp_path):
    results = Results(
        "job", ("b,1", "a"), (500, -3), {"datasets/pay-bureau": (7, -8), "datasets/tax": (0, 1)}, {}, {}
    )
    assert results.scores == (507, -10)
    write_results(results, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (
        b'id,score,own_part,part_pay_bureau,part_tax\n"b,1",507,500,7,0\na,-10,-3,-8,1\n'
    )
    write_results(results, tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "score", "own_part", part_column("datasets/pay-bureau"), "part_tax"]
    assert table.to_pydict()["score"] == [507, -10]
