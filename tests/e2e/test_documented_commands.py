"""The commands of the pages for operators and banks work as they stand, typed one after the other.

What stands in the shell blocks of docs/operating.md and docs/cli.md is run by a shell, and the example of
docs/sdk.md after it, in a home directory of their own and on ports of their own.
"""

import csv
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from clients.demo.market import PORTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BINARIES = Path(sys.executable).parent
RUN_SECONDS = 240


def blocks(page: str, language: str) -> list[str]:
    """Return the page's code blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def free_port(taken: set[int]) -> int:
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if port not in taken and probe.connect_ex(("127.0.0.1", port)) != 0:
                taken.add(port)
                return port
    raise AssertionError("no port is free")


def script(folder: Path) -> str:
    """Return the pages as one script, with ports and what the SDK's example leaves open filled in."""
    (example,) = blocks("sdk.md", "python")
    (folder / "sdk.py").write_text(
        example.replace('["licenses/...", "licenses/..."]', "sys.argv[1:]")
        .replace('"applicants.csv"', '"split/bank/applicants.csv"')
        .replace('id_column="id"', 'id_column="applicant"')
        .replace("from pathlib", "import sys\nfrom pathlib")
    )
    typed = [
        *blocks("operating.md", "sh"),
        *blocks("cli.md", "sh"),
        f'python {folder}/sdk.py "$LICENSE" > sdk.txt\n',
    ]
    taken: set[int] = set()
    text = "".join(["set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n", *typed])
    for port in ("7400", "7500"):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port(taken)}")
    return text.replace(". .venv/bin/activate", "true")


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """The directory that the pages leave behind, and what their commands printed."""
    home = tmp_path_factory.mktemp("user")
    path = home / "pages.sh"
    path.write_text(script(home))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BOURSE_")}
    running = subprocess.Popen(
        ["/bin/bash", path],
        cwd=ROOT,
        env=environment | {"HOME": str(home), "PATH": f"{BINARIES}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = running.communicate(timeout=RUN_SECONDS)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 0, f"{output[-3000:]}\n{errors[-3000:]}"
    return home / "market", output


def test_the_pages_end_in_a_score_for_every_applicant(typed):
    market, _ = typed
    with (market / "split/bank/applicants.csv").open(newline="") as stream:
        asked = [row["applicant"] for row in csv.DictReader(stream)]
    with (market / "scores.csv").open(newline="") as stream:
        scores = {row["id"]: int(row["score"]) for row in csv.DictReader(stream)}
    assert list(scores) == asked
    first, score = (market / "sdk.txt").read_text().split()
    assert scores[first] == int(score)


def test_the_records_of_the_pages_prove_themselves_and_are_taken_away(typed):
    market, output = typed
    records = [json.loads(line) for line in (market / "records.jsonl").read_text().splitlines()]
    assert [record["index"] for record in records] == list(range(len(records)))
    assert re.search(rf"^  checked +{len(records)}$", output, re.MULTILINE)
    assert records[-1]["kind"] == "RESULT_RELEASED"


def test_a_log_holds_json_lines_alone_while_nobody_fails_a_handshake(typed):
    market, _ = typed
    for log in (market / "exchange/log", market / "nodes/payments-bureau/log"):
        events = [json.loads(line) for line in log.read_text().splitlines()]
        assert events[-1]["event"] == "stopped"
