"""Reading records: what a file may be, and what is said of one that cannot be read."""

import contextlib
import csv
import io
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compute.records import reading
from compute.records.csv_bytes import CheckedCsv
from compute.records.errors import QualityTooLowError, RecordsError, RecordsUnreadableError
from compute.records.preparation import prepare
from tests.unit.records_world import (
    AGE,
    JOB,
    SECRET,
    SPECIFICATION,
    categories,
    everything_said,
    labels,
    of_columns,
    publish,
    quantiles,
)

HEADER = "applicant,age,job\n"
ROW = f"{SECRET}-id,31,{SECRET}\n"
MISQUOTED = (
    'line {line}: a quote (") inside a cell; put such cells in quotes and double the quotes inside them, and '
    "see that every quoted cell before it is closed"
)
GERMAN_CREDIT = Path(__file__).parents[2] / "examples" / "german-credit" / "german_credit.csv"


def test_the_example_of_the_specification_is_read_as_it_says(tmp_path):
    revision = publish(tmp_path, "applicant,age,job\nn-1, 29,b\nn-2,,z\nn-30,61,NA\n")
    assert revision.ids == [b"n-1", b"n-2", b"n-30"]
    assert [bins.tolist() for bins in revision.bins] == [[1, 0, 3], [2, 3, 0]]


@pytest.mark.parametrize(
    "data",
    [
        "applicant,age,job\nx,31,a\ny,5,b\n",
        "applicant,age,job\nx,31,a\ny,5,b",
        "applicant,age,job\r\nx,31,a\r\ny,5,b\r\n",
        "\ufeffapplicant,age,job\nx,31,a\ny,5,b\n",
        '"applicant","age","job"\n"x","31","a"\n"y","5","b"\n',
        ' applicant ,age,job\t\n x ,\t31, a\ny,+5.0e0,"\u3000b\u00a0"\n',
        "\n\napplicant,age,job\n\nx,31,a\n\n\ny,5,b\n\n",
        "note,job,other,age,applicant\nn,a,o,31,x\nn,b,o,5,y\n",
        'applicant,age,job,note\nx,31,a,"one, ""two""\nthree"\ny,5,b,"\r"\n',
        ",,applicant,age,job\n1,1,x,31,a\n2,2,y,5,b\n",
    ],
)
def test_the_same_records_are_read_from_every_well_formed_spelling(tmp_path, data):
    revision = publish(tmp_path, data)
    assert revision.ids == [b"x", b"y"]
    assert [bins.tolist() for bins in revision.bins] == [[2, 1], [1, 2]]


