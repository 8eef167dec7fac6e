"""The node's one line to the exchange: having its acts recorded.

What comes back is either an answer to be checked (`compute.release.receipt`), a refusal of the exchange's
own, or nothing certain. Only a refusal that carries the exchange's name as its issuer counts as one: any
other failure, a proxy's included, leaves open whether the act was recorded.
"""

from typing import Final

import grpc
from bourse.exchange.v1 import trade_record_service_pb2, trade_record_service_pb2_grpc
from bourse.type.v1 import record_pb2

from compute.domain.errors import ClauseRefusedError, ExchangeRefusedError, UnrecordedError
from compute.domain.signed import Signed
from compute.formats.payloads import signed_from_pb, signed_to_pb
from compute.release.receipt import Recorded
from wire.rpc import Refusal, refusal_from_rpc_error

DEFAULT_TIMEOUT_SECONDS: Final = 30.0

# The exchange looks for an earlier answer to a request id after it has let the caller in and before it looks
# at anything that can change, so these say that no attempt before this one was recorded.
_FINAL = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    }
)
# These come before that look: they tell nothing of an earlier attempt.
_NOT_ADMITTED = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})
_BEFORE_THE_LOOK = frozenset({"DEADLINE_REQUIRED"})


class ExchangeLink:
    """A client of the exchange's TradeRecordService; `issuer` is the domain of the exchange's refusals."""

    def __init__(
        self, channel: grpc.aio.Channel, issuer: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        self._records = trade_record_service_pb2_grpc.TradeRecordServiceStub(channel)
        self._issuer = issuer
        self._timeout_seconds = timeout_seconds

    async def record_model(self, model: Signed, sealing: Signed, request_id: str) -> Recorded:
        """Have a deployment recorded. Raises ExchangeRefusedError or UnrecordedError."""
        request = trade_record_service_pb2.RecordModelRequest(
            model_statement=signed_to_pb(model),
            sealing_statement=signed_to_pb(sealing),
            request_id=request_id,
        )
        try:
            reply = await self._records.RecordModel(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        return _recorded(reply.entry, reply.receipt)

    async def record_release(self, statement: Signed, request: Signed, request_id: str) -> Recorded:
        """Have a release recorded and charged. Raises ExchangeRefusedError or UnrecordedError."""
        message = trade_record_service_pb2.RecordReleaseRequest(
            release_statement=signed_to_pb(statement),
            release_request=signed_to_pb(request),
            request_id=request_id,
        )
        try:
            reply = await self._records.RecordRelease(message, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error) from error
        return _recorded(reply.entry, reply.receipt)

    def _failure(self, error: grpc.aio.AioRpcError) -> ExchangeRefusedError | UnrecordedError:
        refusal = refusal_from_rpc_error(error)
        final = refusal.code in _FINAL and refusal.reason not in _BEFORE_THE_LOOK
        if refusal.issuer != self._issuer or not (final or refusal.code in _NOT_ADMITTED):
            return UnrecordedError(f"the exchange did not answer: {refusal.reason}")
        return ExchangeRefusedError(
            refusal.code.name,
            refusal.reason,
            refusal.message,
            final=final,
            clause=_clause_of(refusal),
        )


def _recorded(entry: bytes, receipt: record_pb2.Receipt) -> Recorded:
    return Recorded(entry, signed_from_pb(receipt.statement))


def _clause_of(refusal: Refusal) -> ClauseRefusedError | None:
    if refusal.clause is None:
        return None
    clause = refusal.clause
    return ClauseRefusedError(clause.clause, clause.limit, clause.asked, clause.way_out)
