"""`bourse provider`: publishing datasets, agreeing to licenses, withdrawals."""

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli import negotiation
from clients.cli.listings import show_columns, show_listing
from clients.cli.negotiation import LicenseArgument, NoteOption
from clients.cli.output import (
    HomeOption,
    JSONFlag,
    ReasonOption,
    YesFlag,
    note,
    progress,
    refusals,
    show_facts,
    show_json,
    show_rows,
)

if TYPE_CHECKING:
    from bourse.compute.v1 import publication_pb2
    from bourse.exchange.v1 import dataset_pb2

    from clients.provider import ProviderClient

app = typer.Typer(no_args_is_help=True, help="Publish datasets and license them.")
dataset_app = typer.Typer(no_args_is_help=True, help="The provider's listings.")
license_app = typer.Typer(no_args_is_help=True, help="The provider's licenses.")
app.add_typer(dataset_app, name="dataset")
app.add_typer(license_app, name="license")

DatasetArgument = Annotated[str, typer.Argument(help="The dataset, such as payments-bureau.")]
SpecificationOption = Annotated[Path, typer.Option("--spec", help="The column specification, TOML or JSON.")]
FileOption = Annotated[str, typer.Option("--file", help="A file's name in the node's records directory.")]
ChangeNoteOption = Annotated[str, typer.Option("--change-note", help="What changed since the last revision.")]
MAX_REPORT_BYTES = 256 * 2**20


