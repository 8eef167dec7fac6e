"""python -m exchange: found, migrate and serve an exchange. Everything is put together here and nowhere else.

python -m exchange init --config exchange.toml --administrator admin --compliance-officer officer
python -m exchange migrate --config exchange.toml
python -m exchange serve --config exchange.toml
"""

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from durable import Database, DurableError, check_schema, migrate, open_database
from exchange.config import Config, ConfigError, load_config
from exchange.domain.errors import MarketError, PartyExistsError
from exchange.domain.names import party_name
from exchange.domain.parties import Member, PartyKind, Role
from exchange.server import print_serving, serve
from exchange.store import MIGRATIONS
from exchange.store.exchange import get_founding
from exchange.store.records import sequence
from exchange.verbs.acts import Office
from exchange.verbs.parties import found_exchange
from exchange.verbs.sequencing import SEQUENCER_LOCK
from wire.credentials import (
    SIGNING_KEY_FILE,
    Credentials,
    CredentialsError,
    load_credentials,
    parse_passphrase,
)
from wire.envelope import EnvelopeError, dump_private_key
from wire.event_log import configure_logging

EXPECTED = (ConfigError, CredentialsError, EnvelopeError, DurableError, MarketError, OSError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit status: 0, or 1 with one sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        match options.command:
            case "init":
                _init(config, options)
            case "migrate":
                _migrate(config)
            case _:
                _serve(config)
    except EXPECTED as error:
        sys.stderr.write(f"exchange: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m exchange", description="The exchange's server.")
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="found an exchange: database, operator, signing key")
    init.add_argument("--display-name", default="Exchange operator", help="the operator's name to read")
    init.add_argument(
        "--administrator",
        action="append",
        required=True,
        metavar="MEMBER",
        help="a member who registers parties and keys; may be given again",
    )
    init.add_argument(
        "--compliance-officer",
        action="append",
        default=[],
        metavar="MEMBER",
        help="a member who reviews datasets; may be given again",
    )
    init.add_argument("--json", action="store_true", help="print the result as JSON")
    for command in (
        init,
        commands.add_parser("migrate", help="bring the database to this version's schema"),
        commands.add_parser("serve", help="serve until SIGTERM"),
    ):
        command.add_argument("--config", type=Path, required=True, metavar="FILE")
    return parser


def _init(config: Config, options: argparse.Namespace) -> None:
    credentials, passphrase = _credentials(config)
    database = open_database(config.database, create=True)
    try:
        migrate(database, MIGRATIONS)
        if database.read(get_founding) is not None:
            raise PartyExistsError("this database is an exchange already; nothing was changed")
        office = _office(config, _with_signing_key(config, credentials, passphrase))
        database.write(
            lambda tx: found_exchange(
                tx,
                office,
                display_name=options.display_name,
                members=_members(options.administrator, options.compliance_officer),
                acting=credentials.identity.member,
                now=datetime.now(UTC),
            )
        )
        database.write_apart(SEQUENCER_LOCK, sequence)
    finally:
        database.close()
    founded = {
        "origin": office.origin,
        "public_key": office.public_key.hex(),
        "operator": party_name(office.operator),
    }
    lines = json.dumps(founded) if options.json else "\n".join(f"{k}: {v}" for k, v in founded.items())
    sys.stdout.write(f"{lines}\n")


def _migrate(config: Config) -> None:
    database = open_database(config.database)
    try:
        migrate(database, MIGRATIONS)
    finally:
        database.close()


def _serve(config: Config) -> None:
    credentials, _ = _credentials(config)
    office = _office(config, credentials)
    database = open_database(config.database)
    try:
        database.check()
        check_schema(database, MIGRATIONS)
        _check_founding(database, office)
        configure_logging(sys.stderr)
        asyncio.run(
            serve(
                config,
                credentials,
                office,
                database,
                logging.getLogger("exchange"),
                announce=lambda port: print_serving(config, port),
            )
        )
    finally:
        database.close()


def _credentials(config: Config) -> tuple[Credentials, bytes]:
    try:
        passphrase = parse_passphrase(config.passphrase_file.read_bytes())
    except OSError as error:
        raise CredentialsError(
            f"passphrase_file: {config.passphrase_file} cannot be read ({error.strerror})"
        ) from None
    credentials = load_credentials(
        lambda name: (config.identity / name).read_bytes(), passphrase, now=datetime.now(UTC)
    )
    identity = credentials.identity
    if identity.kind != PartyKind.OPERATOR or identity.trust_domain != config.trust_domain:
        raise ConfigError(
            "identity: its certificate must be of kind operator in the trust_domain: "
            f"spiffe://{config.trust_domain}/operator/<party>/exchange"
        )
    return credentials, passphrase


def _office(config: Config, credentials: Credentials) -> Office:
    if credentials.signing_key is None:
        raise ConfigError(f"identity: has no {SIGNING_KEY_FILE}; `init` makes one")
    return Office(
        origin=config.origin,
        operator=credentials.identity.party,
        signing_key=credentials.signing_key,
        random_bytes=os.urandom,
    )


def _with_signing_key(config: Config, credentials: Credentials, passphrase: bytes) -> Credentials:
    if credentials.signing_key is not None:
        return credentials
    key = Ed25519PrivateKey.generate()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(config.identity / SIGNING_KEY_FILE, flags, 0o600), "wb") as file:
        file.write(dump_private_key(key, passphrase))
        file.flush()
        os.fsync(file.fileno())
    return replace(credentials, signing_key=key)


def _members(administrators: Sequence[str], officers: Sequence[str]) -> tuple[Member, ...]:
    roles: dict[str, set[Role]] = {}
    for name in administrators:
        roles.setdefault(name, set()).add(Role.ADMINISTRATOR)
    for name in officers:
        roles.setdefault(name, set()).add(Role.COMPLIANCE_OFFICER)
    return tuple(Member(name, frozenset(held)) for name, held in roles.items())


def _check_founding(database: Database, office: Office) -> None:
    founding = database.read(get_founding)
    if founding is None:
        raise ConfigError("database: holds no exchange yet; run `init`")
    if (founding.origin, founding.public_key, founding.operator) != (
        office.origin,
        office.public_key,
        office.operator,
    ):
        raise ConfigError(
            "database: belongs to an exchange of another origin, operator or signing key; "
            "receipts would not hold"
        )


if __name__ == "__main__":
    sys.exit(main())
