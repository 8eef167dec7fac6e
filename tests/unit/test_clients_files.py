"""Specifications and terms as users write them: read by place, refused by place."""

from datetime import UTC, datetime, timedelta

import pytest
from bourse.type.v1 import query_pb2

from clients.column_file import load_specification
from clients.errors import InputError
from clients.files import write_atomically, write_lines
from clients.terms import WantedTerms, covers, load_terms, terms_json, wanted_of

EXAMPLE = """
id_column = "applicant"
min_valid_permille = 500
missing_values = ["NA", "?"]
[[column]]
name = "duration_in_month"
meaning = "Duration of the loan"
unit = "month"
quantiles = 5
[[column]]
name = "age_in_years"
edges = [25, 35.5, 50]
[[column]]
name = "job"
categories = { min_share_permille = 20 }
[[column]]
name = "sector"
categories = {}
[[column]]
name = "housing"
groups = [{ label = "owner", values = ["own"] }, { values = ["rent", "for free"] }]
"""
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def file_of(tmp_path, text, name="spec.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_specification_says_the_same_to_the_node(tmp_path):
    specification = load_specification(file_of(tmp_path, EXAMPLE))
    assert specification.id_column == "applicant"
    assert list(specification.missing_values) == ["NA", "?"]
    duration, age, job, sector, housing = specification.columns
    assert (duration.unit, duration.quantiles.bins) == ("month", 5)
    assert list(age.edges.edges) == [25, 35.5, 50]
    assert job.categories.min_share_permille == 20
    assert sector.WhichOneof("rule") == "categories"
    assert [(group.label, list(group.values)) for group in housing.categories.groups] == [
        ("owner", ["own"]), ("", ["rent", "for free"]),
    ]  # fmt: skip


def test_a_specification_in_json_says_the_same_as_in_toml(tmp_path):
    text = '{"id_column": "a", "column": [{"name": "b", "edges": [1]}]}'
    made = load_specification(file_of(tmp_path, text, "spec.json"))
    again = load_specification(file_of(tmp_path, 'id_column = "a"\n[[column]]\nname = "b"\nedges = [1]\n'))
    assert made == again


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id_column = "applicant"', "", "id_column: is missing"),
        ("quantiles = 5", "quantile = 5", r"column\[0\]: must hold exactly one of"),
        ("quantiles = 5", "quantiles = 5\nedges = [1]", r"column\[0\]: must hold exactly one of"),
        ("quantiles = 5", "quantiles = 65", r"column\[0\].quantiles: must be 2 to 64"),
        ("quantiles = 5", "quantiles = true", r"column\[0\].quantiles: must be a whole number"),
        ("[25, 35.5, 50]", '["25"]', r"column\[1\].edges: must be a list of numbers"),
        ("min_share_permille = 20", "min_share = 20", r"column\[2\].categories.min_share: no such key"),
        ("min_share_permille = 20", "min_share_permille = 1001", "must be 0 to 1000"),
        ('values = ["own"]', "values = [1]", r"column\[4\].groups\[0\].values: must be a list of texts"),
        ('unit = "month"', 'units = "month"', r"column\[0\].units: no such key"),
        ("min_valid_permille = 500", "min_valid_permille = -1", "min_valid_permille: must be 0 to 1000"),
        ("[[column]]", "[[colum]]", "column: is missing"),
        ('missing_values = ["NA", "?"]', "missing_values = [", "spec.toml: "),
    ],
)
def test_a_specification_that_says_something_else_is_refused_by_place(tmp_path, old, new, words):
    assert old in EXAMPLE
    with pytest.raises(InputError, match=words):
        load_specification(file_of(tmp_path, EXAMPLE.replace(old, new)))


