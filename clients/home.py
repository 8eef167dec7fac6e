"""A client's home directory: which exchange it talks to, as whom, and where its secrets and jobs lie.

    bourse.toml     this file's format
    identity/       certificate, keys and authority, as `bourse pki` makes them
    keystore/       sealing secrets, encrypted (docs/spec/keystore.md)
    jobs/           scoring jobs, encrypted (docs/spec/keystore.md)

    version = 1
    identity = "identity"
    passphrase_file = "/run/secrets/bourse"    # optional; else identity/passphrase
    trust_domain = "bourse.test"

    [exchange]
    address = "exchange.example:7400"
    identity = "spiffe://bourse.test/operator/exchange-operator/exchange"
    origin = "exchange.bourse.test"
    public_key = "64 hexadecimal digits"

    [nodes]                                    # optional: addresses other than the registry's
    employment-registry = "10.0.0.7:7500"

The exchange's identity, origin and key are pinned here by whoever sets the home up, never learned from the
network. Unknown keys are refused, so that a misspelled one does not pass unnoticed.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from clients.errors import HomeError
from clients.files import read_bounded, write_atomically
from wire.identity import Identity, IdentityError, check_name, check_trust_domain
from wire.signing import SignatureError, check_public_key

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

CONFIGURATION_NAME = "bourse.toml"
ENVIRONMENT_VARIABLE = "BOURSE_HOME"
MAX_CONFIGURATION_BYTES = 64 * 1024
MAX_ORIGIN_BYTES = 255

_ADDRESS = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?):(?P<port>[1-9][0-9]{0,4})"
)
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"[!-*,-~]+")


@dataclass(frozen=True)
class PinnedExchange:
    """The exchange a home trusts: where it listens, who it is, and the 32-byte key it signs with."""

    address: str
    server: Identity
    origin: str
    public_key: bytes


@dataclass(frozen=True)
class Home:
    """One identity's home. `nodes` overrides the registry's node addresses, by party."""

    directory: Path
    trust_domain: str
    identity_directory: Path
    exchange: PinnedExchange
    nodes: Mapping[str, str] = field(default_factory=dict)
    passphrase_file: Path | None = None

    @property
    def keystore_directory(self) -> Path:
        return self.directory / "keystore"

    @property
    def jobs_directory(self) -> Path:
        return self.directory / "jobs"


def home_directory(given: Path | None) -> Path:
    """Return the directory given, else the one that BOURSE_HOME names. Raises HomeError when neither is."""
    if given is not None:
        return given
    named = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not named:
        raise HomeError(
            "No home directory is given.",
            way_out=f"Pass --home DIR, or set {ENVIRONMENT_VARIABLE}; `bourse setup` makes one.",
        )
    return Path(named)


def read_home(directory: Path) -> Home:
    """Return the home in `directory`. Raises HomeError that names the key at fault."""
    path = directory / CONFIGURATION_NAME
    if not path.is_file():
        raise HomeError(
            f"There is no {CONFIGURATION_NAME} in {directory}.", way_out="Make one with `bourse setup`."
        )
    data = read_bounded(path, MAX_CONFIGURATION_BYTES, HomeError)
    return parse_home(directory, data)


def parse_home(directory: Path, data: bytes) -> Home:
    """Return the home that `data`, the bytes of a bourse.toml in `directory`, describes. Raises HomeError."""
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise HomeError(f"{CONFIGURATION_NAME} is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise HomeError(f"{CONFIGURATION_NAME} is not TOML: {error}.") from None
    _only(document, "", {"version", "identity", "passphrase_file", "trust_domain", "exchange", "nodes"})
    if document.get("version") != 1 or isinstance(document.get("version"), bool):
        raise HomeError("version: this release reads version 1.", way_out='Write "version = 1".')
    trust_domain = _checked("trust_domain", check_trust_domain, _text(document, "", "trust_domain"))
    exchange = _table(document, "exchange")
    _only(exchange, "exchange.", {"address", "identity", "origin", "public_key"})
    nodes = _table(document, "nodes") if "nodes" in document else {}
    return Home(
        directory=directory,
        trust_domain=trust_domain,
        identity_directory=directory / _text(document, "", "identity"),
        exchange=pinned_exchange(
            address=_text(exchange, "exchange.", "address"),
            identity=_text(exchange, "exchange.", "identity"),
            origin=_text(exchange, "exchange.", "origin"),
            public_key=_text(exchange, "exchange.", "public_key"),
            trust_domain=trust_domain,
        ),
        nodes={
            _party(party): check_address(f"nodes.{party}", _text(nodes, "nodes.", party)) for party in nodes
        },
        passphrase_file=(
            directory / _text(document, "", "passphrase_file") if "passphrase_file" in document else None
        ),
    )


def pinned_exchange(
    *, address: str, identity: str, origin: str, public_key: str, trust_domain: str
) -> PinnedExchange:
    """Return the exchange that these texts describe, the key as 64 hex digits. Raises HomeError."""
    server = _checked("exchange.identity", Identity.parse, identity)
    if server.trust_domain != trust_domain:
        raise HomeError("exchange.identity: is of another trust domain than trust_domain says.")
    if not _HEX_KEY.fullmatch(public_key):
        raise HomeError(
            "exchange.public_key: must be 64 lower-case hexadecimal digits.",
            way_out="The operator of the exchange publishes it.",
        )
    return PinnedExchange(
        address=check_address("exchange.address", address),
        server=server,
        origin=_origin(origin),
        public_key=_checked("exchange.public_key", check_public_key, bytes.fromhex(public_key)),
    )


def write_home(home: Home) -> None:
    """Write the home's bourse.toml, whole or not at all. Raises HomeError when one is there already."""
    path = home.directory / CONFIGURATION_NAME
    if path.exists():
        raise HomeError(
            f"{path} is there already.", way_out="Choose another directory, or edit or remove the file."
        )
    lines = [
        "version = 1",
        f"identity = {_quoted(os.path.relpath(home.identity_directory, home.directory))}",
        *(
            [f"passphrase_file = {_quoted(os.path.relpath(home.passphrase_file, home.directory))}"]
            if home.passphrase_file
            else []
        ),
        f"trust_domain = {_quoted(home.trust_domain)}",
        "",
        "[exchange]",
        f"address = {_quoted(home.exchange.address)}",
        f"identity = {_quoted(home.exchange.server.uri)}",
        f"origin = {_quoted(home.exchange.origin)}",
        f"public_key = {_quoted(home.exchange.public_key.hex())}",
        *(["", "[nodes]"] if home.nodes else []),
        *(f"{party} = {_quoted(address)}" for party, address in home.nodes.items()),
    ]
    home.directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def check_address(place: str, address: str) -> str:
    """Return `address` if it is host:port, an IPv6 host in brackets; else raise HomeError."""
    found = _ADDRESS.fullmatch(address)
    if not found or int(found["port"]) > 65535:
        raise HomeError(
            f"{place}: must be host:port.", way_out="For example exchange.example:7400 or [::1]:7400."
        )
    return address


def _origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin) or len(origin) > MAX_ORIGIN_BYTES:
        raise HomeError(
            f"exchange.origin: must be 1 to {MAX_ORIGIN_BYTES} printable ASCII characters, no space, no plus."
        )
    return origin


def _party(party: str) -> str:
    return _checked("nodes", lambda name: check_name("party", name), party)


def _checked(place: str, check: Callable[[_Given], _Made], value: _Given) -> _Made:
    try:
        return check(value)
    except (IdentityError, SignatureError) as error:
        raise HomeError(f"{place}: {error}.") from None


def _only(table: Mapping[str, object], path: str, known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise HomeError(f"{path}{key}: no such key.", way_out=f"Known here: {', '.join(sorted(known))}.")


def _text(table: Mapping[str, object], path: str, key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise HomeError(f"{path}{key}: must be given, as text.")
    return value


def _table(document: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = document.get(key)
    if not isinstance(value, dict):
        raise HomeError(f"{key}: must be given, as a table [{key}].")
    return value


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not all(char.isprintable() for char in escaped):
        raise HomeError("A value holds a character that cannot be printed.")
    return f'"{escaped}"'
