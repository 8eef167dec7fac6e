"""A small market for tests of the clients: a real exchange, real nodes beside their records, people's homes.

    with clients_world(tmp_path) as world:
        world.bourse("steward-a", "provider", "publish", ...)

Everything is done with `bourse` commands, as people would; `world.bourse` returns what --json prints.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from exchange_world import ADMIN, HARBOUR, OFFICER, ORIGIN, SERVER, TRUST_DOMAIN, WATCH, ExchangeWorld
from typer.testing import CliRunner, Result

from clients.cli.main import app
from clients.pki.authority import ServerNames
from wire.identity import Identity

PEOPLE = {
    "admin": ADMIN,
    "officer": OFFICER,
    "analyst": HARBOUR.member("analyst"),
    "auditor": WATCH.member("auditor"),
    "steward-a": Identity(TRUST_DOMAIN, "provider", "payments", "steward"),
    "steward-b": Identity(TRUST_DOMAIN, "provider", "registry", "steward"),
}
PERSONS = [f"person-{number:05}" for number in range(1, 301)]
SCENARIO = "consumer-credit-scoring"

SPECIFICATIONS = {
    "payments": """
id_column = "person"
missing_values = ["NA"]
[[column]]
name = "balance"
unit = "EUR"
edges = [0, 500]
[[column]]
name = "history"
groups = [{ values = ["paid"] }, { values = ["late", "defaulted"] }]
""",
    "registry": """
