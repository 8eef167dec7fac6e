"""PublicationService: a steward prepares datasets from the records beside the node."""

from typing import Any

from bourse.compute.v1 import publication_pb2, publication_service_pb2, publication_service_pb2_grpc

from compute.domain.names import check_publication
from compute.rpc import convert
from compute.rpc.authority import Caller
from compute.rpc.pages import page_size, place_of, token_of
from compute.rpc.requests import request_key
from compute.verbs.node import Node
from compute.verbs.publishing import PublicationView, Publishing
from wire.rpc import caller_of


class PublicationService(publication_service_pb2_grpc.PublicationServiceServicer):
    """See publication_service.proto."""

    def __init__(self, node: Node, publishing: Publishing) -> None:
        self._node = node
        self._publishing = publishing

    async def CreatePublication(
        self, request: publication_service_pb2.CreatePublicationRequest, context: Any
    ) -> publication_pb2.Publication:
        """Start to prepare a revision."""
        key = request_key(self._node, caller_of(context, Caller), request.request_id, request)
        row = convert.publication_from_pb(request.publication)
        reply = await self._publishing.create(row, key, _encoded)
        return publication_pb2.Publication.FromString(reply)

    async def GetPublication(
        self, request: publication_service_pb2.GetPublicationRequest, _context: Any
    ) -> publication_pb2.Publication:
        """Return one publication."""
        check_publication("name", request.name)
        return convert.publication_to_pb(await self._publishing.get(request.name))

    async def ListPublications(
        self, request: publication_service_pb2.ListPublicationsRequest, _context: Any
    ) -> publication_service_pb2.ListPublicationsResponse:
        """Return a page of publications."""
        views, more = await self._publishing.page(place_of(request.page_token), page_size(request.page_size))
        return publication_service_pb2.ListPublicationsResponse(
            publications=[convert.publication_to_pb(view) for view in views], next_page_token=token_of(more)
        )


def _encoded(view: PublicationView) -> bytes:
    return convert.publication_to_pb(view).SerializeToString(deterministic=True)
