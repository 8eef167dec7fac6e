"""`bourse demo`: one joint credit score, end to end, typed as a user would type it.

Every step is a command: it is shown, run in a process of its own, and its outcome told. The exchange and the
nodes are processes too; they meet over mutual TLS on loopback ports, and keep what they know in files.
"""

import importlib.resources
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from clients.demo.market import EXCHANGE_IDENTITY, OPERATOR, ORIGIN, TRUST_DOMAIN, Market, running
from clients.demo.report import Figures, show_report
from clients.demo.search import traces_of_persons
from clients.demo.split import Split, load_split
from clients.demo.terminal import Terminal
from clients.errors import InputError

BANK = "harbour-bank"
REGULATOR = "banking-authority"
SCENARIO = "consumer-credit-scoring"
IDENTIFIER_SCHEME = "demo-applicant-id"
DROP = 9
ADMINISTRATOR_HOME = "homes/administrator"
OFFICER_HOME = "homes/compliance-officer"
BANK_HOME = f"homes/{BANK}"
REGULATOR_HOME = f"homes/{REGULATOR}"
TAKEN_NAMES = frozenset({BANK, REGULATOR, OPERATOR, "administrator", "compliance-officer", "bank"})
JOINT, ALONE, RESULTS = "scorecard.json", "scorecard-bank-alone.json", "results.csv"


