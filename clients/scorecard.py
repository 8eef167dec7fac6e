"""Scorecards: a bank's model, and what it must obey before any of it is sealed.

    score = base points + points of the bank's own columns + one part per provider

All are integers, so a sealed score equals the plaintext one to the last point. Here are the model and its
fit to published descriptions, license and range; `clients.scorecard_file` reads and writes the file.

Source: docs/spec/scorecard.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bourse.type.v1 import agreement_pb2, description_pb2

from clients.errors import ScorecardError
from clients.jsontext import canonical_json
from sealed.errors import SealedError
from sealed.profiles import profile_named
from sealed.sealing import largest_score
from wire.bins import Column, bin_finder
from wire.columns import column_from_pb

Cells = Mapping[str, str | None]
"""One row: the text of each column's cell, None or absent when there is none."""


@dataclass(frozen=True)
class OwnColumn:
    """One of the bank's own columns, and the points of each of its bins."""

    column: Column
    points: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True)
class ProviderColumn:
    """Points of every published bin of one attribute, by the bin's label."""

    name: str
    points: Mapping[str, int] = field(repr=False)


@dataclass(frozen=True)
class ProviderPart:
    """What one dataset adds to the score.

    `revision_digest` is 32 bytes when the points were made for that revision alone, else None.
    """

    dataset: str
    revision_digest: bytes | None
    columns: tuple[ProviderColumn, ...]

    def canonical_bytes(self) -> bytes:
        """Return the bytes of this part as a model: what its digest and commitment are made of.

        Only what decides the part is in it, so other base points or own columns need no new sealing.
        Source: docs/spec/keystore.md, "The model".
        """
        return canonical_json(
            {
                "format": "bourse-scorecard/1",
                "dataset": self.dataset,
                "columns": [{"name": column.name, "points": dict(column.points)} for column in self.columns],
            }
        )


@dataclass(frozen=True)
class Scorecard:
    """A bank's model. Obeys docs/spec/scorecard.md except for what only a published description can show."""

    name: str
    base_points: int = field(repr=False)
    missing_values: tuple[str, ...]
    own_columns: tuple[OwnColumn, ...]
    providers: tuple[ProviderPart, ...]

    def part_of(self, dataset: str) -> ProviderPart:
        """Return the part of `dataset`. Raises ScorecardError when there is none."""
        return self.providers[self.place_of(dataset)]

    def place_of(self, dataset: str) -> int:
        """Return the index of `dataset`'s part. Raises ScorecardError when there is none."""
        for index, part in enumerate(self.providers):
            if part.dataset == dataset:
                return index
        raise ScorecardError(
            f"The scorecard gives no points to {dataset}.",
            way_out=f"It names: {', '.join(part.dataset for part in self.providers) or 'no provider'}.",
        )

    def own_part(self) -> Callable[[Cells], int]:
        """Return the function from a row to base points plus the bank's part: what never leaves the bank."""
        finders = [
            (own.column.name, bin_finder(own.column, self.missing_values), own.points)
            for own in self.own_columns
        ]
        return lambda cells: (
            self.base_points + sum(points[find(cells.get(name))] for name, find, points in finders)
        )


@dataclass(frozen=True)
class PlacedPart:
    """A provider part, its points placed on the bins of a license's columns.

    `points[j][b]` are those of bin b of licensed column j; columns the scorecard does not name have zeros.
    """

    columns: tuple[str, ...]
    points: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def weights(self) -> list[int]:
        """The weights of the sealed model's columns, in their order, without the encryptions of zero."""
        return [points for column in self.points for points in column]


def place_part(
    scorecard: Scorecard,
    dataset: str,
    description: description_pb2.DatasetDescription,
    revision_digest: bytes,
    columns: Sequence[agreement_pb2.AgreementColumn],
) -> PlacedPart:
    """Return the points of `dataset`'s part on the licensed `columns`, as the description publishes their
    bins.

    Raises ScorecardError, naming the place, for another revision than the file names, for an attribute that
    is not published or not licensed, for a label that is not published and for a published label without
    points.
    """
    index = scorecard.place_of(dataset)
    part, place = scorecard.providers[index], f"providers[{index}]"
    if part.revision_digest is not None and part.revision_digest != revision_digest:
        raise ScorecardError(
            f"{place}.revision_digest: the points were made for another revision of {dataset}.",
            way_out="License that revision, or make points for this one.",
        )
    published = {column.name: [one.label for one in column.bins] for column in description.columns}
    placed = {column.name: (0,) * column.bins for column in columns}
    for number, column in enumerate(part.columns):
        where = f"{place}.columns[{number}]"
        if column.name not in published:
            raise ScorecardError(
                f'{where}.name: {dataset} publishes no column "{column.name}".',
                way_out=f"It publishes: {', '.join(published)}.",
            )
        if column.name not in placed:
            raise ScorecardError(
                f'{where}.name: the license does not allow the column "{column.name}".',
                limit=f"licensed: {', '.join(placed)}",
                way_out="Leave the column out, or ask for a license that has it.",
            )
        placed[column.name] = _placed_points(f"{where}.points", column, published[column.name])
    return PlacedPart(tuple(placed), tuple(placed.values()))


def check_part_range(place: str, placed: PlacedPart, *, profile: str, drop: int) -> None:
    """Raise ScorecardError unless every score the part can give opens exactly under `profile` and `drop`.

    `place` names the part, such as `providers[0]`.
    """
    try:
        limit = profile_named(profile).max_score(drop)
    except SealedError as error:
        raise ScorecardError(f"{place}: the license's profile or drop cannot be used: {error}.") from None
    largest = largest_score(placed.points)
    if largest > limit:
        factor = -(-largest // max(limit, 1))
        raise ScorecardError(
            f"{place}: the largest |score| of this part exceeds what the license opens.",
            limit=f"{limit}, at {profile} and drop {drop}",
            asked=str(largest),
            way_out=f"Divide all points of the scorecard by {factor} or more, or license a smaller drop.",
        )


def provider_points(
    part: ProviderPart,
    description: description_pb2.DatasetDescription,
    missing_values: Sequence[str] = (),
) -> Callable[[Cells], int]:
    """Return the function from a provider's row to its part, by plain arithmetic: what sealed parts must
    equal.

    An empty row is a person whom the provider does not know. `missing_values` are the texts that mean
    "absent" in the provider's file. Raises ScorecardError as `place_part` does.
    """
    published = {column.name: column for column in description.columns}
    finders = []
    for number, column in enumerate(part.columns):
        if column.name not in published:
            raise ScorecardError(f'columns[{number}].name: no column "{column.name}" is published.')
        target = column_from_pb(published[column.name])
        points = _placed_points(f"columns[{number}].points", column, [one.label for one in target.bins])
        finders.append((column.name, bin_finder(target, missing_values), points))
    return lambda cells: sum(points[find(cells.get(name))] for name, find, points in finders)


def _placed_points(where: str, column: ProviderColumn, labels: Sequence[str]) -> tuple[int, ...]:
    for label in column.points:
        if label not in labels:
            raise ScorecardError(
                f'{where}: unknown bin "{label}".',
                way_out="Published bins: " + ", ".join(f'"{known}"' for known in labels) + ".",
            )
    for label in labels:
        if label not in column.points:
            raise ScorecardError(
                f'{where}: no points for the published bin "{label}".',
                way_out="Every published bin needs points; 0 is a number of points.",
            )
    return tuple(column.points[label] for label in labels)
