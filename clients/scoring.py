"""Scoring: asking every provider for its part, opening what is released, and adding the bank's own.

    (1) everything random is in the job's plan; every evaluation is created first, at every provider: that
        charges nothing, so a clause that refuses does so before anybody is charged
    (2) per block: its bytes match their digest
    (3) a signed request opens its rows; the node's statement and the exchange's record of it are verified
    (4) only then the parts are opened and written down

Providers are asked side by side. A job that stops goes on where it stopped: see `clients.jobs`.

Source: docs/spec/block.md, docs/spec/release.md.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, evaluation_service_pb2_grpc
from bourse.type.v1 import query_pb2, record_pb2, signature_pb2, statement_pb2

from clients.agreement import CheckedAgreement
from clients.connection import Meter, Peer, RefusedError
from clients.errors import BourseError, EvidenceError
from clients.evidence import (
    MAX_STATEMENT_BYTES,
    check_receipt,
    check_sole_signature,
    read_payload,
)
from clients.jobs import BLOCK_ROWS, CHUNK_ROWS, BlockDraw, ChunkDraw, Job, OpenedBlock, Plan
from clients.keystore import AcceptedSealing, Deployment, OpenedSealing
from clients.member import Member
from sealed import block as sealed_block
from sealed import packing, sealing
from sealed.errors import SealedError
from wire.framing import tagged_hash
from wire.signing import Purpose

OnProgress = Callable[[str, str, int, int], None]
"""(dataset, step, rows done, rows in all)."""

POLL_SECONDS = (0.05, 1.0)
ROWS_TAG = "bourse/release/v1/rows"


class ScoringError(BourseError):
    """A job stopped. What was opened is written down, and `BankClient.resume` goes on with `job`.

    Where a clause refuses for good, `BankClient.opened` still gives the rows that were charged.
    """

    def __init__(self, cause: BourseError, job: str) -> None:
        lasting = isinstance(cause, RefusedError) and not cause.passing
        onward = (
            f"`bourse bank score --resume {job}` goes on should that change, and with `--opened` writes the "
            "rows opened so far; nothing is charged twice."
            if lasting
            else f"Go on with `bourse bank score --resume {job}`; nothing is charged twice."
        )
        super().__init__(
            cause.reason,
            cause.message,
            clause=cause.clause,
            limit=cause.limit,
            asked=cause.asked,
            way_out=f"{cause.way_out} {onward}".strip(),
            fields=cause.fields,
        )
        self.cause = cause
        self.job = job

    def as_dict(self) -> dict[str, object]:
        return {**self.cause.as_dict(), **super().as_dict(), "job": self.job}


@dataclass(frozen=True)
class Asked:
    """One provider as a job asks it: its place in the plan, its node, and the deployment there."""

    place: int
    dataset: str
    node: Peer
    agreement: CheckedAgreement
    deployment: Deployment
    opened: OpenedSealing
    accepted: AcceptedSealing

    @cached_property
    def secret(self) -> sealing.Secret:
        """The sealing's secret key, derived and never stored."""
        return sealing.derive_secret(
            self.agreement.profile,
            self.deployment.weights,
            sealing.model_digest(self.deployment.model),
            self.deployment.salt,
            self.opened.context,
        )


