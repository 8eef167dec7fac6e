"""`bourse regulator`: trade records as a regulator sees them, checked from their own bytes."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.cli.moments import parse_moment
from clients.cli.output import HomeOption, JSONFlag, note, refusals, show_facts, show_json, show_rows

if TYPE_CHECKING:
    from clients.regulator import RegulatorClient

app = typer.Typer(no_args_is_help=True, help="Read and check trade records.")
records_app = typer.Typer(no_args_is_help=True, help="Trade records.")
app.add_typer(records_app, name="records")

PartyFilter = Annotated[str | None, typer.Option("--party", help="Concerning this party.")]
DatasetFilter = Annotated[str | None, typer.Option("--dataset", help="Concerning this dataset.")]
LicenseFilter = Annotated[str | None, typer.Option("--license", help="Concerning this license.")]
KindFilter = Annotated[
    list[str] | None, typer.Option("--kind", help="Of this kind, such as result-released; repeat for more.")
]
SinceFilter = Annotated[
    datetime | None,
    typer.Option("--since", parser=parse_moment, metavar="TIME", help="From then on, UTC; a day or a time."),
]
UntilFilter = Annotated[
    datetime | None,
    typer.Option("--until", parser=parse_moment, metavar="TIME", help="Before then, UTC; a day or a time."),
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most this many.")]
COLUMNS = ("index", "time", "kind", "actor", "dataset", "license", "charged")


@records_app.command("list")
def records_list(
    *,
    party: PartyFilter = None,
    dataset: DatasetFilter = None,
    license_name: LicenseFilter = None,
    kind: KindFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="The newest first.")] = False,
    limit: LimitOption = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List records by index. Filters that are given must all hold."""
    from clients.regulator import summary  # noqa: PLC0415 - keeps `bourse --help` fast

    query = _query(party, dataset, license_name, kind, since, until, limit, newest_first=newest_first)
    with refusals(as_json=as_json), _client(home) as client:
        found = [summary(one) for one in client.records(**query)]
        rows = found if as_json else [_row(one) for one in found]
        show_rows("Trade records", rows, COLUMNS, as_json=as_json, key="records")


@records_app.command("show")
def records_show(
    index: Annotated[int, typer.Argument(min=0, help="The record's place in the log.")],
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Show one record with what its parties signed."""
    from clients.records import record_json  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        shown = record_json(client.record(index))
        if not as_json:
            shown["statements"] = [
                f"{one.get('type', 'statement')}: {one.get('says', one['payload'])}"
                for one in shown["statements"]
            ]
        show_facts("Trade record", shown, as_json=as_json)


@records_app.command("check")
def records_check(
    *,
    party: PartyFilter = None,
    dataset: DatasetFilter = None,
    license_name: LicenseFilter = None,
    kind: KindFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    limit: LimitOption = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Check receipts, signatures and links of records, here, from their own bytes."""
    from clients.errors import EvidenceError  # noqa: PLC0415 - keeps `bourse --help` fast

    query = _query(party, dataset, license_name, kind, since, until, limit)
    with refusals(as_json=as_json), _client(home) as client:
        checked = signatures = 0
        failures = []
        for record in client.records(**query):
            try:
                signatures += client.check(record).signatures
                checked += 1
            except EvidenceError as error:
                failures.append(error.message)
        facts = {"checked": checked, "receipts": checked, "signatures": signatures, "failures": failures}
        show_facts("Records checked", facts, as_json=as_json)
        if failures:
            raise EvidenceError(
                f"{len(failures)} of {checked + len(failures)} records do not prove themselves.",
                way_out="Keep an export, and ask the exchange and the parties named.",
            )


@records_app.command("export")
def records_export(
    out: Annotated[Path, typer.Option(help="The file to write: one JSON object a line.")],
    *,
    party: PartyFilter = None,
    dataset: DatasetFilter = None,
    license_name: LicenseFilter = None,
    kind: KindFilter = None,
    since: SinceFilter = None,
    until: UntilFilter = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Take records away, with the bytes that prove them."""
    from clients.files import write_lines  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.regulator import export_lines  # noqa: PLC0415 - as above

    query = _query(party, dataset, license_name, kind, since, until, None)
    with refusals(as_json=as_json), _client(home) as client:
        count = write_lines(out, export_lines(client.records(**query)))
        if as_json:
            show_json({"out": str(out), "records": count})
        note(f"Wrote {count} records to {out}.", as_json=as_json)


def _query(
    party: str | None,
    dataset: str | None,
    license_name: str | None,
    kind: list[str] | None,
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    *,
    newest_first: bool = False,
) -> dict[str, Any]:
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.regulator import kind_names, parse_kind  # noqa: PLC0415 - as above

    try:
        kinds = [parse_kind(one) for one in kind or ()]
    except ValueError:
        known = ", ".join(name.lower().replace("_", "-") for name in kind_names())
        raise typer.BadParameter(f"must be one of {known}", param_hint="--kind") from None
    return {
        "party": full_name("parties", party) if party else "",
        "dataset": full_name("datasets", dataset) if dataset else "",
        "license_name": full_name("licenses", license_name) if license_name else "",
        "kinds": kinds,
        "start": since,
        "end": until,
        "limit": limit,
        "newest_first": newest_first,
    }


def _row(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as a table's line; kinds are written as --kind takes them."""
    usage = record.get("usage") or {}
    charged = f"{usage.get('rows_charged', 0)} rows, {usage.get('bits_charged', 0)} bits" if usage else ""
    return {
        **record,
        "time": f"{record['time'][:19]}Z",
        "kind": record["kind"].lower().replace("_", "-"),
        "actor": f"{record['actor'].removeprefix('parties/')}/{record['member']}",
        "charged": charged,
    }


def _client(home: Path | None) -> "RegulatorClient":
    from clients.home import home_directory  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.regulator import RegulatorClient  # noqa: PLC0415 - as above

    return RegulatorClient.open(home_directory(home))