@pytest.mark.parametrize(
    ("data", "message"),
    {
        "empty": ("", "file: is empty; it must hold a header and rows"),
        "blank": ("\ufeff\n\n", "file: is empty; it must hold a header and rows"),
        "header only": (HEADER, "file: holds a header and no rows; there is nothing to publish"),
        "header without line end": (
            HEADER.strip(),
            "file: holds a header and no rows; there is nothing to publish",
        ),
        "column missing": (
            f"applicant,{SECRET}\nx,1\n",
            (
                "header: columns `age`, `job` not found; the header has 2 columns. Correct the names in the "
                "specification or in the file"
            ),
        ),
        "no header": (
            ROW,
            (
                "header: columns `applicant`, `age`, `job` not found; the header has 3 columns. Correct the "
                "names in the specification or in the file"
            ),
        ),
        "semicolons": (
            "applicant;age;job\nx;1;2\n",
            (
                "header: columns `applicant`, `age`, `job` not found; the header has 1 column; it may be "
                "separated by something else than commas: save it with commas. Correct the names in the "
                "specification or in the file"
            ),
        ),
        "column twice": (
            f"applicant,age,{SECRET},job,{SECRET}\nx,1,2,3,4\n",
            "header: columns 3 and 5 have the same name; rename or remove one",
        ),
        "column twice after trimming": (
            "applicant,age,job,age \nx,1,2,3\n",
            "header: columns 2 and 4 have the same name; rename or remove one",
        ),
        "short row": (
            HEADER + ROW + f"{SECRET},3\n",
            "row 2 (line 3): has 2 cells, the header has 3; put cells that hold commas in quotes",
        ),
        "long rows": (
            HEADER + '\nx,1,"\n\n"\n\n' + f"{SECRET},{SECRET},1,1\n" * 8,
            (
                "row 2 (line 7): has 4 cells, the header has 3; put cells that hold commas in quotes. So "
                "have rows 3, 4, 5, 6 and 3 more"
            ),
        ),
        "short row of one": (
            HEADER + f"{SECRET}\n",
            "row 1 (line 2): has 1 cell, the header has 3; put cells that hold commas in quotes",
        ),
        "not UTF-8": (
            (HEADER + ROW).encode() + b"y,1,caf\xe9\n",
            "line 3: byte offset 53 is not UTF-8; save the file as UTF-8",
        ),
        "cut character": (
            (HEADER + ROW).encode() + b"y,1,\xe4\xb8",
            "line 3: byte offset 50 is not UTF-8; save the file as UTF-8",
        ),
        "UTF-16": (
            (HEADER + ROW).encode("utf-16"),
            "line 1: byte offset 0 is not UTF-8; save the file as UTF-8",
        ),
        "UTF-16 without mark": (
            (HEADER + ROW).encode("utf-16-le"),
            "line 1: byte offset 1 is NUL; save the file as text in UTF-8 (not UTF-16)",
        ),
        "NUL": (
            HEADER + ROW + f"{SECRET}\0,1,2\n",
            "line 3: byte offset 56 is NUL; save the file as text in UTF-8 (not UTF-16)",
        ),
        "quote never closed": (
            HEADER + ROW + f'y,1,"{SECRET}\nz,1,b\n',
            (
                "line 3: a quoted cell begins here and never ends; close the quote, and double quotes inside "
                "quoted cells"
            ),
        ),
        "quote in a cell": (
            HEADER + ROW + f'y,1,5" {SECRET}\n',
            MISQUOTED.format(line=3),
        ),
        "quote not doubled": (
            HEADER + ROW + f'y,1,"a "{SECRET}" b"\n',
            MISQUOTED.format(line=3),
        ),
        "lone carriage returns": (
            HEADER.replace("\n", "\r") + ROW,
            "line 1: a carriage return without line feed; end lines with LF or CRLF",
        ),
        "a lone carriage return": (
            HEADER + ROW + f"{SECRET}\r,1,b\n",
            "line 3: a carriage return without line feed; end lines with LF or CRLF",
        ),
        "a row without end": (
            HEADER + f"x,1,{SECRET * 210_000}\n" + ROW,
            "file: a row is longer than 1048576 bytes; shorten its cells",
        ),
        "a header without end": (
            f"{SECRET}," * 300_000,
            "line 1: the header is longer than 1048576 bytes; is this a CSV file with line ends?",
        ),
        "no identifier": (
            HEADER + ROW + f",1,{SECRET}\n  ,1,a\n",
            "column `applicant`: rows 2, 3: no identifier; give each row one, or remove the row",
        ),
        "identifier too long": (
            HEADER + ROW + f"{SECRET * 7},1,a\n",
            "column `applicant`: row 2: an identifier of more than 64 bytes; use shorter ones",
        ),
        "identifier with control character": (
            HEADER + ROW + f"{SECRET}\x1f,1,a\n",
            "column `applicant`: row 2: an identifier with control characters; remove them",
        ),
        "identifier with C1 control character": (
            HEADER + ROW + f"{SECRET}\u0085.,1,a\n",
            "column `applicant`: row 2: an identifier with control characters; remove them",
        ),
        "identifiers twice": (
            HEADER + ROW + "x,1,a\ny,2,a\n" + ROW + "x,1,a\n",
            "column `applicant`: rows 1 and 4, 2 and 5: the same identifier; keep one row for each",
        ),
        "identifiers the same after trimming": (
            HEADER + f"{SECRET},1,a\n {SECRET} ,1,a\n",
            "column `applicant`: rows 1 and 2: the same identifier; keep one row for each",
        ),
    }.values(),
)
def test_a_malformed_file_is_refused_with_its_place_and_without_its_data(tmp_path, data, message):
    with pytest.raises(RecordsUnreadableError) as refused:
        publish(tmp_path, data)
    assert str(refused.value) == message
    assert SECRET not in everything_said(refused.value)
    assert refused.value.reason == "RECORDS_UNREADABLE"


