"""Scorecards that optbinning and scorecardpy made become ours, or the first difference is named."""

import pytest
from bourse.type.v1 import column_pb2, description_pb2

from clients.errors import InputError
from clients.scorecard_file import dump_scorecard, parse_scorecard
from clients.scorecard_import import Choices, Published, make_scorecard
from clients.scorecard_tables import read_table
from wire.bins import category_column, interval_column
from wire.columns import column_to_pb

# As pandas writes optbinning's Scorecard.table(): the row numbers start anew for every variable, and numpy
# wraps long arrays.
OPTBINNING = """,Variable,Bin,Points
0,duration,"(-inf, 12.00)",34.0
1,duration,"[12.00, 24.00)",21.0
2,duration,"[24.00, inf)",5.0
3,duration,Special,19.0
4,duration,Missing,18.0
0,purpose,['car (used)' 'radio/television'],30.0
1,purpose,"[""driver's licence"" 'furniture/equipment' 'domestic appliances' 'retraining'
 'repairs']",21.0
2,purpose,['others' 'vacation'],12.0
3,purpose,Special,0.0
4,purpose,Missing,20.0
0,age,"(-inf, 25.00)",10.0
1,age,"[25.00, inf)",28.0
2,age,Special,0.0
3,age,Missing,17.0
0,housing,['own'],26.0
1,housing,['rent' 'for free'],14.0
2,housing,Special,0.0
3,housing,Missing,19.0
"""

# As pd.concat(scorecardpy.scorecard(...)).to_csv() writes it.
SCORECARDPY = """,,variable,bin,points
basepoints,0,basepoints,,442.0
age,0,age,"[-inf,25.0)",-37.0
age,1,age,"[25.0,inf)",19.0
housing,2,housing,"rent%,%for free",-24.0
housing,3,housing,own,11.0
phone,4,phone,missing,3.0
phone,5,phone,"[-inf,2.0)",-6.0
phone,6,phone,"[2.0,inf)",8.0
job,7,job,"missing%,%none",-9.0
job,8,job,skilled,4.0
"""


def table_of(tmp_path, text, source):
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_table(path, source)


def bureau(*columns):
    return Published(
        "datasets/bureau",
        description_pb2.DatasetDescription(columns=[column_to_pb(column) for column in columns]),
        bytes(range(32)),
    )


AGE = interval_column("age", "", "year", [25.0])
HOUSING = category_column("housing", "", [("owner", ["own"]), ("no owner", ["for free", "rent"])])


def points_of(scorecard, name):
    (found,) = (own for own in scorecard.own_columns if own.column.name == name)
    return {one.label: points for one, points in zip(found.column.bins, found.points, strict=True)}


def test_an_optbinning_table_is_parted_between_bank_and_provider_by_what_is_published(tmp_path):
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    scorecard, remarks = make_scorecard("Joint", table, [bureau(AGE, HOUSING)], Choices(base_points=3))
    assert scorecard.base_points == 3
    assert [own.column.name for own in scorecard.own_columns] == ["duration", "purpose"]
    assert points_of(scorecard, "duration") == {
        "missing": 18, "(-inf, 12)": 34, "[12, 24)": 21, "[24, inf)": 5,
    }  # fmt: skip
    (part,) = scorecard.providers
    assert part.revision_digest == bytes(range(32))
    assert {column.name: dict(column.points) for column in part.columns} == {
        "age": {"missing": 17, "(-inf, 25)": 10, "[25, inf)": 28},
        "housing": {"missing": 19, "owner": 26, "no owner": 14, "other": 19},
    }
    assert any("Special" in remark and "duration" in remark for remark in remarks)
    assert parse_scorecard(dump_scorecard(scorecard)) == scorecard


def test_categories_that_numpy_quotes_and_wraps_are_read_exactly(tmp_path):
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    scorecard, _ = make_scorecard("Own", table, [], Choices())
    score = scorecard.own_part()
    row = {"duration": "12", "age": "25", "housing": "own"}
    assert score(row | {"purpose": "driver's licence"}) == 21 + 28 + 26 + 21
    assert score(row | {"purpose": "repairs"}) == 21 + 28 + 26 + 21
    assert score(row | {"purpose": "never seen"}) == 21 + 28 + 26 + 20


def test_a_group_of_categories_that_a_provider_does_not_list_stands_for_its_other_bin(tmp_path):
    purpose = category_column(
        "purpose",
        "",
        [
            ("a", ["car (used)", "radio/television"]),
            (
                "b",
                ["driver's licence", "furniture/equipment", "domestic appliances", "retraining", "repairs"],
            ),
        ],
    )
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    scorecard, remarks = make_scorecard("Joint", table, [bureau(purpose)], Choices())
    assert dict(scorecard.providers[0].columns[0].points) == {"missing": 20, "a": 30, "b": 21, "other": 12}
    assert any('the bin "other" takes the points' in remark for remark in remarks)


def test_a_scorecardpy_table_brings_its_base_points_and_its_missing_values(tmp_path):
    table = table_of(tmp_path, SCORECARDPY, "scorecardpy")
    scorecard, _ = make_scorecard("Joint", table, [bureau(AGE)], Choices(missing_points=1))
    assert scorecard.base_points == 442
    assert points_of(scorecard, "phone") == {"missing": 3, "(-inf, 2)": -6, "[2, inf)": 8}
    assert points_of(scorecard, "housing") == {"missing": 1, "rent | for free": -24, "own": 11, "other": 1}
    assert points_of(scorecard, "job") == {"missing": -9, "none": -9, "skilled": 4, "other": -9}
    assert dict(scorecard.providers[0].columns[0].points) == {
        "missing": 1,
        "(-inf, 25)": -37,
        "[25, inf)": 19,
    }


