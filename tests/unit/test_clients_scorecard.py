"""Scorecards: what a file must say, and what must fit before any of it is sealed."""

import json
from copy import deepcopy

import pytest
from bourse.type.v1 import agreement_pb2, column_pb2, description_pb2

from clients.errors import ScorecardError
from clients.scorecard import check_part_range, place_part, provider_points
from clients.scorecard_file import dump_scorecard, load_scorecard, parse_scorecard, save_scorecard

DOCUMENT = {
    "format": "bourse-scorecard/1",
    "name": "Joint",
    "base_points": 412,
    "bank": {
        "missing_values": ["NA"],
        "columns": [
            {
                "name": "duration",
                "bins": [
                    {"label": "missing", "missing": True, "points": -1},
                    {"label": "(-inf, 12)", "lower": None, "upper": 12, "points": 24},
                    {"label": "[12, 24)", "lower": 12, "upper": 24, "points": 3},
                    {"label": "[24, inf)", "lower": 24, "upper": None, "points": -17},
                ],
            },
            {
                "name": "purpose",
                "bins": [
                    {"label": "missing", "missing": True, "points": 0},
                    {"label": "car", "categories": ["new car", "used car"], "points": 5},
                    {"label": "other", "other": True, "points": -2},
                ],
            },
        ],
    },
    "providers": [
        {
            "dataset": "datasets/bureau",
            "columns": [{"name": "history", "points": {"missing": 0, "paid": 11, "late": -19, "other": -4}}],
        }
    ],
}
DIGEST = bytes(range(32))


def published(*labels, name="history"):
    bins = [column_pb2.Bin(label="missing", missing=column_pb2.MissingBin())]
    bins += [
        column_pb2.Bin(label=label, categories=column_pb2.CategoryBin(values=[label])) for label in labels
    ]
    bins.append(column_pb2.Bin(label="other", other=column_pb2.OtherBin()))
    return column_pb2.Column(name=name, bins=bins)


def described(*columns):
    return description_pb2.DatasetDescription(columns=columns or [published("paid", "late")])


def licensed(**bins):
    return [agreement_pb2.AgreementColumn(name=name, bins=count) for name, count in bins.items()]


def parsed(document):
    return parse_scorecard(json.dumps(document).encode())


def changed(path, value):
    document = deepcopy(DOCUMENT)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def refusal_of(document):
    with pytest.raises(ScorecardError) as refused:
        parsed(document)
    return refused.value


def test_the_own_part_adds_the_points_of_the_bins_that_a_row_falls_into():
    own_part = parsed(DOCUMENT).own_part()
    assert own_part({"duration": " 12 ", "purpose": "used car"}) == 412 + 3 + 5
    assert own_part({"duration": "23.999", "purpose": "boat"}) == 412 + 3 - 2
    assert own_part({"duration": "NA", "purpose": None}) == 412 - 1 + 0
    assert own_part({"duration": "twelve"}) == 412 - 1 + 0
    assert own_part({"duration": "-1e3", "purpose": "new car"}) == 412 + 24 + 5


def test_a_scorecard_written_and_read_again_is_the_same_model(tmp_path):
    scorecard = parsed(changed(["providers", 0, "revision_digest"], DIGEST.hex()))
    path = tmp_path / "card.json"
    save_scorecard(scorecard, path)
    again = load_scorecard(path)
    assert again == scorecard
    assert dump_scorecard(again) == path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_the_providers_part_does_not_change_as_a_model_with_the_banks_own_points():
    part = parsed(DOCUMENT).providers[0]
    other_base = parsed(changed(["base_points"], 5)).providers[0]
    other_points = parsed(changed(["providers", 0, "columns", 0, "points", "late"], -18)).providers[0]
    assert part.canonical_bytes() == other_base.canonical_bytes()
    assert part.canonical_bytes() != other_points.canonical_bytes()


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (["format"], "bourse-scorecard/2", "format"),
        (["name"], "", "name"),
        (["base_points"], 3.0, "base_points"),
        (["base_points"], True, "base_points"),
        (["base_points"], 1_000_001, "base_points"),
        (["bank", "missing_values"], [" NA"], "bank.missing_values[0]"),
        (["bank", "columns", 1, "name"], "duration", "bank.columns[1].name"),
        (["bank", "columns", 0, "bins", 0, "points"], "3", "bank.columns[0].bins[0].points"),
        (["bank", "columns", 0, "bins", 1, "upper"], 11, "bank.columns[0].bins[2].lower"),
        (["bank", "columns", 0, "bins", 3, "upper"], 30, "bank.columns[0].bins[3].upper"),
        (["bank", "columns", 0, "bins", 1, "label"], "missing", "bank.columns[0].bins[1].label"),
        (["bank", "columns", 0, "bins", 2, "other"], True, "bank.columns[0].bins[2]"),
        (
            ["bank", "columns", 1, "bins", 1, "categories"],
            ["car", "car"],
            "bank.columns[1].bins[1].categories[1]",
        ),
        (
            ["bank", "columns", 1, "bins", 2],
            {"label": "x", "categories": ["x"], "points": 1},
            "bank.columns[1].bins[2]",
        ),
        (["bank", "columns", 1, "bins", 0, "missing"], False, "bank.columns[1].bins[0]"),
        (["providers", 0, "dataset"], "bureau", "providers[0].dataset"),
        (["providers", 0, "columns"], [], "providers[0].columns"),
        (["providers", 0, "revision_digest"], "ab", "providers[0].revision_digest"),
        (["providers", 0, "columns", 0, "points", "paid"], 1.5, 'providers[0].columns[0].points["paid"]'),
        (["providers", 0, "color"], "red", "providers[0].color"),
    ],
)
def test_a_malformed_scorecard_is_refused_and_the_place_is_named(path, value, place):
    assert refusal_of(changed(path, value)).message.startswith(place + ":")


