"""Who there is in the market of the tests, what is known of them, and what the plaintext scorecard gives.

Computed from the records themselves, by other means than the product's.
"""

import csv
import io
import random
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bourse.compute.v1 import publication_pb2

from clients.rows import Rows
from clients.scorecard import OwnColumn
from wire.bins import Bin, Column, IntervalBin, MissingBin

REGISTRY = "employment-registry"
BUREAU = "payments-bureau"
BASE_POINTS = 500

# Known to both providers, to one of them alone, and to nobody.
KNOWN = tuple(f"applicant-{number:05}" for number in range(3000))
STRANGERS = tuple(f"stranger-{number:05}" for number in range(200))

Record = Mapping[str, str]


@dataclass(frozen=True)
class Attribute:
    """One column: how a steward would have it binned, and the points of its bins in their order.

    Bin 0 is the missing bin; then intervals between `edges`, or the `groups` and the other bin.
    """

    name: str
    points: tuple[int, ...]
    edges: tuple[float, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def rule(self) -> publication_pb2.ColumnRule:
        """The rule as the steward gives it."""
        if self.edges:
            return publication_pb2.ColumnRule(
                name=self.name, edges=publication_pb2.EdgeRule(edges=self.edges)
            )
        groups = [publication_pb2.CategoryGroup(values=group) for group in self.groups]
        return publication_pb2.ColumnRule(
            name=self.name, categories=publication_pb2.CategoryRule(groups=groups)
        )

    def points_of(self, text: str) -> int:
        """What the plaintext scorecard gives to a cell."""
        if self.edges:
            try:
                return self.points[1 + bisect_right(self.edges, float(text))]
            except ValueError:
                return self.points[0]
        if text in {"", "NA"}:
            return self.points[0]
        for place, group in enumerate(self.groups):
            if text in group:
                return self.points[1 + place]
        return self.points[-1]


ATTRIBUTES: Mapping[str, tuple[Attribute, ...]] = {
    REGISTRY: (
        Attribute("years_employed", (-31, -17, 4, 40, 111), edges=(1.0, 4.0, 7.0)),
        Attribute("job", (-7, 58, -12, 23), groups=(("skilled",), ("unskilled", "resident"))),
    ),
    BUREAU: (
        Attribute("late_payments", (-3, 90, -40, -260), edges=(1.0, 3.0)),
        Attribute("housing", (0, 77, -21, -5), groups=(("own",), ("rent",))),
        Attribute("balance", (-1, -200, 13, 205, 403), edges=(-100.5, 0.0, 2500.0)),
    ),
}


def records_of(provider: str) -> dict[str, Record]:
    """A provider's records by person: with absent persons, absent cells, and cells that do not parse."""
    draw = random.Random(f"records of {provider}")
    found: dict[str, Record] = {}
    for number, person in enumerate(KNOWN):
        if number % 5 == (0 if provider == REGISTRY else 1):
            continue
        if provider == REGISTRY:
            values = {
                "years_employed": draw.choice(["", "NA", "0.5", "1", "3.99", "4", "6", "7", "31", "many"]),
                "job": draw.choice(["skilled", "unskilled", "resident", "management", "", "NA"]),
            }
        else:
            values = {
                "late_payments": draw.choice(["", "0", "1", "2", "3", "17", "?"]),
                "housing": draw.choice(["own", "rent", "for free", "NA", ""]),
                "balance": draw.choice(["-100.5", "-101", "-0.01", "0", "2499.99", "2500", "1e6", "", "n/k"]),
            }
        found[person] = values
    return found


def csv_of(records: Mapping[str, Record]) -> bytes:
    """The file of these records."""
    text = io.StringIO(newline="")
    names = list(next(iter(records.values())))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["applicant", *names])
    writer.writerows([person, *record.values()] for person, record in records.items())
    return text.getvalue().encode()


def rows_of(persons: Sequence[str]) -> Rows:
    """The bank's own rows."""
    return Rows(tuple(persons), {"age": [_age(person) for person in persons]})


def own_columns() -> tuple[OwnColumn, ...]:
    """The bank's own columns with their points."""
    bins: tuple[Bin, ...] = (
        MissingBin("missing"),
        IntervalBin("young", None, 30.0),
        IntervalBin("old", 30.0, None),
    )
    return (OwnColumn(Column("age", "", "year", bins), (-9, 14, 37)),)


def own_points(person: str) -> int:
    """Base points and the bank's own part."""
    age = _age(person)
    return BASE_POINTS + (-9 if age in {"", "NA"} else 14 if int(age) < 30 else 37)


def _age(person: str) -> str:
    number = int(person.rpartition("-")[2])
    return ("", "NA", "18", "29", "30", "64")[number % 6]
