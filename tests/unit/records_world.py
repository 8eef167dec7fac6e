"""A directory of records and what a steward asks of it. SECRET stands in cells and must never be said."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from compute.records.preparation import prepare
from compute.records.revision import PreparedRevision
from compute.records.specification import (
    CategoryGroup,
    CategoryRule,
    ColumnRule,
    ColumnSpecification,
    EdgeRule,
    QuantileRule,
)

SECRET = "MARKER7731"
AGE = ColumnRule("age", EdgeRule((30.0, 45.5)), "Age", "year")
JOB = ColumnRule("job", CategoryRule((CategoryGroup("a", ("a",)), CategoryGroup("", ("b", "c")))))
SPECIFICATION = ColumnSpecification("applicant", (AGE, JOB), missing_values=("NA",))


def quantiles(name: str, bins: int = 4) -> ColumnRule:
    return ColumnRule(name, QuantileRule(bins))


def categories(name: str, min_share_permille: int = 0) -> ColumnRule:
    return ColumnRule(name, CategoryRule(min_share_permille=min_share_permille))


def of_columns(*rules: ColumnRule, **changes: object) -> ColumnSpecification:
    return ColumnSpecification("applicant", rules, **changes)


def publish(
    directory: Path, data: bytes | str | pa.Table, specification: ColumnSpecification = SPECIFICATION
) -> PreparedRevision:
    """Put `data` beside the node as CSV or Parquet and prepare it."""
    if isinstance(data, pa.Table):
        pq.write_table(data, directory / "records.parquet")
        return prepare(directory, "records.parquet", specification, lambda *_: None)
    (directory / "records.csv").write_bytes(data.encode() if isinstance(data, str) else data)
    return prepare(directory, "records.csv", specification, lambda *_: None)


def labels(revision: PreparedRevision, column: int = 0) -> list[str]:
    """The labels of the bins that the rows are in."""
    return [revision.columns[column].bins[index].label for index in revision.bins[column].tolist()]


def everything_said(error: BaseException | None) -> str:
    """All that a log or a peer could show of an error and of what is chained to it."""
    if error is None:
        return ""
    chained = None if error.__suppress_context__ else error.__context__
    return f"{error} {error.args!r} {everything_said(error.__cause__)} {everything_said(chained)}"
