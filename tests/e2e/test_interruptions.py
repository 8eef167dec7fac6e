"""Jobs go on where they stopped, whatever stopped: the same scores, and everything charged once."""

import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import dying_bank
import pysqlite3.dbapi2 as sqlite
import pytest
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, evaluation_service_pb2_grpc
from bourse.type.v1 import record_pb2
from crash_moments import reading
from market_records import ATTRIBUTES, KNOWN, REGISTRY, rows_of
from market_world import ANALYST, dataset_of

from clients.bank import BankClient
from clients.connection import Connection, Retries, new_request_id
from clients.member import Member
from clients.results import write_results
from clients.scorecard_file import save_scorecard
from clients.scoring import ScoringError

# Two blocks of 8,192 rows and one of 300.
PERSONS = KNOWN + tuple(f"passer-by-{number:05}" for number in range(2 * 8192 + 300 - len(KNOWN)))
BOURSE = (sys.executable, "-c", "from clients.cli.main import app; app()")
DYING_BANK = Path(dying_bank.__file__)


def assert_charged_once(market, licenses, persons):
    """Each node and the exchange charged every row once, and each block has one record of its release."""
    blocks = -(-len(persons) // 8192)
    for name in licenses:
        assert market.bank.usage(name).rows == len(persons)
        assert market.bank.license(name).usage.rows == len(persons)
        releases = [
            market.auditor.check(record).entry
            for record in market.auditor.records(
                license_name=name, kinds=[record_pb2.RECORD_KIND_RESULT_RELEASED]
            )
        ]
        assert [entry.usage.rows_charged for entry in releases] == [
            entry.usage.rows_gathered for entry in releases
        ]
        assert len(releases) == blocks


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "rows.csv"
    (ages,) = rows_of(PERSONS).columns.values()
    lines = [f"{person},{age}" for person, age in zip(PERSONS, ages, strict=True)]
    path.write_text("\n".join(["id,age", *lines]) + "\n")
    return path


@pytest.mark.parametrize("moment", dying_bank.MOMENTS)
def test_a_bank_killed_in_the_middle_of_a_job_resumes_it_with_the_same_scores(
    market, rows_file, tmp_path, moment
):
    licenses = market.license_both()
    card = market.deploy(licenses)
    save_scorecard(card, tmp_path / "card.json")
    before = {job.name for job in market.bank.jobs()}
    command = [DYING_BANK, market.home(ANALYST), tmp_path / "card.json", rows_file, moment, *licenses]
    died = subprocess.run([sys.executable, *map(str, command)], timeout=120, check=False)
    assert died.returncode == -signal.SIGKILL
    (job,) = [job for job in market.bank.jobs() if job.name not in before]
    opened = job.progress()["blocks_opened"]
    assert opened == {"planned": 0, "asked": 0, "released": 1, "written": 2}[moment]

    out = tmp_path / "scores.csv"
    resumed = bourse(market, "score", "--resume", job.name, "--out", str(out))
    assert resumed.returncode == 0, resumed.stderr
    again = market.bank.resume(job.name)
    assert again.scores == market.plain_scores(PERSONS)
    write_results(again, tmp_path / "again.csv")
    assert out.read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert_charged_once(market, licenses, PERSONS)


def bourse(market, *arguments):
    """Run a command of the bank's."""
    return subprocess.run(
        [*BOURSE, "bank", *arguments, "--home", str(market.home(ANALYST))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("server", ["exchange", REGISTRY])
@pytest.mark.parametrize("step", ["asked", "opened"])
def test_a_server_that_restarts_under_a_running_job_changes_nothing(market, server, how, step):
    licenses = market.license_both()
    card = market.deploy(licenses)
    left = [server]

    def restart(_dataset, event, _done, _total):
        if event == step and left:
            restarted = market.market.servers[left.pop()]
            getattr(restarted, how)()
            restarted.start()

    results = market.bank.score(
        card, rows_of(PERSONS), consent_reference="x", licenses=licenses, on_progress=restart
    )
    assert not left
    assert results.scores == market.plain_scores(PERSONS)
    assert_charged_once(market, licenses, PERSONS)


def test_a_job_stops_while_the_exchange_is_away_with_nothing_opened_and_goes_on_afterwards(market):
    licenses = market.license_both()
    card = market.deploy(licenses)

    def stop(_dataset, event, _done, _total):
        if event == "asked" and market.exchange.runs:
            market.exchange.kill()

    home = market.bank.home
    hasty = Connection(home, Member.open(home.identity_directory), retries=Retries(2, 0.05))
    with BankClient(hasty) as bank:
        with pytest.raises(ScoringError) as stopped:
            bank.score(card, rows_of(KNOWN), consent_reference="x", licenses=licenses, on_progress=stop)
        error = stopped.value
        assert error.reason == "RELEASE_UNRECORDED"
        assert "nothing has left the node" in error.message
        assert f"bourse bank score --resume {error.job}" in error.way_out
        assert bank.job(error.job).progress()["blocks_opened"] == 0

        with closing(reading(market.exchange.log.parent / "exchange.db")) as database:
            used = dict(database.execute("SELECT license, used_rows FROM license").fetchall())
        assert [used[name.removeprefix("licenses/")] for name in licenses] == [0, 0]

        market.market.start()
        market.reconnect()
        assert market.bank.resume(error.job).scores == market.plain_scores(KNOWN)
    assert_charged_once(market, licenses, KNOWN)


def test_an_evaluation_ends_though_who_asked_for_it_hung_up_before_the_answer(market):
    name = market.license(dataset_of(REGISTRY))
    deployed = market.bank.deploy(name, market.scorecard())
    node = market.bank.connection.node(REGISTRY, market.node(REGISTRY).address)
    service = evaluation_service_pb2_grpc.EvaluationServiceStub(node.channel)
    request = evaluation_service_pb2.CreateEvaluationRequest(
        evaluation=evaluation_pb2.Evaluation(
            sealing=deployed.opened.name, entity_ids=KNOWN[:5], consent_reference="vault 7"
        ),
        request_id=new_request_id(),
    )
    with writing(market.node(REGISTRY).log.parent / "node.db"):
        call = service.CreateEvaluation.future(request, timeout=30)
        time.sleep(0.5)  # until the node waits for its database
        call.cancel()
    asked = node.call(service.CreateEvaluation, request)
    end = time.monotonic() + 20
    while asked.state == evaluation_pb2.EVALUATION_STATE_RUNNING and time.monotonic() < end:
        time.sleep(0.02)
        asked = node.call(service.GetEvaluation, evaluation_service_pb2.GetEvaluationRequest(name=asked.name))
    assert asked.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED


@contextmanager
def writing(path):
    """Be inside a write transaction of a server's database."""
    with closing(sqlite.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


def test_both_nodes_restart_between_evaluation_and_release(market):
    licenses = market.license_both()
    card = market.deploy(licenses)
    asked = []

    def restart(dataset, event, _done, _total):
        if event == "asked":
            asked.append(dataset)
            if len(asked) == len(ATTRIBUTES):
                for provider in ATTRIBUTES:
                    market.node(provider).kill()
                market.market.start()

    results = market.bank.score(
        card, rows_of(KNOWN), consent_reference="x", licenses=licenses, on_progress=restart
    )
    assert len(asked) == len(ATTRIBUTES)
    assert results.scores == market.plain_scores(KNOWN)
    assert_charged_once(market, licenses, KNOWN)
