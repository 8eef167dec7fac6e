"""`bourse admin`: parties, their keys, and the review of datasets."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli.listings import show_listing
from clients.cli.output import HomeOption, JSONFlag, ReasonOption, refusals, show_facts, show_rows

if TYPE_CHECKING:
    from bourse.exchange.v1 import party_pb2

    from clients.admin import AdminClient

app = typer.Typer(no_args_is_help=True, help="Register parties and keys, review datasets.")
party_app = typer.Typer(no_args_is_help=True, help="Parties.")
key_app = typer.Typer(no_args_is_help=True, help="Signing keys of parties.")
dataset_app = typer.Typer(no_args_is_help=True, help="Review of datasets.")
app.add_typer(party_app, name="party")
app.add_typer(key_app, name="key")
app.add_typer(dataset_app, name="dataset")

PartyArgument = Annotated[str, typer.Argument(help="The party, such as harbour-bank.")]
DatasetArgument = Annotated[str, typer.Argument(help="The dataset, such as payments-bureau.")]
MemberOption = Annotated[
    list[str] | None,
    typer.Option("--member", help="MEMBER=ROLE[,ROLE]: one certificate identity and what it may do."),
]
PARTY_COLUMNS = ("name", "display_name", "kind", "state", "members", "node_address")
DATASET_COLUMNS = ("name", "provider", "title", "state", "classification_grade", "scenarios")


@party_app.command("create")
def party_create(
    party: PartyArgument,
    kind: Annotated[str, typer.Option(help="provider, bank, regulator or operator.")],
    name: Annotated[str, typer.Option(help="A name to read.")],
    *,
    member: MemberOption = None,
    node_address: Annotated[str, typer.Option(help="Where a provider's node listens, host:port.")] = "",
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Register a party with its members. Recorded."""
    from bourse.exchange.v1 import party_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen  # noqa: PLC0415 - as above
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    kind_value = chosen(party_pb2.PartyKind, "PARTY_KIND_", kind, "--kind")
    members = _members(member)
    with refusals(as_json=as_json), _client(home) as client:
        made = client.create_party(party, kind_value, name, members, node_address=node_address)
        show_facts("Party", party_view(made), as_json=as_json)


