"""Crash test of Release: kill -9 of node and exchange between any two of its steps.

    python tests/crash_release.py --rounds 200

A round has one bank ask for a release, kills the node, the exchange or both while it is under way, starts
what was killed, and sends the very same request until it is answered. Then it must hold that

(1) every answer has the same bytes, and proves the node's statement and the exchange's receipt
(2) node and exchange have charged the block's rows once
(3) the ledger has one RESULT_RELEASED record of the request, with a valid receipt
(4) the opened scores are the plaintext scorecard's
(5) when the servers were stopped, an answer was out, or the receipt was kept, only if the exchange's database
    held the record
(6) a refusal for good, the dataset being suspended after the crash, gave the whole charge back

Both servers are frozen (SIGSTOP) before anybody is killed, the exchange first: what their databases hold then
says exactly between which steps the kill fell. Moments are drawn so that every step gets its share.
"""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from crash_moments import WORDS, Step
from crash_soak import After, Outcome, Soak, Victims, begin_soak
from market_world import open_market


def summary(outcomes: Sequence[Outcome]) -> str:
    """A table of where the kills fell."""
    counts = Counter((outcome.step, outcome.draw.victims) for outcome in outcomes)
    lines = ["| the kill fell | " + " | ".join(Victims) + " | all |", "|---|" + "---|" * (len(Victims) + 1)]
    for step in Step:
        row = [counts[step, victims] for victims in Victims]
        lines.append(f"| {WORDS[step]} | " + " | ".join(map(str, row)) + f" | {sum(row)} |")
    total = [sum(counts[step, victims] for step in Step) for victims in Victims]
    lines.append("| all | " + " | ".join(map(str, total)) + f" | {sum(total)} |")
    return "\n".join(lines)


def figures(soak: Soak, seconds: float) -> dict[str, object]:
    """What a run found, for programs."""
    outcomes = soak.outcomes
    counts = Counter((outcome.step, outcome.draw.victims) for outcome in outcomes)
    restarts = {
        str(victims): statistics.median(times)
        for victims in Victims
        if (times := [one.restart_seconds for one in outcomes if one.draw.victims is victims])
    }
    return {
        "seed": soak.seed,
        "rounds": len(outcomes),
        "seconds": round(seconds, 1),
        "release_ms": round(1000 * soak.moments.duration, 2),
        "releases_recorded": soak.records,
        "rows_charged": soak.expected.rows,
        "refused_for_good": sum(outcome.refused for outcome in outcomes),
        "given_back_after_the_crash": sum(outcome.given_back for outcome in outcomes),
        "later_releases": sum(outcome.draw.charged_before for outcome in outcomes),
        "another_request_first": sum(outcome.draw.after is After.OTHER_REQUEST for outcome in outcomes),
        "median_restart_seconds": {name: round(value, 2) for name, value in restarts.items()},
        "steps": {WORDS[step]: {str(victims): counts[step, victims] for victims in Victims} for step in Step},
    }


def _refused(outcome: Outcome) -> str:
    if outcome.given_back:
        return "  given back, refused, then answered"
    return "  refused, then answered" if outcome.refused else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run rounds and print what was found; status 1 when something did not hold."""
    parser = argparse.ArgumentParser(description="Kill -9 node and exchange at random moments of Release.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="draws who, when and what; else a fresh one")
    parser.add_argument("--round", type=int, default=None, help="play this one round again and again")
    parser.add_argument("--delay-ms", type=float, default=None, help="kill at this moment of the release")
    parser.add_argument("--keep", type=Path, default=None, help="keep the market's directory: a new one")
    parser.add_argument("--json", type=Path, default=None, help="write all figures here")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    say(f"seed {seed}")
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bourse-crash-") as temporary:
        root = options.keep or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        with open_market(root) as world:
            soak = begin_soak(world, seed, say)
            for count in range(1, options.rounds + 1):
                number = count if options.round is None else options.round
                delay = None if options.delay_ms is None else options.delay_ms / 1000
                outcome = soak.round(number, delay=delay)
                say(
                    f"{count:4}/{options.rounds}  {outcome.draw.victims:8}  {1000 * outcome.delay:6.2f} ms  "
                    f"{WORDS[outcome.step]:36} again in {outcome.restart_seconds:.1f} s" + _refused(outcome)
                )
            soak.assert_whole()
            found = figures(soak, time.perf_counter() - begun)
    say("")
    say(summary(soak.outcomes))
    say("")
    say(json.dumps(found))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
