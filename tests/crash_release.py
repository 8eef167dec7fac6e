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
import hashlib
import json
import random
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

import grpc
import pysqlite3.dbapi2 as sqlite
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, evaluation_service_pb2_grpc
from bourse.type.v1 import query_pb2, record_pb2, statement_pb2
from market_world import (
    ATTRIBUTES,
    KNOWN,
    REGISTRY,
    STRANGERS,
    MarketWorld,
    open_market,
    records_of,
)

from clients.agreement import CheckedAgreement, read_agreement
from clients.connection import Peer, new_request_id
from clients.demo.market import Server
from clients.keystore import Deployment
from clients.scoring import Asked, check_released, rows_digest
from sealed.block import open_rows
from sealed.packing import parse_released, unpack
from wire.rpc import refusal_from_rpc_error
from wire.signing import Purpose

PROVIDER = REGISTRY
WARM_UP = 12
ANSWER_SECONDS = 60.0
CALL_SECONDS = 20.0
FREEZE_SECONDS = 10.0

Response = evaluation_service_pb2.ReleaseBlockResponse
_RELEASED = (record_pb2.RECORD_KIND_RESULT_RELEASED,)


class Step(IntEnum):
    """Where a release stood when both servers were frozen, in the order in which it gets there."""

    NOTHING = 0
    RESERVING = 1
    RESERVED = 2
    RECORDING = 3
    RECORDED = 4
    KEEPING = 5
    KEPT = 6
    ANSWERED = 7


WORDS = {
    Step.NOTHING: "before anything is reserved",
    Step.RESERVING: "in the write that reserves",
    Step.RESERVED: "reserved, not recorded",
    Step.RECORDING: "in the write that records",
    Step.RECORDED: "recorded, receipt not kept",
    Step.KEEPING: "in the write that keeps the receipt",
    Step.KEPT: "receipt kept, not answered",
    Step.ANSWERED: "answered",
}


class Victims(StrEnum):
    """Who is killed."""

    NODE = "node"
    EXCHANGE = "exchange"
    BOTH = "both"


class After(StrEnum):
    """What happens after the restart, before the same request is sent again."""

    NOTHING = "nothing"
    OTHER_REQUEST = "another request for the block"
    SUSPENDED = "the dataset is suspended"


@dataclass(frozen=True)
class Draw:
    """What one round does; all of it follows from seed and number, but for the moment of the kill."""

    number: int
    victims: Victims
    after: After
    persons: tuple[str, ...]
    charged_before: bool
    target: Step


@dataclass(frozen=True)
class Outcome:
    """What a round saw: where the kill fell, and what the restart took in seconds."""

    draw: Draw
    delay: float
    step: Step
    refused: bool
    restart_seconds: float
    retry_seconds: float


@dataclass(frozen=True)
class Usage:
    """Rows and bits that a license was charged."""

    rows: int
    bits: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.rows + other.rows, self.bits + other.bits)


@dataclass(frozen=True)
class Block:
    """An evaluated block and the persons in it."""

    name: str
    persons: tuple[str, ...]
    data: bytes
    sha256: bytes


@dataclass(frozen=True)
class Frozen:
    """What both databases hold while nobody runs."""

    node: str | None
    node_writes: bool
    recorded: bool
    exchange_writes: bool
    answered: bool

    @property
    def step(self) -> Step:
        """Where the release stands."""
        if self.answered:
            return Step.ANSWERED
        if self.node == "recorded":
            return Step.KEPT
        if self.node == "reserved":
            if self.recorded:
                return Step.KEEPING if self.node_writes else Step.RECORDED
            return Step.RECORDING if self.exchange_writes else Step.RESERVED
        return Step.RESERVING if self.node_writes else Step.NOTHING