@pytest.mark.parametrize(
    ("columns", "choices", "words"),
    [
        ([interval_column("age", "", "", [26.0])], Choices(), "not the published ones"),
        ([interval_column("age", "", "", [25.0, 40.0])], Choices(), "not the published ones"),
        ([category_column("housing", "", [("owner", ["own"])])], Choices(), None),
        ([category_column("housing", "", [("owner", ["own", "rent"])])], Choices(), "not the published ones"),
        ([category_column("housing", "", [("x", ["own"]), ("y", ["rent"])])], Choices(), "not the published"),
        ([AGE], Choices(own=["age"]), None),
        ([AGE], Choices(own=["size"]), "no variable"),
    ],
)
def test_bins_other_than_the_published_ones_are_refused(tmp_path, columns, choices, words):
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    if words is None:
        make_scorecard("Joint", table, [bureau(*columns)], choices)
        return
    with pytest.raises(InputError, match=words):
        make_scorecard("Joint", table, [bureau(*columns)], choices)


def test_a_variable_that_two_datasets_publish_needs_a_choice(tmp_path):
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    twice = [bureau(AGE), Published("datasets/registry", bureau(AGE).description, bytes(32))]
    with pytest.raises(InputError, match="datasets/bureau and datasets/registry"):
        make_scorecard("Joint", table, twice, Choices())


def test_points_with_a_fraction_are_rounded_only_when_asked(tmp_path):
    text = OPTBINNING.replace("34.0", "33.5000001").replace("21.0", "20.5")
    table = table_of(tmp_path, text, "optbinning")
    with pytest.raises(InputError) as refused:
        make_scorecard("Own", table, [], Choices())
    assert "--round" in refused.value.way_out
    scorecard, _ = make_scorecard("Own", table, [], Choices(rounding=True))
    assert points_of(scorecard, "duration")["(-inf, 12)"] == 34
    assert points_of(scorecard, "duration")["[12, 24)"] == 20


def test_missing_values_without_points_need_a_choice(tmp_path):
    table = table_of(tmp_path, SCORECARDPY, "scorecardpy")
    with pytest.raises(InputError) as refused:
        make_scorecard("Own", table, [], Choices())
    assert "--missing-points" in refused.value.way_out


@pytest.mark.parametrize(
    ("source", "text", "words"),
    [
        ("optbinning", "Variable,Bin\nage,x\n", 'one column "Points"'),
        ("optbinning", "Variable,Bin,Points\nage,No Bureau Record,1\n", "row 1: the bin is none"),
        ("optbinning", "Variable,Bin,Points\nage,['a' ... 'z'],1\n", "row 1: the categories cannot be read"),
        ("optbinning", "Variable,Bin,Points\nage,[1.5 2.5],1\n", "categories cannot be read"),
        ("optbinning", 'Variable,Bin,Points\nage,"[x, 2)",1\n', "edge of the interval"),
        ("optbinning", "Variable,Bin,Points\nage,Missing,many\n", "row 1: the points are no number"),
        ("optbinning", "Variable,Bin,Points\nage,Missing\n", "row 1: has 2 cells"),
        ("optbinning", 'Variable,Bin,Points\nage,"Missing,1\n', "not CSV"),
        ("optbinning", "Variable,Bin,Points\nage,Missing,1\nage,Missing,2\n", "two rows for missing values"),
        ("scorecardpy", 'variable,bin,points\nage,"[-inf,2.0)",1\nage,-9.0,2\n', "mixes intervals"),
        ("scorecardpy", "variable,bin,points\nbasepoints,,400\n", "no variables"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_and_the_row_is_named(tmp_path, source, text, words):
    with pytest.raises(InputError, match=words):
        table_of(tmp_path, text, source)


def test_intervals_that_lost_their_digits_are_refused(tmp_path):
    rows = ['rate,"(-inf, 0.00)",1', 'rate,"[0.00, 0.00)",2', 'rate,"[0.00, inf)",3', "rate,Missing,0"]
    text = "\n".join(["Variable,Bin,Points", *rows])
    with pytest.raises(InputError) as refused:
        make_scorecard("Own", table_of(tmp_path, text, "optbinning"), [], Choices())
    assert "show_digits" in refused.value.way_out


def test_whole_numbers_as_categories_are_texts(tmp_path):
    text = "Variable,Bin,Points\ncode,[1 22 -3],1\ncode,\"['4', np.str_('5')]\",2\ncode,Missing,0\n"
    scorecard, _ = make_scorecard("Own", table_of(tmp_path, text, "optbinning"), [], Choices())
    score = scorecard.own_part()
    assert [score({"code": code}) for code in ("1", "-3", "5", "4", "6")] == [1, 1, 2, 2, 0]


def test_the_missing_bin_of_a_published_column_is_named_as_published(tmp_path):
    message = column_to_pb(AGE)
    message.bins[0].CopyFrom(column_pb2.Bin(label="unknown", missing=column_pb2.MissingBin()))
    table = table_of(tmp_path, OPTBINNING, "optbinning")
    published = Published("datasets/bureau", description_pb2.DatasetDescription(columns=[message]), bytes(32))
    scorecard, _ = make_scorecard("Joint", table, [published], Choices())
    assert scorecard.providers[0].columns[0].points["unknown"] == 17
