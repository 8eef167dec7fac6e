"""A small exchange that only records, over mutual TLS on a real port, and fails the way a test says.

It checks what the real one checks of signatures and repeats, keeps every entry, and signs receipts. The real
exchange's own rules are tested with the real exchange.
"""

import asyncio
import hashlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

import grpc
from bourse.exchange.v1 import trade_record_service_pb2, trade_record_service_pb2_grpc
from bourse.type.v1 import query_pb2, record_pb2, signature_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_status import rpc_status

from wire.rpc import (
    Clause,
    Refusal,
    RefusalError,
    SafetyInterceptor,
    server_credentials,
    server_options,
)
from wire.signing import Purpose, key_id, public_key_of, sign, verify
from wire.strict import parse_strict

ORIGIN = "exchange.bourse.test"


class Fault(Enum):
    """How the next call fails."""

    AWAY = auto()  # not recorded, UNAVAILABLE
    REPLY_LOST = auto()  # recorded, UNAVAILABLE
    BROKEN = auto()  # not recorded, INTERNAL
    REFUSED = auto()  # a definite refusal by a clause
    SUSPENDED = auto()  # the node itself is not let in
    FOREIGN_REFUSAL = auto()  # FAILED_PRECONDITION by somebody else than the exchange
    OTHER_KEY = auto()  # recorded; the receipt is signed with another key
    OTHER_LEAF = auto()  # recorded; the receipt promises another entry
    OTHER_ORIGIN = auto()  # recorded; the receipt promises another log
    OTHER_STATEMENT = auto()  # an entry that carries another statement
    OTHER_CHARGE = auto()  # an entry that charges other than the node
    OTHER_KIND = auto()  # an entry of another kind
    NO_RECEIPT = auto()  # recorded; no receipt


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Recorder(trade_record_service_pb2_grpc.TradeRecordServiceServicer):
    """Records whatever is properly signed. `faults` are taken one per call; a closed `gate` holds calls."""

    key: Ed25519PrivateKey
    node_key: bytes
    bank_key: bytes
    faults: deque[Fault] = field(default_factory=deque)
    entries: list[record_pb2.TradeRecordEntry] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=_open_gate)
    waiting: int = 0
    replies: dict[str, tuple[bytes, bytes, signature_pb2.SignedPayload]] = field(default_factory=dict)

    async def RecordModel(self, request, _context):  # noqa: N802 - gRPC's name
        """Record a deployment."""
        payload = self._verified(request.model_statement, Purpose.MODEL_STATEMENT, self.node_key)
        self._verified(request.sealing_statement, Purpose.SEALING, self.bank_key)
        statement = parse_strict(statement_pb2.ModelStatement, payload, 4096)
        entry = record_pb2.TradeRecordEntry(
            version=1,
            kind=record_pb2.RECORD_KIND_MODEL_DEPLOYED,
            license=statement.license,
            statements=[request.model_statement, request.sealing_statement],
            salt=os.urandom(16),
        )
        return trade_record_service_pb2.RecordModelResponse(**await self._answer(request, entry))

    async def RecordRelease(self, request, _context):  # noqa: N802 - gRPC's name
        """Record a release."""
        payload = self._verified(request.release_statement, Purpose.RELEASE_STATEMENT, self.node_key)
        self._verified(request.release_request, Purpose.RELEASE_REQUEST, self.bank_key)
        statement = parse_strict(statement_pb2.ReleaseStatement, payload, 4096)
        entry = record_pb2.TradeRecordEntry(
            version=1,
            kind=record_pb2.RECORD_KIND_RESULT_RELEASED,
            license=statement.license,
            query_kind=query_pb2.QUERY_KIND_NAMED,
            usage=record_pb2.Usage(
                rows_gathered=statement.rows_gathered,
                rows_opened=statement.rows_opened,
                rows_charged=statement.rows_charged,
                bits_charged=statement.bits_charged,
            ),
            statements=[request.release_statement, request.release_request],
            salt=os.urandom(16),
        )
        return trade_record_service_pb2.RecordReleaseResponse(**await self._answer(request, entry))

    @property
    def rows_charged(self) -> int:
        """What all entries together charge."""
        return sum(entry.usage.rows_charged for entry in self.entries)

    def _verified(self, signed, purpose: Purpose, key: bytes) -> bytes:
        (signature,) = signed.signatures
        return verify(key, purpose, signed.payload, signature.value)

    async def _answer(self, request, entry: record_pb2.TradeRecordEntry) -> dict:
        self.waiting += 1
        await self.gate.wait()
        self.asked.append(request.request_id)
        fault = self.faults.popleft() if self.faults else None
        _fail_before(fault)
        content = request.SerializeToString(deterministic=True)
        if request.request_id not in self.replies:
            _spoil_entry(entry, fault)
            self.entries.append(entry)
            data = entry.SerializeToString(deterministic=True)
            self.replies[request.request_id] = (content, data, self._receipt(data, fault))
        before, data, receipt = self.replies[request.request_id]
        if before != content:
            raise RefusalError(
                Refusal(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", "another request")
            )
        if fault is Fault.REPLY_LOST:
            raise RefusalError(Refusal(grpc.StatusCode.UNAVAILABLE, "TRY_AGAIN", "the reply is lost"))
        if fault is Fault.NO_RECEIPT:
            return {"entry": data}
        return {"entry": data, "receipt": record_pb2.Receipt(statement=receipt)}

    def _receipt(self, entry: bytes, fault: Fault | None) -> signature_pb2.SignedPayload:
        leaf = hashlib.sha256(b"\0" + (b"other" if fault is Fault.OTHER_LEAF else entry)).digest()
        origin = "elsewhere.test" if fault is Fault.OTHER_ORIGIN else ORIGIN
        key = Ed25519PrivateKey.generate() if fault is Fault.OTHER_KEY else self.key
        payload = record_pb2.ReceiptStatement(version=1, origin=origin, leaf_hash=leaf).SerializeToString(
            deterministic=True
        )
        signature = signature_pb2.Signature(
            key_id=key_id(public_key_of(key)), value=sign(key, Purpose.RECEIPT, payload)
        )
        return signature_pb2.SignedPayload(payload=payload, signatures=[signature])


def _fail_before(fault: Fault | None) -> None:
    refusals = {
        Fault.AWAY: Refusal(grpc.StatusCode.UNAVAILABLE, "TRY_AGAIN", "away"),
        Fault.BROKEN: Refusal(grpc.StatusCode.INTERNAL, "INTERNAL", "broken"),
        Fault.REFUSED: Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            "CLAUSE_REFUSED",
            "the exchange counts more",
            clause=Clause("max_rows", "10, of which 10 used", "more", "negotiate more"),
        ),
        Fault.SUSPENDED: Refusal(grpc.StatusCode.PERMISSION_DENIED, "PARTY_SUSPENDED", "suspended"),
    }
    if fault in refusals:
        raise RefusalError(refusals[fault])


