"""`bourse demo`, and the steps of the example that are not a trade: `bourse example split|fit|compare`."""

from pathlib import Path
from typing import Annotated

import typer

from clients.cli.output import HomeOption, JSONFlag, refusals, show_facts, show_json, show_rows

example_app = typer.Typer(
    no_args_is_help=True, help="The example's own steps: part a table, fit a scorecard, compare results."
)

DataOption = Annotated[Path, typer.Option("--data", help="The labelled table, .csv or .parquet.")]
SplitOption = Annotated[Path, typer.Option("--split", help="Who holds which columns: docs/spec/split.md.")]


def mount(app: typer.Typer) -> None:
    """Add the commands to `bourse`."""
    app.command("demo")(demo)
    app.add_typer(example_app, name="example")


def demo(
    *,
    data: Annotated[
        Path | None, typer.Option("--data", help="Another labelled table; default: German Credit.")
    ] = None,
    split: Annotated[Path | None, typer.Option("--split", help="Its split file: docs/spec/split.md.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the market's state in this new directory to look at.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Trade and score real applicants end to end: exchange, nodes and bank as processes of their own."""
    from clients.demo.run import run_demo  # noqa: PLC0415 - keeps `bourse --help` fast

    if (data is None) != (split is None):
        raise typer.BadParameter("another table needs its split file, and a split its table: give both")
    with refusals(as_json=False):
        run_demo(data, split, keep, json_out)


@example_app.command("split")
def split_command(
    data: DataOption,
    split: SplitOption,
    out: Annotated[Path, typer.Option(help="The directory to make, with one folder per party.")],
    *,
    as_json: JSONFlag = False,
) -> None:
    """Part a table among a bank and its providers, each file as its party would hold it."""
    from clients.demo.example import part_table  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json):
        rows = part_table(data, split, out)
        if as_json:
            show_json({"files": rows})
        else:
            show_rows("Files", rows, ("party", "file", "rows", "columns"), as_json=False)


@example_app.command("fit")
def fit_command(
    data: DataOption,
    split: SplitOption,
    out: Annotated[Path, typer.Option(help="The joint scorecard to write, .json.")],
    alone: Annotated[Path, typer.Option(help="The bank's own scorecard to write, .json.")],
    *,
    drop: Annotated[int, typer.Option(help="The drop of the licenses: bounds each provider's part.")] = 9,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Fit a scorecard on training rows that are pooled here: the one step that sees all columns in clear."""
    from clients.demo.example import fit_scorecards  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.home import home_directory  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        facts = fit_scorecards(home_directory(home), data, split, joint=out, alone=alone, drop=drop)
        show_facts("Scorecards", facts, as_json=as_json)


@example_app.command("compare")
def compare_command(
    data: DataOption,
    split: SplitOption,
    scorecard: Annotated[Path, typer.Option("--scorecard", help="The joint scorecard.")],
    alone: Annotated[Path, typer.Option(help="The bank's own scorecard.")],
    results: Annotated[Path, typer.Option(help="What `bourse bank score` wrote, .csv.")],
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Compare sealed scores with the plaintext scorecard's, row by row, and measure AUC and KS."""
    from clients.demo.example import compare  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.home import home_directory  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        facts = compare(home_directory(home), data, split, scorecard=scorecard, alone=alone, results=results)
        show_facts("Comparison", facts, as_json=as_json)
