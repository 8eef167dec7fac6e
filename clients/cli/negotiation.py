"""`license` commands that provider and bank share, and terms as options."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli.output import show_facts, show_rows

if TYPE_CHECKING:
    from bourse.exchange.v1 import license_pb2
    from bourse.type.v1 import agreement_pb2

    from clients.market import MarketClient

TIME_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

LicenseArgument = Annotated[str, typer.Argument(metavar="LICENSE", help="The license, licenses/{license}.")]
NoteOption = Annotated[str, typer.Option("--note", help="A remark to the other side.")]
StateFilter = Annotated[str | None, typer.Option("--state", help="Only in this state, such as offered.")]
DatasetFilter = Annotated[str | None, typer.Option("--dataset", help="Only of this dataset.")]
TermsFile = Annotated[
    Path | None, typer.Option("--terms", help="Terms as TOML or JSON; the other options are ignored then.")
]
ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", help="A licensed column; repeat. Default: all published.")
]
DropOption = Annotated[
    int,
    typer.Option("--drop", help="Bits kept back per row: 20 - drop open; 9 carries scores within ±1,023."),
]
MaxRowsOption = Annotated[int, typer.Option("--max-rows", help="Rows that may be charged in all.")]
OpeningsOption = Annotated[
    int, typer.Option("--max-openings-per-entity", help="Times one person may be charged.")
]
MaxModelsOption = Annotated[int, typer.Option("--max-models", help="Sealed models that may be deployed.")]
MaxBitsOption = Annotated[
    int | None, typer.Option("--max-bits", help="Bits that may be charged in all. Default: rows times bits.")
]
FromOption = Annotated[
    datetime | None, typer.Option("--valid-from", formats=TIME_FORMATS, help="UTC. Default: now.")
]
UntilOption = Annotated[
    datetime | None,
    typer.Option("--valid-until", formats=TIME_FORMATS, help="UTC, excluded. Default: one year later."),
]
COLUMNS = ("name", "dataset", "scenario", "provider", "bank", "state")


def wanted_terms(
    client: "MarketClient",
    dataset: str,
    revision: int,
    *,
    terms_file: Path | None,
    columns: list[str] | None,
    drop: int,
    max_rows: int,
    max_openings_per_entity: int,
    max_models: int,
    max_bits: int | None,
    valid_from: datetime | None,
    valid_until: datetime | None,
) -> "agreement_pb2.Terms":
    """Return the terms that file or options ask for; what they leave out takes its default."""
    from clients.terms import WantedTerms, load_terms  # noqa: PLC0415 - keeps `bourse --help` fast

    if terms_file is not None:
        wanted = load_terms(terms_file)
    else:
        wanted = WantedTerms(
            columns=columns or None,
            drop=drop,
            max_rows=max_rows,
            max_openings_per_entity=max_openings_per_entity,
            max_models=max_models,
            max_bits=max_bits,
            valid_from=valid_from.replace(tzinfo=UTC) if valid_from else None,
            valid_until=valid_until.replace(tzinfo=UTC) if valid_until else None,
        )
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
    show_rows("Licenses", [license_view(one) for one in found], COLUMNS, as_json=as_json, key="licenses")


def show_license(license_: "license_pb2.License", *, as_json: bool) -> None:
    """Print one license with its terms and history."""
    from clients.cli.views import license_view  # noqa: PLC0415 - keeps `bourse --help` fast

    show_facts("License", license_view(license_), as_json=as_json)


def show_before_signing(license_: "license_pb2.License", *, as_json: bool) -> None:
    """Print the terms that are about to be accepted or signed, for people; programs have read them before."""
    if not as_json:
        show_license(license_, as_json=False)
