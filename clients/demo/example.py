"""The example's steps on files: part a table, fit scorecards, compare sealed scores with plain ones.

Only these steps see one table whole. A trade never does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bourse.type.v1 import description_pb2

from clients.bank import BankClient
from clients.demo.fit import TrainingColumn, TrainingPart, auc, fit_scorecard, ks, own_column
from clients.demo.split import (
    APPLICANTS_FILE,
    HISTORY_FILE,
    Holding,
    Parts,
    Split,
    Table,
    load_split,
    part_rows,
    read_table,
    write_bank_files,
    write_provider_files,
)
from clients.errors import InputError
from clients.evidence import revision_digest
from clients.results import ID_COLUMN, SCORE_COLUMN
from clients.rows import read_rows
from clients.scorecard import Cells, Scorecard, provider_points
from clients.scorecard_file import load_scorecard, save_scorecard
from wire.bins import parse_number
from wire.columns import column_from_pb

BANK_FOLDER = "bank"


@dataclass(frozen=True)
class Opened:
    """A table with its split: rows parted into training and held-out ones."""

    split: Split
    table: Table
    parts: Parts


@dataclass(frozen=True)
class Published:
    """What one provider publishes: its description, verified, and the digest of its revision."""

    holding: Holding
    description: description_pb2.DatasetDescription
    digest: bytes


def open_example(data: Path, split: Path) -> Opened:
    """Return a labelled table parted as its split file says. Raises InputError."""
    parsed = load_split(split)
    table = read_table(data, parsed)
    return Opened(parsed, table, part_rows(table, parsed))


def dataset_of(holding: Holding) -> str:
    """Return the dataset that a provider of the example lists: named as the provider."""
    return f"datasets/{holding.name}"


def part_table(data: Path, split: Path, out: Path) -> list[dict[str, object]]:
    """Write every party's files below the new directory `out`; return what each holds. Raises InputError."""
    opened = open_example(data, split)
    if out.exists():
        raise InputError(f"{out}: is there already.", way_out="Choose a directory that does not exist.")
    bank = out / BANK_FOLDER
    bank.mkdir(parents=True)
    write_bank_files(opened.table, opened.split, opened.parts, bank)
    counts = {HISTORY_FILE: len(opened.parts.training), APPLICANTS_FILE: len(opened.parts.held_out)}
    written: list[dict[str, object]] = [
        {
            "party": BANK_FOLDER,
            "file": str(bank / name),
            "rows": count,
            "columns": list(opened.split.bank),
            "id_column": opened.split.id_column,
        }
        for name, count in counts.items()
    ]
    for holding in opened.split.providers:
        folder = out / holding.name
        folder.mkdir()
        records, specification = write_provider_files(opened.table, opened.split, holding, folder)
        written.append(
            {
                "party": holding.name,
                "file": str(records),
                "specification": str(specification),
                "rows": len(opened.table.ids),
                "columns": list(holding.columns),
            }
        )
    return written


def fit_scorecards(
    home: Path, data: Path, split: Path, *, joint: Path, alone: Path, drop: int
) -> dict[str, object]:
    """Fit the joint scorecard on pooled training rows and published bins, and the bank's alone; write both.

    Returns what was pooled, for whoever asks who saw which rows. Raises InputError.
    """
    opened = open_example(data, split)
    published = _published(home, opened.split)
    training = opened.parts.training
    bad = [opened.table.bad[row] for row in training]
    own = [
        TrainingColumn(
            own_column(
                name,
                cells := opened.table.cells(name, training),
                numeric=name in opened.split.numeric,
                missing_values=opened.split.missing_values,
            ),
            cells,
        )
        for name in opened.split.bank
    ]
    parts = [
        TrainingPart(
            dataset_of(one.holding),
            one.digest,
            tuple(
                TrainingColumn(column_from_pb(column), opened.table.cells(column.name, training))
                for column in one.description.columns
            ),
        )
        for one in published
    ]
    missing = opened.split.missing_values
    card = fit_scorecard(
        f"{data.stem}, joint", bad, own, parts, missing_values=missing, max_part=2 ** (19 - drop) - 1
    )
    save_scorecard(card, joint)
    save_scorecard(fit_scorecard(f"{data.stem}, bank alone", bad, own, (), missing_values=missing), alone)
    return {
        "scorecard": str(joint),
        "bank_alone": str(alone),
        "training_rows": len(training),
        "pooled_columns": [one for part in parts for one in [column.column.name for column in part.columns]],
        "pooled_from": [part.dataset for part in parts],
    }


def compare(
    home: Path, data: Path, split: Path, *, scorecard: Path, alone: Path, results: Path
) -> dict[str, object]:
    """Return how many sealed scores equal the plain scorecard's, and AUC and KS of both scorecards.

    The plain scores come from the table's own cells by plain arithmetic; the sealed ones from the results
    file, by identifier. Raises InputError when the file does not hold exactly the held-out rows.
    """
    opened = open_example(data, split)
    published = _published(home, opened.split)
    joint, own = load_scorecard(scorecard), load_scorecard(alone)
    rows = opened.parts.held_out
    sealed = _sealed_scores(results, [opened.table.ids[row] for row in rows])
    plain = _plain_scores(opened, joint, published, rows)
    by_bank = _plain_scores(opened, own, (), rows)
    bad = [opened.table.bad[row] for row in rows]
    return {
        "rows_scored": len(sealed),
        "rows_exact": sum(one == other for one, other in zip(sealed, plain, strict=True)),
        "auc_bank": round(auc(bad, by_bank), 4),
        "auc_joint": round(auc(bad, sealed), 4),
        "ks_bank": round(ks(bad, by_bank), 4),
        "ks_joint": round(ks(bad, sealed), 4),
    }


def _published(home: Path, split: Split) -> list[Published]:
    with BankClient.open(home) as client:
        found = [(holding, *client.described(dataset_of(holding))) for holding in split.providers]
    return [
        Published(holding, description, revision_digest(payload)) for holding, description, payload in found
    ]


def _plain_scores(
    opened: Opened, card: Scorecard, published: Sequence[Published], rows: Sequence[int]
) -> list[int]:
    own = card.own_part()
    parts = [
        provider_points(card.part_of(dataset_of(one.holding)), one.description, opened.split.missing_values)
        for one in published
    ]
    cells = [_row(opened.table, row) for row in rows]
    return [own(one) + sum(part(one) for part in parts) for one in cells]


def _row(table: Table, row: int) -> Cells:
    return {name: cells[row] for name, cells in table.columns.items()}


def _sealed_scores(results: Path, ids: Sequence[str]) -> list[int]:
    read = read_rows(results, id_column=ID_COLUMN, columns=[SCORE_COLUMN])
    if sorted(read.ids) != sorted(ids):
        raise InputError(
            f"{results.name}: does not hold exactly the held-out rows.",
            way_out="Score the applicants file that `bourse example split` wrote.",
        )
    scores = dict(zip(read.ids, read.columns[SCORE_COLUMN], strict=True))
    return [_whole(results, scores[one]) for one in ids]


def _whole(results: Path, cell: str | None) -> int:
    number = parse_number(cell or "")
    if number is None or not number.is_integer():
        raise InputError(f"{results.name}: a score is no whole number.")
    return int(number)
