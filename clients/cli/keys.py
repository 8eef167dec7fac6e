"""`key-proof`: what a key's owner hands to the administrator."""

from pathlib import Path

from clients.cli.output import refusals, show_json
from clients.home import home_directory, read_home
from clients.keyproof import parse_purpose, prove_possession
from clients.member import Member


def show_key_proof(home: Path | None, identity: Path | None, purpose: str, *, as_json: bool) -> None:
    """Print the proof that an identity, given or the home's, holds its signing key. Always JSON."""
    with refusals(as_json=as_json):
        if identity is not None:
            member = Member.open(identity)
        else:
            opened = read_home(home_directory(home))
            member = Member.open(opened.identity_directory, opened.passphrase_file)
        show_json(prove_possession(member, parse_purpose(purpose)).to_json())