@dataclass(frozen=True)
class Scorer:
    """Runs one job."""

    member: Member
    job: Job
    plan: Plan
    asked: Sequence[Asked]
    meter: Meter
    on_progress: OnProgress
    sleep: Callable[[float], None] = field(default=time.sleep)

    def run(self) -> None:
        """Open every block that is not open yet. Raises ScoringError, or what refused before any charge."""
        self._side_by_side(self._evaluate)  # (1)
        try:
            self._side_by_side(self._release)
        except BourseError as error:
            raise ScoringError(error, self.job.name) from None

    def _side_by_side(self, work: Callable[[Asked], None]) -> None:
        """Do `work` for all providers at once, and raise the first error when all have ended."""
        if not self.asked:
            return
        with ThreadPoolExecutor(len(self.asked), thread_name_prefix="provider") as threads:
            done = [threads.submit(work, asked) for asked in self.asked]
        for one in done:
            one.result()

    def _evaluate(self, asked: Asked) -> None:
        with _naming_the_license(asked):
            self._create_evaluations(asked)

    def _create_evaluations(self, asked: Asked) -> None:
        for number, chunk in enumerate(self.plan.providers[asked.place].chunks):
            if self.job.evaluation(asked.place, number) is None:
                name = self._create_evaluation(asked, number, chunk)
                self.job.save_evaluation(asked.place, number, name)
            self.on_progress(asked.dataset, "asked", self._rows_before(number + 1), self.plan.rows)

    def _create_evaluation(self, asked: Asked, number: int, chunk: ChunkDraw) -> str:
        ids = self.job.rows(number).ids
        created = asked.node.call(
            _service(asked).CreateEvaluation,
            evaluation_service_pb2.CreateEvaluationRequest(
                evaluation=evaluation_pb2.Evaluation(
                    sealing=asked.opened.name,
                    entity_ids=ids,
                    consent_reference=self.plan.consent_reference,
                ),
                request_id=chunk.request_id,
            ),
            timeout=120.0,
            meter=self.meter,
            step="ask",
        )
        if created.rows != len(ids) or created.blocks != len(chunk.blocks):
            raise EvidenceError("The node made an evaluation of another number of rows than were asked for.")
        return created.name

    def _release(self, asked: Asked) -> None:
        with _naming_the_license(asked):
            self._open_blocks(asked)

    def _open_blocks(self, asked: Asked) -> None:
        for number, chunk in enumerate(self.plan.providers[asked.place].chunks):
            name = self.job.evaluation(asked.place, number)
            if name is None:
                raise EvidenceError("The job lacks an evaluation's name.")
            remaining = [
                place
                for place in range(len(chunk.blocks))
                if self.job.block(asked.place, number, place) is None
            ]
            if remaining:
                self._wait(asked, name)
            rows = self._rows_before(number + 1) - self._rows_before(number)
            for place, draw in enumerate(chunk.blocks):
                if place in remaining:
                    gathered = min(BLOCK_ROWS, rows - place * BLOCK_ROWS)
                    opened = self._open_block(asked, f"{name}/blocks/{place}", gathered, draw)
                    self.job.save_block(asked.place, number, place, opened)
                done = self._rows_before(number) + min((place + 1) * BLOCK_ROWS, rows)
                self.on_progress(asked.dataset, "opened", done, self.plan.rows)

    def _wait(self, asked: Asked, name: str) -> None:
        """Return when all blocks are evaluated."""
        pause, longest = POLL_SECONDS
        with self.meter.timed("evaluate"):
            while True:
                evaluation = asked.node.call(
                    _service(asked).GetEvaluation,
                    evaluation_service_pb2.GetEvaluationRequest(name=name),
                    meter=self.meter,
                    step="poll",
                )
                if evaluation.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED:
                    return
                if evaluation.state != evaluation_pb2.EVALUATION_STATE_RUNNING:
                    raise BourseError(
                        "EVALUATION_FAILED",
                        f"The evaluation at the node of {asked.dataset} failed: {evaluation.error}.",
                        way_out="Start the job anew; nothing was charged for it there.",
                    )
                self.sleep(pause)
                pause = min(pause * 1.5, longest)

    def _open_block(self, asked: Asked, name: str, rows: int, draw: BlockDraw) -> OpenedBlock:
        sent = asked.node.call(
            _service(asked).GetBlock,
            evaluation_service_pb2.GetBlockRequest(name=name),
            meter=self.meter,
            step="get sealed block",
        )
        if packing.block_digest(sent.data) != sent.sha256 or sent.rows != rows:  # (2)
            raise EvidenceError("A sealed block is not the one that its digest and number of rows name.")
        wanted = list(range(rows))
        request = statement_pb2.ReleaseRequest(
            version=1,
            block=name,
            nonce=draw.nonce,
            c0_digest=asked.accepted.c0_digest,
            block_digest=sent.sha256,
            rows_digest=rows_digest(draw.rows_salt, wanted),
            rows=rows,
            query_kind=query_pb2.QUERY_KIND_NAMED,
            drop=asked.agreement.agreement.terms.drop,
        )
        signed = self.member.signed(
            Purpose.RELEASE_REQUEST,
            request.SerializeToString(deterministic=True),
            public_key=asked.agreement.agreement.bank_key,
        )
        answer = asked.node.call(
            _service(asked).ReleaseBlock,
            evaluation_service_pb2.ReleaseBlockRequest(request=signed, rows=wanted, rows_salt=draw.rows_salt),
            timeout=120.0,
            meter=self.meter,
            step="release",
        )
        check_released(asked.agreement, asked.opened.name, request, signed, rows, answer)  # (3)
        with self.meter.timed("open"):
            parts = self._opened(asked, sent.data, answer.released, wanted)  # (4)
        return OpenedBlock(
            parts,
            answer.statement.SerializeToString(deterministic=True),
            answer.entry,
            answer.receipt.SerializeToString(deterministic=True),
        )

    def _opened(self, asked: Asked, data: bytes, released: bytes, rows: list[int]) -> tuple[int, ...]:
        profile, drop = asked.agreement.profile, asked.agreement.agreement.terms.drop
        try:
            block = packing.unpack(profile, data)
            values = packing.parse_released(profile, released, len(rows), drop)
        except SealedError as error:
            raise EvidenceError(f"The node sent what cannot be opened: {error}.") from None
        parts = sealed_block.open_rows(profile, block, asked.secret, values, rows, drop)
        return tuple(int(part) for part in parts)

    def _rows_before(self, chunk: int) -> int:
        return min(chunk * CHUNK_ROWS, self.plan.rows)