@dataclass
class Trade:
    """One demo under way: its files, its commands, and the figures so far. One thread owns it."""

    data: Path
    split_file: Path
    split: Split
    market: Market
    terminal: Terminal
    figures: Figures = field(default_factory=Figures)
    licenses: dict[str, str] = field(default_factory=dict)
    files: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    exchange_key: str = ""

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(holding.name for holding in self.split.providers)

    @property
    def table(self) -> tuple[str, ...]:
        """The options by which the example's own commands find the table."""
        return ("--data", str(self.data), "--split", str(self.split_file))

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce one step of the trade and take its time."""
        self.terminal.heading(title)
        started = time.perf_counter()
        yield
        self.figures.seconds[title] = round(time.perf_counter() - started, 3)


def run_demo(data: Path | None, split: Path | None, keep: Path | None, json_out: Path | None) -> None:
    """Run the whole trade and print it. Raises BourseError when a step does not do what it should."""
    if keep is not None and keep.exists():
        raise InputError(f"{keep}: is there already.", way_out="Choose a directory that does not exist.")
    example = _example()
    data, split = (
        (data or example / "german_credit.csv").resolve(),
        (split or example / "split.toml").resolve(),
    )
    parsed = _without_taken_names(load_split(split))
    started = time.perf_counter()
    with _directory(keep) as directory:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        market = Market(directory)
        trade = Trade(data, split, parsed, market, Terminal(console, directory))
        with running(market):
            _introduce(trade)
            _found_market(trade)
            _publish(trade)
            _license(trade)
            _fit(trade)
            _score(trade)
            _compare(trade)
            _be_refused(trade)
            _regulate(trade)
            _search(trade)
        trade.figures.seconds["all"] = round(time.perf_counter() - started, 3)
        show_report(console, trade.figures, kept=keep)
    if json_out is not None:
        json_out.write_text(json.dumps(trade.figures.as_dict(), indent=2) + "\n", encoding="utf-8")
    trade.figures.require_exact()


def _introduce(trade: Trade) -> None:
    say = trade.terminal.say
    say(f"One joint credit score on {trade.data.name}: {BANK} and {len(trade.providers)} providers.")
    say(
        "Every line that begins with $ is a command you could type; the demo adds --json to it and tells the "
        "gist of its answer. All servers run as processes of their own, over mutual TLS, on this machine."
    )


def _found_market(trade: Trade) -> None:
    terminal, market = trade.terminal, trade.market
    with trade.step("Identities"):
        terminal.bourse("pki", "init", "--dir", "pki", "--trust-domain", TRUST_DOMAIN)
        _issue(trade, "operator", OPERATOR, "exchange", "exchange/identity", server=True)
        _issue(trade, "operator", OPERATOR, "administrator", f"{ADMINISTRATOR_HOME}/identity")
        _issue(trade, "operator", OPERATOR, "officer", f"{OFFICER_HOME}/identity")
        for provider in trade.providers:
            _issue(trade, "provider", provider, "steward", f"homes/{provider}/identity")
            _issue(trade, "provider", provider, "node", f"nodes/{provider}/identity", server=True)
        _issue(trade, "bank", BANK, "analyst", f"{BANK_HOME}/identity")
        _issue(trade, "regulator", REGULATOR, "auditor", f"{REGULATOR_HOME}/identity")
        terminal.outcome("one certificate each, one SPIFFE URI in it; keys encrypted on disk")
    with trade.step("Exchange"):
        exchange = market.add_exchange()
        terminal.wrote("exchange/exchange.toml")
        founded = terminal.python(
            "exchange",
            "init",
            "--config",
            "exchange/exchange.toml",
            "--administrator",
            "administrator",
            "--compliance-officer",
            "officer",
            "--json",
        )
        trade.exchange_key = json.loads(founded)["public_key"]
        terminal.background("python -m exchange serve --config exchange/exchange.toml")
        exchange.start()
        for home in (ADMINISTRATOR_HOME, OFFICER_HOME, *_trading_homes(trade)):
            _set_up(trade, home)
        terminal.outcome(f"serving on {exchange.address}, SQLite beside it; every home pins its key")
    with trade.step("Parties, keys and nodes"):
        for provider in trade.providers:
            _register_provider(trade, provider)
        _register(trade, BANK, "bank", "analyst=analyst")
        _register_key(trade, "bank", BANK_HOME)
        _register(trade, REGULATOR, "regulator", "auditor=auditor")
        terminal.outcome("registered by the administrator; every key's owner proved that it holds it")


def _issue(trade: Trade, kind: str, party: str, member: str, out: str, *, server: bool = False) -> None:
    options = ["--dir", "pki", "--kind", kind, "--party", party, "--member", member, "--out", out]
    trade.terminal.bourse("pki", "issue", *options, *(["--server"] if server else []))


def _trading_homes(trade: Trade) -> tuple[str, ...]:
    return (*(f"homes/{provider}" for provider in trade.providers), BANK_HOME, REGULATOR_HOME)


def _set_up(trade: Trade, home: str) -> None:
    trade.terminal.bourse(
        "setup",
        "--home",
        home,
        "--exchange-address",
        trade.market.servers["exchange"].address,
        "--exchange-identity",
        EXCHANGE_IDENTITY,
        "--origin",
        ORIGIN,
        "--exchange-key",
        trade.exchange_key,
        "--identity",
        f"{home}/identity",
    )


def _register_provider(trade: Trade, provider: str) -> None:
    terminal = trade.terminal
    identity = f"homes/{provider}/identity"
    shown = terminal.bourse("pki", "signing-key", "--identity", identity)
    node = trade.market.add_node(provider, shown["signing_public_key"], trade.exchange_key)
    terminal.wrote(f"nodes/{provider}/node.toml")
    members = ["--member", "steward=steward", "--member", "node=node"]
    _register(trade, provider, "provider", *members[1:], node_address=node.address)
    _register_key(trade, "provider", f"homes/{provider}")
    _register_key(trade, "provider", f"homes/{provider}", node_identity=f"nodes/{provider}/identity")
    terminal.python("compute", "migrate", "--config", f"nodes/{provider}/node.toml")
    terminal.background(f"python -m compute serve --config nodes/{provider}/node.toml")
    node.start()


def _register(trade: Trade, party: str, kind: str, *members: str, node_address: str = "") -> None:
    options = ["--kind", kind, "--name", party.replace("-", " ").title(), "--member", *members]
    if node_address:
        options += ["--node-address", node_address]
    trade.terminal.bourse("admin", "party", "create", party, *options, home=ADMINISTRATOR_HOME)


def _register_key(trade: Trade, role: str, home: str, node_identity: str | None = None) -> None:
    of_node = ["--purpose", "node", "--identity", node_identity] if node_identity else []
    proof = "key-proof.json"
    trade.terminal.bourse(role, "key-proof", *of_node, home=home, json_flag=False, write_to=proof)
    trade.terminal.bourse("admin", "key", "register", "--proof", proof, home=ADMINISTRATOR_HOME)


def _publish(trade: Trade) -> None:
    terminal = trade.terminal
    with trade.step("Listing"):
        written = terminal.bourse("example", "split", *trade.table, "--out", "split")["files"]
        for file in written:
            trade.files.setdefault(file["party"], file)
            trade.figures.holds.setdefault(file["party"], (file["rows"], tuple(file["columns"])))
        trade.figures.rows_training = next(one["rows"] for one in written if "history" in one["file"])
        trade.figures.rows_held_out = next(one["rows"] for one in written if "applicants" in one["file"])
        for provider in trade.providers:
            terminal.copy(f"split/{provider}/{provider}.csv", f"nodes/{provider}/records/{provider}.csv")
            terminal.write(f"homes/{provider}/assessment.txt", "Assessed for the demo: a public data set.\n")
            made = terminal.bourse(
                "provider",
                "publish",
                "--dataset",
                provider,
                "--spec",
                f"split/{provider}/{provider}.toml",
                "--file",
                f"{provider}.csv",
                "--title",
                provider.replace("-", " ").title(),
                "--description",
                f"Columns of {trade.data.name} held by {provider}.",
                "--scenario",
                SCENARIO,
                "--identifier-scheme",
                IDENTIFIER_SCHEME,
                "--assessment-report",
                f"homes/{provider}/assessment.txt",
                "--assessor",
                "the demo",
                "--grade",
                "2",
                "--lawful",
                home=f"homes/{provider}",
            )
            columns = made["publication"]["description"]["columns"]
            bins = sum(len(column["bins"]) for column in columns)
            terminal.outcome(
                f"{len(columns)} columns, {bins} bins; the exchange gets this description and no row"
            )
            terminal.bourse(
                "admin",
                "dataset",
                "approve",
                provider,
                "--comment",
                "Evidence seen.",
                home=OFFICER_HOME,
            )


def _license(trade: Trade) -> None:
    terminal, rows = trade.terminal, trade.figures.rows_held_out
    with trade.step("Licenses"):
        for provider in trade.providers:
            asked = terminal.bourse(
                "bank",
                "license",
                "request",
                "--dataset",
                provider,
                "--scenario",
                SCENARIO,
                "--drop",
                str(DROP),
                "--max-rows",
                str(rows),
                "--max-openings-per-entity",
                "1",
                "--max-models",
                "1",
                home=BANK_HOME,
            )
            name = asked["name"]
            home = f"homes/{provider}"
            terminal.bourse("provider", "license", "offer", name, "--as-requested", "--yes", home=home)
            terminal.bourse("bank", "license", "accept", name, "--yes", home=BANK_HOME)
            terminal.bourse("provider", "license", "agree", name, "--yes", home=home)
            signed = terminal.bourse("bank", "license", "verify", name, "--yes", home=BANK_HOME)
            trade.licenses[provider] = name
            terminal.outcome(
                f"{signed['state']}, {signed['signatures']} signatures over the same bytes; "
                f"{rows} rows at {20 - DROP} bits, one model, each person once"
            )


def _fit(trade: Trade) -> None:
    terminal = trade.terminal
    with trade.step("Scorecard"):
        fitted = terminal.bourse(
            "example",
            "fit",
            *trade.table,
            "--out",
            JOINT,
            "--alone",
            ALONE,
            "--drop",
            str(DROP),
            home=BANK_HOME,
        )
        terminal.say(
            f"Note: the example pools {fitted['training_rows']} training rows of all parties in one process "
            "to fit this scorecard. Whoever runs it sees those rows in clear, providers' columns included. "
            f"The {trade.figures.rows_held_out} held-out rows are not among them.",
            style="yellow",
        )
        licenses = [part for name in trade.licenses.values() for part in ("--license", name)]
        terminal.bourse("bank", "scorecard", "check", JOINT, *licenses, home=BANK_HOME)
        terminal.outcome("fits the licensed columns, the published bins and the range")


def _score(trade: Trade) -> None:
    terminal, figures = trade.terminal, trade.figures
    licenses = [part for name in trade.licenses.values() for part in ("--license", name)]
    with trade.step("Deploying the sealed model"):
        deployed = terminal.bourse("bank", "deploy", "--scorecard", JOINT, *licenses, home=BANK_HOME)
        figures.add_costs("Deploying the sealed model", deployed["steps"])
        for one in deployed["deployments"]:
            provider = one["dataset"].removeprefix("datasets/")
            figures.weights[provider] = one["weights"]
        terminal.outcome(
            ", ".join(f"{name}: {count} sealed weights" for name, count in figures.weights.items())
        )
    with trade.step("Scoring"):
        scored = terminal.bourse(
            "bank",
            "score",
            "--scorecard",
            JOINT,
            "--rows",
            "split/bank/applicants.csv",
            "--id-column",
            trade.split.id_column,
            "--consent-reference",
            "loan applications, form 7, section 3",
            "--out",
            RESULTS,
            home=BANK_HOME,
        )
        figures.add_costs("Scoring", scored["steps"])
        terminal.outcome(f"{scored['rows']} applicants scored; charged: {_charges(scored['charged'])}")


def _charges(charged: Mapping[str, Mapping[str, int]]) -> str:
    return "; ".join(
        f"{dataset.removeprefix('datasets/')} {charge['rows']} rows, {charge['bits']} bits"
        for dataset, charge in charged.items()
    )


def _compare(trade: Trade) -> None:
    with trade.step("Comparing with the plaintext scorecard"):
        compared = trade.terminal.bourse(
            "example",
            "compare",
            *trade.table,
            "--scorecard",
            JOINT,
            "--alone",
            ALONE,
            "--results",
            RESULTS,
            home=BANK_HOME,
        )
        trade.figures.compared = compared
        trade.terminal.outcome(f"{compared['rows_exact']} of {compared['rows_scored']} equal, to the point")


def _be_refused(trade: Trade) -> None:
    with trade.step("Asking for more than was licensed"):
        refused = trade.terminal.refused(
            "bank",
            "score",
            "--scorecard",
            JOINT,
            "--rows",
            "split/bank/history.csv",
            "--id-column",
            trade.split.id_column,
            "--consent-reference",
            "none",
            "--out",
            "more.csv",
            home=BANK_HOME,
        )
        trade.figures.refusals.append(refused)


def _regulate(trade: Trade) -> None:
    terminal, figures = trade.terminal, trade.figures
    with trade.step("The regulator"):
        listed = terminal.bourse("regulator", "records", "list", home=REGULATOR_HOME)
        figures.records = listed["records"]
        checked = terminal.bourse("regulator", "records", "check", home=REGULATOR_HOME)
        terminal.outcome(
            f"{checked['checked']} records, {checked['receipts']} receipts and {checked['signatures']} "
            "signatures verified from their own bytes"
        )


def _search(trade: Trade) -> None:
    with trade.step("What the others saw"):
        applicants = trade.market.directory / "split" / "bank" / "applicants.csv"
        own = "the bank's own file"
        places = {
            own: applicants,
            "the exchange's database and log": trade.market.directory / "exchange",
            **{
                f"the log of {name}": trade.market.directory / "nodes" / name / "node.log"
                for name in trade.providers
            },
        }
        found = traces_of_persons(applicants, trade.split.id_column, places)
        trade.figures.traces = {place: count for place, count in found.items() if place != own}
        trade.terminal.say(f"Identifiers of the {found[own]} applicants found in {own}: {found[own]}.")
        for place, count in trade.figures.traces.items():
            trade.terminal.say(f"The same search in {place}: {count}.")


def _without_taken_names(split: Split) -> Split:
    for holding in split.providers:
        if holding.name in TAKEN_NAMES:
            raise InputError(
                f'split: the provider\'s name "{holding.name}" is taken by the demo.',
                way_out=f"Choose another than {', '.join(sorted(TAKEN_NAMES))}.",
            )
    return split


def _example() -> Path:
    """Return the folder of the German Credit example: in a checkout, or beside the installed package."""
    packages = Path(str(importlib.resources.files("clients"))).parent
    for folder in (packages / "examples" / "german-credit", packages / "clients" / "demo" / "german-credit"):
        if folder.is_dir():
            return folder
    raise InputError(
        "The German Credit example is not installed beside the program.",
        way_out="Run from a checkout, or give --data and --split.",
    )


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """Yield the market's directory: the one to keep, or one that is gone afterwards."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    directory = Path(tempfile.mkdtemp(prefix="bourse-demo-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
