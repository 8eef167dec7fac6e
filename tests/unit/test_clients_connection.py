"""A call that fails in passing is sent again, the same bytes; what is refused for good is said at once."""

from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest
from bourse.exchange.v1 import party_pb2, party_service_pb2, party_service_pb2_grpc
from bourse.type.v1 import refusal_pb2
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from clients.connection import Meter, Peer, RefusedError, Retries, paged
from wire.identity import Identity

SERVER = Identity("bourse.test", "operator", "square", "exchange")
NAME = party_service_pb2.GetPartyRequest(name="parties/x")


class Parties(party_service_pb2_grpc.PartyServiceServicer):
    """Fails as told, one status per call, then answers."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.seen = []

    def GetParty(self, request, context):  # noqa: N802 - the contract names it
        self.seen.append((request.SerializeToString(), context.time_remaining()))
        if self.failures:
            context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
        return party_pb2.Party(name=request.name)


def failure(code, reason, *details):
    status = status_pb2.Status(code=code, message="said by the server")
    for detail in (error_details_pb2.ErrorInfo(reason=reason, domain="exchange.test"), *details):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@contextmanager
def serving(*failures):
    server = grpc.server(futures.ThreadPoolExecutor(1))
    parties = Parties(*failures)
    party_service_pb2_grpc.add_PartyServiceServicer_to_server(parties, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    pauses = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        peer = Peer(SERVER, channel, Retries(attempts=4, first_pause=1, longest_pause=3), pauses.append)
        yield peer, party_service_pb2_grpc.PartyServiceStub(channel), parties, pauses
    server.stop(None)


def test_a_passing_failure_is_tried_again_with_growing_pauses_and_the_same_bytes():
    busy = failure(code_pb2.UNAVAILABLE, "TRY_AGAIN")
    meter = Meter()
    with serving(busy, busy, busy) as (peer, stub, parties, pauses):
        reply = peer.call(stub.GetParty, NAME, meter=meter, step="read")
    assert reply.name == "parties/x"
    assert len({request for request, _ in parties.seen}) == 1
    assert [0.75 * full <= pause <= 1.25 * full for pause, full in zip(pauses, (1, 2, 3), strict=True)] == (
        [True] * 3
    )
    cost = meter.costs()["read"]
    assert (cost.calls, cost.bytes_sent) == (4, 4 * NAME.ByteSize())
    assert cost.bytes_received == reply.ByteSize()


def test_it_gives_up_after_the_last_attempt_with_the_servers_words():
    busy = failure(code_pb2.UNAVAILABLE, "RELEASE_UNRECORDED")
    with serving(*[busy] * 9) as (peer, stub, parties, _):
        with pytest.raises(RefusedError) as error:
            peer.call(stub.GetParty, NAME)
        assert len(parties.seen) == 4
    assert (error.value.reason, error.value.status) == ("RELEASE_UNRECORDED", "UNAVAILABLE")
    assert error.value.passing


def test_a_refusal_for_good_is_not_repeated_and_keeps_clause_and_way_out():
    clause = refusal_pb2.ClauseRefusal(clause="max_rows", limit="20", asked="21", way_out="Ask for fewer.")
    field = error_details_pb2.BadRequest(
        field_violations=[error_details_pb2.BadRequest.FieldViolation(field="rows", description="too many")]
    )
    refused = failure(code_pb2.FAILED_PRECONDITION, "CLAUSE_REFUSED", clause, field)
    with serving(refused) as (peer, stub, parties, pauses):
        with pytest.raises(RefusedError) as error:
            peer.call(stub.GetParty, NAME)
        assert (len(parties.seen), pauses) == (1, [])
    assert not error.value.passing
    assert error.value.as_dict() == {
        "status": "FAILED_PRECONDITION",
        "server": SERVER.uri,
        "reason": "CLAUSE_REFUSED",
        "message": "said by the server",
        "clause": "max_rows",
        "limit": "20",
        "asked": "21",
        "way_out": "Ask for fewer.",
        "fields": [{"field": "rows", "problem": "too many"}],
    }


def test_a_way_out_that_the_message_ends_in_is_said_once():
    clause = refusal_pb2.ClauseRefusal(clause="max_rows", limit="20", asked="21", way_out="by the server")
    refused = failure(code_pb2.FAILED_PRECONDITION, "CLAUSE_REFUSED", clause)
    with serving(refused) as (peer, stub, _, _), pytest.raises(RefusedError) as error:
        peer.call(stub.GetParty, NAME)
    assert (error.value.message, error.value.way_out) == ("said", "by the server")


def test_every_call_has_a_deadline():
    with serving() as (peer, stub, parties, _):
        peer.call(stub.GetParty, NAME)
        peer.call(stub.GetParty, NAME, timeout=5)
    lefts = [left for _, left in parties.seen]
    assert 5 < lefts[0] < 31
    assert 0 < lefts[1] < 6


def test_a_server_that_is_not_there_is_named_with_what_to_check():
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        peer = Peer(SERVER, channel, Retries(attempts=1))
        with pytest.raises(RefusedError) as error:
            peer.call(party_service_pb2_grpc.PartyServiceStub(channel).GetParty, NAME)
    assert error.value.reason == "SERVER_UNREACHABLE"
    assert error.value.as_dict()["server"] == SERVER.uri


def test_an_address_is_told_only_of_a_server_that_was_not_reached():
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        peer = Peer(SERVER, channel, Retries(attempts=1), address="127.0.0.1:1")
        with pytest.raises(RefusedError) as error:
            peer.call(party_service_pb2_grpc.PartyServiceStub(channel).GetParty, NAME)
    assert error.value.as_dict()["address"] == "127.0.0.1:1"
    unknown = failure(code_pb2.NOT_FOUND, "PARTY_NOT_FOUND")
    with serving(unknown) as (peer, stub, _, _), pytest.raises(RefusedError) as error:
        replace(peer, address="127.0.0.1:1").call(stub.GetParty, NAME)
    assert "address" not in error.value.as_dict()


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, [1, 2, 3, 4, 5]), (3, [1, 2, 3]), (9, [1, 2, 3, 4, 5])]
)
def test_pages_are_read_until_the_last_or_the_limit(limit, expected):
    pages = {"": ([1, 2], "b"), "b": ([3, 4], "c"), "c": ([5], "")}
    assert list(paged(lambda token: pages[token], limit=limit)) == expected
