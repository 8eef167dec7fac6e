"""Fitting the example's scorecard on any labeled table: points for every published bin, within range."""

import csv
import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from bourse.type.v1 import description_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clients.column_file import load_specification
from clients.demo.fit import TrainingColumn, TrainingPart, auc, fit_scorecard, ks, own_column
from clients.demo.split import Holding, Split, load_split, part_rows, read_table, write_provider_files
from clients.errors import InputError
from clients.scorecard import provider_points
from clients.scorecard_file import dump_scorecard, parse_scorecard
from compute.records.convert import describe, specification_from_pb
from compute.records.preparation import prepare
from wire.bins import category_column

EXAMPLE = Path(__file__).parents[2] / "examples" / "german-credit"


class Fitted:
    """A table parted, published by nodes, and fitted: as the demo does it, without the processes."""

    def __init__(self, directory, file, split, max_part=1023):
        self.split = split
        self.table = read_table(file, split)
        self.parts = part_rows(self.table, split)
        training = self.parts.training
        self.bad = [self.table.bad[row] for row in training]
        bank = [self._own(column) for column in split.bank]
        self.descriptions = {}
        parts = []
        for holding in split.providers:
            records, specification = write_provider_files(self.table, split, holding, directory)
            asked = specification_from_pb(load_specification(specification))
            revision = prepare(directory, records.name, asked, lambda *_: None)
            dataset = f"datasets/{holding.name}"
            self.descriptions[dataset] = description_pb2.DatasetDescription.FromString(
                describe(
                    revision,
                    dataset=dataset,
                    revision=1,
                    provider=f"parties/{holding.name}",
                    bins_commitment=bytes(32),
                    prepare_time=datetime(2026, 1, 1, tzinfo=UTC),
                    change_note="",
                )
            )
            columns = tuple(
                TrainingColumn(column, self.table.cells(column.name, training)) for column in revision.columns
            )
            parts.append(TrainingPart(dataset, bytes(32), columns))
        options = {"missing_values": split.missing_values, "max_part": max_part}
        self.joint = fit_scorecard("joint", self.bad, bank, parts, **options)
        self.alone = fit_scorecard("bank alone", self.bad, bank, [], **options)

    def _own(self, column):
        cells = self.table.cells(column, self.parts.training)
        numeric = column in self.split.numeric
        return TrainingColumn(
            own_column(column, cells, numeric=numeric, missing_values=self.split.missing_values), cells
        )

    def provider_parts(self, part, rows):
        score = provider_points(part, self.descriptions[part.dataset], self.split.missing_values)
        return [score({name: cells[row] for name, cells in self.table.columns.items()}) for row in rows]

    def scores(self, card, rows):
        own = card.own_part()
        columns = [[own({n: cells[row] for n, cells in self.table.columns.items()}) for row in rows]]
        columns += [self.provider_parts(part, rows) for part in card.providers]
        return [sum(points) for points in zip(*columns, strict=True)]


@pytest.fixture(scope="module")
def german_credit(tmp_path_factory):
    directory = tmp_path_factory.mktemp("german-credit")
    return Fitted(directory, EXAMPLE / "german_credit.csv", load_split(EXAMPLE / "split.toml"))


def test_joint_scores_part_good_from_bad_better_than_the_bank_alone(german_credit):
    held_out = german_credit.parts.held_out
    bad = [german_credit.table.bad[row] for row in held_out]
    joint, alone = (
        german_credit.scores(card, held_out) for card in (german_credit.joint, german_credit.alone)
    )
    assert auc(bad, joint) > auc(bad, alone) + 0.05 > 0.65
    assert ks(bad, joint) > ks(bad, alone) + 0.1


