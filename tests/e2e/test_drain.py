"""SIGTERM: a server takes nothing new, ends what it was doing, and leaves with status 0."""

import signal
import threading
import time
from contextlib import closing, contextmanager

import grpc
import pysqlite3.dbapi2 as sqlite
import pytest
from bourse.exchange.v1 import party_service_pb2, party_service_pb2_grpc
from crash_soak import Call, begin_soak
from market_records import KNOWN, REGISTRY
from market_world import ADMIN, ANALYST

from clients.admin import AdminClient
from clients.bank import BankClient
from wire.rpc import refusal_from_rpc_error

SECONDS = 30
DRAIN_SECONDS = 10


@contextmanager
def halted(server):
    """A server that does nothing for a while."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def await_line(log, event, size):
    """Return when a server's log tells of `event` behind its first `size` bytes."""
    end = time.monotonic() + SECONDS
    while f'"{event}"'.encode() not in log.read_bytes()[size:]:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_node_told_to_stop_first_ends_the_release_that_it_has_begun(market):
    soak = begin_soak(market, 1001, lambda _line: None)
    node = market.node(REGISTRY)
    block = soak.evaluate(KNOWN[:30])
    request = soak.request(block, range(30))
    with halted(market.exchange):
        call = Call(soak.asked().node, request)
        end = time.monotonic() + SECONDS
        while soak.release_state(block, request) != "reserved":
            assert time.monotonic() < end
            time.sleep(0.005)
        size = node.log.stat().st_size
        node.process.send_signal(signal.SIGTERM)
        await_line(node.log, "draining", size)
        with market.new_client(BankClient, ANALYST) as bank:
            late = Call(bank.connection.node(REGISTRY, node.address), request)
            assert late.ended() is None
        assert late.error.code() is grpc.StatusCode.UNAVAILABLE
    answer = call.ended()
    assert node.process.wait(DRAIN_SECONDS + 5) == 0
    assert soak.assert_opened(block, request, answer) == 30

    market.market.start()
    assert soak.until_answered(request) == answer
    soak.assert_recorded_once(request)
    assert market.bank.usage(soak.license).rows == soak.expected.rows + 30


def test_an_exchange_told_to_stop_first_ends_the_change_that_it_has_begun(market):
    exchange = market.exchange
    party = market.admin.party("parties/market-watch")
    changed = []
    with market.new_client(AdminClient, ADMIN) as admin:
        thread = threading.Thread(
            target=lambda: changed.append(admin.update_party(party, display_name="Market Watch, renamed"))
        )
        with closing(sqlite.connect(exchange.log.parent / "exchange.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            thread.start()
            time.sleep(1.0)  # until the change waits for the database
            size = exchange.log.stat().st_size
            exchange.process.send_signal(signal.SIGTERM)
            await_line(exchange.log, "draining", size)
            with market.new_client(AdminClient, ADMIN) as late, pytest.raises(grpc.RpcError) as refused:
                party_service_pb2_grpc.PartyServiceStub(late.exchange.channel).ListParties(
                    party_service_pb2.ListPartiesRequest(), timeout=SECONDS
                )
            assert refusal_from_rpc_error(refused.value).code is grpc.StatusCode.UNAVAILABLE
            database.execute("ROLLBACK")
        thread.join()
    assert [one.display_name for one in changed] == ["Market Watch, renamed"]
    assert exchange.process.wait(DRAIN_SECONDS + 5) == 0

    market.market.start()
    market.reconnect()
    assert market.admin.party("parties/market-watch").etag == changed[0].etag
