"""Column specifications: how to read a file of records and what to publish of it.

A specification that exists is usable: every rule that does not depend on the file is checked when it is made,
and all that is wrong is said at once.

Source: docs/spec/column-specification.md; bourse.compute.v1.ColumnSpecification.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from compute.records.errors import SpecificationError, Violation
from wire.bins import (
    MAX_CATEGORIES_PER_BIN,
    MAX_CATEGORY_BINS,
    MAX_EDGES,
    MAX_MEANING_CHARACTERS,
    MAX_UNIT_CHARACTERS,
    MISSING_LABEL,
    OTHER_LABEL,
    category_problem,
    label_problem,
    name_problem,
    text_problem,
)

MAX_COLUMNS = 256
MAX_MISSING_VALUES = 100
MAX_QUANTILE_BINS = 64
DEFAULT_MIN_VALID_PERMILLE = 500
DEFAULT_MIN_SHARE_PERMILLE = 10
_MAX_VIOLATIONS = 20


@dataclass(frozen=True)
class CategoryGroup:
    """Categories that share a bin. An empty label takes the categories, joined by ` | `."""

    label: str
    values: tuple[str, ...]

    @property
    def published_label(self) -> str:
        """The bin's label."""
        return self.label or " | ".join(self.values)


@dataclass(frozen=True)
class CategoryRule:
    """Bins of the groups given or, with none, of the file's frequent categories; then the other bin.

    `min_share_permille`, with no groups: categories held by fewer rows per thousand go to the other bin; 0
    means 10.
    """

    groups: tuple[CategoryGroup, ...] = ()
    min_share_permille: int = 0

    @property
    def min_share(self) -> int:
        """The share in force, in permille."""
        return self.min_share_permille or DEFAULT_MIN_SHARE_PERMILLE


@dataclass(frozen=True)
class EdgeRule:
    """Bins (-inf, e1), [e1, e2), ..., [ek, inf)."""

    edges: tuple[float, ...]


@dataclass(frozen=True)
class QuantileRule:
    """About equally full bins of numbers, 2 to 64; edges have three significant digits, equal ones merge."""

    bins: int


Rule = CategoryRule | EdgeRule | QuantileRule


@dataclass(frozen=True)
class ColumnRule:
    """How one attribute is binned."""

    name: str
    rule: Rule
    meaning: str = ""
    unit: str = ""


@dataclass(frozen=True)
class ColumnSpecification:
    """How to read a file of records. Raises SpecificationError, naming every field, unless it is usable."""

    id_column: str
    columns: tuple[ColumnRule, ...]
    min_valid_permille: int = 0
    missing_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        violations = []
        for count, violation in enumerate(_violations(self)):
            if count == _MAX_VIOLATIONS:
                violations.append(("*", f"and more; only the first {_MAX_VIOLATIONS} are listed"))
                break
            violations.append(violation)
        if violations:
            raise SpecificationError(violations)

    @property
    def min_valid(self) -> int:
        """The share of the cells that hold something which must parse, in permille."""
        return self.min_valid_permille or DEFAULT_MIN_VALID_PERMILLE


def _violations(specification: ColumnSpecification) -> Iterator[Violation]:
    problem = name_problem(specification.id_column)
    if problem:
        yield "id_column", problem
    if not 0 <= specification.min_valid_permille <= 1000:
        yield "min_valid_permille", "must be 0 to 1000; 0 means 500"
    yield from _missing_value_violations(specification.missing_values)
    if not 1 <= len(specification.columns) <= MAX_COLUMNS:
        yield "columns", f"must be 1 to {MAX_COLUMNS}; publish further ones as another dataset"
        return
    seen: set[str] = set()
    for index, column in enumerate(specification.columns):
        field = f"columns[{index}]"
        problem = name_problem(column.name)
        if problem:
            yield f"{field}.name", problem
        elif column.name == specification.id_column:
            yield f"{field}.name", "is the id column, which is never published; remove one of the two"
        elif column.name in seen:
            yield f"{field}.name", "is given twice; remove one"
        seen.add(column.name)
        yield from _column_violations(field, column, specification.missing_values)


