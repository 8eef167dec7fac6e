"""The demo, as a user runs it: `bourse demo` in a process of its own, judged by its figures."""

import csv
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

BOURSE = Path(sys.executable).with_name("bourse")
RUN_SECONDS = 240


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BOURSE, "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def german_credit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    ended = run_demo("--json", str(folder / "figures.json"), "--keep", str(folder / "kept"))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout, json.loads((folder / "figures.json").read_text()), folder / "kept"


def test_every_held_out_applicant_gets_exactly_the_plaintext_score(german_credit):
    _, figures, _ = german_credit
    assert (figures["rows_scored"], figures["rows_exact"]) == (300, 300)


def test_the_joint_score_ranks_better_than_the_banks_own(german_credit):
    _, figures, _ = german_credit
    assert 0.6 < figures["auc_bank"] < figures["auc_joint"] < 0.9
    assert 0.1 < figures["ks_bank"] < figures["ks_joint"] < 0.9


def test_the_regulator_sees_one_release_of_each_provider(german_credit):
    _, figures, _ = german_credit
    assert figures["record_kinds"].count("RESULT_RELEASED") == 2
    assert figures["record_kinds"].count("MODEL_DEPLOYED") == 2
    assert figures["record_kinds"].count("LICENSE_FINALIZED") == 2
    assert figures["records"] == len(figures["record_kinds"])


def test_rows_beyond_the_license_are_refused_by_its_clause(german_credit):
    _, figures, _ = german_credit
    assert figures["refusals"] == 1
    assert figures["refused"][0]["clause"] == "max_rows"
    assert figures["refused"][0]["reason"] == "CLAUSE_REFUSED"


def test_no_applicant_is_found_at_the_exchange_or_in_a_log(german_credit):
    _, figures, _ = german_credit
    assert len(figures["traces"]) == 3
    assert set(figures["traces"].values()) == {0}


def test_seconds_and_bytes_are_told_by_step(german_credit):
    _, figures, _ = german_credit
    assert figures["seconds"]["all"] > figures["seconds"]["Scoring"] > 0
    sealed_columns = sum(figures["sealed_weights"].values()) + 2 * 10
    assert figures["bytes"]["send sealed model"] > sealed_columns * 131_072
    assert figures["bytes"]["get sealed block"] > 2 * 262_144


def test_the_demo_shows_its_commands_and_keeps_its_state(german_credit):
    shown, _, kept = german_credit
    for command in (
        "bourse bank deploy",
        "bourse bank score",
        "bourse provider publish",
        "python -m compute",
    ):
        assert f"$ {command}" in shown
    assert "pools 700 training rows" in shown
    assert (kept / "results.csv").is_file()
    assert (kept / "exchange" / "exchange.db").is_file()


def test_any_labelled_table_is_traded_with_all_that_is_wrong_with_it(tmp_path):
    rng = random.Random(3)
    rows = []
    for number in range(400):
        bad = rng.random() < 0.35
        amount = f"{rng.gauss(5 if bad else 3, 2):.3f}"
        if rng.random() < 0.2:
            amount = rng.choice(["", "?", "broken", "1,000"])
        kind = rng.choice("abd" if bad else "abc")
        rare = f"rare {number}" if rng.random() < 0.02 else "frequent"
        rows.append([f"Kunde {number} é", "yes" if bad else "no", amount, kind, "same", rare, "7", ""])
    table = tmp_path / "customers.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["customer", "default", "amount", "kind", "constant", "rare", "seven", "empty"])
        writer.writerows(rows)
    split = tmp_path / "split.toml"
    split.write_text(
        'label = "default"\nbad = "yes"\nid = "customer"\nnumeric = ["amount", "seven"]\n'
        'missing_values = ["?"]\ntest_fraction = 0.25\nseed = 1\n'
        '[bank]\ncolumns = ["constant"]\n'
        '[[provider]]\nname = "register"\ncolumns = ["amount", "kind", "rare", "seven", "empty"]\n'
    )
    figures_file = tmp_path / "figures.json"
    ended = run_demo("--data", str(table), "--split", str(split), "--json", str(figures_file))
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(figures_file.read_text())
    assert figures["rows_scored"] == figures["rows_exact"] == 100
    assert figures["auc_joint"] > figures["auc_bank"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--data", "table.csv"), "give both"),
        (("--data", "missing.csv", "--split", "missing.toml"), "missing.toml"),
        (("--keep", "."), "is there already"),
    ],
)
def test_a_demo_that_cannot_run_says_so_at_once(tmp_path, arguments, said):
    ended = subprocess.run(
        [BOURSE, "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        cwd=tmp_path,
    )
    assert ended.returncode in {1, 2}
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
