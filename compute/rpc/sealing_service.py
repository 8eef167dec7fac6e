"""SealingService: a bank opens a sealing, sends its columns, has it accepted."""

from typing import Any

from bourse.compute.v1 import sealing_pb2, sealing_service_pb2, sealing_service_pb2_grpc

from compute.domain.names import check_sealing
from compute.formats.payloads import kind_from_pb
from compute.rpc import convert
from compute.rpc.authority import Caller
from compute.rpc.requests import request_key
from compute.verbs.node import Node
from compute.verbs.sealing import Sealings, SealingView
from wire.rpc import caller_of


class SealingService(sealing_service_pb2_grpc.SealingServiceServicer):
    """See sealing_service.proto."""

    def __init__(self, node: Node, sealings: Sealings) -> None:
        self._node = node
        self._sealings = sealings

    async def CreateSealing(
        self, request: sealing_service_pb2.CreateSealingRequest, context: Any
    ) -> sealing_pb2.Sealing:
        """Open a sealing under a license."""
        caller = caller_of(context, Caller)
        key = request_key(self._node, caller, request.request_id, request)
        agreement = convert.signed_of("sealing.agreement", request.sealing.agreement)
        kind = kind_from_pb("sealing.query_kind", request.sealing.query_kind)
        reply = await self._sealings.create(caller.party, agreement, kind, key, _encoded)
        return sealing_pb2.Sealing.FromString(reply)

    async def GetSealing(
        self, request: sealing_service_pb2.GetSealingRequest, context: Any
    ) -> sealing_pb2.Sealing:
        """Return one sealing."""
        name = check_sealing("name", request.name)
        return convert.sealing_to_pb(await self._sealings.get(caller_of(context, Caller).party, name))

    async def PutSealedColumn(
        self, request: sealing_service_pb2.PutSealedColumnRequest, context: Any
    ) -> sealing_service_pb2.PutSealedColumnResponse:
        """Store one sealed column."""
        name = check_sealing("sealing", request.sealing)
        await self._sealings.put_column(caller_of(context, Caller).party, name, request.index, request.data)
        return sealing_service_pb2.PutSealedColumnResponse()

    async def AcceptSealing(
        self, request: sealing_service_pb2.AcceptSealingRequest, context: Any
    ) -> sealing_pb2.Sealing:
        """Have the whole model recorded and opened for evaluations."""
        name = check_sealing("name", request.name)
        statement = convert.signed_of("statement", request.statement)
        return convert.sealing_to_pb(
            await self._sealings.accept(caller_of(context, Caller).party, name, statement)
        )


def _encoded(view: SealingView) -> bytes:
    return convert.sealing_to_pb(view).SerializeToString(deterministic=True)
