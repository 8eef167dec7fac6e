"""A market on this machine: the exchange and its nodes as processes of their own, on loopback ports.

Everything lies in one directory, as an operator and its providers would lay it out on their own machines:

    pki/                            development authority
    exchange/  exchange.toml  identity/  exchange.db  exchange.log
    nodes/<provider>/  node.toml  identity/  records/  state/  node.log
    homes/<who>/  bourse.toml  identity/

A market that was stopped, or killed, starts again in its directory with all that it had recorded.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from clients.errors import BourseError

TRUST_DOMAIN = "bourse.test"
OPERATOR = "market-office"
ORIGIN = "exchange.bourse.test"
EXCHANGE_IDENTITY = f"spiffe://{TRUST_DOMAIN}/operator/{OPERATOR}/exchange"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
# Below the range that Linux gives to outgoing connections: one of those could take a stopped server's port.
PORTS = range(20_000, 32_000)


class MarketError(BourseError):
    """A server of the market did not start or stop as it should."""

    def __init__(self, message: str, way_out: str) -> None:
        super().__init__("MARKET", message, way_out=way_out)


@dataclass
class Server:
    """One server process: how it is started, and where it writes its log. Owned by one thread."""

    name: str
    arguments: list[str]
    address: str
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and return once it answers. Raises MarketError naming its log otherwise."""
        self.launch()
        self.wait_until_answering()

    @property
    def runs(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def launch(self) -> None:
        """Start the process; it does not answer yet."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.log.parent,
                env=_environment(),
            )

    def wait_until_answering(self) -> None:
        """Return once the launched process answers. Raises MarketError naming its log otherwise."""
        host, port = self.address.rsplit(":", 1)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if not self.runs:
                status = "" if self.process is None else f", with status {self.process.returncode}"
                raise MarketError(f"{self.name} ended at once{status}.", f"Its log says why: {self.log}")
            try:
                with socket.create_connection((host, int(port)), timeout=0.2):
                    return
            except OSError:
                time.sleep(0.02)
        raise MarketError(
            f"{self.name} did not answer within {START_SECONDS:g} seconds.", f"Look at its log: {self.log}"
        )

    def stop(self) -> int | None:
        """Ask the process to drain and end; end it when it does not. Returns its exit status, if it ran."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as nothing it could prepare for: SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int | None:
        process, self.process = self.process, None
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


@dataclass
class Market:
    """The servers of one market directory."""

    directory: Path
    servers: dict[str, Server] = field(default_factory=dict)

    def add_exchange(self, *, database: str = "sqlite:///exchange.db") -> Server:
        """Write the exchange's configuration beside its identity and return its server, not started."""
        folder = self.directory / "exchange"
        address = free_address()
        _write_toml(
            folder / "exchange.toml",
            {
                "origin": ORIGIN,
                "listen": address,
                "database": database,
                "identity": "identity",
                "passphrase_file": "identity/passphrase",
                "trust_domain": TRUST_DOMAIN,
            },
        )
        return self._add(
            "exchange",
            ["exchange", "serve", "--config", str(folder / "exchange.toml")],
            address,
            folder / "exchange.log",
        )

    def add_node(self, provider: str, steward_key: str, exchange_key: str) -> Server:
        """Write a node's configuration and return its server, not started yet; its identity is in place.

        Keys are Ed25519 public keys in hexadecimal: the steward's whose agreements the node honors, and the
        exchange's whose receipts it trusts.
        """
        folder = self.directory / "nodes" / provider
        (folder / "records").mkdir(parents=True, exist_ok=True)
        address = free_address()
        _write_toml(
            folder / "node.toml",
            {
                "listen": address,
                "database": "sqlite:///node.db",
                "identity": "identity",
                "passphrase_file": "identity/passphrase",
                "records": "records",
                "state": "state",
                "trust_domain": TRUST_DOMAIN,
                "provider": provider,
                "stewards": [f"spiffe://{TRUST_DOMAIN}/provider/{provider}/steward"],
                "steward_keys": [steward_key],
                "workers": 1,
            },
            {
                "exchange": {
                    "address": self.servers["exchange"].address,
                    "identity": EXCHANGE_IDENTITY,
                    "origin": ORIGIN,
                    "public_key": exchange_key,
                }
            },
        )
        return self._add(
            provider,
            ["compute", "serve", "--config", str(folder / "node.toml")],
            address,
            folder / "node.log",
        )

    def start(self) -> None:
        """Start every server that does not run, side by side, and return once all answer."""
        launched = [server for server in self.servers.values() if not server.runs]
        for server in launched:
            server.launch()
        for server in launched:
            server.wait_until_answering()

    def stop(self) -> None:
        """Stop every server, the nodes first."""
        for server in reversed(self.servers.values()):
            server.stop()

    def _add(self, name: str, arguments: list[str], address: str, log: Path) -> Server:
        server = Server(name, arguments, address, log)
        self.servers[name] = server
        return server


@contextmanager
def running(market: Market) -> Iterator[Market]:
    """Stop the market's servers at the end, however it comes."""
    try:
        yield market
    finally:
        market.stop()


def free_address() -> str:
    """Return a loopback address that nobody listens on now. Raises MarketError when there is none."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"
    raise MarketError(f"No port from {PORTS.start} to {PORTS.stop - 1} is free.", "End what listens on them.")


def _environment() -> dict[str, str]:
    """Return this process's environment without what would point a server at somebody's home."""
    return {name: value for name, value in os.environ.items() if not name.startswith("BOURSE_")}


def _write_toml(
    path: Path, values: Mapping[str, object], tables: Mapping[str, Mapping[str, object]] | None = None
) -> None:
    """Write texts, integers and lists of texts; JSON's spelling of these is TOML's too."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    for name, table in (tables or {}).items():
        lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
