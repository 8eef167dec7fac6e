"""Results of a scoring job, and their file.

Source: docs/spec/result-file.md.
"""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clients.errors import InputError
from clients.files import SECRET_MODE, write_atomically

SUFFIXES = (".csv", ".parquet")
ID_COLUMN = "id"
SCORE_COLUMN = "score"
OWN_COLUMN = "own_part"


@dataclass(frozen=True)
class Results:
    """Scores in the bank's order. `own` is base points and the bank's part; `parts` one per dataset.

    `charged` are the rows and bits that each dataset's license, named in `licenses`, was charged for the job.
    """

    job: str
    ids: tuple[str, ...] = field(repr=False)
    own: tuple[int, ...] = field(repr=False)
    parts: Mapping[str, tuple[int, ...]] = field(repr=False)
    charged: Mapping[str, Mapping[str, int]]
    licenses: Mapping[str, str]

    @property
    def scores(self) -> tuple[int, ...]:
        """The joint score of each row."""
        return tuple(map(sum, zip(self.own, *self.parts.values(), strict=True)))

    def columns(self) -> dict[str, tuple[str, ...] | tuple[int, ...]]:
        """Return the file's columns in their order."""
        return {
            ID_COLUMN: self.ids,
            SCORE_COLUMN: self.scores,
            OWN_COLUMN: self.own,
            **{part_column(dataset): part for dataset, part in self.parts.items()},
        }


def part_column(dataset: str) -> str:
    """Return the column of a dataset's part: `datasets/payments-bureau` gives `part_payments_bureau`."""
    return "part_" + dataset.removeprefix("datasets/").replace("-", "_")


def check_results_path(path: Path) -> Path:
    """Return `path` if results can be written there. Raises InputError before anything is paid for."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path.name}: results are written to a name ending in .csv or .parquet.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path.parent}: there is no such directory to write results to.")
    return path


def write_results(results: Results, path: Path) -> None:
    """Write results as CSV or Parquet by the name's ending, whole or not at all, for its owner alone."""
    columns = results.columns()
    if check_results_path(path).suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        data = text.getvalue().encode()
    else:
        data = _parquet(columns)
    try:
        write_atomically(path, data, mode=SECRET_MODE)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from None


def _parquet(columns: Mapping[str, tuple[str, ...] | tuple[int, ...]]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - half a second that CSV files do not need
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    sink = pa.BufferOutputStream()
    arrays = {
        name: pa.array(values, pa.string() if name == ID_COLUMN else pa.int64())
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
