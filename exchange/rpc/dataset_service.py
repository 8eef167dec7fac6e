"""DatasetService: the catalog. dataset_service.proto says what each call promises."""

from collections.abc import Callable

from bourse.exchange.v1 import dataset_pb2, dataset_service_pb2, dataset_service_pb2_grpc

from exchange.domain.callers import Caller
from exchange.domain.datasets import Dataset
from exchange.domain.names import MAX_REVISION, check_slug, dataset_of, party_of, revision_of
from exchange.formats.description import MAX_DESCRIPTION_BYTES
from exchange.formats.signed import signed_from_pb
from exchange.rpc.convert import (
    LISTING_PATHS,
    dataset_state_from,
    dataset_to_pb,
    listing_from_pb,
    listing_with,
    paths_from,
    reason_from,
    revision_to_pb,
)
from exchange.rpc.desk import Desk
from exchange.rpc.paging import next_token, page_size, position_in
from exchange.store import Transaction
from exchange.store.datasets import list_datasets, list_revisions
from exchange.verbs import datasets
from exchange.verbs.acts import Act
from wire.strict import parse_decimal

MoveRequest = (
    dataset_service_pb2.SubmitDatasetRequest
    | dataset_service_pb2.ApproveDatasetRequest
    | dataset_service_pb2.RejectDatasetRequest
    | dataset_service_pb2.SuspendDatasetRequest
    | dataset_service_pb2.ReinstateDatasetRequest
    | dataset_service_pb2.DelistDatasetRequest
)
Relation = Callable[[Transaction, Caller, str], Dataset]