def long_file(rows: int, change: dict[int, str]) -> str:
    return HEADER + "".join(
        change.get(row, f'p{row},{row % 90},"job, ""{row % 5}"""\n') for row in range(1, rows + 1)
    )


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (f"{SECRET},1\n", r"row 90000 \(line 90001\): has 2 cells"),
        (f'{SECRET},1,"x\n', "line 90001: a quote|line 90002: a quote"),
        (f"{SECRET},1,\ud800\n", "line 90001: byte offset"),
        (f"p7,1,{SECRET}\n", "rows 7 and 90000: the same identifier"),
        (f"{SECRET}\r,1,\n", "line 90001: a carriage return"),
    ],
)
def test_a_fault_far_into_a_file_is_found_and_placed(tmp_path, broken, message):
    data = long_file(100_000, {90_000: broken}).encode("utf-8", "surrogatepass")
    with pytest.raises(RecordsUnreadableError, match=message) as refused:
        publish(tmp_path, data)
    assert SECRET not in everything_said(refused.value)


def test_rows_keep_their_order_over_many_batches(tmp_path):
    revision = publish(tmp_path, long_file(100_000, {}), of_columns(AGE))
    assert revision.ids == [f"p{row}".encode() for row in range(1, 100_001)]
    ages = np.arange(1, 100_001) % 90
    assert revision.bins[0].tolist() == np.select([ages < 30, ages < 45.5], [1, 2], 3).tolist()


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
tables = st.lists(st.tuples(cells, cells), min_size=1, max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=tables,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    chunk=st.integers(4, 40),
)
def test_whatever_a_strict_writer_wrote_is_read_back_at_any_chunking(
    monkeypatch, rows, quoting, line_end, mark, chunk
):
    if any("\r" in cell for row in rows for cell in row):
        quoting = csv.QUOTE_ALL  # the writer leaves a lone carriage return unquoted
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)
    writer.writerows([("applicant", "age"), *rows])
    data = (mark + text.getvalue()).encode()
    monkeypatch.setattr("compute.records.csv_bytes._CHUNK_BYTES", chunk)
    stream = CheckedCsv(io.BytesIO(data))
    body = b"".join(iter(stream.read, b""))
    assert stream.header == ["applicant", "age"]
    assert list(csv.reader(io.StringIO(body.decode(), newline=""))) == [list(row) for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.text(st.sampled_from('ab,"\n\ré'), max_size=40), chunk=st.integers(4, 12))
def test_bytes_pass_the_checks_exactly_when_they_are_rfc_4180(monkeypatch, data, chunk):
    monkeypatch.setattr("compute.records.csv_bytes._CHUNK_BYTES", chunk)
    try:
        stream = CheckedCsv(io.BytesIO(f"h\n{data}".encode()))
        b"".join(iter(stream.read, b""))
        passed = True
    except RecordsUnreadableError:
        passed = False
    assert passed == _is_rfc_4180(data)


def _is_rfc_4180(text: str) -> bool:
    """A plain witness, a character at a time."""
    quoted, start = False, True
    place = 0
    while place < len(text):
        char, following = text[place], text[place + 1 : place + 2]
        if quoted:
            if char == '"':
                if following == '"':
                    place += 1
                elif following in {"", ",", "\n", "\r"}:
                    quoted = False
                else:
                    return False
        elif char == '"':
            if not start:
                return False
            quoted = True
        elif char == "\r" and following not in {"", "\n"}:
            return False
        start = not quoted and char in ",\n"
        place += 1
    return not quoted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.binary(max_size=120))
def test_any_bytes_are_read_or_refused_in_our_words(tmp_path, data):
    for start in (b"", HEADER.encode()):
        with contextlib.suppress(RecordsError):
            assert publish(tmp_path, start + data).rows


