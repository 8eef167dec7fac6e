"""What goes wrong on an ordinary day of a bank and its providers, and what the commands say then."""

import csv
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from clients_world import PERSONS, SCENARIO, clients_world, run

from clients.bank import BankClient
from clients.connection import RefusedError
from clients.jobs import BLOCK_ROWS
from clients.rows import read_rows
from clients.scorecard_file import load_scorecard
from clients.scoring import ScoringError

PROVIDERS = ("payments", "registry")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with clients_world(tmp_path_factory.mktemp("market")) as made:
        made.publish()
        yield made


def trade(world, *terms):
    licenses = [world.license(provider, "--max-openings-per-entity", 100, *terms) for provider in PROVIDERS]
    options = [option for name in licenses for option in ("--license", name)]
    world.bourse("analyst", "bank", "deploy", *options, "--scorecard", world.scorecard())
    return licenses


def score_options(world, rows, out="scores.csv"):
    return (
        "bank", "score", "--scorecard", world.scorecard(), "--rows", rows, "--id-column", "applicant",
        "--consent-reference", "form 3", "--out", world.root / out,
    )  # fmt: skip


def read_scores(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_usage_counts_nothing_under_a_license_that_its_node_has_not_met(world):
    used, unused = trade(world, "--max-models", 2)[0], world.license("payments")
    rows = {one["license"]: one["models"] for one in world.bourse("analyst", "bank", "usage")["usage"]}
    assert (rows[used], rows[unused]) == (1, 0)
    counted = world.bourse("steward-a", "provider", "usage", unused)
    assert counted == {"license": unused, "models": 0, "rows": 0, "bits": 0}
    refused = world.refusal("steward-b", "provider", "usage", unused)
    assert refused["reason"] == "LICENSE_NOT_FOUND"


def test_scores_are_asked_for_under_the_newest_license_in_force(world):
    lasting = trade(world)
    end = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    ending = trade(world, "--valid-until", end)
    card, rows = load_scorecard(world.scorecard()), world.applicants(4)
    own = read_rows(rows, id_column="applicant", columns=["duration"])
    with BankClient.open(world.home("analyst")) as bank:
        assert set(bank.score(card, own, consent_reference="form 3").licenses.values()) == set(ending)
        terms = bank.license(ending[0]).terms
        bank.now = lambda: terms.valid_until.ToDatetime(tzinfo=UTC)
        assert [one.license for one in bank.deployments_for(card)] == lasting
        bank.now = lambda: datetime.now(UTC)
        bank.terminate_license(ending[0], "no longer wanted")
        chosen = [one.license for one in bank.deployments_for(card)]
        assert chosen[0] == lasting[0]
        assert [one.license for one in bank.deployments_for(card, [ending[0], lasting[1]])] == [
            ending[0],
            lasting[1],
        ]


def test_a_refusal_names_the_license_and_a_job_that_charged_nothing_is_forgotten(world):
    licenses = trade(world, "--max-rows", 3)
    refused = world.refusal("analyst", *score_options(world, world.applicants(4)))
    assert (refused["clause"], refused["license"]) == ("max_rows", licenses[0])
    assert "Nothing was charged, and the job is forgotten." in refused["way_out"]
    jobs = world.bourse("analyst", "bank", "jobs")["jobs"]
    assert all(job["blocks_opened"] for job in jobs)


def test_rows_that_were_charged_are_not_lost_with_a_license_that_ends_in_the_middle(world):
    licenses = trade(world, "--max-rows", 20_000)
    rows = world.root / "many.csv"
    lines = world.applicants().read_text().splitlines()
    rows.write_text("\n".join([*lines, *(f"nobody-{number},6" for number in range(8300))]) + "\n")
    own = read_rows(rows, id_column="applicant", columns=["duration"])

    def end_a_license():
        with BankClient.open(world.home("analyst")) as other:
            other.terminate_license(licenses[0], "a breach")

    both_opened = threading.Barrier(2, action=end_a_license, timeout=60)

    def on_progress(_dataset, step, done, _total):
        if (step, done) == ("opened", BLOCK_ROWS):
            both_opened.wait()

    with BankClient.open(world.home("analyst")) as bank, pytest.raises(ScoringError) as stopped:
        bank.score(
            load_scorecard(world.scorecard()), own, consent_reference="form 3", on_progress=on_progress
        )
    said = stopped.value.as_dict()
    assert (said["reason"], said["license"]) == ("LICENSE_STATE", licenses[0])
    assert "--opened" in said["way_out"]
    job, out = stopped.value.job, world.root / "opened.csv"
    again = world.refusal("analyst", "bank", "score", "--resume", job, "--out", out)
    assert (again["reason"], again["job"]) == ("LICENSE_STATE", job)
    assert not out.exists()
    world.bourse("analyst", "bank", "score", "--resume", job, "--opened", "--out", out)
    scores = read_scores(out)
    assert [row["id"] for row in scores] == list(own.ids[:BLOCK_ROWS])
    assert [int(row["score"]) for row in scores[: len(PERSONS)]] == [
        world.plain_score(person) for person in PERSONS
    ]


def test_opened_rows_are_those_of_a_job_that_was_started(world):
    out = world.root / "opened.csv"
    unknown = world.refusal(
        "analyst", "bank", "score", "--resume", "20260101-000000-0000", "--opened", "--out", out
    )
    assert unknown["reason"] == "JOB_UNKNOWN"
    assert run("bank", "score", "--opened", "--out", out, "--json").exit_code == 2


def test_it_is_said_whose_turn_it_is_to_sign(world):
    name = world.bourse("analyst", "bank", "license", "request", "--dataset", "payments",
                        "--scenario", SCENARIO)["name"]  # fmt: skip
    world.bourse("steward-a", "provider", "license", "offer", name, "--yes")
    early = world.refusal("steward-a", "provider", "license", "agree", name, "--yes")
    assert (early["reason"], "OFFERED" in early["message"]) == ("LICENSE_STATE", True)
    world.bourse("analyst", "bank", "license", "accept", name, "--yes")
    early = world.refusal("analyst", "bank", "license", "verify", name, "--yes")
    assert (early["reason"], "ACCEPTED" in early["message"]) == ("LICENSE_STATE", True)
    world.bourse("steward-a", "provider", "license", "agree", name, "--yes")
    world.bourse("analyst", "bank", "license", "verify", name, "--yes")
    late = world.refusal("analyst", "bank", "license", "verify", name, "--yes")
    assert (late["reason"], "ACTIVE" in late["message"]) == ("LICENSE_STATE", True)


def test_an_offer_changes_what_it_names_and_nothing_else(world):
    asked = world.bourse("analyst", "bank", "license", "request", "--dataset", "payments", "--scenario",
                         SCENARIO, "--column", "history", "--max-rows", 50, "--max-models", 2)  # fmt: skip
    name = asked["name"]
    offered = world.bourse("steward-a", "provider", "license", "offer", name, "--max-rows", 40)
    assert offered["terms"] == asked["terms"] | {"max_rows": 40, "max_bits": 440}
    file = world.root / "terms.toml"
    file.write_text("max_rows = 45\nmax_models = 3\n")
    countered = world.bourse(
        "analyst", "bank", "license", "counter", name, "--terms", file, "--max-models", 1
    )
    assert countered["terms"] == asked["terms"] | {"max_rows": 45, "max_bits": 495, "max_models": 1}
    both = run("provider", "license", "offer", name, "--as-requested", "--max-rows", 9,
               "--home", world.home("steward-a"), "--json")  # fmt: skip
    assert both.exit_code == 2


def test_an_offer_of_the_terms_requested_is_asked_for(world):
    name = world.bourse("analyst", "bank", "license", "request", "--dataset", "payments",
                        "--scenario", SCENARIO)["name"]  # fmt: skip
    for options in ((), ("--as-requested",)):
        asked = run(
            "provider", "license", "offer", name, *options, "--home", world.home("steward-a"), "--json"
        )
        assert (asked.exit_code, "--yes" in asked.stderr) == (2, True)


def test_a_dataset_that_is_there_is_refused_before_its_file_is_read(world):
    home = world.nodes["payments"].folder
    report = world.root / "assessment.txt"
    refused = world.refusal(
        "steward-a", "provider", "publish", "--dataset", "payments", "--file", "no-such-file.csv",
        "--spec", home / "columns.toml", "--title", "Again", "--description", "Test", "--scenario", SCENARIO,
        "--identifier-scheme", "test-id", "--assessment-report", report, "--assessor", "Tester", "--lawful",
    )  # fmt: skip
    assert refused["reason"] == "DATASET_EXISTS"
    assert "provider dataset revise" in refused["way_out"]


def test_cells_that_count_as_missing_are_told_of_beside_the_scores(world):
    trade(world)
    rows = world.root / "odd.csv"
    rows.write_text("applicant,duration\n" + "".join(f"{one},6\n" for one in PERSONS[:11]) + "p-x,six\n")
    scored = world.bourse("analyst", *score_options(world, rows))
    (remark,) = scored["remarks"]
    assert 'column "duration": 1 of 12 cells' in remark
    rows.write_text("applicant,duration\n" + "".join(f"{one},6 months\n" for one in PERSONS[:11]))
    refused = world.refusal("analyst", *score_options(world, rows))
    assert refused["reason"] == "INPUT_INVALID"
    assert "nothing has been sent" in refused["way_out"]


def test_records_are_found_again_by_the_time_that_they_show(world):
    every = world.bourse("auditor", "regulator", "records", "list")["records"]
    from_there = world.bourse("auditor", "regulator", "records", "list", "--since", every[3]["time"])[
        "records"
    ]
    assert from_there == every[3:]
    until = world.bourse("auditor", "regulator", "records", "list", "--until", every[3]["time"])["records"]
    assert until == every[:3]
    table = world.plain("regulator", "records", "list", "--home", world.home("auditor")).stdout
    assert re.search(r"signing-key-registered +\S+/\S+", table)


def test_whole_numbers_of_records_are_numbers(world):
    trade(world)
    world.bourse("analyst", *score_options(world, world.applicants(4)))
    released = world.bourse("auditor", "regulator", "records", "list", "--kind", "result-released")["records"]
    assert released[-1]["usage"]["bits_charged"] == 44
    shown = world.bourse("auditor", "regulator", "records", "show", released[-1]["index"])
    assert shown["statements"][0]["says"]["bits_charged"] == 44


def test_a_node_that_is_away_is_named(world):
    trade(world)
    world.nodes["registry"].end()
    try:
        with BankClient.open(world.home("analyst")) as bank, pytest.raises(RefusedError) as error:
            bank.usage(trade_of(bank))
    finally:
        world.nodes["registry"].start()
        world.bourse(
            "admin", "admin", "party", "update", "registry", "--node-address", world.nodes["registry"].address
        )
    assert error.value.server.party == "registry"
    assert error.value.address


def trade_of(bank):
    return next(one.name for one in bank.licenses(dataset="datasets/registry"))
