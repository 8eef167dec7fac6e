"""The demo's figures, and the page that closes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from clients.errors import BourseError


class InexactError(BourseError):
    """A sealed score differed from the plaintext scorecard's, or a person's trace was found."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "DEMO", message, way_out="This is a defect: please report it with the --json figures."
        )


@dataclass
class Figures:
    """What the demo measured: seconds by step, and the costs inside the bank's commands by command's step."""

    rows_training: int = 0
    rows_held_out: int = 0
    holds: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    compared: Mapping[str, Any] = field(default_factory=dict)
    records: list[Mapping[str, Any]] = field(default_factory=list)
    refusals: list[Mapping[str, Any]] = field(default_factory=list)
    traces: Mapping[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    costs: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add_costs(self, title: str, steps: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over the calls, seconds and bytes of the command that is the demo's step `title`."""
        self.costs.update(steps)
        self.bytes[title] = sum(map(_both_ways, steps.values()))

    def require_exact(self) -> None:
        """Raise InexactError unless every score was exact and no person was found where none should be."""
        if self.compared["rows_exact"] != self.compared["rows_scored"]:
            raise InexactError("A sealed score differs from the plaintext scorecard's.")
        if any(self.traces.values()):
            raise InexactError("An applicant's identifier was found where none should be.")

    def as_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return {
            **self.compared,
            "rows_training": self.rows_training,
            "records": len(self.records),
            "record_kinds": [record["kind"] for record in self.records],
            "refusals": len(self.refusals),
            "refused": list(self.refusals),
            "traces": dict(self.traces),
            "sealed_weights": dict(self.weights),
            "seconds": {**self.seconds, **{step: cost["seconds"] for step, cost in self.costs.items()}},
            "bytes": {**self.bytes, **{step: _both_ways(cost) for step, cost in self.costs.items()}},
        }


def show_report(console: Console, figures: Figures, *, kept: Path | None) -> None:
    """Print what was held, scored, recorded and measured."""
    for table in (_parties(figures), _scores(figures), _records(figures), _costs(figures), _times(figures)):
        console.print()
        console.print(Padding(table, (0, 0, 0, 1)))
    compared = figures.compared
    console.print()
    console.print(
        Text(
            f"{compared['rows_exact']} of {compared['rows_scored']} sealed scores equal the plaintext "
            f"scorecard's, to the point. AUC {compared['auc_bank']:.3f} alone, "
            f"{compared['auc_joint']:.3f} jointly; "
            f"{len(figures.records)} trade records; {len(figures.refusals)} refused request; "
            f"{figures.seconds['all']:.0f} seconds.",
            style="bold",
        )
    )
    if kept is not None:
        console.print(f"The market's state is in {kept}; its servers have been stopped.", markup=False)


def _parties(figures: Figures) -> Table:
    table = _table("Who held what, and saw what", "party", "held", "saw of the others")
    rows, columns = figures.holds["bank"]
    table.add_row(
        "bank",
        f"its scorecard, its HE secrets, {len(columns)} columns of its own customers",
        f"the published bins and {figures.rows_held_out} part scores of each provider",
    )
    for party, (rows, columns) in figures.holds.items():
        if party != "bank":
            table.add_row(
                party,
                f"{rows} rows of {len(columns)} columns",
                f"{figures.weights[party]} sealed weights; identifiers of {figures.rows_held_out} applicants",
            )
    table.add_row(
        "exchange",
        "parties, listings, licenses, trade records",
        "descriptions and signatures; no row, identifier, ciphertext, model or score",
    )
    table.add_row("regulator", "nothing secret", f"{len(figures.records)} trade records")
    return table


def _scores(figures: Figures) -> Table:
    compared = figures.compared
    table = _table(
        f"Scores of {compared['rows_scored']} applicants held out",
        "scorecard",
        "AUC",
        "KS",
        "equal to plaintext",
    )
    table.add_row("bank alone", f"{compared['auc_bank']:.4f}", f"{compared['ks_bank']:.4f}", "")
    table.add_row(
        "joint, sealed",
        f"{compared['auc_joint']:.4f}",
        f"{compared['ks_joint']:.4f}",
        f"{compared['rows_exact']} of {compared['rows_scored']}",
    )
    return table


def _records(figures: Figures) -> Table:
    table = _table(
        "Trade records, as the regulator sees them", "index", "kind", "actor", "dataset", "license", "charged"
    )
    for record in figures.records:
        usage = record.get("usage") or {}
        charged = usage.get("rows_charged")
        table.add_row(
            str(record["index"]),
            str(record["kind"]).lower().replace("_", " "),
            f"{str(record['actor']).removeprefix('parties/')}/{record['member']}",
            str(record.get("dataset", "")).removeprefix("datasets/"),
            str(record.get("license", "")).removeprefix("licenses/")[:8],
            f"{charged} rows, {usage['bits_charged']} bits" if charged else "",
        )
    return table


def _costs(figures: Figures) -> Table:
    table = _table(
        "Inside the bank's commands", "step", "calls", "seconds", "KiB sent", "KiB received", right_from=1
    )
    for step, cost in figures.costs.items():
        table.add_row(
            step,
            str(cost["calls"]),
            f"{cost['seconds']:.3f}",
            f"{cost['bytes_sent'] / 1024:,.1f}",
            f"{cost['bytes_received'] / 1024:,.1f}",
        )
    return table


def _times(figures: Figures) -> Table:
    table = _table("Time by step, commands' start-up included", "step", "seconds", right_from=1)
    for step, seconds in figures.seconds.items():
        table.add_row(step, f"{seconds:.1f}")
    return table


def _both_ways(cost: Mapping[str, Any]) -> int:
    return int(cost["bytes_sent"]) + int(cost["bytes_received"])


def _table(title: str, *columns: str, right_from: int | None = None) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for place, column in enumerate(columns):
        table.add_column(
            column, justify="right" if right_from is not None and place >= right_from else "left"
        )
    return table
