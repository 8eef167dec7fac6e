"""EvaluationService: Evaluate seals; Release opens."""

from typing import Any

from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, evaluation_service_pb2_grpc

from compute.domain.errors import FieldError
from compute.domain.evaluation import Evaluation, check_consent_reference, check_entity_ids
from compute.domain.names import check_evaluation, check_license, check_sealing, split_block
from compute.release.releasing import Releasing
from compute.rpc import convert
from compute.rpc.authority import Caller, Role
from compute.rpc.requests import request_key
from compute.verbs.evaluating import Evaluations
from compute.verbs.held import usage_of
from compute.verbs.node import Node
from sealed.profiles import SCORE_V1
from wire.rpc import caller_of


class EvaluationService(evaluation_service_pb2_grpc.EvaluationServiceServicer):
    """See evaluation_service.proto."""

    def __init__(self, node: Node, evaluations: Evaluations, releasing: Releasing) -> None:
        self._node = node
        self._evaluations = evaluations
        self._releasing = releasing

    async def CreateEvaluation(
        self, request: evaluation_service_pb2.CreateEvaluationRequest, context: Any
    ) -> evaluation_pb2.Evaluation:
        """Start to evaluate a sealed model on named rows."""
        caller = caller_of(context, Caller)
        key = request_key(self._node, caller, request.request_id, request)
        asked = request.evaluation
        sealing = check_sealing("evaluation.sealing", asked.sealing)
        entity_ids = check_entity_ids("evaluation.entity_ids", asked.entity_ids)
        consent = check_consent_reference("evaluation.consent_reference", asked.consent_reference)
        reply = await self._evaluations.create(caller.party, sealing, entity_ids, consent, key, _encoded)
        return evaluation_pb2.Evaluation.FromString(reply)

    async def GetEvaluation(
        self, request: evaluation_service_pb2.GetEvaluationRequest, context: Any
    ) -> evaluation_pb2.Evaluation:
        """Return one evaluation."""
        name = check_evaluation("name", request.name)
        return convert.evaluation_to_pb(await self._evaluations.get(caller_of(context, Caller).party, name))

    async def GetBlock(
        self, request: evaluation_service_pb2.GetBlockRequest, context: Any
    ) -> evaluation_pb2.Block:
        """Return one sealed block."""
        name, number = split_block("name", request.name)
        return convert.block_to_pb(
            await self._evaluations.get_block(caller_of(context, Caller).party, name, number)
        )

    async def ReleaseBlock(
        self, request: evaluation_service_pb2.ReleaseBlockRequest, context: Any
    ) -> evaluation_service_pb2.ReleaseBlockResponse:
        """Open rows of a block."""
        if len(request.rows) > SCORE_V1.N:
            raise FieldError("rows", f"must be at most {SCORE_V1.N}, the most that a block gathers")
        signed = convert.signed_of("request", request.request)
        released = await self._releasing.release(
            caller_of(context, Caller).party, signed, request.rows, request.rows_salt
        )
        return convert.released_to_pb(released)

    async def GetLicenseUsage(
        self, request: evaluation_service_pb2.GetLicenseUsageRequest, context: Any
    ) -> evaluation_service_pb2.LicenseUsage:
        """Return what was charged to a license."""
        name = check_license("license", request.license)
        caller = caller_of(context, Caller)
        bank = caller.party if caller.role is Role.BANK else None
        usage = await self._node.database.read(lambda connection: usage_of(connection, name, bank))
        return convert.usage_to_pb(name, usage)


def _encoded(job: Evaluation) -> bytes:
    return convert.evaluation_to_pb(job).SerializeToString(deterministic=True)
