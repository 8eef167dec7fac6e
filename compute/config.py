"""A node's configuration: a strict TOML file. Unknown, missing and malformed keys are refused by name.

```toml
listen = "127.0.0.1:7443"                 # port 0 takes a free one
port_file = "node.port"                   # optional: the port taken is written here
database = "sqlite:///state/node.db"      # optional; or postgresql://<user>@<host>/<database>
identity = "identity"                     # directory: tls.crt, tls.key, ca.crt, signing.key
passphrase_file = "identity/passphrase"
records = "records"                       # directory of the files that may be published
state = "state"                           # directory of the engine's copies of sealed models
trust_domain = "bourse.test"
provider = "employment-registry"
stewards = ["spiffe://bourse.test/provider/employment-registry/steward"]
steward_keys = ["<64 hex digits>"]        # Ed25519 keys whose agreements are honored
workers = 2                               # optional: processes that evaluate; else one for each CPU
drain_seconds = 10                        # optional: how long running calls may take to end at a stop

[exchange]
address = "127.0.0.1:7400"
identity = "spiffe://bourse.test/operator/operator/exchange"
public_key = "<64 hex digits>"            # Ed25519, signs agreements and receipts
origin = "exchange.bourse.test"           # of its log, and the issuer of its refusals
```

Relative paths begin at the file's own directory.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wire.identity import Identity, IdentityError, check_name, check_trust_domain
from wire.signing import SignatureError, check_public_key
from wire.strict import StrictParseError, parse_decimal

MAX_BYTES: Final = 256 * 1024
MAX_WORKERS: Final = 256
MAX_STEWARDS: Final = 100
MAX_DRAIN_SECONDS: Final = 600
DEFAULT_DRAIN_SECONDS: Final = 10

_KEYS: Final = frozenset(
    {
        "listen",
        "port_file",
        "database",
        "identity",
        "passphrase_file",
        "records",
        "state",
        "trust_domain",
        "provider",
        "stewards",
        "steward_keys",
        "workers",
        "drain_seconds",
        "exchange",
    }
)
_EXCHANGE_KEYS: Final = frozenset({"address", "identity", "public_key", "origin"})
_SQLITE: Final = "sqlite:///"
_HEX_KEY = re.compile(r"[0-9a-f]{64}")
_ORIGIN = re.compile(r"[a-z0-9]([a-z0-9./-]{0,252}[a-z0-9])?")
_HOST = re.compile(r"\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+")


class ConfigError(ValueError):
    """The configuration cannot be used. The message names the key, the limit and the way out."""


@dataclass(frozen=True)
class ExchangeConfig:
    """The exchange that the node records at: `identity` is its server's, `public_key` 32 bytes."""

    address: str
    identity: Identity
    public_key: bytes
    origin: str


@dataclass(frozen=True)
class Config:
    """A node's configuration; paths are absolute, `stewards` are SPIFFE URIs, keys 32 bytes."""

    listen: str
    port_file: Path | None
    database: str
    identity: Path
    passphrase_file: Path
    records: Path
    state: Path
    trust_domain: str
    provider: str
    stewards: tuple[str, ...]
    steward_keys: frozenset[bytes]
    workers: int
    drain_seconds: float
    exchange: ExchangeConfig


def load_config(path: Path) -> Config:
    """Read the configuration at `path`. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_config(data, path.absolute().parent, cpus=os.cpu_count() or 1)


def parse_config(data: bytes, folder: Path, *, cpus: int) -> Config:
    """Return the configuration that a file in `folder` holds. Raises ConfigError."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"longer than {MAX_BYTES} bytes")
    try:
        table = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"not TOML in UTF-8: {error}") from None
    _refuse_unknown("", table, _KEYS)
    trust_domain = _checked("trust_domain", check_trust_domain, _text(table, "trust_domain"))
    provider = _checked("provider", lambda name: check_name("provider", name), _text(table, "provider"))
    state = folder / _text(table, "state")
    return Config(
        listen=_address("listen", _text(table, "listen")),
        port_file=folder / _text(table, "port_file") if "port_file" in table else None,
        database=_database(table, folder, state),
        identity=folder / _text(table, "identity"),
        passphrase_file=folder / _text(table, "passphrase_file"),
        records=folder / _text(table, "records"),
        state=state,
        trust_domain=trust_domain,
        provider=provider,
        stewards=tuple(
            _steward(f"stewards[{n}]", uri, trust_domain, provider)
            for n, uri in enumerate(_texts(table, "stewards"))
        ),
        steward_keys=frozenset(
            _public_key(f"steward_keys[{n}]", key) for n, key in enumerate(_texts(table, "steward_keys"))
        ),
        workers=_workers(table.get("workers", cpus)),
        drain_seconds=_drain_seconds(table.get("drain_seconds", DEFAULT_DRAIN_SECONDS)),
        exchange=_exchange(table, trust_domain),
    )