id_column = "person"
[[column]]
name = "job"
groups = [{ values = ["clerk"] }, { values = ["smith"] }]
""",
}
SCORECARD = {
    "format": "bourse-scorecard/1",
    "name": "Joint",
    "base_points": 500,
    "bank": {
        "missing_values": ["NA"],
        "columns": [
            {
                "name": "duration",
                "bins": [
                    {"label": "missing", "missing": True, "points": -3},
                    {"label": "short", "lower": None, "upper": 24, "points": 17},
                    {"label": "long", "lower": 24, "upper": None, "points": -11},
                ],
            }
        ],
    },
    "providers": [
        {
            "dataset": "datasets/payments",
            "columns": [
                {
                    "name": "balance",
                    "points": {"missing": -7, "(-inf, 0)": -1000, "[0, 500)": 4, "[500, inf)": 600},
                },
                {
                    "name": "history",
                    "points": {"missing": 1, "paid": 400, "late | defaulted": -23, "other": 5},
                },
            ],
        },
        {
            "dataset": "datasets/registry",
            "columns": [{"name": "job", "points": {"missing": 0, "clerk": 33, "smith": -44, "other": 2}}],
        },
    ],
}


@dataclass
class NodeOfTests:
    """A provider's node process."""

    provider: str
    folder: Path
    address: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Serve, at the address it had before if there was one."""
        with (self.folder / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "compute", "serve", "--config", str(self.folder / "node.toml")],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        line = self.process.stdout.readline().decode()
        assert line.startswith("SERVING "), (self.folder / "node.log").read_text()
        self.address = line.split()[1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop, or end as a crash does."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=30)
            self.process.stdout.close()
            self.process = None


@dataclass
class ClientsWorld:
    """The market: its exchange, its nodes, its people's homes, and what each provider's file holds."""

    root: Path
    exchange: ExchangeWorld
    nodes: dict[str, NodeOfTests] = field(default_factory=dict)
    rows: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    own_rows: dict[str, str] = field(default_factory=dict)

    def home(self, who: str) -> Path:
        """A person's home, made by `bourse setup` when first asked for."""
        directory = self.root / "homes" / who
        if not directory.exists():
            self.plain(
                "setup", "--home", directory, "--exchange-address", self.exchange.address,
                "--exchange-identity", SERVER.uri, "--origin", ORIGIN,
                "--exchange-key", self.exchange.public_key.hex(),
                "--identity", self.exchange.identity_directory(PEOPLE[who]),
            )  # fmt: skip
        return directory

    def plain(self, *arguments: object) -> Result:
        """Run a command that must succeed."""
        result = run(*arguments)
        assert result.exit_code == 0, result.stderr or repr(result.exception)
        return result

    def bourse(self, who: str, *arguments: object) -> dict:
        """Run a command as somebody and return its JSON."""
        result = self.plain(*arguments, "--home", self.home(who), "--json")
        return json.loads(result.stdout)

    def refusal(self, who: str, *arguments: object) -> dict:
        """Run a command that must be refused and return its JSON error; nothing is on standard output."""
        result = run(*arguments, "--home", self.home(who), "--json")
        assert result.exit_code == 1, result.stdout
        assert result.stdout == ""
        return json.loads(result.stderr)["error"]

    def register(self) -> None:
        """Register bank, regulator and both providers with their keys, and start the nodes."""
        self.bourse("admin", "admin", "party", "create", "harbour-bank", "--kind", "bank",
                    "--name", "Harbour Bank", "--member", "analyst=analyst")  # fmt: skip
        self.bourse("admin", "admin", "party", "create", "watch", "--kind", "regulator", "--name", "Watch",
                    "--member", "auditor=auditor")  # fmt: skip
        self.hand_over_key("analyst", "bank", "key-proof")
        for who, provider in (("steward-a", "payments"), ("steward-b", "registry")):
            self.bourse(
                "admin", "admin", "party", "create", provider, "--kind", "provider", "--name", provider,
                "--member", "steward=steward", "--member", "node=node",
            )  # fmt: skip
            self.hand_over_key(who, "provider", "key-proof", "--purpose", "steward")
            node = self.make_node(who, provider)
            self.hand_over_key(
                who, "provider", "key-proof", "--purpose", "node", "--identity", node.folder / "identity"
            )
            node.start()
            self.bourse("admin", "admin", "party", "update", provider, "--node-address", node.address)

    def hand_over_key(self, who: str, *key_proof: object) -> dict:
        """Have a key's owner prove it and the administrator register it."""
        proof = self.root / "proof.json"
        proof.write_text(self.plain(*key_proof, "--home", self.home(who)).stdout)
        return self.bourse("admin", "admin", "key", "register", "--proof", proof)

    def make_node(self, who: str, provider: str) -> NodeOfTests:
        """Write a node's configuration, its records, and the bank's own rows."""
        identity = self.exchange.identity_directory(
            Identity(TRUST_DOMAIN, "provider", provider, "node"), server=ServerNames()
        )
        folder = self.root / "nodes" / provider
        (folder / "records").mkdir(parents=True)
        (folder / "identity").symlink_to(identity)
        steward = self.exchange.credentials(PEOPLE[who]).signing_key.public_key().public_bytes_raw()
        values = {
            "listen": "127.0.0.1:0",
            "identity": "identity",
            "passphrase_file": "identity/passphrase",
            "records": "records",
            "state": "state",
            "trust_domain": TRUST_DOMAIN,
            "provider": provider,
            "stewards": [PEOPLE[who].uri],
            "steward_keys": [steward.hex()],
            "workers": 1,
            "drain_seconds": 2,
        }
        exchange = {
            "address": self.exchange.address,
            "identity": SERVER.uri,
            "public_key": self.exchange.public_key.hex(),
            "origin": ORIGIN,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += ["[exchange]", *(f"{key} = {json.dumps(value)}" for key, value in exchange.items())]
        (folder / "node.toml").write_text("\n".join(lines))
        (folder / "columns.toml").write_text(SPECIFICATIONS[provider])
        self.write_records(provider, folder / "records" / "records.csv")
        migrated = subprocess.run(
            [sys.executable, "-m", "compute", "migrate", "--config", str(folder / "node.toml")], check=False
        )
        assert migrated.returncode == 0
        self.nodes[provider] = NodeOfTests(provider, folder)
        return self.nodes[provider]

    def write_records(self, provider: str, path: Path) -> None:
        """Write a file of most persons, with cells of every kind, and remember it."""
        draw = random.Random(provider)
        known = [person for person in PERSONS if draw.random() < 0.9]
        cells = {
            "payments": lambda: {
                "balance": draw.choice(["-5", "0", "499.5", "1e4", "NA", "", "much"]),
                "history": draw.choice(["paid", "late", "defaulted", "new", ""]),
            },
            "registry": lambda: {"job": draw.choice(["clerk", "smith", " smith ", "baker", ""])},
        }[provider]
        self.rows[provider] = {person: cells() for person in known}
        header = ["person", *next(iter(self.rows[provider].values()))]
        lines = [",".join([person, *row.values()]) for person, row in self.rows[provider].items()]
        path.write_text("\n".join([",".join(header), *lines]) + "\n")

    def publish(self) -> None:
        """Publish both datasets and have them listed."""
        report = self.root / "assessment.txt"
        report.write_text("assessed\n")
        for who, provider in (("steward-a", "payments"), ("steward-b", "registry")):
            self.bourse(
                who, "provider", "publish", "--dataset", provider, "--file", "records.csv",
                "--spec", self.nodes[provider].folder / "columns.toml", "--title", provider.title(),
                "--description", "Test records", "--scenario", SCENARIO, "--identifier-scheme", "test-id",
                "--assessment-report", report, "--assessor", "Tester", "--lawful",
            )  # fmt: skip
            self.bourse("officer", "admin", "dataset", "approve", provider, "--comment", "evidence read")

    def license(self, provider: str, *terms: object) -> str:
        """Negotiate a license from request to countersignature and return its name."""
        steward = {"payments": "steward-a", "registry": "steward-b"}[provider]
        name = self.bourse("analyst", "bank", "license", "request", "--dataset", provider,
                           "--scenario", SCENARIO, *terms)["name"]  # fmt: skip
        self.bourse(steward, "provider", "license", "offer", name, "--as-requested", "--yes")
        self.bourse("analyst", "bank", "license", "accept", name, "--yes")
        self.bourse(steward, "provider", "license", "agree", name, "--yes")
        signed = self.bourse("analyst", "bank", "license", "verify", name, "--yes")
        assert (signed["state"], signed["signatures"]) == ("active", 3)
        return name

    def scorecard(self, document: dict | None = None) -> Path:
        """The scorecard's file."""
        path = self.root / "scorecard.json"
        path.write_text(json.dumps(document or SCORECARD))
        return path

    def applicants(self, count: int = len(PERSONS)) -> Path:
        """The bank's own rows."""
        draw = random.Random("bank")
        self.own_rows = {person: draw.choice(["6", "24", "48", "NA", "", "soon"]) for person in PERSONS}
        lines = [f"{person},{duration}" for person, duration in list(self.own_rows.items())[:count]]
        path = self.root / f"applicants-{count}.csv"
        path.write_text("\n".join(["applicant,duration", *lines]) + "\n")
        return path

    def plain_score(self, person: str) -> int:
        """The score by plain arithmetic over the cells as they were written: no code of the product."""
        balance, history, job = "missing", "missing", "missing"
        if person in self.rows["payments"]:
            row = self.rows["payments"][person]
            balance = {
                "-5": "(-inf, 0)", "0": "[0, 500)", "499.5": "[0, 500)", "1e4": "[500, inf)",
            }.get(row["balance"], "missing")  # fmt: skip
            history = {
                "paid": "paid", "late": "late | defaulted", "defaulted": "late | defaulted", "new": "other",
            }.get(row["history"], "missing")  # fmt: skip
        if person in self.rows["registry"]:
            job = {"clerk": "clerk", "smith": "smith", "baker": "other"}.get(
                self.rows["registry"][person]["job"].strip(), "missing"
            )
        payments, registry = SCORECARD["providers"]
        own = {"6": 17, "24": -11, "48": -11}.get(self.own_rows[person], -3)
        return (
            500
            + own
            + payments["columns"][0]["points"][balance]
            + payments["columns"][1]["points"][history]
            + registry["columns"][0]["points"][job]
        )


def run(*arguments: object) -> Result:
    """Run `bourse` with these arguments in this process."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


@contextmanager
def clients_world(root: Path) -> Iterator[ClientsWorld]:
    """A market with everybody registered and both nodes serving."""
    exchange = ExchangeWorld(root)
    exchange.start()
    world = ClientsWorld(root, exchange)
    try:
        world.register()
        yield world
    finally:
        for node in world.nodes.values():
            node.end()
        exchange.stop()