class DatasetService(dataset_service_pb2_grpc.DatasetServiceServicer):
    """The catalog: listing under review. No compliance, no listing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def CreateDataset(
        self, request: dataset_service_pb2.CreateDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        def change(tx: Transaction, act: Act, _: None) -> dataset_pb2.Dataset:
            dataset = datasets.create_dataset(
                tx,
                act,
                check_slug("dataset_id", request.dataset_id),
                listing_from_pb("dataset", request.dataset),
                signed_from_pb(
                    "dataset.latest_revision.description",
                    request.dataset.latest_revision.description,
                    MAX_DESCRIPTION_BYTES,
                ),
            )
            return dataset_to_pb(dataset)

        return await self._desk.change(
            request, context, relate=lambda _tx, _caller: None, change=change, reply=dataset_pb2.Dataset
        )

    async def GetDataset(
        self, request: dataset_service_pb2.GetDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._desk.read(
            context,
            lambda tx, caller: dataset_to_pb(
                datasets.visible_dataset(tx, caller, dataset_of("name", request.name))
            ),
        )

    async def ListDatasets(
        self, request: dataset_service_pb2.ListDatasetsRequest, context: object
    ) -> dataset_service_pb2.ListDatasetsResponse:
        def query(tx: Transaction, caller: Caller) -> dataset_service_pb2.ListDatasetsResponse:
            page = list_datasets(
                tx,
                caller,
                provider=party_of("provider", request.provider) if request.provider else None,
                state=dataset_state_from("state", request.state),
                after=position_in(request, request.page_token, caller, str) or "",
                size=page_size(request.page_size),
            )
            return dataset_service_pb2.ListDatasetsResponse(
                datasets=[dataset_to_pb(dataset) for dataset in page.items],
                next_page_token=next_token(request, caller, page.items[-1].dataset) if page.more else "",
            )

        return await self._desk.read(context, query)

    async def UpdateDataset(
        self, request: dataset_service_pb2.UpdateDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        def change(tx: Transaction, act: Act, dataset: Dataset) -> dataset_pb2.Dataset:
            paths = paths_from(request.update_mask, LISTING_PATHS)
            listing = listing_with(dataset.listing, listing_from_pb("dataset", request.dataset), paths)
            return dataset_to_pb(
                datasets.change_dataset(tx, act, dataset, listing, etag=request.dataset.etag)
            )

        return await self._desk.change(
            request,
            context,
            relate=lambda tx, caller: datasets.own_dataset(
                tx, caller, dataset_of("dataset.name", request.dataset.name)
            ),
            change=change,
            reply=dataset_pb2.Dataset,
        )

    async def SubmitDataset(
        self, request: dataset_service_pb2.SubmitDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(request, context, "submit", datasets.own_dataset, lambda: "")

    async def ApproveDataset(
        self, request: dataset_service_pb2.ApproveDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(
            request,
            context,
            "approve",
            datasets.visible_dataset,
            lambda: reason_from("comment", request.comment),
        )

    async def RejectDataset(
        self, request: dataset_service_pb2.RejectDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(
            request,
            context,
            "reject",
            datasets.visible_dataset,
            lambda: reason_from("reason", request.reason),
        )

    async def SuspendDataset(
        self, request: dataset_service_pb2.SuspendDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(
            request,
            context,
            "suspend",
            datasets.governed_dataset,
            lambda: reason_from("reason", request.reason),
        )

    async def ReinstateDataset(
        self, request: dataset_service_pb2.ReinstateDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(
            request,
            context,
            "reinstate",
            datasets.visible_dataset,
            lambda: reason_from("reason", request.reason),
        )

    async def DelistDataset(
        self, request: dataset_service_pb2.DelistDatasetRequest, context: object
    ) -> dataset_pb2.Dataset:
        return await self._move(
            request,
            context,
            "delist",
            datasets.governed_dataset,
            lambda: reason_from("reason", request.reason),
        )

    async def CreateDatasetRevision(
        self, request: dataset_service_pb2.CreateDatasetRevisionRequest, context: object
    ) -> dataset_pb2.DatasetRevision:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, caller: datasets.own_dataset(tx, caller, dataset_of("parent", request.parent)),
            change=lambda tx, act, dataset: revision_to_pb(
                datasets.add_revision(
                    tx,
                    act,
                    dataset,
                    signed_from_pb(
                        "revision.description", request.revision.description, MAX_DESCRIPTION_BYTES
                    ),
                )
            ),
            reply=dataset_pb2.DatasetRevision,
        )

    async def GetDatasetRevision(
        self, request: dataset_service_pb2.GetDatasetRevisionRequest, context: object
    ) -> dataset_pb2.DatasetRevision:
        return await self._desk.read(
            context,
            lambda tx, caller: revision_to_pb(
                datasets.visible_revision(tx, caller, *revision_of("name", request.name))
            ),
        )

    async def ListDatasetRevisions(
        self, request: dataset_service_pb2.ListDatasetRevisionsRequest, context: object
    ) -> dataset_service_pb2.ListDatasetRevisionsResponse:
        def query(tx: Transaction, caller: Caller) -> dataset_service_pb2.ListDatasetRevisionsResponse:
            dataset = datasets.visible_dataset(tx, caller, dataset_of("parent", request.parent))
            before = position_in(
                request, request.page_token, caller, lambda text: parse_decimal(text, max_value=MAX_REVISION)
            )
            page = list_revisions(
                tx,
                dataset.dataset,
                before=MAX_REVISION + 1 if before is None else before,
                size=page_size(request.page_size),
            )
            return dataset_service_pb2.ListDatasetRevisionsResponse(
                revisions=[revision_to_pb(revision) for revision in page.items],
                next_page_token=next_token(request, caller, str(page.items[-1].number)) if page.more else "",
            )

        return await self._desk.read(context, query)

    async def _move(
        self,
        request: MoveRequest,
        context: object,
        verb: str,
        relation: Relation,
        reason: Callable[[], str],
    ) -> dataset_pb2.Dataset:
        return await self._desk.change(
            request,
            context,
            relate=lambda tx, caller: relation(tx, caller, dataset_of("name", request.name)),
            change=lambda tx, act, dataset: dataset_to_pb(
                datasets.move_dataset(tx, act, dataset, verb, etag=request.etag, reason=reason())
            ),
            reply=dataset_pb2.Dataset,
        )
