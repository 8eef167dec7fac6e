"""Making a scorecard of an imported table: which column is whose, and whether its bins are the published
ones.

A variable that one of the datasets publishes goes to that provider, and its bins must be exactly the
published ones: points made for other bins would score other persons. Every other variable is the bank's own.

Source: docs/spec/scorecard.md.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from bourse.type.v1 import description_pb2

from clients.errors import InputError
from clients.scorecard import OwnColumn, ProviderColumn, ProviderPart, Scorecard
from clients.scorecard_file import MAX_POINTS
from clients.scorecard_tables import Table, TableBin
from wire.bins import (
    MAX_LABEL_BYTES,
    Bin,
    CategoryBin,
    Column,
    ColumnError,
    IntervalBin,
    MissingBin,
    OtherBin,
    interval_label,
)
from wire.columns import column_from_pb


@dataclass(frozen=True)
class Choices:
    """What a table leaves open.

    `base_points` are added to the table's own. `missing_points` are those of missing values in variables
    whose table has none. `rounding` rounds points to whole ones, halves to even; without it they must be
    whole. `own` are variables that stay with the bank although a dataset publishes their name.
    """

    base_points: int = 0
    missing_points: int | None = None
    rounding: bool = False
    own: Collection[str] = ()
    missing_values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A dataset's revision as published: its description, verified, and its 32-byte digest."""

    dataset: str
    description: description_pb2.DatasetDescription
    revision_digest: bytes


def make_scorecard(
    name: str, table: Table, published: Sequence[Published], choices: Choices
) -> tuple[Scorecard, tuple[str, ...]]:
    """Return the scorecard of `table` and remarks for the person who imports it.

    Raises InputError that names the variable when bins differ from the published ones, points are not whole,
    or a choice is missing.
    """
    maker = _Maker(choices, list(table.remarks))
    owners = _owners(table.variables, published, choices.own)
    own_columns = tuple(
        maker.own_column(variable, bins)
        for variable, bins in table.variables.items()
        if variable not in owners
    )
    parts = []
    for one in published:
        columns = {column.name: column for column in one.description.columns}
        mine = [variable for variable, dataset in owners.items() if dataset == one.dataset]
        if mine:
            parts.append(
                ProviderPart(
                    one.dataset,
                    one.revision_digest,
                    tuple(
                        maker.provider_column(column_from_pb(columns[variable]), table.variables[variable])
                        for variable in mine
                    ),
                )
            )
        else:
            maker.remarks.append(f"{one.dataset} publishes none of the table's variables and is left out.")
    base_points = choices.base_points
    if table.base_points is not None:
        base_points += maker.whole("basepoints", table.base_points)
    scorecard = Scorecard(name, base_points, choices.missing_values, own_columns, tuple(parts))
    return scorecard, tuple(maker.remarks)


def _owners(
    variables: Collection[str], published: Sequence[Published], own: Collection[str]
) -> dict[str, str]:
    """Return the dataset of each variable that is not the bank's own."""
    for variable in own:
        if variable not in variables:
            raise InputError(f'The table has no variable "{variable}" to keep with the bank.')
    owners: dict[str, str] = {}
    for variable in variables:
        datasets = [
            one.dataset
            for one in published
            if any(column.name == variable for column in one.description.columns)
        ]
        if variable in own or not datasets:
            continue
        if len(datasets) > 1:
            raise InputError(
                f'"{variable}" is published by {" and ".join(datasets)}.',
                way_out="Rename it, import with fewer datasets, or keep it with the bank (--own).",
            )
        owners[variable] = datasets[0]
    return owners