class Call:
    """One ReleaseBlock under way in a thread of its own."""

    def __init__(self, peer: Peer, request: evaluation_service_pb2.ReleaseBlockRequest) -> None:
        self._peer, self._request = peer, request
        self.begun = threading.Event()
        self.response: Response | None = None
        self.error: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._run, name="release")
        self._thread.start()

    def _run(self) -> None:
        service = evaluation_service_pb2_grpc.EvaluationServiceStub(self._peer.channel)
        self.begun.set()
        try:
            self.response = service.ReleaseBlock(self._request, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            self.error = error

    def ended(self) -> Response | None:
        """Wait for the end; the answer, or None when there was none."""
        self._thread.join()
        return self.response


@dataclass
class Moments:
    """Chooses when to kill, so that a step wanted is met: by what moments led to so far. In seconds."""

    duration: float
    seen: list[tuple[float, Step]] = field(default_factory=list)

    def moment_for(self, target: Step, rng: random.Random) -> float:
        """A moment after the call's beginning that may well fall into `target`."""
        near = [delay for delay, step in self.seen[-80:] if abs(step - target) <= 1]
        if near and rng.random() < 0.8:
            return rng.choice(near) * rng.uniform(0.85, 1.15)
        return rng.uniform(0.0, 1.2 * self.duration)


@dataclass
class Soak:
    """The rounds in one market. Everything is charged to one license, by one bank, at one node."""

    world: MarketWorld
    dataset: str
    license: str
    deployment: Deployment
    agreement: CheckedAgreement
    seed: int
    say: Callable[[str], None]
    moments: Moments = field(default_factory=lambda: Moments(0.02))
    outcomes: list[Outcome] = field(default_factory=list)
    expected: Usage = Usage(0, 0)
    records: int = 0

    # ---- the trade ----

    @property
    def node(self) -> Server:
        return self.world.node(PROVIDER)

    @property
    def exchange(self) -> Server:
        return self.world.exchange

    def asked(self) -> Asked:
        """The provider as the bank asks it, over the channels of now."""
        bank = self.world.bank
        deployment = self.deployment
        assert deployment.opened is not None
        assert deployment.accepted is not None
        return Asked(
            0,
            self.dataset,
            bank.connection.node(PROVIDER, self.node.address),
            self.agreement,
            deployment,
            deployment.opened,
            deployment.accepted,
        )

    def evaluate(self, persons: tuple[str, ...]) -> Block:
        """Have persons evaluated: one block."""
        asked = self.asked()
        service = evaluation_service_pb2_grpc.EvaluationServiceStub(asked.node.channel)
        created = asked.node.call(
            service.CreateEvaluation,
            evaluation_service_pb2.CreateEvaluationRequest(
                evaluation=evaluation_pb2.Evaluation(
                    sealing=asked.opened.name, entity_ids=persons, consent_reference="crash test"
                ),
                request_id=new_request_id(),
            ),
        )
        while created.state == evaluation_pb2.EVALUATION_STATE_RUNNING:
            time.sleep(0.005)
            created = asked.node.call(
                service.GetEvaluation, evaluation_service_pb2.GetEvaluationRequest(name=created.name)
            )
        assert created.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED, created.error
        sent = asked.node.call(
            service.GetBlock, evaluation_service_pb2.GetBlockRequest(name=f"{created.name}/blocks/0")
        )
        return Block(sent.name, persons, sent.data, sent.sha256)

    def request(self, block: Block, rows: Sequence[int]) -> evaluation_service_pb2.ReleaseBlockRequest:
        """A fresh request to open rows of a block, signed by the bank."""
        asked = self.asked()
        terms = self.agreement.agreement
        salt = secrets.token_bytes(32)
        request = statement_pb2.ReleaseRequest(
            version=1,
            block=block.name,
            nonce=secrets.token_bytes(32),
            c0_digest=asked.accepted.c0_digest,
            block_digest=block.sha256,
            rows_digest=rows_digest(salt, rows),
            rows=len(rows),
            query_kind=query_pb2.QUERY_KIND_NAMED,
            drop=terms.terms.drop,
        )
        signed = self.world.bank.member.signed(
            Purpose.RELEASE_REQUEST, request.SerializeToString(deterministic=True)
        )
        return evaluation_service_pb2.ReleaseBlockRequest(request=signed, rows=rows, rows_salt=salt)

    def until_answered(self, request: evaluation_service_pb2.ReleaseBlockRequest) -> Response:
        """Send a request until it is answered; anything but UNAVAILABLE in between is an error."""
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            call = Call(self.asked().node, request)
            answer = call.ended()
            if answer is not None:
                return answer
            assert call.error is not None
            refusal = refusal_from_rpc_error(call.error)
            passing = refusal.code is grpc.StatusCode.UNAVAILABLE and time.monotonic() < end
            assert passing, f"refused: {refusal.code.name} {refusal.reason} {refusal.message}"
            time.sleep(0.05)

    def charge_of(self, rows: int) -> Usage:
        """What this many rows cost."""
        terms = self.agreement.agreement.terms
        return Usage(rows, rows * self.agreement.profile.bits_per_row(terms.drop))

    def assert_charged(self, expected: Usage) -> None:
        """(2) Node and exchange have charged exactly this."""
        node, exchange = self.world.bank.usage(self.license), self.world.bank.license(self.license).usage
        assert Usage(node.rows, node.bits) == expected, "the node's counters"
        assert Usage(exchange.rows, exchange.bits) == expected, "the exchange's counters"

    def assert_recorded_once(self, request: evaluation_service_pb2.ReleaseBlockRequest) -> None:
        """(3) The ledger has one valid record of the request."""
        newest = self.world.auditor.records(
            license_name=self.license, kinds=_RELEASED, newest_first=True, limit=6
        )
        same = [one for one in newest if self._is_of(one.entry, request)]
        assert len(same) == 1, f"{len(same)} records of one request"
        self.world.auditor.check(same[0])

    @staticmethod
    def _is_of(entry: bytes, request: evaluation_service_pb2.ReleaseBlockRequest) -> bool:
        return request.request in record_pb2.TradeRecordEntry.FromString(entry).statements

    def assert_opened(
        self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest, answer: Response
    ) -> int:
        """(1) and (4): the answer proves itself and opens the plaintext scores; the rows it charged."""
        asked = self.asked()
        signed = statement_pb2.ReleaseRequest.FromString(request.request.payload)
        statement = check_released(
            self.agreement, asked.opened.name, signed, request.request, len(block.persons), answer
        )
        profile, drop = self.agreement.profile, self.agreement.agreement.terms.drop
        rows = list(request.rows)
        values = parse_released(profile, answer.released, len(rows), drop)
        scores = open_rows(profile, unpack(profile, block.data), asked.secret, values, rows, drop)
        assert [int(score) for score in scores] == [
            self.world.plain_part(self.dataset, ATTRIBUTES[PROVIDER], block.persons[row]) for row in rows
        ], "opened scores"
        return statement.rows_charged

    # ---- a round ----

    def warm_up(self) -> None:
        """Release undisturbed a few times, to know how long it takes."""
        durations = []
        for number in range(WARM_UP):
            rng = random.Random(f"{self.seed}/warm-up/{number}")
            block = self.evaluate(_persons(rng))
            request = self.request(block, range(len(block.persons)))
            begun = time.perf_counter()
            answer = self.until_answered(request)
            durations.append(time.perf_counter() - begun)
            self._account(block, request, answer)
        self.moments.duration = statistics.median(durations)
        self.say(f"a release takes {1000 * self.moments.duration:.1f} ms undisturbed")

    def draw(self, number: int) -> Draw:
        """What round `number` of this seed does."""
        rng = random.Random(f"{self.seed}/{number}")
        met = Counter(outcome.step for outcome in self.outcomes)
        return Draw(
            number,
            rng.choices(list(Victims), (4, 3, 3))[0],
            rng.choices(list(After), (5, 2, 3))[0],
            _persons(rng),
            charged_before=rng.random() < 0.2,
            target=rng.choices(list(Step), [_weight(step, met[step]) for step in Step])[0],
        )

    def round(self, number: int, *, delay: float | None = None) -> Outcome:
        """Play one round. Raises AssertionError naming what did not hold, and how to play it again."""
        draw = self.draw(number)
        if delay is None:
            delay = self.moments.moment_for(
                draw.target,
                random.Random(f"{self.seed}/{number}/moment"),
            )
        try:
            outcome = self._play(draw, delay)
        except BaseException as error:
            error.add_note(
                f"round {number} of seed {self.seed}: {draw.victims} killed after {1000 * delay:.3f} ms; "
                f"again: --seed {self.seed} --round {number} --delay-ms {1000 * delay:.3f} --rounds 20"
            )
            raise
        self.outcomes.append(outcome)
        self.moments.seen.append((delay, outcome.step))
        return outcome

    def _play(self, draw: Draw, delay: float) -> Outcome:
        block = self.evaluate(draw.persons)
        if draw.charged_before:
            first = self.request(block, range(len(block.persons)))
            self._account(block, first, self.until_answered(first))
        before = self.expected
        request = self.request(block, range(0, len(block.persons), 2 if draw.charged_before else 1))

        call = Call(self.asked().node, request)
        call.begun.wait()
        time.sleep(delay)
        with self.frozen():
            found = self.look(block, request, call)
            if found.node == "recorded" or found.answered:
                assert found.recorded, "(5) answered, or ready to answer, without a record"
            self.kill(draw.victims)
        answers = [call.ended()]

        begun = time.perf_counter()
        self.world.reconnect()
        self.world.market.start()
        restarted = time.perf_counter()
        refused = False
        if draw.after is After.OTHER_REQUEST:
            other = self.request(block, [0])
            self._account(block, other, self.until_answered(other))
        elif draw.after is After.SUSPENDED:
            refused = self._refused_while_suspended(block, request, before)
        answers += [self.until_answered(request) for _ in range(3)]
        retried = time.perf_counter()

        given = {answer.SerializeToString(deterministic=True) for answer in answers if answer is not None}
        assert len(given) == 1, "(1) two answers to one request"
        self._account(block, request, Response.FromString(given.pop()))
        charged = self.expected.rows - before.rows
        assert charged == (0 if draw.charged_before else len(block.persons)), "(2) charged once"
        self.assert_charged(self.expected)
        return Outcome(draw, delay, found.step, refused, restarted - begun, retried - restarted)

    def _account(
        self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest, answer: Response
    ) -> None:
        rows = self.assert_opened(block, request, answer)
        self.assert_recorded_once(request)
        self.expected += self.charge_of(rows)
        self.records += 1

    def _refused_while_suspended(
        self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest, before: Usage
    ) -> bool:
        """(6) Suspend the dataset and send the request: what is not recorded is refused for good and given
        back; what is recorded is answered all the same.
        """
        self.world.officer.suspend_dataset(self.dataset, "a complaint is looked into")
        recorded = self.holds_record(request)
        call = Call(self.asked().node, request)
        answer = call.ended()
        while call.error is not None and call.error.code() is grpc.StatusCode.UNAVAILABLE:
            time.sleep(0.05)
            call = Call(self.asked().node, request)
            answer = call.ended()
        if recorded:
            assert answer is not None, "recorded, and refused"
        else:
            assert call.error is not None, "(5) answered without a record"
            assert refusal_from_rpc_error(call.error).code is grpc.StatusCode.FAILED_PRECONDITION
            assert self.release_state(block, request) == "refused"
            assert not self.holds_record(request)
            self.assert_charged(before)
        self.world.officer.reinstate_dataset(self.dataset, "the complaint was unfounded")
        return not recorded

    # ---- looking and killing ----

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nobody runs inside; afterwards everybody does who was not killed."""
        processes = [server.process for server in (self.exchange, self.node) if server.process is not None]
        try:
            for process in processes:
                process.send_signal(signal.SIGSTOP)
                _wait_until_stopped(process.pid)
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)

    def look(self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest, call: Call) -> Frozen:
        """What both databases hold."""
        return Frozen(
            self.release_state(block, request),
            _being_written(self._node_database),
            self.holds_record(request),
            _being_written(self._exchange_database),
            call.response is not None,
        )

    def kill(self, victims: Victims) -> None:
        """SIGKILL."""
        if victims in {Victims.NODE, Victims.BOTH}:
            self.node.kill()
        if victims in {Victims.EXCHANGE, Victims.BOTH}:
            self.exchange.kill()

    def release_state(self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest) -> str | None:
        """What the node's database says of the request's release."""
        digest = hashlib.sha256(request.request.payload).digest()
        with closing(_reading(self._node_database)) as database:
            row = database.execute(
                'SELECT state FROM "release" WHERE evaluation = ? AND request_sha256 = ?',
                (block.name.removesuffix("/blocks/0"), digest),
            ).fetchone()
        return None if row is None else row[0]

    def holds_record(self, request: evaluation_service_pb2.ReleaseBlockRequest) -> bool:
        """Whether the exchange's database holds the request's record."""
        with closing(_reading(self._exchange_database)) as database:
            entries = database.execute("SELECT entry FROM record ORDER BY number DESC LIMIT 10").fetchall()
        return any(self._is_of(entry, request) for (entry,) in entries)

    @property
    def _node_database(self) -> Path:
        return self.node.log.parent / "node.db"

    @property
    def _exchange_database(self) -> Path:
        return self.exchange.log.parent / "exchange.db"

    # ---- the end ----

    def assert_whole(self) -> None:
        """The whole ledger proves itself, without gaps, and holds the releases accounted, no other."""
        self.assert_charged(self.expected)
        indexes, charged, releases = [], Usage(0, 0), 0
        for record in self.world.auditor.records():
            entry = self.world.auditor.check(record).entry
            indexes.append(record.index)
            if entry.license == self.license and entry.usage.rows_opened:
                releases += 1
                charged += Usage(entry.usage.rows_charged, entry.usage.bits_charged)
        assert indexes == list(range(len(indexes))), "the log has gaps"
        assert (releases, charged) == (self.records, self.expected), "the ledger's releases"
        for server in (self.node, self.exchange):
            assert not _errors_in(server.log), f"{server.log} tells of errors"


def _errors_in(log: Path) -> list[str]:
    """The lines of a server's log that no crash from outside explains."""
    lines = log.read_text().splitlines()
    assert any(line.startswith("{") for line in lines)
    return [
        line
        for line in lines
        if line.startswith("Traceback") or (line.startswith("{") and json.loads(line)["level"] == "error")
    ]


def _weight(step: Step, met: int) -> float:
    """How much a step is wanted that was met so often; after the answer there is little to break."""
    return (0.3 if step is Step.ANSWERED else 1.0) / (1 + met)


def _persons(rng: random.Random) -> tuple[str, ...]:
    known, strangers = rng.sample(KNOWN, rng.randint(1, 40)), rng.sample(STRANGERS, rng.randint(0, 5))
    return tuple(known + strangers)


def _reading(path: Path) -> sqlite.Connection:
    return sqlite.connect(f"file:{path}?mode=ro", uri=True, timeout=CALL_SECONDS)


def _being_written(path: Path) -> bool:
    """Whether somebody is inside a write transaction."""
    with closing(sqlite.connect(path, timeout=0, isolation_level=None)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite.OperationalError:
            return True
        database.execute("ROLLBACK")
        return False


def _wait_until_stopped(pid: int) -> None:
    """Return when every thread of a process has stopped: one inside the kernel ends its call first."""
    end = time.monotonic() + FREEZE_SECONDS
    while time.monotonic() < end:
        states = {_thread_state(path) for path in Path(f"/proc/{pid}/task").iterdir()}
        if states <= {"T"}:
            return
    raise TimeoutError(f"process {pid} did not stop within {FREEZE_SECONDS:g} seconds")


def _thread_state(path: Path) -> str:
    return (path / "stat").read_text().rpartition(")")[2].split()[0]


def begin_soak(world: MarketWorld, seed: int, say: Callable[[str], None]) -> Soak:
    """A soak on a dataset, a license and a deployed model of its own, warmed up."""
    dataset = world.publish(PROVIDER, f"crash-{seed}", records_of(PROVIDER)).name
    name = world.license(dataset)
    deployment = world.bank.deploy(name, world.scorecard({dataset: ATTRIBUTES[PROVIDER]}))
    signed = world.bank.license(name).agreement
    soak = Soak(world, dataset, name, deployment, CheckedAgreement(signed, read_agreement(signed)), seed, say)
    soak.warm_up()
    return soak


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
        "refused_and_given_back": sum(outcome.refused for outcome in outcomes),
        "later_releases": sum(outcome.draw.charged_before for outcome in outcomes),
        "another_request_first": sum(outcome.draw.after is After.OTHER_REQUEST for outcome in outcomes),
        "median_restart_seconds": {name: round(value, 2) for name, value in restarts.items()},
        "steps": {WORDS[step]: {str(victims): counts[step, victims] for victims in Victims} for step in Step},
    }


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
                    f"{WORDS[outcome.step]:36} again in {outcome.restart_seconds:.1f} s"
                    + ("  refused, given back, answered" if outcome.refused else "")
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