def test_terms_that_are_not_given_take_their_defaults():
    terms = WantedTerms(drop=10, max_rows=300).resolved(["job", "housing"], NOW)
    assert terms_json(terms) == {
        "columns": ["job", "housing"],
        "query_kinds": ["named"],
        "profile": "score-v1",
        "drop": 10,
        "max_rows": 300,
        "max_openings_per_entity": 3,
        "max_models": 1,
        "max_bits": 3000,
        "valid_from": "2026-01-02T03:04:05+00:00",
        "valid_until": "2027-01-02T03:04:05+00:00",
    }
    assert list(terms.query_kinds) == [query_pb2.QUERY_KIND_NAMED]


def test_terms_in_a_file_say_the_same_as_they_are_shown(tmp_path):
    import json

    terms = WantedTerms(columns=["job"], max_bits=7).resolved(["job", "housing"], NOW)
    path = file_of(tmp_path, json.dumps(terms_json(terms)), "terms.json")
    assert load_terms(path).resolved(["job", "housing"], datetime.now(UTC)) == terms
    text = 'columns = ["job"]\nmax_bits = 7\nvalid_from = 2026-01-02T04:04:05+01:00\n'
    assert load_terms(file_of(tmp_path, text)).resolved(["job"], NOW) == terms


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('query_kinds = ["hidden"]', "query_kinds"),
        ("max_row = 3", "max_row: no such key"),
        ('valid_from = "soon"', "valid_from: must be a time"),
        ("drop = 9.0", "drop: must be a whole number"),
        ("max_rows = 4294967296", "max_rows: must be 0 to"),
        ("max_bits = -1", "max_bits: must be 0 to"),
        ('columns = ["wealth"]', 'publishes no column "wealth"'),
    ],
)
def test_terms_that_say_something_else_are_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        load_terms(file_of(tmp_path, text)).resolved(["job"], NOW)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    write_atomically(path, b"first")
    with pytest.raises(FileExistsError):
        write_atomically(path, b"second", replace=False)
    write_atomically(path, b"third")
    assert path.read_bytes() == b"third"

    def lines():
        yield "one"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_lines(path, lines())
    assert path.read_bytes() == b"third"
    assert write_lines(path, ["one", "two"]) == 2
    assert path.read_text() == "one\ntwo\n"
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_terms_that_a_user_gives_leave_the_others_as_they_are_on_the_table():
    table = wanted_of(
        WantedTerms(columns=["job"], max_rows=300, max_models=2).resolved(["job", "housing"], NOW)
    )
    later = datetime(2027, 1, 1, tzinfo=UTC)
    kept = WantedTerms(valid_until=later).over(table).resolved(["job", "housing"], later)
    assert (list(kept.columns), kept.max_rows, kept.max_bits, kept.max_models) == (["job"], 300, 3300, 2)
    assert (kept.valid_from.ToDatetime(tzinfo=UTC), kept.valid_until.ToDatetime(tzinfo=UTC)) == (NOW, later)
    fewer = WantedTerms(max_rows=100).over(table).resolved(["job", "housing"], later)
    assert (fewer.max_rows, fewer.max_bits, fewer.max_models) == (100, 1100, 2)
    finer = WantedTerms(drop=7, max_bits=9).over(table).resolved(["job", "housing"], later)
    assert (finer.drop, finer.max_rows, finer.max_bits) == (7, 300, 9)


def test_terms_cover_their_first_moment_and_not_their_last():
    terms = WantedTerms(valid_until=datetime(2027, 1, 1, tzinfo=UTC)).resolved(["job"], NOW)
    assert covers(terms, NOW)
    assert not covers(terms, NOW - timedelta(microseconds=1))
    assert not covers(terms, datetime(2027, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "write", [lambda path: write_atomically(path, b"x"), lambda path: write_lines(path, ["x"])]
)
def test_a_file_that_cannot_be_written_is_named_as_the_user_named_it(tmp_path, write):
    target = tmp_path / "nowhere" / "records.jsonl"
    with pytest.raises(FileNotFoundError) as error:
        write(target)
    assert error.value.filename == str(target)
