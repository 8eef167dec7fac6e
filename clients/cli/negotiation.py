"""`license` commands that provider and bank share, and terms as options."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli.moments import parse_moment
from clients.cli.output import confirm, show_facts, show_rows

if TYPE_CHECKING:
    from bourse.exchange.v1 import license_pb2
    from bourse.type.v1 import agreement_pb2

    from clients.market import MarketClient

LicenseArgument = Annotated[str, typer.Argument(metavar="LICENSE", help="The license, licenses/{license}.")]
NoteOption = Annotated[str, typer.Option("--note", help="A remark to the other side.")]
StateFilter = Annotated[str | None, typer.Option("--state", help="Only in this state, such as offered.")]
DatasetFilter = Annotated[str | None, typer.Option("--dataset", help="Only of this dataset.")]
TermsFile = Annotated[
    Path | None, typer.Option("--terms", help="Terms as TOML or JSON; options beside it go before it.")
]
ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", help="A licensed column; repeat. At first: all published.")
]
DropOption = Annotated[
    int | None,
    typer.Option(
        "--drop",
        help="Bits kept back per row: 20 - drop open; 9 carries scores within ±1,023. At first: 9.",
    ),
]
MaxRowsOption = Annotated[
    int | None, typer.Option("--max-rows", help="Rows that may be charged in all. At first: 1,000.")
]
OpeningsOption = Annotated[
    int | None,
    typer.Option("--max-openings-per-entity", help="Times one person may be charged. At first: 3."),
]
MaxModelsOption = Annotated[
    int | None, typer.Option("--max-models", help="Sealed models that may be deployed. At first: 1.")
]
MaxBitsOption = Annotated[
    int | None, typer.Option("--max-bits", help="Bits that may be charged in all. At first: rows times bits.")
]
FromOption = Annotated[
    datetime | None,
    typer.Option("--valid-from", parser=parse_moment, metavar="TIME", help="UTC. At first: now."),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(
        "--valid-until", parser=parse_moment, metavar="TIME", help="UTC, excluded. At first: one year later."
    ),
]
COLUMNS = ("name", "dataset", "provider", "bank", "scenario", "state", "valid_until")


def wanted_terms(
    client: "MarketClient",
    dataset: str,
    revision: int,
    *,
    on_the_table: "agreement_pb2.Terms | None" = None,
    terms_file: Path | None,
    columns: list[str] | None,
    drop: int | None,
    max_rows: int | None,
    max_openings_per_entity: int | None,
    max_models: int | None,
    max_bits: int | None,
    valid_from: datetime | None,
    valid_until: datetime | None,
) -> "agreement_pb2.Terms":
    """Return the terms that options, file and the terms on the table give, in this order; then defaults."""
    from clients.terms import WantedTerms, load_terms, wanted_of  # noqa: PLC0415 - keeps `bourse --help` fast

    wanted = WantedTerms(
        columns=columns or None,
        drop=drop,
        max_rows=max_rows,
        max_openings_per_entity=max_openings_per_entity,
        max_models=max_models,
        max_bits=max_bits,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    if terms_file is not None:
        wanted = wanted.over(load_terms(terms_file))
    if on_the_table is not None:
        wanted = wanted.over(wanted_of(on_the_table))
    description, _ = client.described(dataset, revision)
    return wanted.resolved([column.name for column in description.columns], client.now())


def terms_given(client: "MarketClient", license_name: str, path: Path | None) -> "agreement_pb2.Terms | None":
    """Return the terms in a file, None without one: then those that this home remembers are compared."""
    from clients.terms import load_terms  # noqa: PLC0415 - keeps `bourse --help` fast

    if path is None:
        return None
    license_ = client.license(license_name)
    description, _ = client.described(license_.dataset, license_.revision)
    return load_terms(path).resolved([column.name for column in description.columns], client.now())


def list_licenses(client: "MarketClient", dataset: str | None, state: str | None, *, as_json: bool) -> None:
    """Print the licenses that the member may see."""
    from bourse.exchange.v1 import license_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen, full_name  # noqa: PLC0415 - as above
    from clients.cli.views import license_view  # noqa: PLC0415 - as above

    found = client.licenses(
        dataset=full_name("datasets", dataset) if dataset else "",
        state=chosen(license_pb2.LicenseState, "LICENSE_STATE_", state, "--state"),
    )
    views = [license_view(one) for one in found]
    rows = [{**one, "valid_until": one["terms"]["valid_until"][:16] + "Z"} for one in views]
    own = client.member.identity.kind
    columns = [column for column in COLUMNS if column != own]
    show_rows("Licenses", views if as_json else rows, columns, as_json=as_json, key="licenses")


def show_license(license_: "license_pb2.License", *, as_json: bool) -> None:
    """Print one license with its terms and history."""
    from clients.cli.views import license_view  # noqa: PLC0415 - keeps `bourse --help` fast

    show_facts("License", license_view(license_), as_json=as_json)


def agree_to(license_: "license_pb2.License", question: str, *, yes: bool, as_json: bool) -> None:
    """Show terms that are about to be offered, accepted or signed, and ask, unless `yes` agreed before."""
    if not yes and not as_json:
        show_license(license_, as_json=False)
    confirm(question, yes=yes, as_json=as_json)