@dataclass(frozen=True)
class OpenedRow:
    """A row that is open at every provider: its identifier, the bank's own part, and each provider's."""

    identifier: str = field(repr=False)
    own: int = field(repr=False)
    parts: tuple[int, ...] = field(repr=False)


def opened_rows(job: Job, plan: Plan) -> Iterator[OpenedRow]:
    """Yield the rows whose blocks are open at every provider, in the bank's order."""
    for number in range(-(-plan.rows // CHUNK_ROWS)):
        rows = job.rows(number)
        for block, start in enumerate(range(0, len(rows.ids), BLOCK_ROWS)):
            opened = [job.block(place, number, block) for place in range(len(plan.providers))]
            parts = [one.parts for one in opened if one is not None]
            if len(parts) < len(opened):
                continue
            end = start + BLOCK_ROWS
            for identifier, own, *theirs in zip(
                rows.ids[start:end], rows.own[start:end], *parts, strict=True
            ):
                yield OpenedRow(identifier, own, tuple(theirs))


def charged(job: Job, plan: Plan, place: int) -> dict[str, int]:
    """Return the rows and bits that a provider charged for a finished job, as its node signed."""
    rows = bits = 0
    for number, chunk in enumerate(plan.providers[place].chunks):
        for block in range(len(chunk.blocks)):
            opened = job.block(place, number, block)
            if opened is not None:
                signed = signature_pb2.SignedPayload.FromString(opened.statement)
                statement = statement_pb2.ReleaseStatement.FromString(signed.payload)
                rows += statement.rows_charged
                bits += statement.bits_charged
    return {"rows": rows, "bits": bits}


def rows_digest(salt: bytes, rows: Sequence[int]) -> bytes:
    """Return the salted digest of the rows that a release request names, u32le (docs/spec/release.md)."""
    return tagged_hash(ROWS_TAG, salt, np.asarray(rows, dtype="<u4").tobytes())


def check_released(
    agreement: CheckedAgreement,
    sealing_name: str,
    request: statement_pb2.ReleaseRequest,
    own: signature_pb2.SignedPayload,
    rows: int,
    answer: evaluation_service_pb2.ReleaseBlockResponse,
) -> statement_pb2.ReleaseStatement:
    """Return the node's statement once the exchange is proven to have recorded it with our request.

    (1) the node's signature, (2) what the node states, (3) the exchange's receipt for the record, (4) kind,
    license, charge and statements of the record.
    """
    terms = agreement.agreement
    payload = check_sole_signature(
        "release statement", answer.statement, terms.node_key, Purpose.RELEASE_STATEMENT
    )  # (1)
    statement = read_payload(
        "release statement", statement_pb2.ReleaseStatement, payload, MAX_STATEMENT_BYTES
    )
    charged = statement.rows_charged
    expected = statement_pb2.ReleaseStatement(  # (2)
        version=1,
        license=terms.license,
        license_digest=agreement.digest,
        sealing=sealing_name,
        block=request.block,
        request_sha256=hashlib.sha256(request.SerializeToString(deterministic=True)).digest(),
        place=statement.place,
        rows_gathered=rows,
        rows_opened=request.rows,
        rows_charged=charged,
        bits_charged=charged * agreement.profile.bits_per_row(terms.terms.drop),
        consent_digest=statement.consent_digest,
        query_kind=request.query_kind,
    )
    if statement != expected or charged not in {0, rows}:
        raise EvidenceError("The node states another release, or another charge, than was asked for.")
    record = check_receipt(
        answer.receipt, answer.entry, origin=terms.exchange, exchange_key=terms.exchange_key
    )  # (3)
    usage = record_pb2.Usage(  # (4)
        rows_gathered=statement.rows_gathered,
        rows_opened=statement.rows_opened,
        rows_charged=statement.rows_charged,
        bits_charged=statement.bits_charged,
    )
    if (
        record.kind != record_pb2.RECORD_KIND_RESULT_RELEASED
        or record.license != terms.license
        or record.usage != usage
        or list(record.statements) != [answer.statement, own]
    ):
        raise EvidenceError("The record is not that of this release.")
    return statement


@contextmanager
def _naming_the_license(asked: Asked) -> Iterator[None]:
    """Let a node's refusal say under which license it was asked."""
    try:
        yield
    except RefusedError as error:
        error.license = asked.agreement.agreement.license
        raise


def _service(asked: Asked) -> evaluation_service_pb2_grpc.EvaluationServiceStub:
    return evaluation_service_pb2_grpc.EvaluationServiceStub(asked.node.channel)
