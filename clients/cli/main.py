"""`bourse`: the commands of every party, and the one that sets a home up.

Heavy modules are imported inside commands, so that help is quick.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from clients.cli import admin, bank, pki, provider, regulator
from clients.cli.output import JSONFlag, refusals, show_facts
from clients.cli.usage import CommandGroup
from clients.demo import commands

# gRPC's own lines would stand beside our errors on standard error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables
    help="A data exchange where banks buy answers, not data.",
)
app.add_typer(pki.app, name="pki")
app.add_typer(admin.app, name="admin")
app.add_typer(provider.app, name="provider")
app.add_typer(bank.app, name="bank")
app.add_typer(regulator.app, name="regulator")


@app.command()
def setup(
    home: Annotated[Path, typer.Option(envvar="BOURSE_HOME", help="The home directory to make.")],
    exchange_address: Annotated[str, typer.Option(help="Where the exchange listens, host:port.")],
    exchange_identity: Annotated[
        str, typer.Option(help="Who it is: spiffe://<trust domain>/operator/<party>/exchange.")
    ],
    origin: Annotated[str, typer.Option(help="The origin of its log, as its operator publishes it.")],
    exchange_key: Annotated[str, typer.Option(help="Its public signing key, 64 hexadecimal digits.")],
    identity: Annotated[Path, typer.Option(help="The identity directory, made by `bourse pki issue`.")],
    *,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Where the passphrase is; else in the identity directory.")
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option(help="PARTY=HOST:PORT of a node, instead of the registry's address.")
    ] = None,
    as_json: JSONFlag = False,
) -> None:
    """Set up a home: who acts, and which exchange it trusts. Nothing is sent."""
    from clients.home import CONFIGURATION_NAME, Home, check_address, pinned_exchange, write_home  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.member import Member  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        member = Member.open(identity, passphrase_file)
        trust_domain = member.identity.trust_domain
        nodes = dict(_pair(one) for one in node or ())
        made = Home(
            directory=home,
            trust_domain=trust_domain,
            identity_directory=identity,
            exchange=pinned_exchange(
                address=exchange_address,
                identity=exchange_identity,
                origin=origin,
                public_key=exchange_key,
                trust_domain=trust_domain,
            ),
            nodes={party: check_address(f"--node {party}", address) for party, address in nodes.items()},
            passphrase_file=passphrase_file,
        )
        write_home(made)
        show_facts(
            "Home",
            {
                "home": str(home),
                "configuration": str(home / CONFIGURATION_NAME),
                "identity": member.identity.uri,
                "exchange": made.exchange.server.uri,
                "address": made.exchange.address,
                "origin": made.exchange.origin,
                "exchange_key": made.exchange.public_key.hex(),
            },
            as_json=as_json,
        )


def _pair(text: str) -> tuple[str, str]:
    party, separator, address = text.partition("=")
    if not separator:
        raise typer.BadParameter("must be PARTY=HOST:PORT", param_hint="--node")
    return party, address


commands.mount(app)
