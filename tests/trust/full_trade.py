"""A whole trade in processes of its own, with secrets planted everywhere and calls that fail in every way.

The processes run as loudly as they can: gRPC's core at debug level, asyncio in debug mode, and this process,
where the SDK works, with every logger at debug level. What anybody wrote down, or was told, is in `places`.
"""

import io
import logging
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bourse.compute.v1 import publication_pb2
from bourse.type.v1 import record_pb2
from market_records import BUREAU, REGISTRY, Attribute
from market_world import ANALYST, MarketWorld, open_market

from clients.keystore import Deployment
from clients.results import Results
from clients.rows import Rows
from clients.scorecard import OwnColumn, ProviderColumn, ProviderPart, Scorecard
from clients.scorecard_file import save_scorecard
from tests.trust.secrets_search import database_bytes, file_bytes
from wire.bins import Column, IntervalBin, MissingBin

CONSENT = "consent-of-quetzal-drawer-41, form 8812-b"
MODEL_NAME = "quetzal-model-of-2031"
OWN_COLUMN = "own_feature_quetzal"
OWN_POINTS = (-4441, 9103, 20177)
BASE_POINTS = 918_273
COLUMNS = {
    REGISTRY: (
        Attribute("years_employed", (-31, -17, 4, 41, 113), edges=(1.0, 4.0, 7.0)),
        Attribute("job", (-7, 59, -13, 23), groups=(("skilled",), ("unskilled", "resident"))),
    ),
    BUREAU: (
        Attribute("late_payments", (-3, 91, -43, -261), edges=(1.0, 3.0)),
        Attribute("balance", (-1, -199, 17, 205, 403), edges=(-100.5, 0.0, 2500.0)),
    ),
}
PROVIDERS = tuple(COLUMNS)
_numbers = random.Random("persons")
PERSONS = (
    *(f"ZQX-{_numbers.randrange(10**12):012}" for _ in range(40)),
    *(f"Žofie-{_numbers.randrange(10**9):09}-Ünal" for _ in range(4)),
)
KNOWN = PERSONS[:-3]
WITHDRAWN = PERSONS[3]


@dataclass
class FullTrade:
    """What a trade left: bytes by place, and what proves that it was whole."""

    root: Path
    places: dict[str, bytes] = field(default_factory=dict)
    sources: bytes = b""
    """The parties' own input, where secrets are expected."""
    opened: list[tuple[int, ...]] = field(default_factory=list)
    in_clear: list[tuple[int, ...]] = field(default_factory=list)
    told: list[bytes] = field(default_factory=list)
    refused: int = 0
    releases: int = 0
    unreleased: int = 0
    results: Results | None = None
    deployments: dict[str, Deployment] = field(default_factory=dict)


def dataset_of(provider: str) -> str:
    """The dataset with planted records."""
    return f"datasets/planted-{provider}"


def records_of(provider: str) -> dict[str, dict[str, str]]:
    """Records of all known persons, whose cells are like no others."""
    draw = random.Random(f"cells of {provider}")
    found = {}
    for number, person in enumerate(KNOWN):
        if provider == REGISTRY:
            job = "skilled" if number % 3 else f"horologist of guild {draw.randrange(10**9):09}"
            found[person] = {"years_employed": f"{draw.uniform(0, 9):.11f}", "job": job}
        else:
            found[person] = {
                "late_payments": f"{draw.uniform(0, 5):.11f}",
                "balance": f"{draw.uniform(-300, 5000):.9f}",
            }
    return found


def own_cells() -> dict[str, str]:
    """The bank's own feature of every person it asks for."""
    return {person: f"{number}.7731{number:04}" for number, person in enumerate(PERSONS)}


def in_clear(withdrawn: Mapping[str, set[str]]) -> tuple[int, ...]:
    """The plaintext scorecard's scores."""
    records = {provider: records_of(provider) for provider in PROVIDERS}
    scores = []
    for person, cell in own_cells().items():
        score = BASE_POINTS + OWN_POINTS[1 if float(cell) < 20 else 2]
        for provider in PROVIDERS:
            row = {} if person in withdrawn.get(provider, ()) else records[provider].get(person, {})
            score += sum(one.points_of(row.get(one.name, "")) for one in COLUMNS[provider])
        scores.append(score)
    return tuple(scores)