def test_ten_percent_broken_cells_are_fine_and_half_of_them_are_not(tmp_path):
    def table(broken: int) -> str:
        return HEADER + "".join(f"p{row},{SECRET if row < broken else row},a\n" for row in range(1000))

    revision = publish(tmp_path, table(100))
    assert labels(revision)[:101] == ["missing"] * 100 + ["[45.5, inf)"]
    assert revision.quality[0].valid_permille == 900
    assert publish(tmp_path, table(500)).quality[0].valid_permille == 500
    with pytest.raises(QualityTooLowError, match=r"column `age`: only 49\.9 %"):
        publish(tmp_path, table(501))


def test_more_rows_than_the_limit_are_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_ROWS", 3)
    publish(tmp_path, HEADER + "a,1,a\nb,1,a\nc,1,a\n")
    with pytest.raises(RecordsUnreadableError, match=r"more than 3 rows; divide it"):
        publish(tmp_path, HEADER + "a,1,a\nb,1,a\nc,1,a\nd,1,a\n")
    with pytest.raises(RecordsUnreadableError, match="has 4 rows, at most 3 are read; divide it"):
        publish(tmp_path, pa.table({"applicant": list("abcd"), "age": [1] * 4, "job": ["a"] * 4}))


def test_a_column_of_free_text_is_refused_as_categories(tmp_path, monkeypatch):
    monkeypatch.setattr("compute.records.binning.MAX_DISTINCT_CATEGORIES", 3)
    with pytest.raises(
        RecordsUnreadableError, match="column `job`: has more than 3 categories; give `groups`"
    ) as refused:
        publish(
            tmp_path,
            HEADER + "".join(f"p{n},1,{SECRET}{n}\n" for n in range(4)),
            of_columns(categories("job")),
        )
    assert SECRET not in str(refused.value)


def test_progress_rises_to_the_whole_file_over_both_passes(tmp_path):
    data = long_file(100_000, {}).encode()
    (tmp_path / "records.csv").write_bytes(data)
    for specification in (SPECIFICATION, of_columns(quantiles("age"), JOB)):
        told: list[tuple[int, int, int]] = []
        prepare(tmp_path, "records.csv", specification, lambda *now, told=told: told.append(now))
        assert told == sorted(told)
        assert len(set(told)) >= 3
        assert told[-1] == (100_000, len(data), len(data))
        assert {total for _, _, total in told} == {len(data)}


def test_the_caller_may_stop_from_within_progress(tmp_path):
    (tmp_path / "records.csv").write_text(long_file(100_000, {}))

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, "records.csv", SPECIFICATION, stop)


def test_real_applicants_are_binned_as_their_columns_say(tmp_path):
    with GERMAN_CREDIT.open(newline="") as source:
        rows = list(csv.DictReader(source))
    text = io.StringIO()
    writer = csv.DictWriter(text, ["applicant", *rows[0]])
    writer.writeheader()
    writer.writerows({"applicant": f"a-{n:04}", **row} for n, row in enumerate(rows))
    numeric = ["duration_in_month", "credit_amount", "age_in_years"]
    rules = [quantiles(name, 5) if name in numeric else categories(name) for name in rows[0]]
    revision = publish(tmp_path, text.getvalue(), of_columns(*rules))
    assert revision.rows == 1000
    assert all(one.complete_permille == one.valid_permille == 1000 for one in revision.quality)
    by_name = {
        column.name: (column, bins) for column, bins in zip(revision.columns, revision.bins, strict=True)
    }
    duration, bins = by_name["duration_in_month"]
    assert duration.edges == (12.0, 15.0, 24.0, 30.0)
    for row, index in zip(rows, bins.tolist(), strict=True):
        one = duration.bins[index]
        assert (one.lower or -math.inf) <= float(row["duration_in_month"]) < (one.upper or math.inf)
    purpose, bins = by_name["purpose"]
    assert [one.label for one in purpose.bins][1:3] == ["business", "car (new)"]
    for row, index in zip(rows, bins.tolist(), strict=True):
        assert purpose.bins[index].label == ("other" if row["purpose"] == "retraining" else row["purpose"])
