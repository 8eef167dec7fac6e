"""Preparing a revision: from a file of records and a column specification to bins.

The single entry point to this package's work; it blocks for as long as reading takes, so a server calls it in
a thread.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compute.records.binning import Binner, Survey, given_column
from compute.records.files import RecordsFile, records_file
from compute.records.identifiers import check_unique, checked_ids
from compute.records.quality import Measured, check_quality, remarks
from compute.records.reading import Wanted, read_batches
from compute.records.revision import PreparedRevision
from compute.records.specification import CategoryRule, ColumnSpecification
from wire.bins import Column

Progress = Callable[[int, int, int], None]
"""Is told rows read, bytes read and the file's bytes. The first two rise to the file's totals over all
passes.
"""


def prepare(
    directory: Path, name: str, specification: ColumnSpecification, progress: Progress
) -> PreparedRevision:
    """Read the file `name` of `directory` and put every row into the bins that `specification` asks for.

    `name` may come from a remote caller. `progress` is called after every batch from the calling thread, and
    may raise to stop. Memory: the identifiers and one byte per row and attribute, and a few megabytes beside.

    Raises SpecificationError when `name` is no name of a file, RecordsUnreadableError when the file cannot be
    read as specified, QualityTooLowError when too few cells of a column parse. Nothing is written.
    """
    with records_file(directory, name) as file:
        passes = _Passes(file, progress, 2 if any(map(Survey.needed, specification.columns)) else 1)
        columns = _published_columns(file, specification, passes)
        return _binned(file, specification, columns, passes)


class _Passes:
    """Tells progress over all passes as one."""

    def __init__(self, file: RecordsFile, progress: Progress, passes: int) -> None:
        self._file = file
        self._progress = progress
        self._passes = passes
        self._done = 0
        self.rows = 0

    def told(self, rows: int, bytes_read: int) -> None:
        before = self._done * self.rows
        self._progress(
            (before + rows) // self._passes,
            (self._done * self._file.size + bytes_read) // self._passes,
            self._file.size,
        )

    def end(self, rows: int) -> None:
        self.rows = rows
        self._done += 1
        if self._done == self._passes:
            self._progress(rows, self._file.size, self._file.size)


def _published_columns(
    file: RecordsFile, specification: ColumnSpecification, passes: _Passes
) -> tuple[Column, ...]:
    surveys = {
        rule.name: Survey(rule, specification.missing_values)
        for rule in specification.columns
        if Survey.needed(rule)
    }
    if surveys:
        rows = 0
        wanted = Wanted(None, tuple(surveys), _numbers(specification))
        for batch in read_batches(file, wanted, passes.told):
            rows += batch.rows
            for survey, cells in zip(surveys.values(), batch.columns, strict=True):
                survey.count(cells)
        passes.end(rows)
    return tuple(
        surveys[rule.name].column(passes.rows) if rule.name in surveys else given_column(rule)
        for rule in specification.columns
    )


def _binned(
    file: RecordsFile, specification: ColumnSpecification, columns: tuple[Column, ...], passes: _Passes
) -> PreparedRevision:
    binners = [Binner(column, specification.missing_values) for column in columns]
    measured = [Measured(len(column.bins)) for column in columns]
    parts: list[list[NDArray[np.uint8]]] = [[] for _ in columns]
    ids: list[bytes] = []
    wanted = Wanted(
        specification.id_column, tuple(column.name for column in columns), _numbers(specification)
    )
    for batch in read_batches(file, wanted, passes.told):
        ids += checked_ids(batch.ids, specification.id_column, batch.first_row)
        for place, cells in enumerate(batch.columns):
            index, absent, broken = binners[place].bins(cells)
            measured[place].count(index, absent, broken, batch.first_row)
            parts[place].append(index)
    check_unique(ids, specification.id_column)
    for column, counts in zip(columns, measured, strict=True):
        check_quality(counts, column.name, specification.min_valid)
    passes.end(len(ids))
    return PreparedRevision(
        columns,
        tuple(_joined(part) for part in parts),
        ids,
        tuple(counts.quality(column.name) for column, counts in zip(columns, measured, strict=True)),
        tuple(
            remark
            for rule, column, counts in zip(specification.columns, columns, measured, strict=True)
            for remark in remarks(rule, column, counts)
        ),
    )


def _numbers(specification: ColumnSpecification) -> frozenset[str]:
    return frozenset(rule.name for rule in specification.columns if not isinstance(rule.rule, CategoryRule))


def _joined(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    joined = np.concatenate(parts)
    parts.clear()
    joined.flags.writeable = False
    return joined
