"""TradeRecordService: the ledger. trade_record_service.proto says what each call promises."""

from bourse.exchange.v1 import trade_record_pb2, trade_record_service_pb2, trade_record_service_pb2_grpc

from exchange.domain.callers import Caller
from exchange.domain.errors import TradeRecordNotFoundError
from exchange.domain.licenses import License
from exchange.domain.names import MAX_RECORD_INDEX, dataset_of, license_of, party_of, trade_record_of
from exchange.domain.records import RecordFilter
from exchange.formats.signed import signed_from_pb
from exchange.formats.statements import (
    MAX_STATEMENT_BYTES,
    model_statement,
    release_request,
    release_statement,
    sealing_statement,
)
from exchange.formats.times import time_from_pb
from exchange.rpc.convert import receipt_to_pb, record_kinds_from, trade_record_to_pb
from exchange.rpc.desk import Desk
from exchange.rpc.paging import next_token, page_size, position_in
from exchange.store import Transaction
from exchange.store.records import get_trade_record, list_trade_records
from exchange.verbs.acts import Act
from exchange.verbs.ledger import (
    SignedModel,
    SignedRelease,
    node_license,
    record_model,
    record_release,
    seen_by,
)
from wire.strict import parse_decimal


class TradeRecordService(trade_record_service_pb2_grpc.TradeRecordServiceServicer):
    """The trade ledger: nodes have their acts recorded, regulators read."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def RecordModel(
        self, request: trade_record_service_pb2.RecordModelRequest, context: object
    ) -> trade_record_service_pb2.RecordModelResponse:
        def relate(tx: Transaction, caller: Caller) -> tuple[SignedModel, License]:
            signed = _signed_model(request)
            return signed, node_license(tx, caller, signed.model.license)

        def change(
            tx: Transaction, act: Act, related: tuple[SignedModel, License]
        ) -> trade_record_service_pb2.RecordModelResponse:
            signed, license_ = related
            recorded = record_model(tx, act, license_, signed)
            return trade_record_service_pb2.RecordModelResponse(
                entry=recorded.entry, receipt=receipt_to_pb(recorded.receipt)
            )

        return await self._desk.change(
            request,
            context,
            relate=relate,
            change=change,
            reply=trade_record_service_pb2.RecordModelResponse,
        )

    async def RecordRelease(
        self, request: trade_record_service_pb2.RecordReleaseRequest, context: object
    ) -> trade_record_service_pb2.RecordReleaseResponse:
        def relate(tx: Transaction, caller: Caller) -> tuple[SignedRelease, License]:
            signed = _signed_release(request)
            return signed, node_license(tx, caller, signed.statement.license)

        def change(
            tx: Transaction, act: Act, related: tuple[SignedRelease, License]
        ) -> trade_record_service_pb2.RecordReleaseResponse:
            signed, license_ = related
            recorded = record_release(tx, act, license_, signed)
            return trade_record_service_pb2.RecordReleaseResponse(
                entry=recorded.entry, receipt=receipt_to_pb(recorded.receipt)
            )

        return await self._desk.change(
            request,
            context,
            relate=relate,
            change=change,
            reply=trade_record_service_pb2.RecordReleaseResponse,
        )

    async def GetTradeRecord(
        self, request: trade_record_service_pb2.GetTradeRecordRequest, context: object
    ) -> trade_record_pb2.TradeRecord:
        def query(tx: Transaction, caller: Caller) -> trade_record_pb2.TradeRecord:
            record = get_trade_record(tx, trade_record_of("name", request.name), seen_by(caller))
            if record is None:
                raise TradeRecordNotFoundError("there is no trade record of this name that you may see")
            return trade_record_to_pb(record)

        return await self._desk.read(context, query)

    async def ListTradeRecords(
        self, request: trade_record_service_pb2.ListTradeRecordsRequest, context: object
    ) -> trade_record_service_pb2.ListTradeRecordsResponse:
        def query(tx: Transaction, caller: Caller) -> trade_record_service_pb2.ListTradeRecordsResponse:
            page = list_trade_records(
                tx,
                _filter(request, caller),
                after=position_in(
                    request,
                    request.page_token,
                    caller,
                    lambda text: parse_decimal(text, max_value=MAX_RECORD_INDEX),
                ),
                size=page_size(request.page_size),
            )
            return trade_record_service_pb2.ListTradeRecordsResponse(
                trade_records=[trade_record_to_pb(record) for record in page.items],
                next_page_token=next_token(request, caller, str(page.items[-1].index)) if page.more else "",
            )

        return await self._desk.read(context, query)


def _signed_model(request: trade_record_service_pb2.RecordModelRequest) -> SignedModel:
    model = signed_from_pb("model_statement", request.model_statement, MAX_STATEMENT_BYTES)
    sealing = signed_from_pb("sealing_statement", request.sealing_statement, MAX_STATEMENT_BYTES)
    return SignedModel(
        model_bytes=model,
        model=model_statement("model_statement", model.payload),
        sealing_bytes=sealing,
        sealing=sealing_statement("sealing_statement", sealing.payload),
    )


def _signed_release(request: trade_record_service_pb2.RecordReleaseRequest) -> SignedRelease:
    statement = signed_from_pb("release_statement", request.release_statement, MAX_STATEMENT_BYTES)
    demand = signed_from_pb("release_request", request.release_request, MAX_STATEMENT_BYTES)
    return SignedRelease(
        statement_bytes=statement,
        statement=release_statement("release_statement", statement.payload),
        request_bytes=demand,
        request=release_request("release_request", demand.payload),
    )


def _filter(request: trade_record_service_pb2.ListTradeRecordsRequest, caller: Caller) -> RecordFilter:
    return RecordFilter(
        seen_by=seen_by(caller),
        party=party_of("party", request.party) if request.party else None,
        dataset=dataset_of("dataset", request.dataset) if request.dataset else None,
        license=license_of("license", request.license) if request.license else None,
        kinds=record_kinds_from("kinds", request.kinds),
        start=time_from_pb("start_time", request.start_time) if request.HasField("start_time") else None,
        end=time_from_pb("end_time", request.end_time) if request.HasField("end_time") else None,
        newest_first=request.newest_first,
    )