def _exchange(table: Mapping[str, Any], trust_domain: str) -> ExchangeConfig:
    section = table.get("exchange")
    if not isinstance(section, dict):
        raise ConfigError("[exchange]: must be there, with address, identity, public_key and origin")
    _refuse_unknown("exchange.", section, _EXCHANGE_KEYS)
    identity = _checked("exchange.identity", Identity.parse, _text(section, "identity", "exchange."))
    if identity.trust_domain != trust_domain:
        raise ConfigError(f"exchange.identity: must be of the trust domain {trust_domain}")
    origin = _text(section, "origin", "exchange.")
    if not _ORIGIN.fullmatch(origin):
        raise ConfigError("exchange.origin: must be a name such as exchange.bourse.test")
    return ExchangeConfig(
        _address("exchange.address", _text(section, "address", "exchange.")),
        identity,
        _public_key("exchange.public_key", _text(section, "public_key", "exchange.")),
        origin,
    )


def _refuse_unknown(prefix: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]}: no such key; known are {', '.join(sorted(known))}")


def _text(table: Mapping[str, Any], key: str, prefix: str = "") -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigError(f"{prefix}{key}: must be a text that is not empty")
    return value


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    values = table.get(key)
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_STEWARDS:
        raise ConfigError(f"{key}: must be a list of 1 to {MAX_STEWARDS} texts")
    if not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{key}: must hold texts alone")
    return values


def _workers(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_WORKERS:
        raise ConfigError(f"workers: must be 1 to {MAX_WORKERS}")
    return value


def _drain_seconds(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_DRAIN_SECONDS:
        raise ConfigError(f"drain_seconds: must be 0 to {MAX_DRAIN_SECONDS}")
    return float(value)


def _database(table: Mapping[str, Any], folder: Path, state: Path) -> str:
    if "database" not in table:
        return f"{_SQLITE}{state / 'node.db'}"
    url = _text(table, "database")
    if url.startswith(_SQLITE):
        return f"{_SQLITE}{folder / url.removeprefix(_SQLITE)}"
    if not url.startswith("postgresql://"):
        raise ConfigError("database: must be sqlite:///<file> or postgresql://<user>@<host>/<database>")
    return url


def _address(key: str, value: str) -> str:
    host, separator, port = value.rpartition(":")
    if not separator or not _HOST.fullmatch(host):
        raise ConfigError(f"{key}: must be <host>:<port>")
    try:
        parse_decimal(port, max_value=65_535)
    except StrictParseError as error:
        raise ConfigError(f"{key}: port: {error}") from None
    return value


def _steward(key: str, uri: str, trust_domain: str, provider: str) -> str:
    identity = _checked(key, Identity.parse, uri)
    if (identity.trust_domain, identity.kind, identity.party) != (trust_domain, "provider", provider):
        raise ConfigError(f"{key}: must begin with spiffe://{trust_domain}/provider/{provider}/")
    return uri


def _public_key(key: str, text: str) -> bytes:
    if not _HEX_KEY.fullmatch(text):
        raise ConfigError(f"{key}: must be 64 hex digits in lower case, an Ed25519 public key")
    try:
        return check_public_key(bytes.fromhex(text))
    except SignatureError as error:
        raise ConfigError(f"{key}: {error}") from None


def _checked(key: str, check: Any, value: str) -> Any:
    try:
        return check(value)
    except IdentityError as error:
        raise ConfigError(f"{key}: {error}") from None