def test_the_readme_of_the_example_says_what_comes_out(german_credit):
    held_out = german_credit.parts.held_out
    bad = [german_credit.table.bad[row] for row in held_out]
    text = (EXAMPLE / "README.md").read_text()
    for words, card in (("the bank's columns alone", german_credit.alone), ("joint", german_credit.joint)):
        scores = german_credit.scores(card, held_out)
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {words} |")]
        said = [float(cell) for cell in line.split("|")[2:4]]
        assert [auc(bad, scores), ks(bad, scores)] == pytest.approx(said, abs=0.005)


def test_points_are_given_for_every_published_bin_and_nothing_else(german_credit):
    for part in german_credit.joint.providers:
        published = german_credit.descriptions[part.dataset].columns
        assert [column.name for column in part.columns] == [column.name for column in published]
        for given_points, column in zip(part.columns, published, strict=True):
            assert list(given_points.points) == [one.label for one in column.bins]


def test_the_scorecard_fitted_is_one_that_the_bank_can_read_back(german_credit):
    for card in (german_credit.joint, german_credit.alone):
        assert parse_scorecard(dump_scorecard(card)) == card


def test_fitting_again_gives_the_same_scorecard(german_credit, tmp_path):
    again = Fitted(tmp_path, EXAMPLE / "german_credit.csv", german_credit.split)
    assert again.joint == german_credit.joint


@pytest.mark.parametrize("max_part", [1023, 100, 20, 3])
def test_no_part_exceeds_what_its_license_opens(tmp_path, max_part):
    fitted = Fitted(tmp_path, EXAMPLE / "german_credit.csv", load_split(EXAMPLE / "split.toml"), max_part)
    for part in fitted.joint.providers:
        columns = [column.points.values() for column in part.columns]
        assert sum(map(max, columns)) <= max_part
        assert -sum(map(min, columns)) <= max_part
        assert all(abs(points) <= max_part for points in fitted.provider_parts(part, range(1000)))


def test_a_safe_attribute_gives_more_points_than_a_risky_one(german_credit):
    (bureau,) = [part for part in german_credit.joint.providers if part.dataset.endswith("payments-bureau")]
    account = bureau.columns[0].points
    assert account["no checking account"] > account["0 <= ... < 200 DM"] > account["... < 0 DM"]
    assert account["missing"] == account["other"] == 0


odd_cells = st.one_of(
    st.sampled_from(["", "NA", "a", "b", "common", " common ", "nan", "1e999", "-0"]),
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4),
)


@st.composite
def labeled_tables(draw):
    rows = draw(st.integers(30, 60))
    column = st.one_of(
        st.lists(odd_cells, min_size=rows, max_size=rows),
        odd_cells.map(lambda cell: [cell] * rows),
        st.just([str(row) for row in range(rows)]),
        st.just(["rare", *["common"] * (rows - 1)]),
    )
    outcomes = [row % 3 == 0 for row in range(rows)]
    numbers = st.one_of(
        st.integers(-5, 5).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr)
    )
    columns = {name: draw(column) for name in ("own", "own-number", "x", "y")}
    columns["x-number"] = draw(st.lists(odd_cells, min_size=10, max_size=10)) + draw(
        st.lists(numbers, min_size=rows - 10, max_size=rows - 10)
    )
    return outcomes, columns


@settings(suppress_health_check=list(HealthCheck), max_examples=40, deadline=None)
@given(table=labeled_tables(), seed=st.integers(0, 1000))
def test_any_labeled_table_can_be_fitted_and_scored(tmp_path, table, seed):
    outcomes, columns = table
    file = tmp_path / "table.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["label", *columns])
        writer.writerows(zip(["bad" if bad else "good" for bad in outcomes], *columns.values(), strict=True))
    split = Split(
        label="label",
        bad="bad",
        id=None,
        numeric=frozenset({"own-number", "x-number"}),
        test_fraction=0.4,
        seed=seed,
        missing_values=("NA",),
        bank=("own", "own-number"),
        providers=(Holding("px", ("x", "x-number")), Holding("py", ("y",))),
    )
    fitted = Fitted(tmp_path, file, split)
    everybody = range(len(outcomes))
    assert all(isinstance(score, int) for score in fitted.scores(fitted.joint, everybody))
    assert parse_scorecard(dump_scorecard(fitted.joint)) == fitted.joint


