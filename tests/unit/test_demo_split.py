"""Parting one labeled table among parties: strict files, stable rows, nothing held twice."""

import csv
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.column_file import load_specification
from clients.demo.split import (
    Holding,
    Split,
    Table,
    column_specification,
    load_split,
    part_rows,
    read_table,
    write_bank_files,
    write_provider_files,
)
from clients.errors import InputError
from compute.records.convert import specification_from_pb
from compute.records.preparation import prepare

EXAMPLE = Path(__file__).parents[2] / "examples" / "german-credit"
GOOD = """
label = "outcome"
bad = "bad"
numeric = ["amount"]
missing_values = ["NA"]
test_fraction = 0.25
seed = 7

[bank]
columns = ["amount", "purpose"]

[[provider]]
name = "registry"
columns = ["job"]

[[provider]]
name = "bureau"
columns = ["account", "history"]
"""


def split_of(tmp_path, text=GOOD):
    path = tmp_path / "split.toml"
    path.write_text(text)
    return load_split(path)


def table_of(tmp_path, rows=40, **cells):
    """A table of `rows` rows, every fourth bad, with the cells given per column."""
    columns = {"outcome": ["bad" if row % 4 == 0 else "good" for row in range(rows)]}
    for name in ("amount", "purpose", "job", "account", "history"):
        columns[name] = [str(row % 7) for row in range(rows)]
    columns |= cells
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_the_example_of_the_specification_is_read(tmp_path):
    split = split_of(tmp_path)
    assert split == Split(
        label="outcome",
        bad="bad",
        id=None,
        numeric=frozenset({"amount"}),
        test_fraction=0.25,
        seed=7,
        missing_values=("NA",),
        bank=("amount", "purpose"),
        providers=(Holding("registry", ("job",)), Holding("bureau", ("account", "history"))),
    )


def test_the_example_of_german_credit_is_read_and_leaves_sex_and_nationality_out():
    split = load_split(EXAMPLE / "split.toml")
    table = read_table(EXAMPLE / "german_credit.csv", split)
    assert (len(table.ids), sum(table.bad)) == (1000, 300)
    assert not {"personal_status_and_sex", "foreign_worker"} & set(split.columns)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("seed = 7", ""), "seed: is missing"),
        (("seed = 7", "seed = -1"), "seed: must be 0 to 4294967295"),
        (("seed = 7", "seed = 7.5"), "seed: must be a whole number"),
        (("seed = 7", "seed = 7\nsede = 8"), "sede: no such key"),
        (("0.25", "0.0"), "test_fraction: must lie between 0 and 1"),
        (("0.25", "1"), "test_fraction: must lie between 0 and 1"),
        (("0.25", "nan"), "test_fraction: must lie between 0 and 1"),
        (("0.25", '"0.25"'), "test_fraction: must be a number"),
        (('label = "outcome"', 'label = ""'), "label: must not be empty"),
        (('bad = "bad"', 'bad = " bad"'), "bad: must not begin or end with white space"),
        (('bad = "bad"', 'bad = "NA"'), "bad: is one of missing_values"),
        (('["NA"]', '["NA", "NA"]'), r"missing_values\[1\]: is given twice"),
        (('["NA"]', '["NA "]'), r"missing_values\[0\]: must not begin or end"),
        (('["NA"]', json.dumps([str(n) for n in range(101)])), "missing_values: must be at most 100"),
        (('numeric = ["amount"]', 'numeric = ["amuont"]'), 'numeric: no party holds the column "amuont"'),
        (("[bank]", "[bank]\nname = 1"), "bank.name: no such key"),
        (('["amount", "purpose"]', "[]"), "bank.columns: must name at least one column"),
        (
            ('["amount", "purpose"]', '["amount", ""]'),
            r"bank: columns\[1\]|bank.columns\[1\]: must not be empty",
        ),
        (('["job"]', '["amount"]'), r'provider\[0\].columns\[0\]: "amount" is in bank already'),
        (('["job"]', '["outcome"]'), r'provider\[0\].columns\[0\]: "outcome" is the label already'),
        (('["account", "history"]', '["account", "account"]'), r'"account" is in provider\[1\] already'),
        (('"registry"', '"Registry"'), r"provider\[0\].name: must be 2 to 63 of a-z"),
        (('"registry"', '"bureau"'), "provider: two providers have the same name"),
        (('label = "outcome"', 'label = "outcome"\nid = "outcome"'), "id: must not be the label"),
        (('label = "outcome"', 'label = "outcome"\nid = "job"'), '"job" is the id already'),
        (("[[provider]]", "[[lender]]"), "provider: is missing"),
    ],
)
def test_a_split_that_cannot_be_meant_is_refused_at_its_key(tmp_path, change, words):
    assert change[0] in GOOD
    with pytest.raises(InputError, match=words):
        split_of(tmp_path, GOOD.replace(*change))


def test_more_providers_than_a_demo_starts_are_refused(tmp_path):
    more = "".join(f'[[provider]]\nname = "p{n}"\ncolumns = ["c{n}"]\n' for n in range(7))
    with pytest.raises(InputError, match="provider: must be 1 to 8 providers"):
        split_of(tmp_path, GOOD + more)


def test_rows_without_identifiers_get_stable_ones(tmp_path):
    table = read_table(table_of(tmp_path), split_of(tmp_path))
    assert table.ids[0] == "applicant-000001"
    assert table.ids[-1] == "applicant-000040"
    assert table.bad[:5] == (True, False, False, False, True)