def _missing_value_violations(values: tuple[str, ...]) -> Iterator[Violation]:
    if len(values) > MAX_MISSING_VALUES:
        yield "missing_values", f"must be at most {MAX_MISSING_VALUES}"
        return
    for index, value in enumerate(values):
        problem = None if value == "" else category_problem(value)
        if not problem and value in values[:index]:
            problem = "is given twice; remove one"
        if problem:
            yield f"missing_values[{index}]", problem


def _column_violations(
    field: str, column: ColumnRule, missing_values: tuple[str, ...]
) -> Iterator[Violation]:
    problem = text_problem(column.meaning, MAX_MEANING_CHARACTERS)
    if problem:
        yield f"{field}.meaning", problem
    problem = text_problem(column.unit, MAX_UNIT_CHARACTERS)
    if problem:
        yield f"{field}.unit", problem
    match column.rule:
        case CategoryRule():
            if column.unit:
                yield f"{field}.unit", "only numbers have a unit; leave it empty"
            yield from _category_violations(f"{field}.categories", column.rule, missing_values)
        case EdgeRule():
            yield from _edge_violations(f"{field}.edges.edges", column.rule.edges)
        case QuantileRule():
            if not 2 <= column.rule.bins <= MAX_QUANTILE_BINS:
                yield f"{field}.quantiles.bins", f"must be 2 to {MAX_QUANTILE_BINS}"


def _edge_violations(field: str, edges: tuple[float, ...]) -> Iterator[Violation]:
    if not 1 <= len(edges) <= MAX_EDGES:
        yield field, f"must be 1 to {MAX_EDGES} numbers"
        return
    for index, edge in enumerate(edges):
        if not math.isfinite(edge):
            yield f"{field}[{index}]", "must be finite; the first and the last bin have no bound anyway"
            return
    for index, (lower, upper) in enumerate(pairwise(edges), 1):
        if lower >= upper:
            yield (
                f"{field}[{index}]",
                "must be above the edge before it; sort the edges and remove repetitions",
            )
            return


def _category_violations(
    field: str, rule: CategoryRule, missing_values: tuple[str, ...]
) -> Iterator[Violation]:
    if not 0 <= rule.min_share_permille <= 1000:
        yield f"{field}.min_share_permille", "must be 0 to 1000; 0 means 10"
    if rule.groups and rule.min_share_permille:
        yield f"{field}.min_share_permille", "applies only without groups; remove it or the groups"
    if len(rule.groups) > MAX_CATEGORY_BINS:
        yield f"{field}.groups", f"must be at most {MAX_CATEGORY_BINS}; join some"
        return
    labels = {MISSING_LABEL, OTHER_LABEL}
    values: set[str] = set()
    for index, group in enumerate(rule.groups):
        place = f"{field}.groups[{index}]"
        wrong = list(_group_violations(place, group, values, missing_values))
        yield from wrong
        problem = label_problem(group.published_label)
        if not problem and group.published_label in labels:
            problem = (
                f"is taken by another bin, or is `{MISSING_LABEL}` or `{OTHER_LABEL}`; give another label"
            )
        if problem and not wrong:
            yield f"{place}.label", problem
        labels.add(group.published_label)


def _group_violations(
    place: str, group: CategoryGroup, seen: set[str], missing_values: Iterable[str]
) -> Iterator[Violation]:
    if not 1 <= len(group.values) <= MAX_CATEGORIES_PER_BIN:
        yield f"{place}.values", f"must be 1 to {MAX_CATEGORIES_PER_BIN} categories"
        return
    absent = frozenset(missing_values)
    for index, value in enumerate(group.values):
        problem = category_problem(value)
        if not problem and value in seen:
            problem = "is in two places of the groups; keep one"
        if not problem and value in absent:
            problem = "is one of missing_values; remove it here or there"
        if problem:
            yield f"{place}.values[{index}]", problem
        seen.add(value)