def test_numbers_that_do_not_parse_and_infinities_are_in_the_missing_bin(tmp_path):
    column = own_column("x", ["1", "2", "abc", "inf", None, " 3 "], numeric=True)
    assert column.edges == (2.0, 3.0)
    assert own_column("x", ["abc"] * 9, numeric=True).edges == ()


def test_own_bins_are_made_as_a_node_makes_them(german_credit, tmp_path):
    table = german_credit.table
    columns = ("duration_in_month", "purpose")
    held = Holding("same", columns)
    records, specification = write_provider_files(table, german_credit.split, held, tmp_path)
    revision = prepare(
        tmp_path, records.name, specification_from_pb(load_specification(specification)), lambda *_: None
    )
    for column in revision.columns:
        assert own_column(column.name, table.columns[column.name], numeric=column.numeric) == column


def test_a_category_seen_only_in_the_held_out_part_falls_into_the_other_bin():
    column = category_column("x", "", [("a", ("a",)), ("b", ("b",))])
    bad = [True, False] * 20
    card = fit_scorecard("card", bad, [TrainingColumn(column, ["a", "b"] * 20)], [])
    own = card.own_part()
    assert own({"x": "b"}) > own({"x": "never seen"}) > own({"x": "a"})
    assert own({"x": "never seen"}) == own({"x": None}) == card.base_points


def test_weights_of_evidence_are_those_of_the_counts():
    """One column, balanced outcomes: the bins lie symmetrically about even odds."""
    column = category_column("x", "", [("a", ("a",)), ("b", ("b",))])
    cells = ["a"] * 100 + ["b"] * 100
    bad = [True] * 75 + [False] * 25 + [True] * 25 + [False] * 75
    card = fit_scorecard("card", bad, [TrainingColumn(column, cells)], [])
    (own,) = card.own_columns
    expected = 20 / math.log(2) * math.log((75 + 2.5) / (25 + 2.5))
    assert own.points[2] == -own.points[1]
    assert own.points[2] == pytest.approx(expected, rel=0.1)
    assert card.base_points == 500


def test_one_outcome_alone_fits_nothing():
    column = category_column("x", "", [("a", ("a",))])
    for bad in ([True] * 4, [False] * 4):
        with pytest.raises(InputError, match="one outcome only"):
            fit_scorecard("card", bad, [TrainingColumn(column, ["a"] * 4)], [])


outcomes_and_scores = st.lists(st.tuples(st.booleans(), st.integers(-20, 20)), min_size=2).filter(
    lambda rows: len({bad for bad, _ in rows}) == 2
)


@given(rows=outcomes_and_scores)
def test_auc_and_ks_are_those_of_counting_pairs_and_thresholds(rows):
    bad, scores = [one for one, _ in rows], [score for _, score in rows]
    good_scores = [score for one, score in rows if not one]
    bad_scores = [score for one, score in rows if one]
    wins = sum((good > worse) + 0.5 * (good == worse) for good in good_scores for worse in bad_scores)
    assert auc(bad, scores) == pytest.approx(wins / (len(good_scores) * len(bad_scores)))
    gaps = [
        abs(np.mean(np.array(bad_scores) <= step) - np.mean(np.array(good_scores) <= step)) for step in scores
    ]
    assert ks(bad, scores) == pytest.approx(max(gaps))


def test_the_ends_of_auc_and_ks():
    assert (auc([True, False], [1, 2]), ks([True, False], [1, 2])) == (1.0, 1.0)
    assert (auc([True, False], [2, 1]), ks([True, False], [2, 1])) == (0.0, 1.0)
    assert (auc([True, False], [1, 1]), ks([True, False], [1, 1])) == (0.5, 0.0)
