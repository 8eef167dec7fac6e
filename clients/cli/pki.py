"""`bourse pki`: a development authority, identities, rotation.

For production, bring certificates of the same shape from your own authority: docs/spec/identity.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from clients.cli.output import JSONFlag, refusals, show_facts

app = typer.Typer(no_args_is_help=True, help="Make a development authority and identities, and rotate them.")

AuthorityDirectory = Annotated[Path, typer.Option("--dir", help="The authority's directory.")]
IdentityDirectory = Annotated[Path, typer.Option("--identity", help="The identity's directory.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="Where the passphrase is; else `passphrase` in the directory itself.")
]
AuthorityPassphraseFile = Annotated[
    Path | None, typer.Option(help="Where the authority's passphrase is; else in its directory.")
]
Days = Annotated[int, typer.Option(help="How long the certificate is valid, from now on.")]


@app.command()
def init(
    directory: AuthorityDirectory,
    trust_domain: Annotated[str, typer.Option(help="A DNS name in lower case, such as bourse.test.")],
    *,
    days: Annotated[int, typer.Option(help="How long the authority is valid, from now on.")] = 3650,
    passphrase_file: PassphraseFile = None,
    as_json: JSONFlag = False,
) -> None:
    """Make a development authority. It never replaces one."""
    from clients.pki import directories  # noqa: PLC0415 - keeps `bourse --help` fast

    with _refusals(as_json=as_json):
        authority = directories.init_authority(
            directory, trust_domain, now=datetime.now(UTC), days=days, passphrase_file=passphrase_file
        )
        facts = {"directory": str(directory)} | directories.authority_json(authority.certificate)
        show_facts("Authority", facts, as_json=as_json)


@app.command()
def issue(
    directory: AuthorityDirectory,
    kind: Annotated[str, typer.Option(help="provider, bank, regulator or operator.")],
    party: Annotated[str, typer.Option(help="The party, such as harbour-bank.")],
    member: Annotated[str, typer.Option(help="The person or workload, such as analyst or node.")],
    out: Annotated[Path, typer.Option(help="The identity directory to make.")],
    *,
    server: Annotated[bool, typer.Option("--server", help="The identity also answers calls.")] = False,
    dns: Annotated[list[str] | None, typer.Option(help="One more DNS name of the server.")] = None,
    host: Annotated[list[str] | None, typer.Option(help="One more IP address of the server.")] = None,
    days: Days = 30,
    passphrase_file: PassphraseFile = None,
    ca_passphrase_file: AuthorityPassphraseFile = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move aside what is at --out already.")] = False,
    as_json: JSONFlag = False,
) -> None:
    """Make an identity: certificate, its key, and a signing key."""
    from ipaddress import ip_address  # noqa: PLC0415 - as below

    from clients.pki import directories  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.pki.authority import ServerNames  # noqa: PLC0415 - as above
    from wire.identity import Identity  # noqa: PLC0415 - as above

    if (dns or host) and not server:
        raise typer.BadParameter(
            "only a server has names of its own; add --server", param_hint="--dns, --host"
        )
    try:
        addresses = tuple(ip_address(address) for address in host or ())
    except ValueError:
        raise typer.BadParameter("must be an IP address, such as 127.0.0.1", param_hint="--host") from None
    with _refusals(as_json=as_json):
        authority = directories.open_authority(directory, passphrase_file=ca_passphrase_file)
        description = directories.create_identity(
            authority,
            Identity(authority.trust_domain, kind, party, member),
            out,
            server=ServerNames(tuple(dns or ()), addresses) if server else None,
            now=datetime.now(UTC),
            days=days,
            passphrase_file=passphrase_file,
            replace=replace,
        )
        show_facts("Identity", {"directory": str(out)} | description.to_json(), as_json=as_json)


@app.command()
def rotate(
    identity: IdentityDirectory,
    directory: AuthorityDirectory,
    *,
    days: Days = 30,
    passphrase_file: PassphraseFile = None,
    ca_passphrase_file: AuthorityPassphraseFile = None,
    as_json: JSONFlag = False,
) -> None:
    """Give an identity a new key and certificate; the old certificate stays in its history."""
    from clients.pki import directories  # noqa: PLC0415 - keeps `bourse --help` fast

    with _refusals(as_json=as_json):
        description = directories.rotate_certificate(
            directories.open_authority(directory, passphrase_file=ca_passphrase_file),
            identity,
            now=datetime.now(UTC),
            days=days,
            passphrase_file=passphrase_file,
        )
        show_facts("Identity", {"directory": str(identity)} | description.to_json(), as_json=as_json)


@app.command("signing-key")
def signing_key(
    identity: IdentityDirectory,
    *,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new key first; the old one stays in the history.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    as_json: JSONFlag = False,
) -> None:
    """Show the public signing key to register at the exchange."""
    from clients.pki import directories  # noqa: PLC0415 - keeps `bourse --help` fast

    with _refusals(as_json=as_json):
        if rotate:
            description = directories.rotate_signing_key(identity, passphrase_file=passphrase_file)
        else:
            description = directories.describe(identity)
        facts = description.to_json()
        shown = {key: facts[key] for key in ("uri", "signing_public_key", "signing_key_id", "history")}
        show_facts("Signing key", {"directory": str(identity)} | shown, as_json=as_json)


@app.command()
def show(
    directory: Annotated[Path, typer.Argument(help="An identity's or an authority's directory.")],
    *,
    as_json: JSONFlag = False,
) -> None:
    """Show what a directory holds, without opening a key."""
    from clients.pki import directories  # noqa: PLC0415 - keeps `bourse --help` fast

    with _refusals(as_json=as_json):
        if directories.is_authority(directory):
            title, facts = "Authority", directories.describe_authority(directory)
        else:
            title, facts = "Identity", directories.describe(directory).to_json()
        show_facts(title, {"directory": str(directory)} | facts, as_json=as_json)


@contextmanager
def _refusals(*, as_json: bool) -> Iterator[None]:
    from clients.errors import BourseError  # noqa: PLC0415 - keeps `bourse --help` fast
    from clients.pki.directories import PkiError  # noqa: PLC0415 - as above
    from wire.identity import IdentityError  # noqa: PLC0415 - as above

    with refusals(as_json=as_json):
        try:
            yield
        except (*PkiError, IdentityError) as error:
            raise BourseError("IDENTITY_REFUSED", str(error)) from None
        except OSError as error:
            way_out = "Choose a place that you may write to."
            raise BourseError("SYSTEM", f"{error.filename}: {error.strerror}.", way_out=way_out) from None
