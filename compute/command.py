"""The node's commands: `migrate` prepares its database, `serve` runs it.

    python -m compute migrate --config node.toml
    python -m compute serve --config node.toml

`serve` prints one line, `SERVING <host>:<port>`, when calls are served; its log is one JSON object per line
on standard error.
"""

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from compute.config import Config, ConfigError, load_config
from compute.identity import read_passphrase, unlock_identity
from compute.server import serve
from compute.store.database import DurableError, migrate_database
from wire.credentials import CredentialsError
from wire.envelope import EnvelopeError
from wire.event_log import configure_logging


def main(arguments: list[str] | None = None) -> None:
    """Run one command. Leaves with status 1 and a sentence when the node cannot run as configured."""
    parser = argparse.ArgumentParser(prog="python -m compute", description="A provider's compute node.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("migrate", "make the database, or bring its schema up to date"),
        ("serve", "serve until SIGTERM or SIGINT"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, help="the node's TOML file")
    options = parser.parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.command == "migrate":
            _migrate(config)
        else:
            _serve(config)
    except (ConfigError, CredentialsError, EnvelopeError, DurableError, OSError) as error:
        sys.exit(f"compute: {error}")


def _migrate(config: Config) -> None:
    config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate_database(config.database)


def _serve(config: Config) -> None:
    configure_logging(sys.stderr)
    passphrase = read_passphrase(config.passphrase_file)
    identity = unlock_identity(config, passphrase, now=datetime.now(UTC))
    asyncio.run(serve(config, identity, passphrase, announce=_announce))


def _announce(address: str) -> None:
    sys.stdout.write(f"SERVING {address}\n")
    sys.stdout.flush()