class Proxy(grpc.aio.ServerInterceptor):
    """Stands before the exchange and refuses in its own name when a test says so."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def intercept_service(self, continuation, handler_call_details):
        if self._recorder.faults and self._recorder.faults[0] is Fault.FOREIGN_REFUSAL:
            self._recorder.faults.popleft()
            return grpc.unary_unary_rpc_method_handler(self._refuse)
        return await continuation(handler_call_details)

    async def _refuse(self, _request, context):
        refusal = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "LICENSE_STATE", "the proxy says no")
        await context.abort_with_status(rpc_status.to_status(refusal.to_status("proxy.test")))


def _spoil_entry(entry: record_pb2.TradeRecordEntry, fault: Fault | None) -> None:
    if fault is Fault.OTHER_STATEMENT:
        entry.statements[0].payload += b"\0"
    elif fault is Fault.OTHER_CHARGE:
        entry.usage.rows_charged += 1
    elif fault is Fault.OTHER_KIND:
        entry.kind = record_pb2.RECORD_KIND_DATASET_LISTED


async def _authorize(method, identity):
    return identity if identity.kind == "provider" and identity.member == "node" else None


@asynccontextmanager
async def serving(recorder: Recorder, papers, ca_pem: bytes, *, port: int = 0) -> AsyncIterator[str]:
    """Serve `recorder` until the end of the block; gives its address."""
    safety = SafetyInterceptor(
        domain=ORIGIN,
        trust_domain="bourse.test",
        authorize=_authorize,
        translate=lambda _error: None,
        log=logging.getLogger("tests.exchange"),
    )
    server = grpc.aio.server(interceptors=[Proxy(recorder), safety], options=server_options())
    trade_record_service_pb2_grpc.add_TradeRecordServiceServicer_to_server(recorder, server)
    taken = server.add_secure_port(
        f"127.0.0.1:{port}", server_credentials(papers.key_pem, papers.certificate_pem, ca_pem)
    )
    await server.start()
    try:
        yield f"127.0.0.1:{taken}"
    finally:
        await server.stop(None)
