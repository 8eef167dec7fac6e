"""Applicants scored jointly over two providers, by step: part of `make bench`.

A whole market of processes on this machine: exchange, two nodes, mutual TLS, SQLite with full durability.
Wall time by step, in medians, and as a ratio to one call that does nothing but pass the exchange's checks
and read one row (`GetParty`). `--json FILE` writes all figures.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

from market_records import rows_of
from market_world import MarketWorld, open_market

from clients.connection import Meter

APPLICANTS = (1, 300, 8192)
ROUNDS = 9


def score(world: MarketWorld, count: int) -> dict[str, float]:
    """Return the median seconds of scoring so many applicants, by step and in all."""
    card = world.scorecard()
    taken: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        persons = [f"applicant-{number}-{place}" for place in range(count)]
        meter = Meter()
        started = time.perf_counter()
        world.bank.score(card, rows_of(persons), consent_reference="benchmark", meter=meter)
        steps = {step: cost.seconds for step, cost in meter.costs().items()}
        taken.append({**steps, "all steps": time.perf_counter() - started})
    return {step: median(one[step] for one in taken[1:]) for step in taken[0]}


def bare_call(world: MarketWorld) -> float:
    """Return the median seconds of one call that reads one row."""
    taken = []
    for _ in range(200):
        started = time.perf_counter()
        world.bank.party("parties/harbour-bank")
        taken.append(time.perf_counter() - started)
    return median(taken)


def main() -> None:
    """Open a market, score, print."""
    parser = argparse.ArgumentParser(description="Joint scores over two providers, by step.")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_market(Path(folder)) as world:
        world.deploy(world.license_both())
        bare = bare_call(world)
        figures = {count: score(world, count) for count in APPLICANTS}
    print(f"\none GetParty call: {1000 * bare:.2f} ms")
    for count, steps in figures.items():
        print(f"\n{count} applicants over two providers (both providers' seconds added, but for all steps)")
        for step, seconds in steps.items():
            print(f"  {step:22s} {1000 * seconds:9.1f} ms   {seconds / bare:8.1f} calls")
    if arguments.json:
        arguments.json.write_text(json.dumps({"bare call": bare, **figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