@app.command("key-proof")
def key_proof(
    *,
    purpose: Annotated[str, typer.Option(help="What the key signs: steward or node.")] = "steward",
    identity: Annotated[
        Path | None, typer.Option(help="The identity directory; default: that of the home.")
    ] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Prove to the administrator that this identity holds its signing key. Prints JSON to hand over."""
    from clients.cli.keys import show_key_proof  # noqa: PLC0415 - keeps `bourse --help` fast

    show_key_proof(home, identity, purpose, as_json=as_json)


@app.command()
def publish(
    dataset: Annotated[str, typer.Option(help="The dataset's id, such as payments-bureau.")],
    specification: SpecificationOption,
    file: FileOption,
    title: Annotated[str, typer.Option(help="A title to read.")],
    description: Annotated[str, typer.Option(help="What it holds and how it came about.")],
    scenario: Annotated[list[str], typer.Option(help="A purpose it may be licensed for; repeat.")],
    identifier_scheme: Annotated[str, typer.Option(help="How rows are identified, such as national-id.")],
    assessment_report: Annotated[
        Path, typer.Option(help="The assessment report; its SHA-256 is listed, the report stays here.")
    ],
    assessor: Annotated[str, typer.Option(help="Who assessed.")],
    *,
    lawful: Annotated[
        bool, typer.Option("--lawful", help="Undertake that the records may lawfully be licensed so.")
    ] = False,
    subject_kind: Annotated[
        str, typer.Option(help="natural-person, legal-entity or location.")
    ] = "natural-person",
    grade: Annotated[int, typer.Option(min=1, max=4, help="1 (public) to 4 (most sensitive).")] = 3,
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; repeat.")] = None,
    change_note: ChangeNoteOption = "",
    draft: Annotated[bool, typer.Option("--draft", help="Do not submit for review yet.")] = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Prepare a file at the own node, list its description, and submit it for review.

    Only the description leaves the node: columns, bins, quality, a rounded number of rows.
    """
    from bourse.exchange.v1 import dataset_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen, full_name  # noqa: PLC0415 - as above
    from clients.cli.views import dataset_view, publication_view  # noqa: PLC0415 - as above
    from clients.errors import InputError  # noqa: PLC0415 - as above
    from clients.files import read_bounded  # noqa: PLC0415 - as above

    subject = chosen(dataset_pb2.SubjectKind, "SUBJECT_KIND_", subject_kind, "--subject-kind")
    if not lawful:
        raise typer.BadParameter(
            "without this undertaking no review can list the dataset", param_hint="--lawful"
        )
    with refusals(as_json=as_json):
        report = read_bounded(assessment_report, MAX_REPORT_BYTES, InputError)
        listing = dataset_pb2.Dataset(
            title=title,
            description=description,
            subject_kind=subject,
            identifier_scheme=identifier_scheme,
            classification_grade=grade,
            scenarios=scenario,
            tags=tag or (),
            evidence=dataset_pb2.ComplianceEvidence(
                legality_undertaking=lawful,
                assessment_sha256=hashlib.sha256(report).digest(),
                assessor=assessor,
            ),
        )
        with _client(home) as client:
            name = full_name("datasets", dataset)
            _check_new(client, name)
            publication = _prepare(client, name, specification, file, change_note, as_json=as_json)
            _remarks(publication, as_json=as_json)
            made = client.create_dataset(name.removeprefix("datasets/"), listing, publication)
            if not draft:
                made = client.submit_dataset(made.name, etag=made.etag)
        if as_json:
            show_json({"publication": publication_view(publication), "dataset": dataset_view(made)})
        else:
            _show_published(publication, made)


@dataset_app.command("list")
def dataset_list(*, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """List the provider's own datasets."""
    from clients.cli.views import dataset_view  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        rows = [dataset_view(one) for one in client.datasets(provider=client.member.party_name)]
        columns = ("name", "title", "state", "state_reason", "scenarios")
        show_rows("Datasets", rows, columns, as_json=as_json, key="datasets")


@dataset_app.command("show")
def dataset_show(dataset: DatasetArgument, *, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """Show a listing with what it publishes."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        show_listing(dataset_view(client.dataset(full_name("datasets", dataset))), as_json=as_json)


@dataset_app.command("submit")
def dataset_submit(dataset: DatasetArgument, *, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """Hand a draft or rejected listing to review. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        seen = client.dataset(full_name("datasets", dataset))
        changed = client.submit_dataset(seen.name, etag=seen.etag)
        show_listing(dataset_view(changed), as_json=as_json)


@dataset_app.command("update")
def dataset_update(
    dataset: DatasetArgument,
    *,
    title: Annotated[str | None, typer.Option(help="A new title.")] = None,
    description: Annotated[str | None, typer.Option(help="A new description.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="The purposes from now on; repeat.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="The tags from now on; repeat.")] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Change a draft or rejected listing."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    texts = {"title": title, "description": description}
    lists = {"scenarios": scenario, "tags": tag}
    changes = [key for key, value in {**texts, **lists}.items() if value is not None]
    if not changes:
        raise typer.BadParameter("nothing to change is given", param_hint="--title, --description, ...")
    with refusals(as_json=as_json), _client(home) as client:
        listing = client.dataset(full_name("datasets", dataset))
        for field, text in texts.items():
            if text is not None:
                setattr(listing, field, text)
        for field, values in lists.items():
            if values is not None:
                repeated = getattr(listing, field)
                del repeated[:]
                repeated.extend(values)
        show_listing(dataset_view(client.update_dataset(listing, changes)), as_json=as_json)


@dataset_app.command("revise")
def dataset_revise(
    dataset: DatasetArgument,
    specification: SpecificationOption,
    file: FileOption,
    change_note: ChangeNoteOption,
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Prepare a file at the own node and add it to a listing as a new revision."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import publication_view, revision_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        name = full_name("datasets", dataset)
        publication = _prepare(client, name, specification, file, change_note, as_json=as_json)
        _remarks(publication, as_json=as_json)
        revision = client.add_revision(name, publication)
        if as_json:
            show_json({"publication": publication_view(publication), "revision": revision_view(revision)})
        else:
            view = revision_view(revision)
            show_facts("Revision", {**view, "columns": None}, as_json=False)
            show_columns(view["columns"])


@dataset_app.command("suspend")
def dataset_suspend(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Take a listed dataset out of trade for a time; its licenses release nothing. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        changed = client.suspend_dataset(full_name("datasets", dataset), reason)
        show_listing(dataset_view(changed), as_json=as_json)


@dataset_app.command("delist")
def dataset_delist(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Withdraw a dataset for good. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        changed = client.delist_dataset(full_name("datasets", dataset), reason)
        show_listing(dataset_view(changed), as_json=as_json)


@license_app.command("list")
def license_list(
    *,
    dataset: negotiation.DatasetFilter = None,
    state: negotiation.StateFilter = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List the licenses of the provider's datasets, the newest first."""
    with refusals(as_json=as_json), _client(home) as client:
        negotiation.list_licenses(client, dataset, state, as_json=as_json)


@license_app.command("show")
def license_show(
    license_name: LicenseArgument, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Show a license with its terms and history."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        negotiation.show_license(client.license(full_name("licenses", license_name)), as_json=as_json)


@license_app.command("offer")
def license_offer(
    license_name: LicenseArgument,
    *,
    as_requested: Annotated[
        bool, typer.Option("--as-requested", help="Offer the terms requested; so it is without options too.")
    ] = False,
    terms: negotiation.TermsFile = None,
    column: negotiation.ColumnOption = None,
    drop: negotiation.DropOption = None,
    max_rows: negotiation.MaxRowsOption = None,
    max_openings_per_entity: negotiation.OpeningsOption = None,
    max_models: negotiation.MaxModelsOption = None,
    max_bits: negotiation.MaxBitsOption = None,
    valid_from: negotiation.FromOption = None,
    valid_until: negotiation.UntilOption = None,
    remark: NoteOption = "",
    yes: YesFlag = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Answer a request: as it is, or with other terms; what options and file leave out stays. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    numbers = (drop, max_rows, max_openings_per_entity, max_models, max_bits)
    others = any(one is not None for one in (terms, column, *numbers, valid_from, valid_until))
    if as_requested and others:
        raise typer.BadParameter("offers the terms requested and no others", param_hint="--as-requested")
    with refusals(as_json=as_json), _client(home) as client:
        seen = client.license(full_name("licenses", license_name))
        offered = None
        if not others:
            negotiation.agree_to(seen, "Offer these terms?", yes=yes, as_json=as_json)
        else:
            offered = negotiation.wanted_terms(
                client,
                seen.dataset,
                seen.revision,
                on_the_table=seen.terms,
                terms_file=terms,
                columns=column,
                drop=drop,
                max_rows=max_rows,
                max_openings_per_entity=max_openings_per_entity,
                max_models=max_models,
                max_bits=max_bits,
                valid_from=valid_from,
                valid_until=valid_until,
            )
        negotiation.show_license(client.offer_license(seen, offered, note=remark), as_json=as_json)


@license_app.command("agree")
def license_agree(
    license_name: LicenseArgument,
    *,
    terms: Annotated[
        Path | None, typer.Option(help="The terms you agree to; default: those offered from this home.")
    ] = None,
    yes: YesFlag = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Sign the agreement of an accepted license, once it says exactly what was offered. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        name = full_name("licenses", license_name)
        negotiation.agree_to(client.license(name), "Sign this agreement?", yes=yes, as_json=as_json)
        signed = client.agree_license(name, terms=negotiation.terms_given(client, name, terms))
        negotiation.show_license(signed, as_json=as_json)


@license_app.command("terminate")
def license_terminate(
    license_name: LicenseArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """End a negotiation or a license; nothing is released under it from then on. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        ended = client.terminate_license(full_name("licenses", license_name), reason)
        negotiation.show_license(ended, as_json=as_json)


@app.command()
def withdraw(
    dataset: Annotated[str, typer.Option(help="The dataset, such as payments-bureau.")],
    *,
    entity_id: Annotated[
        str | None,
        typer.Option("--id", help="The person's identifier; without it one line of standard input is read."),
    ] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Make a person count as absent in every evaluation from now on."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    if entity_id is None:
        entity_id = sys.stdin.readline().rstrip("\r\n")
    if not entity_id:
        raise typer.BadParameter("give the identifier, or write it to standard input", param_hint="--id")
    with refusals(as_json=as_json), _client(home) as client:
        reply = client.withdraw_consent(full_name("datasets", dataset), entity_id)
        facts = {"dataset": full_name("datasets", dataset), "withdrawals": reply.withdrawals}
        show_facts("Withdrawals", facts, as_json=as_json)


@app.command()
def usage(license_name: LicenseArgument, *, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """Show what the own node has charged to a license."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import usage_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        used = usage_view(client.usage(full_name("licenses", license_name)))
        show_facts("Charged by the node", used, as_json=as_json)


def _check_new(client: "ProviderClient", name: str) -> None:
    """Refuse a dataset that is listed or drafted already, before a node reads a large file for it."""
    from clients.connection import RefusedError  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.errors import BourseError  # noqa: PLC0415 - as above

    try:
        client.dataset(name)
    except RefusedError as error:
        if error.reason != "DATASET_NOT_FOUND":
            raise
        return
    raise BourseError(
        "DATASET_EXISTS",
        f"{name} is there already; nothing was read.",
        way_out="`bourse provider dataset revise` gives it new records, `submit` hands a draft to review; or "
        "choose another name.",
    )


def _prepare(
    client: "ProviderClient",
    dataset: str,
    specification: Path,
    file: str,
    change_note: str,
    *,
    as_json: bool,
) -> "publication_pb2.Publication":
    from clients.column_file import load_specification  # noqa: PLC0415 - keeps `bourse --help` fast

    rules = load_specification(specification)
    with progress(as_json=as_json) as draw:
        return client.prepare(
            dataset,
            file,
            rules,
            change_note=change_note,
            on_progress=lambda one: draw(
                "reading records (bytes)", one.bytes_read, one.bytes_total or one.bytes_read or 1
            ),
        )


def _remarks(publication: "publication_pb2.Publication", *, as_json: bool) -> None:
    for remark in publication.remarks:
        note(remark, as_json=as_json)


def _show_published(publication: "publication_pb2.Publication", made: "dataset_pb2.Dataset") -> None:
    from clients.cli.views import dataset_view, publication_view  # noqa: PLC0415 - loaded already

    prepared = publication_view(publication)
    show_columns(prepared["description"]["columns"])
    listed = dataset_view(made)
    shown = {key: listed[key] for key in ("name", "title", "state", "scenarios", "identifier_scheme")}
    shown |= {"rows, not published": publication.rows, "rows at least": listed["revision"]["rows_at_least"]}
    show_facts("Dataset", shown, as_json=False)


def _client(home: Path | None) -> "ProviderClient":
    from clients.home import home_directory  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.provider import ProviderClient  # noqa: PLC0415 - as above

    return ProviderClient.open(home_directory(home))
