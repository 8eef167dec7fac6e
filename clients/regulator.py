"""The regulator's client: reading trade records, checking them, taking them away.

    with RegulatorClient.open(home) as regulator:
        for record in regulator.records(party="parties/harbour-bank"):
            regulator.check(record)

Nothing is believed that the record's own bytes do not prove.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from bourse.exchange.v1 import (
    trade_record_pb2,
    trade_record_service_pb2,
    trade_record_service_pb2_grpc,
)
from bourse.type.v1 import record_pb2

from clients.connection import PAGE_SIZE, paged
from clients.market import MarketClient
from clients.records import CheckedRecord, HeldKey, Kind, check_record, keys_of, kind_name, record_json


class RegulatorClient(MarketClient):
    """An auditor. Other members may use it too: they see the records that concern their party."""

    @cached_property
    def _records(self) -> trade_record_service_pb2_grpc.TradeRecordServiceStub:
        return trade_record_service_pb2_grpc.TradeRecordServiceStub(self.exchange.channel)

    @cached_property
    def keys(self) -> dict[bytes, HeldKey]:
        """The signing keys of all parties, in use and retired, by key id, as the registry has them now."""
        return keys_of(self.parties())

    def records(
        self,
        *,
        party: str = "",
        dataset: str = "",
        license_name: str = "",
        kinds: Sequence[Kind] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        newest_first: bool = False,
        limit: int | None = None,
    ) -> Iterator[trade_record_pb2.TradeRecord]:
        """Yield records by index; all filters that are given must hold, times start <= t < end."""
        query = trade_record_service_pb2.ListTradeRecordsRequest(
            page_size=min(limit or PAGE_SIZE, PAGE_SIZE),
            party=party,
            dataset=dataset,
            license=license_name,
            kinds=kinds,
            newest_first=newest_first,
        )
        if start is not None:
            query.start_time.FromDatetime(start)
        if end is not None:
            query.end_time.FromDatetime(end)

        def fetch(token: str) -> tuple[Sequence[trade_record_pb2.TradeRecord], str]:
            query.page_token = token
            reply = self.exchange.call(self._records.ListTradeRecords, query)
            return list(reply.trade_records), reply.next_page_token

        return paged(fetch, limit=limit)

    def record(self, index: int) -> trade_record_pb2.TradeRecord:
        """Return the record at `index` of the log."""
        return self.exchange.call(
            self._records.GetTradeRecord,
            trade_record_service_pb2.GetTradeRecordRequest(name=f"tradeRecords/{index}"),
        )

    def check(self, record: trade_record_pb2.TradeRecord) -> CheckedRecord:
        """Return a record once receipt, signatures and links are proven. Raises EvidenceError."""
        return check_record(record, self.home.exchange, self.keys)


def export_lines(records: Iterable[trade_record_pb2.TradeRecord]) -> Iterator[str]:
    """Yield each record as one line of JSON, with the bytes that prove it."""
    for record in records:
        yield json.dumps(record_json(record), ensure_ascii=False, sort_keys=True)


def parse_kind(name: str) -> Kind:
    """Return the kind called `RESULT_RELEASED` or `result-released`. Raises ValueError."""
    return record_pb2.RecordKind.Value(f"RECORD_KIND_{name.upper().replace('-', '_')}")


def kind_names() -> list[str]:
    """Return the names of all kinds, such as `RESULT_RELEASED`."""
    return [kind_name(value) for value in record_pb2.RecordKind.values() if value]


def summary(record: trade_record_pb2.TradeRecord) -> dict[str, Any]:
    """Return a record without the bytes that prove it: what a table shows."""
    shown = record_json(record)
    return {key: value for key, value in shown.items() if key not in {"entry", "receipt", "statements"}}