class Debugging(logging.Handler):
    """Keeps everything that this process logs, with texts, arguments and traces, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines = io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.write(self.format(record) + "\n")


@contextmanager
def loud() -> Iterator[Debugging]:
    """Servers started inside, and this process, say all that they can say."""
    handler, root = Debugging(), logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_VERBOSITY", "DEBUG")
        patch.setenv("PYTHONASYNCIODEBUG", "1")
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            yield handler
        finally:
            root.setLevel(level)
            root.removeHandler(handler)


Provoke = Callable[[MarketWorld, FullTrade, Scorecard, Path, list[str]], None]
"""Has calls fail, in the middle of the trade: see tests/trust/failing_calls.py."""


def trade_in_full(root: Path, provoke: Provoke) -> FullTrade:
    """Run it all, stop everybody, and gather what they left."""
    trade = FullTrade(root)
    with loud() as debugging, open_market(root) as world:
        logging.getLogger("tests").debug("%s begins", "the trade")
        _run(world, trade, provoke)
    trade.places["the log of the bank's SDK, at debug level"] = debugging.lines.getvalue().encode()
    trade.places["what callers were told"] = b"\n".join(trade.told)
    trade.places["the exchange's database"] = database_bytes(root / "exchange" / "exchange.db")
    trade.places["the exchange's log"] = file_bytes(root / "exchange" / "exchange.log")
    for provider in PROVIDERS:
        folder = root / "nodes" / provider
        trade.places[f"the database of {provider}"] = database_bytes(folder / "node.db")
        trade.places[f"the log of {provider}"] = file_bytes(folder / "node.log")
    for home in sorted((root / "homes").iterdir()):
        kept = [path for path in home.iterdir() if path.name != "identity"]
        trade.places[f"the home of {home.name}"] = file_bytes(*kept)
    return trade


def _run(world: MarketWorld, trade: FullTrade, provoke: Provoke) -> None:
    card = _published(world)
    licenses = [
        world.license(dataset_of(provider), max_rows=500, max_openings_per_entity=9, max_models=2)
        for provider in PROVIDERS
    ]
    for name in licenses:
        world.bank.deploy(name, card)
    trade.deployments = {one.dataset: one for one in world.bank.keystore.deployments()}
    card_file, rows_file, out = (world.root / name for name in ("card.json", "rows.csv", "scores.csv"))
    save_scorecard(card, card_file)
    write_rows(rows_file, own_cells().items())
    csv_files = [world.root / "nodes" / provider / "records" for provider in PROVIDERS]
    trade.sources = file_bytes(card_file, rows_file, *csv_files)

    rows = Rows(PERSONS, {OWN_COLUMN: list(own_cells().values())})
    trade.results = world.bank.score(card, rows, consent_reference=CONSENT, licenses=licenses)
    world.steward(REGISTRY).withdraw_consent(dataset_of(REGISTRY), WITHDRAWN)
    score = ["bank", "score", "--scorecard", card_file, "--rows", rows_file, "--consent-reference", CONSENT]
    licensed = [word for name in licenses for word in ("--license", name)]
    assert bourse(world, trade, *score, "--out", out, *licensed) == 0
    trade.opened = [trade.results.scores, scores_in(out)]
    trade.in_clear = [in_clear({}), in_clear({REGISTRY: {WITHDRAWN}})]

    provoke(world, trade, card, card_file, licenses)
    records = list(world.auditor.records())
    trade.places["the trade records"] = b"\n".join(one.entry for one in records)
    entries = [record_pb2.TradeRecordEntry.FromString(one.entry) for one in records]
    trade.releases = sum(one.kind == record_pb2.RECORD_KIND_RESULT_RELEASED for one in entries)


def _published(world: MarketWorld) -> Scorecard:
    parts = []
    for provider in PROVIDERS:
        rules = publication_pb2.ColumnSpecification(
            id_column="applicant", columns=[one.rule() for one in COLUMNS[provider]]
        )
        name = dataset_of(provider)
        world.publish(provider, name.removeprefix("datasets/"), records_of(provider), rules)
        description, _ = world.bank.described(name)
        columns = [
            ProviderColumn(one.name, dict(zip((bin_.label for bin_ in column.bins), one.points, strict=True)))
            for column, one in zip(description.columns, COLUMNS[provider], strict=True)
        ]
        parts.append(ProviderPart(name, None, tuple(columns)))
    bins = (MissingBin("missing"), IntervalBin("low", None, 20.0), IntervalBin("high", 20.0, None))
    own = OwnColumn(Column(OWN_COLUMN, "", "", bins), OWN_POINTS)
    return Scorecard(MODEL_NAME, BASE_POINTS, (), (own,), tuple(parts))


def write_rows(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    """Write the bank's rows as a CSV file."""
    path.write_text("\n".join([f"id,{OWN_COLUMN}", *(f"{person},{cell}" for person, cell in rows)]) + "\n")


def scores_in(path: Path) -> tuple[int, ...]:
    """The scores of a file of results."""
    return tuple(int(line.split(",")[1]) for line in path.read_text().splitlines()[1:])


def bourse(world: MarketWorld, trade: FullTrade, *arguments: object) -> int:
    """Run the bank's command in a process of its own, keep all that it says, and return its status."""
    done = subprocess.run(
        [sys.executable, "-c", "from clients.cli.main import app; app()", *map(str, arguments)],
        env=os.environ | {"BOURSE_HOME": str(world.home(ANALYST))},
        capture_output=True,
        timeout=60,
        check=False,
    )
    trade.told += [done.stdout, done.stderr]
    return done.returncode
