"""`bourse bank`: the catalog, licenses, deployments and joint scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli import negotiation, scorecards
from clients.cli.listings import show_listing
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
    from clients.bank import BankClient
    from clients.connection import Meter
    from clients.results import Results

app = typer.Typer(no_args_is_help=True, help="License datasets and score jointly with them.")
license_app = typer.Typer(no_args_is_help=True, help="The bank's licenses.")
app.add_typer(license_app, name="license")
app.add_typer(scorecards.app, name="scorecard")

ScorecardOption = Annotated[Path, typer.Option("--scorecard", help="The scorecard file.")]
STEP_COLUMNS = ("step", "calls", "seconds", "bytes_sent", "bytes_received")


@app.command("key-proof")
def key_proof(
    *,
    identity: Annotated[
        Path | None, typer.Option(help="The identity directory; default: that of the home.")
    ] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Prove to the administrator that this identity holds its signing key. Prints JSON to hand over."""
    from clients.cli.keys import show_key_proof  # noqa: PLC0415 - keeps `bourse --help` fast

    show_key_proof(home, identity, "bank", as_json=as_json)


@app.command()
def catalog(
    dataset: Annotated[str | None, typer.Argument(help="One dataset; without it all listed ones.")] = None,
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Show the listed datasets, or one with its columns and bins."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        if dataset is None:
            rows = [dataset_view(one) for one in client.catalog()]
            columns = ("name", "provider", "title", "scenarios", "identifier_scheme")
            show_rows("Catalog", rows, columns, as_json=as_json, key="datasets")
            return
        name = full_name("datasets", dataset)
        client.described(name)
        show_listing(dataset_view(client.dataset(name)), as_json=as_json)


@license_app.command("request")
def license_request(
    dataset: Annotated[str, typer.Option(help="The dataset, such as payments-bureau.")],
    scenario: Annotated[str, typer.Option(help="The declared purpose, one of the dataset's scenarios.")],
    *,
    revision: Annotated[int, typer.Option(min=0, help="The revision; 0 is the newest.")] = 0,
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
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Ask for a license on terms, by options or a file. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        name = full_name("datasets", dataset)
        wanted = negotiation.wanted_terms(
            client,
            name,
            revision,
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
        asked = client.request_license(name, scenario, wanted, revision=revision, note=remark)
        negotiation.show_license(asked, as_json=as_json)


@license_app.command("counter")
def license_counter(
    license_name: LicenseArgument,
    *,
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
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Answer an offer with other terms, by options or a file; what they leave out stays. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        seen = client.license(full_name("licenses", license_name))
        wanted = negotiation.wanted_terms(
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
        negotiation.show_license(client.counter_license(seen, wanted, note=remark), as_json=as_json)


@license_app.command("accept")
def license_accept(
    license_name: LicenseArgument,
    *,
    etag: Annotated[str, typer.Option(help="The etag of the offer as read; default: as shown now.")] = "",
    yes: YesFlag = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Accept the offer as it is shown; its terms are remembered for signing. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        seen = client.license(full_name("licenses", license_name))
        seen.etag = etag or seen.etag
        negotiation.agree_to(seen, "Accept these terms?", yes=yes, as_json=as_json)
        negotiation.show_license(client.accept_license(seen), as_json=as_json)


@license_app.command("verify")
def license_verify(
    license_name: LicenseArgument,
    *,
    terms: Annotated[
        Path | None, typer.Option(help="The terms you agree to; default: those accepted from this home.")
    ] = None,
    yes: YesFlag = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Sign what the provider signed, once it says exactly what was accepted. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        name = full_name("licenses", license_name)
        negotiation.agree_to(client.license(name), "Sign this agreement?", yes=yes, as_json=as_json)
        signed = client.verify_license(name, terms=negotiation.terms_given(client, name, terms))
        negotiation.show_license(signed, as_json=as_json)


@license_app.command("list")
def license_list(
    *,
    dataset: negotiation.DatasetFilter = None,
    state: negotiation.StateFilter = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List the bank's licenses, the newest first."""
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
def deploy(
    license_name: Annotated[list[str], typer.Option("--license", help="A finalized license; repeat.")],
    scorecard: ScorecardOption,
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Seal the scorecard's parts for the licenses' providers and deploy them. Recorded.

    Again after an interruption it goes on; of what is deployed already it does nothing.
    """
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import costs_view, deployment_view  # noqa: PLC0415 - as above
    from clients.connection import Meter  # noqa: PLC0415 - as above
    from clients.scorecard_file import load_scorecard  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        card = load_scorecard(scorecard)
        meter = Meter()
        with _client(home) as client, progress(as_json=as_json) as draw:
            deployed = [
                deployment_view(
                    client.deploy(
                        full_name("licenses", one),
                        card,
                        on_progress=lambda dataset, step, done, total: draw(
                            f"{dataset}: {step}", done, total
                        ),
                        meter=meter,
                    )
                )
                for one in license_name
            ]
        if as_json:
            show_json({"deployments": deployed, "steps": costs_view(meter.costs())})
            return
        show_rows("Deployed", deployed, ("deployment", "dataset", "license", "weights"), as_json=False)
        _show_steps(meter)


@app.command()
def deployments(*, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """List what is deployed, from the keystore."""
    from clients.cli.views import deployment_view  # noqa: PLC0415 - keeps `bourse --help` fast

    with refusals(as_json=as_json), _client(home) as client:
        rows = [deployment_view(one) for one in client.keystore.deployments()]
        columns = ("deployment", "dataset", "license", "state", "weights", "create_time")
        show_rows("Deployments", rows, columns, as_json=as_json, key="deployments")


@app.command()
def score(
    out: Annotated[Path, typer.Option(help="Where results are written, .csv or .parquet.")],
    *,
    scorecard: Annotated[Path | None, typer.Option("--scorecard", help="The scorecard file.")] = None,
    rows: Annotated[Path | None, typer.Option(help="The bank's rows, .csv or .parquet.")] = None,
    id_column: Annotated[str, typer.Option(help="The column that identifies persons.")] = "id",
    consent_reference: Annotated[
        str, typer.Option(help="Where the bank holds these persons' consent, 1 to 200 characters.")
    ] = "",
    license_name: Annotated[
        list[str] | None, typer.Option("--license", help="Use deployments under this license; repeat.")
    ] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this job instead of starting one.")] = None,
    opened: Annotated[
        bool, typer.Option("--opened", help="With --resume: ask nobody, write the rows that are open by now.")
    ] = False,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Score rows jointly with every provider the scorecard names. Charges their licenses for every row."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.connection import Meter  # noqa: PLC0415 - as above
    from clients.results import check_results_path, write_results  # noqa: PLC0415 - as above
    from clients.rows import read_rows  # noqa: PLC0415 - as above
    from clients.scorecard_file import load_scorecard  # noqa: PLC0415 - as above

    if resume is None and (scorecard is None or rows is None or not consent_reference):
        raise typer.BadParameter(
            "a new job needs --scorecard, --rows and --consent-reference; an old one --resume JOB",
            param_hint="--scorecard, --rows, --consent-reference",
        )
    if opened and resume is None:
        raise typer.BadParameter("is for a job that was started; add --resume JOB", param_hint="--opened")
    remarks: list[str] = []

    def remark(text: str) -> None:
        remarks.append(text)
        note(text, as_json=as_json)

    with refusals(as_json=as_json):
        check_results_path(out)
        meter = Meter()
        with _client(home) as client, progress(as_json=as_json) as draw:

            def show(dataset: str, step: str, done: int, total: int) -> None:
                draw(f"{dataset}: {step}", done, total)

            if opened:
                results = client.opened(resume or "")
            elif resume is not None or scorecard is None or rows is None:
                results = client.resume(resume or "", on_progress=show, meter=meter)
            else:
                card = load_scorecard(scorecard)
                columns = [own.column.name for own in card.own_columns]
                results = client.score(
                    card,
                    read_rows(rows, id_column=id_column, columns=columns),
                    consent_reference=consent_reference,
                    licenses=[full_name("licenses", one) for one in license_name or ()],
                    on_job=lambda name: note(
                        f"Job {name}. If it stops, go on with: bourse bank score --resume {name} --out {out}",
                        as_json=as_json,
                    ),
                    on_remark=remark,
                    on_progress=show,
                    meter=meter,
                )
        with meter.timed("write results"):
            write_results(results, out)
        _show_scored(results, out, meter, remarks, as_json=as_json)


@app.command()
def jobs(*, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """List scoring jobs and how far they came."""
    with refusals(as_json=as_json), _client(home) as client:
        rows = [job.progress() for job in client.jobs()]
        columns = ("job", "scorecard", "rows", "blocks_opened", "blocks", "create_time")
        show_rows("Jobs", rows, columns, as_json=as_json, key="jobs")


@app.command()
def usage(
    license_name: Annotated[
        str | None, typer.Argument(metavar="[LICENSE]", help="One license; without it all active ones.")
    ] = None,
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Show what the providers' nodes have charged, beside the caps."""
    from bourse.exchange.v1 import license_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import full_name  # noqa: PLC0415 - as above
    from clients.cli.views import usage_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        if license_name is not None:
            found = [client.license(full_name("licenses", license_name))]
        else:
            found = list(client.licenses(state=license_pb2.LICENSE_STATE_ACTIVE))
        rows = [
            {
                **usage_view(client.usage(one.name)),
                "dataset": one.dataset,
                "max_models": one.terms.max_models,
                "max_rows": one.terms.max_rows,
                "max_bits": one.terms.max_bits,
            }
            for one in found
        ]
        columns = ("license", "dataset", "models", "max_models", "rows", "max_rows", "bits", "max_bits")
        show_rows("Charged by the nodes", rows, columns, as_json=as_json, key="usage")


def _show_scored(results: "Results", out: Path, meter: "Meter", remarks: list[str], *, as_json: bool) -> None:
    from clients.cli.views import costs_view  # noqa: PLC0415 - keeps `bourse --help` fast

    facts = {
        "job": results.job,
        "rows": len(results.ids),
        "out": str(out),
        "charged": {dataset: dict(charge) for dataset, charge in results.charged.items()},
        "licenses": dict(results.licenses),
        "remarks": remarks,
    }
    if as_json:
        show_json({**facts, "steps": costs_view(meter.costs())})
        return
    show_facts("Scored", {**facts, "remarks": ""}, as_json=False)
    _show_steps(meter)


def _show_steps(meter: "Meter") -> None:
    from clients.cli.views import costs_view  # noqa: PLC0415 - keeps `bourse --help` fast

    rows = [{"step": step, **cost} for step, cost in costs_view(meter.costs()).items()]
    if rows:
        show_rows("Steps", rows, STEP_COLUMNS, as_json=False)


def _client(home: Path | None) -> "BankClient":
    from clients.bank import BankClient  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.home import home_directory  # noqa: PLC0415 - as above

    return BankClient.open(home_directory(home))
