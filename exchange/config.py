"""The exchange's configuration: a TOML file, read strictly. Paths in it are relative to its own folder.

origin = "exchange.bourse.test/ledger"    # names the log, in agreements and receipts, for ever
trust_domain = "bourse.test"
listen = "127.0.0.1:7400"                 # port 0 takes a free one
database = "sqlite:///exchange.db"        # or postgresql://user@host/database
identity = "identity"                     # folder with tls.crt, tls.key, ca.crt, signing.key
passphrase_file = "identity/passphrase"
drain_seconds = 10                        # optional
reflection = false                        # optional
port_file = "exchange.port"               # optional: where the bound port is written
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from wire.identity import IdentityError, check_trust_domain

MAX_CONFIG_BYTES: Final = 64 * 1024
MAX_DRAIN_SECONDS: Final = 600
DEFAULT_DRAIN_SECONDS: Final = 10
# The first line of a checkpoint, and part of a key's name there: no space, no plus (C2SP signed-note).
_ORIGIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9./-]{0,198}[a-z0-9])?")
_LISTEN: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):(?:0|[1-9][0-9]{0,4})")
_SQLITE: Final = "sqlite:///"

_REQUIRED: Final = ("origin", "trust_domain", "listen", "database", "identity", "passphrase_file")
_OPTIONAL: Final = ("drain_seconds", "reflection", "port_file")


class ConfigError(ValueError):
    """The configuration cannot be used. The message names the key, the rule and the way out."""


@dataclass(frozen=True)
class Config:
    """A checked configuration. `drain_seconds` is how long running calls may take to end at a stop."""

    origin: str
    trust_domain: str
    listen: str
    database: str
    identity: Path
    passphrase_file: Path
    drain_seconds: float
    reflection: bool
    port_file: Path | None


def load_config(path: Path) -> Config:
    """Return the configuration in a file. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: longer than {MAX_CONFIG_BYTES} bytes")
    try:
        values = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML in UTF-8: {error}") from None
    return _checked(values, path.parent)


def _checked(values: dict[str, Any], folder: Path) -> Config:
    unknown = sorted(values.keys() - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        raise ConfigError(f"{unknown[0]}: no such key; known are {', '.join((*_REQUIRED, *_OPTIONAL))}")
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        raise ConfigError(f"{missing[0]}: is missing")
    return Config(
        origin=_matching(
            values,
            "origin",
            _ORIGIN,
            "1 to 200 of a-z, 0-9, dot, slash and hyphen, such as exchange.bourse.test/ledger",
        ),
        trust_domain=_trust_domain(values),
        listen=_matching(values, "listen", _LISTEN, "host:port, such as 127.0.0.1:7400"),
        database=_database(_text(values, "database"), folder),
        identity=folder / _text(values, "identity"),
        passphrase_file=folder / _text(values, "passphrase_file"),
        drain_seconds=_drain_seconds(values),
        reflection=_reflection(values),
        port_file=folder / _text(values, "port_file") if "port_file" in values else None,
    )


def _text(values: dict[str, Any], key: str) -> str:
    value = values[key]
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key}: must be a text that is not empty")
    return value


def _matching(values: dict[str, Any], key: str, pattern: re.Pattern[str], rule: str) -> str:
    value = _text(values, key)
    if not pattern.fullmatch(value):
        raise ConfigError(f"{key}: must be {rule}")
    return value


def _trust_domain(values: dict[str, Any]) -> str:
    try:
        return check_trust_domain(_text(values, "trust_domain"))
    except IdentityError as error:
        raise ConfigError(str(error)) from None


def _database(url: str, folder: Path) -> str:
    if url.startswith(_SQLITE):
        return f"{_SQLITE}{folder / url.removeprefix(_SQLITE)}"
    return url


def _drain_seconds(values: dict[str, Any]) -> float:
    value = values.get("drain_seconds", DEFAULT_DRAIN_SECONDS)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_DRAIN_SECONDS:
        raise ConfigError(f"drain_seconds: must be a number from 0 to {MAX_DRAIN_SECONDS}")
    return float(value)


def _reflection(values: dict[str, Any]) -> bool:
    value = values.get("reflection", False)
    if not isinstance(value, bool):
        raise ConfigError("reflection: must be true or false")
    return value