def test_identifiers_of_the_table_are_kept(tmp_path):
    split = split_of(tmp_path, 'id = "who"' + GOOD)
    ids = [f"P-{row}" for row in range(40)]
    assert read_table(table_of(tmp_path, who=ids), split).ids == tuple(ids)
    with pytest.raises(InputError, match="row 40"):
        read_table(table_of(tmp_path, who=[*ids[:-1], "P-3"]), split)


def test_a_synthetic_identifier_does_not_shadow_a_column_of_that_name(tmp_path):
    split = split_of(tmp_path, GOOD.replace('"job"', '"applicant"'))
    assert split.id_column == "applicant_id"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"outcome": ["good"] * 40}, "0 rows of the bad outcome"),
        ({"outcome": ["bad"] * 40}, "0 rows of the other outcome"),
        ({"outcome": ["bad"] * 9 + ["good"] * 31}, "9 rows of the bad outcome"),
        ({"outcome": ["bad", "good"] * 19 + ["bad", ""]}, 'row 40, column "outcome": the label is missing'),
        (
            {"outcome": ["bad", "good"] * 19 + ["NA", "good"]},
            'row 39, column "outcome": the label is missing',
        ),
    ],
)
def test_a_table_whose_outcomes_fit_nothing_is_refused(tmp_path, cells, words):
    with pytest.raises(InputError, match=words):
        read_table(table_of(tmp_path, **cells), split_of(tmp_path))


def test_a_table_without_a_column_of_the_split_is_refused_by_its_name(tmp_path):
    with pytest.raises(InputError, match="salary"):
        read_table(table_of(tmp_path), split_of(tmp_path, GOOD.replace('"job"', '"salary"')))


bad_rows = st.lists(st.booleans(), min_size=4, max_size=60).filter(lambda bad: 2 <= sum(bad) <= len(bad) - 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=bad_rows, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**32 - 1))
def test_each_outcome_is_on_both_sides_in_the_share_asked_for(tmp_path, bad, fraction, seed):
    split = replace(split_of(tmp_path), test_fraction=fraction, seed=seed)
    table = Table(tuple(f"p{row}" for row in range(len(bad))), (), tuple(bad), {})
    parts = part_rows(table, split)
    assert sorted([*parts.training, *parts.held_out]) == list(range(len(bad)))
    for outcome in (True, False):
        rows = sum(one is outcome for one in bad)
        held_out = sum(bad[row] is outcome for row in parts.held_out)
        assert held_out == min(max(1, round(rows * fraction)), rows - 1)
    assert part_rows(table, split) == parts


def test_another_seed_holds_other_rows_out(tmp_path):
    split = split_of(tmp_path)
    table = read_table(table_of(tmp_path, rows=200), split)
    assert part_rows(table, split) != part_rows(table, replace(split, seed=8))


def test_a_row_stays_on_its_side_whatever_order_the_table_has(tmp_path):
    split = split_of(tmp_path)
    table = read_table(table_of(tmp_path), split)
    turned = Table(table.ids[::-1], table.labels[::-1], table.bad[::-1], {})
    assert {table.ids[row] for row in part_rows(table, split).held_out} == {
        turned.ids[row] for row in part_rows(turned, split).held_out
    }


def test_each_party_gets_its_columns_and_no_other(tmp_path):
    split = split_of(tmp_path)
    table = read_table(table_of(tmp_path), split)
    parts = part_rows(table, split)
    write_bank_files(table, split, parts, tmp_path)
    history, applicants = rows_of(tmp_path / "history.csv"), rows_of(tmp_path / "applicants.csv")
    assert history[0] == ["applicant", "amount", "purpose", "outcome"]
    assert applicants[0] == ["applicant", "amount", "purpose"]
    assert [row[0] for row in history[1:]] == [table.ids[row] for row in parts.training]
    assert [row[0] for row in applicants[1:]] == [table.ids[row] for row in parts.held_out]
    assert [row[3] for row in history[1:]] == ["bad" if table.bad[row] else "good" for row in parts.training]
    records, specification = write_provider_files(table, split, split.providers[1], tmp_path)
    assert rows_of(records)[0] == ["applicant", "account", "history"]
    assert [row[0] for row in rows_of(records)[1:]] == list(table.ids)
    assert specification.name == "bureau.toml"


names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)


@given(
    columns=st.lists(names, min_size=1, max_size=4, unique=True),
    missing=st.lists(names, max_size=3, unique=True),
)
def test_the_column_specification_written_is_the_one_read(tmp_path_factory, columns, missing):
    columns = list(dict.fromkeys(unicodedata.normalize("NFC", column) for column in columns))
    split = Split("label", "bad", None, frozenset(columns[:1]), 0.3, 1, tuple(missing), ("own",), ())
    text = column_specification(split, Holding("p", tuple(columns)))
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(text, encoding="utf-8")
    message = load_specification(path)
    assert [column.name for column in message.columns] == columns
    assert [column.WhichOneof("rule") for column in message.columns] == [
        "quantiles",
        *["categories"] * (len(columns) - 1),
    ]
    assert list(message.missing_values) == missing


def test_a_node_reads_what_the_split_wrote_however_odd_the_cells(tmp_path):
    odd = ["plain", "a,b", 'say "x"', "two\nlines", "\r", " padded ", "", "NA", "é", "'"] * 4
    split = split_of(tmp_path)
    table = read_table(table_of(tmp_path, job=odd), split)
    records, specification = write_provider_files(table, split, split.providers[0], tmp_path)
    revision = prepare(
        tmp_path, records.name, specification_from_pb(load_specification(specification)), lambda *_: None
    )
    assert revision.ids == [identifier.encode() for identifier in table.ids]
    assert revision.quality[0].complete_permille == 700