class _Maker:
    """Turns table bins into columns; collects remarks."""

    def __init__(self, choices: Choices, remarks: list[str]) -> None:
        self._choices = choices
        self.remarks = remarks

    def own_column(self, variable: str, table_bins: Sequence[TableBin]) -> OwnColumn:
        missing = self._missing_points(variable, table_bins)
        bins: list[Bin] = [MissingBin()]
        points = [missing]
        if any(one.interval for one in table_bins):
            for one in _by_lower_edge(table_bins):
                lower, upper = one.interval or (None, None)
                bins.append(IntervalBin(interval_label(lower, upper), lower, upper))
                points.append(self.whole(variable, one.points))
        else:
            for one in table_bins:
                if one.categories:
                    bins.append(CategoryBin(_group_label(one.categories, bins), one.categories))
                    points.append(self.whole(variable, one.points))
            bins.append(OtherBin())
            points.append(self._unseen_points(variable, missing))
        try:
            return OwnColumn(Column(variable, "", "", tuple(bins)), tuple(points))
        except ColumnError as error:
            raise InputError(
                f'"{variable}": {error}.',
                way_out="Export the table with more digits (show_digits), or correct its bins.",
            ) from None

    def provider_column(self, column: Column, table_bins: Sequence[TableBin]) -> ProviderColumn:
        missing = self._missing_points(column.name, table_bins)
        if column.numeric:
            points = self._interval_points(column, table_bins)
        else:
            points = self._category_points(column, table_bins, missing)
        return ProviderColumn(column.name, {column.bins[0].label: missing, **points})

    def whole(self, variable: str, points: Decimal) -> int:
        number = points.to_integral_value(ROUND_HALF_EVEN)
        if number != points and not self._choices.rounding:
            raise InputError(
                f'"{variable}": its points are not whole numbers.',
                way_out="Fit the scorecard with rounding, or import it with --round.",
            )
        if abs(number) > MAX_POINTS:
            raise InputError(f'"{variable}": points must not exceed {MAX_POINTS}.')
        return int(number)

    def _missing_points(self, variable: str, table_bins: Sequence[TableBin]) -> int:
        for one in table_bins:
            if one.missing:
                return self.whole(variable, one.points)
        if self._choices.missing_points is None:
            raise InputError(
                f'"{variable}": the table has no points for missing values.',
                way_out="Say which with --missing-points; every column has a missing bin.",
            )
        return self._choices.missing_points

    def _unseen_points(self, variable: str, missing: int) -> int:
        self.remarks.append(
            f'"{variable}": categories that the table does not list get the points of missing values.'
        )
        return missing

    def _interval_points(self, column: Column, table_bins: Sequence[TableBin]) -> dict[str, int]:
        found = {one.interval: one.points for one in table_bins if one.interval}
        points = {}
        for one in column.bins:
            if isinstance(one, IntervalBin):
                if (one.lower, one.upper) not in found:
                    raise _differs(column, table_bins)
                points[one.label] = self.whole(column.name, found.pop((one.lower, one.upper)))
        if found:
            raise _differs(column, table_bins)
        return points

    def _category_points(
        self, column: Column, table_bins: Sequence[TableBin], missing: int
    ) -> dict[str, int]:
        groups = {frozenset(one.categories): one.points for one in table_bins if one.categories}
        listed = {value for one in column.bins if isinstance(one, CategoryBin) for value in one.values}
        points = {}
        for one in column.bins:
            if isinstance(one, CategoryBin):
                if frozenset(one.values) not in groups:
                    raise _differs(column, table_bins)
                points[one.label] = self.whole(column.name, groups.pop(frozenset(one.values)))
        other = column.bins[-1].label
        if not groups:
            points[other] = self._unseen_points(column.name, missing)
            return points
        (group, group_points), *more = groups.items()
        if more or group & listed:
            raise _differs(column, table_bins)
        self.remarks.append(
            f'"{column.name}": the bin "{other}" takes the points of the one group that is not published.'
        )
        points[other] = self.whole(column.name, group_points)
        return points


def _differs(column: Column, table_bins: Sequence[TableBin]) -> InputError:
    made = [
        interval_label(*one.interval) if one.interval else " | ".join(one.categories)
        for one in table_bins
        if one.interval or one.categories
    ]
    return InputError(
        f'"{column.name}": the table\'s bins are not the published ones.',
        limit="published: " + "; ".join(one.label for one in column.bins[1:]),
        asked="in the table: " + "; ".join(made),
        way_out="Fit the scorecard on the published bins (user_splits, breaks_list), with all digits shown.",
    )


def _by_lower_edge(table_bins: Sequence[TableBin]) -> list[TableBin]:
    return sorted(
        (one for one in table_bins if one.interval),
        key=lambda one: float("-inf") if one.interval is None or one.interval[0] is None else one.interval[0],
    )


def _group_label(categories: Sequence[str], before: Sequence[Bin]) -> str:
    label = " | ".join(categories)
    if len(label.encode()) > MAX_LABEL_BYTES:
        label = f"group {len(before)}"
    taken: Mapping[str, Bin] = {one.label: one for one in before}
    return label if label not in taken and label != OtherBin().label else f"group {len(before)}"