def test_a_missing_key_is_named():
    document = deepcopy(DOCUMENT)
    del document["bank"]["columns"][0]["bins"][2]["points"]
    assert refusal_of(document).message == "bank.columns[0].bins[2].points: is missing."


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b'{"format": 1, "format": 2}', "twice"),
        (b'{"base_points": NaN}', "NaN"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b"[" * 100_000, "deep"),
        (b"{", "line 1"),
        (b'{"base_points": ' + b"9" * 21 + b"}", "digits"),
    ],
)
def test_json_that_can_be_read_in_two_ways_is_refused(text, word):
    with pytest.raises(ScorecardError, match=word):
        parse_scorecard(text)


def test_points_are_placed_on_all_licensed_columns_in_the_licenses_order():
    description = described(published("paid", "late"), published("yes", name="phone"))
    placed = place_part(
        parsed(DOCUMENT), "datasets/bureau", description, DIGEST, licensed(phone=3, history=4)
    )
    assert placed.columns == ("phone", "history")
    assert placed.weights == [0, 0, 0, 0, 11, -19, -4]


@pytest.mark.parametrize(
    ("description", "columns", "words"),
    [
        (described(published("paid")), licensed(history=3), 'points: unknown bin "late"'),
        (
            described(published("paid", "late", "new")),
            licensed(history=5),
            'no points for the published bin "new"',
        ),
        (described(published("paid", name="phone")), licensed(phone=3), 'publishes no column "history"'),
        (
            described(published("paid", "late"), published(name="phone")),
            licensed(phone=2),
            "license does not allow",
        ),
    ],
)
def test_a_scorecard_that_does_not_fit_what_is_published_or_licensed_is_refused(description, columns, words):
    with pytest.raises(ScorecardError) as refused:
        place_part(parsed(DOCUMENT), "datasets/bureau", description, DIGEST, columns)
    assert words in refused.value.message
    assert refused.value.message.startswith("providers[0].columns[0]")


def test_points_made_for_another_revision_are_refused():
    scorecard = parsed(changed(["providers", 0, "revision_digest"], DIGEST.hex()))
    assert place_part(scorecard, "datasets/bureau", described(), DIGEST, licensed(history=4)).weights
    with pytest.raises(ScorecardError, match="another revision"):
        place_part(scorecard, "datasets/bureau", described(), bytes(32), licensed(history=4))


@pytest.mark.parametrize(("points", "fits"), [(1023, True), (1024, False), (-1023, True), (-1024, False)])
def test_a_part_beyond_what_the_license_opens_is_refused_with_the_way_out(points, fits):
    scorecard = parsed(changed(["providers", 0, "columns", 0, "points", "late"], points))
    placed = place_part(scorecard, "datasets/bureau", described(), DIGEST, licensed(history=4))
    if fits:
        check_part_range("providers[0]", placed, profile="score-v1", drop=9)
        return
    with pytest.raises(ScorecardError) as refused:
        check_part_range("providers[0]", placed, profile="score-v1", drop=9)
    assert "1023" in refused.value.limit
    assert "smaller drop" in refused.value.way_out
    check_part_range("providers[0]", placed, profile="score-v1", drop=7)


def test_the_plain_part_of_a_person_whom_the_provider_does_not_know_is_that_of_the_missing_bins():
    scorecard = parsed(changed(["providers", 0, "columns", 0, "points", "missing"], 7))
    points = provider_points(scorecard.providers[0], described(), ["?"])
    assert points({}) == points({"history": "?"}) == points({"history": " "}) == 7
    assert points({"history": "late"}) == -19
    assert points({"history": "unheard of"}) == -4
