"""Rounds of the crash test of Release: who is killed when, and what must hold afterwards.

See `crash_release` for what is claimed; the numbers here are its.
"""

import hashlib
import random
import re
import secrets
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import grpc
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, evaluation_service_pb2_grpc
from bourse.type.v1 import query_pb2, record_pb2, statement_pb2
from crash_moments import Frozen, Moments, Step, being_written, frozen, reading, wanted
from market_records import ATTRIBUTES, KNOWN, REGISTRY, STRANGERS, records_of
from market_world import MarketWorld

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

Response = evaluation_service_pb2.ReleaseBlockResponse
_INFO, _ERROR = re.compile(r'"level": ?"info"'), re.compile(r'"level": ?"error"')
_RELEASED = (record_pb2.RECORD_KIND_RESULT_RELEASED,)


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
    """What a round saw: where the kill fell, whether the request was refused for good before it was answered,
    whether it was reserved before that, and what restart and retry took in seconds.
    """

    draw: Draw
    delay: float
    step: Step
    refused: bool
    given_back: bool
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
        found = (Usage(node.rows, node.bits), Usage(exchange.rows, exchange.bits))
        assert found == (expected, expected), f"(2) charged {expected}, counted by node, exchange: {found}"

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
            target=wanted(met, rng),
        )

    def round(self, number: int, *, delay: float | None = None) -> Outcome:
        """Play one round. Raises AssertionError naming what did not hold, and how to play it again."""
        draw = self.draw(number)
        if delay is None:
            delay = self.moments.moment_for(draw.target, random.Random(f"{self.seed}/{number}/moment"))
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
        with frozen([self.exchange, self.node]):
            found = self.look(block, request, call)
            if found.node == "recorded" or found.answered:
                assert found.recorded, "(5) answered, or ready to answer, without a record"
            self.kill(draw.victims)
        answers = [call.ended()]

        begun = time.perf_counter()
        self.world.reconnect()
        if draw.after is After.SUSPENDED:
            # Before a node is back: its first act is to ask again about what is in doubt.
            if not self.exchange.runs:
                self.exchange.start()
            self.world.officer.suspend_dataset(self.dataset, "a complaint is looked into")
        self.world.market.start()
        restarted = time.perf_counter()
        refused = False
        if draw.after is After.OTHER_REQUEST:
            other = self.request(block, [0])
            self._account(block, other, self.until_answered(other))
        elif draw.after is After.SUSPENDED:
            refused = self._refused_while_suspended(block, request, before)
            self.world.officer.reinstate_dataset(self.dataset, "the complaint was unfounded")
        answers += [self.until_answered(request) for _ in range(3)]
        retried = time.perf_counter()

        given = {answer.SerializeToString(deterministic=True) for answer in answers if answer is not None}
        assert len(given) == 1, "(1) two answers to one request"
        self._account(block, request, Response.FromString(given.pop()))
        charged = self.expected.rows - before.rows
        assert charged == (0 if draw.charged_before else len(block.persons)), "(2) charged once"
        self.assert_charged(self.expected)
        given_back = refused and found.node == "reserved"
        return Outcome(draw, delay, found.step, refused, given_back, restarted - begun, retried - restarted)

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
        """(6) Send the request though the dataset is suspended: what is not recorded is refused for good and
        given back; what is recorded is answered all the same.
        """
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
        return not recorded

    # ---- looking and killing ----

    def look(self, block: Block, request: evaluation_service_pb2.ReleaseBlockRequest, call: Call) -> Frozen:
        """What both databases hold."""
        return Frozen(
            self.release_state(block, request),
            being_written(self._node_database),
            self.holds_record(request),
            being_written(self._exchange_database),
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
        with closing(reading(self._node_database)) as database:
            row = database.execute(
                'SELECT state FROM "release" WHERE evaluation = ? AND request_sha256 = ?',
                (block.name.removesuffix("/blocks/0"), digest),
            ).fetchone()
        return None if row is None else row[0]

    def holds_record(self, request: evaluation_service_pb2.ReleaseBlockRequest) -> bool:
        """Whether the exchange's database holds the request's record."""
        with closing(reading(self._exchange_database)) as database:
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


def _persons(rng: random.Random) -> tuple[str, ...]:
    known, strangers = rng.sample(KNOWN, rng.randint(1, 40)), rng.sample(STRANGERS, rng.randint(0, 5))
    return tuple(known + strangers)


def _errors_in(log: Path) -> list[str]:
    """The lines of a server's log that no crash from outside explains."""
    lines = log.read_text().splitlines()
    assert any(_INFO.search(line) for line in lines)
    return [line for line in lines if line.startswith("Traceback") or _ERROR.search(line)]


def begin_soak(world: MarketWorld, seed: int, say: Callable[[str], None]) -> Soak:
    """A soak on a dataset, a license and a deployed model of its own, warmed up."""
    dataset = world.publish(PROVIDER, f"crash-{seed}", records_of(PROVIDER)).name
    name = world.license(dataset)
    deployment = world.bank.deploy(name, world.scorecard({dataset: ATTRIBUTES[PROVIDER]}))
    signed = world.bank.license(name).agreement
    soak = Soak(world, dataset, name, deployment, CheckedAgreement(signed, read_agreement(signed)), seed, say)
    soak.warm_up()
    return soak
