"""A steward publishes files that are no good: every error names place and way out, and nothing is kept."""

from contextlib import closing

import pysqlite3.dbapi2 as sqlite
import pytest
from bourse.compute.v1 import publication_pb2
from market_records import REGISTRY, csv_of, records_of
from market_world import specification

from clients.connection import RefusedError
from clients.errors import BourseError

NODE_TABLES = ("revision", "revision_column", "entity")
WHOLE = csv_of(records_of(REGISTRY))
HEADER, *ROWS = WHOLE.splitlines(keepends=True)
SECRET = b"J0HN-D0E-7731"


def with_row(number, row):
    return b"".join([HEADER, *ROWS[: number - 1], row, *ROWS[number - 1 :]])


def broken_cells(every):
    """The file with each `every`th number replaced by a word."""
    changed = []
    for place, row in enumerate(ROWS):
        person, _, job = row.decode().split(",", 2)
        years = SECRET.decode() if place % every == 0 else "3.5"
        changed.append(f"{person},{years},{job}".encode())
    return HEADER + b"".join(changed)


MALFORMED = {
    "not-utf-8.csv": (
        with_row(12, b"\xe9t\xe9-" + SECRET + b",4,skilled\n"),
        "RECORDS_UNREADABLE",
        ("line 13", "byte offset", "save the file as UTF-8"),
    ),
    "utf-16.csv": (WHOLE.decode().encode("utf-16"), "RECORDS_UNREADABLE", ("line 1", "UTF-8")),
    "same-person-twice.csv": (
        with_row(40, ROWS[3]),
        "RECORDS_UNREADABLE",
        ("column `applicant`", "rows 4", "40", "keep one row for each"),
    ),
    "nobody.csv": (
        with_row(5, b"," + b"4,skilled\n"),
        "RECORDS_UNREADABLE",
        ("column `applicant`", "row 5"),
    ),
    "column-lacking.csv": (
        WHOLE.replace(b"years_employed", b"years", 1),
        "RECORDS_UNREADABLE",
        ("header", "`years_employed` not found", "Correct the names"),
    ),
    "column-twice.csv": (
        WHOLE.replace(b"years_employed", b"job", 1),
        "RECORDS_UNREADABLE",
        ("header: columns 2 and 3 have the same name", "rename or remove one"),
    ),
    "ragged.csv": (
        with_row(7, SECRET + b",4,skilled,and,more\n"),
        "RECORDS_UNREADABLE",
        ("line 8", "has 5 cells, the header has 3", "quotes"),
    ),
    "quote-open.csv": (
        with_row(9, b'"' + SECRET + b",4,skilled\n"),
        "RECORDS_UNREADABLE",
        ("line 10", "close the quote"),
    ),
    "empty.csv": (b"", "RECORDS_UNREADABLE", ("is empty", "must hold a header and rows")),
    "no-rows.csv": (HEADER, "RECORDS_UNREADABLE", ("a header and no rows",)),
    "no-parquet.parquet": (WHOLE, "RECORDS_UNREADABLE", ("not a Parquet file", "write it again")),
    "no-numbers.csv": (
        broken_cells(1),
        "QUALITY_TOO_LOW",
        ("column `years_employed`: only 0.0 %", "at least 50.0 %", "missing_values"),
    ),
}


@pytest.fixture
def kept(market):
    """What the node and the exchange hold; the market must hold as much at the end."""

    def rows():
        with closing(sqlite.connect(f"file:{node_database(market)}?mode=ro", uri=True)) as database:
            at_node = [database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in NODE_TABLES]
        listings = [(one.name, one.etag) for one in market.steward(REGISTRY).datasets()]
        return at_node, listings, len(list(market.auditor.records()))

    before = rows()
    yield rows
    assert rows() == before


def node_database(market):
    return market.node(REGISTRY).log.parent / "node.db"


def refused_publication(market, file, columns=None):
    with pytest.raises(BourseError) as error:
        market.steward(REGISTRY).prepare("datasets/malformed", file, columns or specification(REGISTRY))
    return error.value


@pytest.mark.parametrize("file", MALFORMED)
@pytest.mark.usefixtures("kept")
def test_a_malformed_file_is_refused_by_its_place_and_nothing_of_it_is_kept_or_quoted(market, file):
    data, reason, said = MALFORMED[file]
    market.put_file(REGISTRY, file, data)
    error = refused_publication(market, file)
    assert error.reason == reason
    assert [part for part in said if part not in error.message] == []
    assert SECRET.decode() not in error.message
    log = market.node(REGISTRY).log.read_bytes()
    assert SECRET not in log
    newest = next(iter(market.steward(REGISTRY).publications()))
    assert (newest.file, newest.state) == (file, publication_pb2.PUBLICATION_STATE_FAILED)
    assert not newest.HasField("description")


@pytest.mark.usefixtures("kept")
def test_a_tenth_of_broken_cells_is_refused_by_a_steward_who_asks_for_more(market):
    market.put_file(REGISTRY, "tenth-broken.csv", broken_cells(10))
    columns = specification(REGISTRY)
    columns.min_valid_permille = 950
    error = refused_publication(market, "tenth-broken.csv", columns)
    assert error.reason == "QUALITY_TOO_LOW"
    assert "only 90.0 %" in error.message
    assert "at least 95.0 %" in error.message
    assert "rows 1, 11, 21" in error.message


def test_a_tenth_of_broken_cells_goes_to_the_missing_bin_and_is_remarked_otherwise(market):
    market.put_file(REGISTRY, "tenth-broken.csv", broken_cells(10))
    publication = market.steward(REGISTRY).prepare(
        "datasets/tenth-broken", "tenth-broken.csv", specification(REGISTRY)
    )
    (remark,) = [one for one in publication.remarks if "years_employed" in one]
    assert "10.0 % of cells do not parse" in remark
    assert SECRET.decode() not in remark


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("absent.csv", "no file of this name"),
        ("../identity/passphrase", "not a path"),
        ("/etc/passwd", "not a path"),
        ("records.xlsx", "must end in .csv or .parquet"),
        ("pointing-away.csv", "no symbolic link"),
    ],
)
def test_a_file_that_cannot_be_named_so_is_refused_by_its_name(market, file, said):
    if file == "pointing-away.csv":
        link = node_database(market).parent / "records" / file
        link.symlink_to(node_database(market))
    error = refused_publication(market, file)
    assert said in str([error.message, error.fields])


@pytest.mark.usefixtures("kept")
def test_a_specification_that_cannot_be_used_is_refused_by_field_before_the_file_is_read(market):
    columns = specification(REGISTRY)
    columns.columns[0].edges.edges[:] = [7.0, 4.0]
    columns.columns[1].name = columns.columns[0].name
    with pytest.raises(RefusedError) as refused:
        market.steward(REGISTRY).prepare("datasets/malformed", "absent.csv", columns)
    assert refused.value.reason == "FIELD_INVALID"
    assert {field.partition("columns[")[2][:1] for field, _ in refused.value.fields} == {"0", "1"}
