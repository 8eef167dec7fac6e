"""ConsentService: a steward withdraws a person from a dataset."""

from typing import Any

from bourse.compute.v1 import consent_service_pb2, consent_service_pb2_grpc

from compute.domain.evaluation import check_entity_id
from compute.domain.names import check_dataset
from compute.rpc.authority import Caller
from compute.rpc.requests import request_key
from compute.verbs import consent
from compute.verbs.node import Node
from wire.rpc import caller_of


class ConsentService(consent_service_pb2_grpc.ConsentServiceServicer):
    """See consent_service.proto."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def WithdrawConsent(
        self, request: consent_service_pb2.WithdrawConsentRequest, context: Any
    ) -> consent_service_pb2.WithdrawConsentResponse:
        """Have a person count as absent from now on."""
        key = request_key(self._node, caller_of(context, Caller), request.request_id, request)
        dataset = check_dataset("dataset", request.dataset)
        entity_id = check_entity_id("entity_id", request.entity_id)
        reply = await consent.withdraw(self._node, dataset, entity_id, key, _encoded)
        return consent_service_pb2.WithdrawConsentResponse.FromString(reply)


def _encoded(withdrawals: int) -> bytes:
    reply = consent_service_pb2.WithdrawConsentResponse(withdrawals=withdrawals)
    return reply.SerializeToString(deterministic=True)