@party_app.command("list")
def party_list(
    *,
    kind: Annotated[str | None, typer.Option(help="Only provider, bank, regulator or operator.")] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List parties by name."""
    from bourse.exchange.v1 import party_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen  # noqa: PLC0415 - as above
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    kind_value = chosen(party_pb2.PartyKind, "PARTY_KIND_", kind, "--kind")
    with refusals(as_json=as_json), _client(home) as client:
        rows = [party_view(one) for one in client.parties(kind_value)]
        show_rows("Parties", rows, PARTY_COLUMNS, as_json=as_json, key="parties")


@party_app.command("show")
def party_show(party: PartyArgument, *, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """Show a party with its keys."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        show_facts("Party", party_view(client.party(full_name("parties", party))), as_json=as_json)


@party_app.command("update")
def party_update(
    party: PartyArgument,
    *,
    name: Annotated[str | None, typer.Option(help="A new name to read.")] = None,
    member: MemberOption = None,
    node_address: Annotated[str | None, typer.Option(help="Where the node listens now, host:port.")] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Change what is given; members given replace all there are. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    if name is None and member is None and node_address is None:
        raise typer.BadParameter("nothing to change is given", param_hint="--name, --member, --node-address")
    members = _members(member) if member is not None else None
    with refusals(as_json=as_json), _client(home) as client:
        seen = client.party(full_name("parties", party))
        changed = client.update_party(seen, display_name=name, members=members, node_address=node_address)
        show_facts("Party", party_view(changed), as_json=as_json)


@party_app.command("suspend")
def party_suspend(
    party: PartyArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Stop a party from acting; its licenses release nothing. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        changed = client.suspend_party(full_name("parties", party), reason)
        show_facts("Party", party_view(changed), as_json=as_json)


@party_app.command("reinstate")
def party_reinstate(
    party: PartyArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Let a suspended party act again. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        changed = client.reinstate_party(full_name("parties", party), reason)
        show_facts("Party", party_view(changed), as_json=as_json)


@key_app.command("register")
def key_register(
    proof: Annotated[
        Path, typer.Option(help="The JSON that `key-proof` printed for the key's owner; - reads it here.")
    ],
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Put a key into use, once its owner has proven to hold it. Recorded."""
    from clients.cli.views import party_view  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.errors import InputError  # noqa: PLC0415 - as above
    from clients.files import read_bounded  # noqa: PLC0415 - as above
    from clients.keyproof import parse_proof  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        data = sys.stdin.buffer.read(8192) if str(proof) == "-" else read_bounded(proof, 8192, InputError)
        parsed = parse_proof(data)
        with _client(home) as client:
            show_facts("Party", party_view(client.register_key(parsed)), as_json=as_json)


@key_app.command("retire")
def key_retire(
    party: PartyArgument,
    key: Annotated[str, typer.Option(help="The public key, 64 hexadecimal digits.")],
    reason: ReasonOption,
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """Take a key out of use. Licenses keep the keys that they pin. Recorded."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import party_view  # noqa: PLC0415 - as above

    try:
        public_key = bytes.fromhex(key)
    except ValueError:
        raise typer.BadParameter("must be hexadecimal", param_hint="--key") from None
    with refusals(as_json=as_json), _client(home) as client:
        changed = client.retire_key(full_name("parties", party), public_key, reason)
        show_facts("Party", party_view(changed), as_json=as_json)


@dataset_app.command("list")
def dataset_list(
    *,
    state: Annotated[str | None, typer.Option(help="Only in this state, such as submitted.")] = None,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List datasets by name."""
    from bourse.exchange.v1 import dataset_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen  # noqa: PLC0415 - as above
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    wanted = chosen(dataset_pb2.DatasetState, "DATASET_STATE_", state, "--state")
    with refusals(as_json=as_json), _client(home) as client:
        rows = [dataset_view(one) for one in client.datasets(state=wanted)]
        show_rows("Datasets", rows, DATASET_COLUMNS, as_json=as_json, key="datasets")


@dataset_app.command("show")
def dataset_show(dataset: DatasetArgument, *, home: HomeOption = None, as_json: JSONFlag = False) -> None:
    """Show what a review looks at: listing, evidence, columns, quality."""
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        show_listing(dataset_view(client.dataset(full_name("datasets", dataset))), as_json=as_json)


@dataset_app.command("approve")
def dataset_approve(
    dataset: DatasetArgument,
    comment: Annotated[str, typer.Option(help="What was checked, 1 to 500 characters; recorded.")],
    *,
    home: HomeOption = None,
    as_json: JSONFlag = False,
) -> None:
    """List a submitted dataset. Recorded."""
    _review("approve_dataset", dataset, comment, home, as_json=as_json)


@dataset_app.command("reject")
def dataset_reject(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Refuse a submitted dataset. Recorded."""
    _review("reject_dataset", dataset, reason, home, as_json=as_json)


@dataset_app.command("suspend")
def dataset_suspend(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Take a listed dataset out of trade for a time. Recorded."""
    _review("suspend_dataset", dataset, reason, home, as_json=as_json)


@dataset_app.command("reinstate")
def dataset_reinstate(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """List a suspended dataset again. Recorded."""
    _review("reinstate_dataset", dataset, reason, home, as_json=as_json)


@dataset_app.command("delist")
def dataset_delist(
    dataset: DatasetArgument, reason: ReasonOption, *, home: HomeOption = None, as_json: JSONFlag = False
) -> None:
    """Withdraw a dataset for good. Recorded."""
    _review("delist_dataset", dataset, reason, home, as_json=as_json)


def _review(verb: str, dataset: str, words: str, home: Path | None, *, as_json: bool) -> None:
    from clients.cli.names import full_name  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.cli.views import dataset_view  # noqa: PLC0415 - as above

    with refusals(as_json=as_json), _client(home) as client:
        name = full_name("datasets", dataset)
        seen = client.dataset(name)
        changed = getattr(client, verb)(name, words, etag=seen.etag)
        show_listing(dataset_view(changed), as_json=as_json)


def _members(texts: list[str] | None) -> "list[party_pb2.Member]":
    from bourse.exchange.v1 import party_pb2  # noqa: PLC0415 - keeps `bourse --help` fast

    from clients.cli.names import chosen  # noqa: PLC0415 - as above

    members = []
    for text in texts or ():
        member, separator, roles = text.partition("=")
        if not separator or not member or not roles:
            raise typer.BadParameter("must be MEMBER=ROLE[,ROLE]", param_hint="--member")
        members.append(
            party_pb2.Member(
                member=member,
                roles=[chosen(party_pb2.Role, "ROLE_", role, "--member") for role in roles.split(",")],
            )
        )
    return members


def _client(home: Path | None) -> "AdminClient":
    from clients.admin import AdminClient  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.home import home_directory  # noqa: PLC0415 - as above

    return AdminClient.open(home_directory(home))
