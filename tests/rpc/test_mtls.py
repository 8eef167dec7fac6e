"""Who gets in over mutual TLS, and what leaves when a call fails: a real server on a real port."""

import asyncio
import gzip
import logging
import os
import signal
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from bourse.type.v1 import error_reason_pb2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.pki.authority import Authority, new_authority
from tests.rpc.mtls_world import (
    ANALYST,
    AUDITOR,
    MAX_BYTES,
    NOW,
    SECRET,
    SERVER,
    Lines,
    Market,
    Papers,
    crafted,
    issued,
    open_market,
)
from wire.identity import Identity
from wire.rpc import Clause, channel_credentials, secure_channel, serve_until_signalled

URI, DNS = x509.UniformResourceIdentifier, x509.DNSName


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority("bourse.test", now=NOW, days=2)


@pytest.fixture(scope="module")
def analyst(authority) -> Papers:
    return issued(authority, ANALYST)


@pytest.fixture
def log() -> logging.Logger:
    logger = logging.getLogger("market.test")
    logger.setLevel(logging.INFO)
    handler = Lines()
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)


@pytest_asyncio.fixture
async def market(authority, log, caplog) -> AsyncIterator[Market]:
    async with open_market(authority, log) as market:
        yield market
    assert SECRET not in caplog.text, "another library's log quotes what it choked on"


async def test_a_bank_with_a_certificate_of_the_market_is_served_under_its_own_name(market, analyst):
    assert await market.ask(analyst) == b"harbour-bank analyst asked 1"
    (line,) = market.logged()
    assert line["caller"] == ANALYST.uri
    assert (line["event"], line["code"], line["method"]) == ("call", "OK", "/market.Test/Echo")


async def test_a_blocking_client_is_served_alike(market, analyst):
    def ask() -> bytes:
        credentials = channel_credentials(analyst.key_pem, analyst.certificate_pem, market.ca_pem)
        with secure_channel(market.address, SERVER, credentials) as channel:
            return channel.unary_unary("/market.Test/Echo")(b"?2", timeout=10)

    assert await asyncio.to_thread(ask) == b"harbour-bank analyst asked 2"


async def test_nobody_gets_in_without_a_certificate(market):
    refusal = await market.refused(None)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "CONNECTION_CLOSED")
    assert "bourse pki" in refusal.message
    assert market.logged() == []


async def test_an_expired_certificate_does_not_get_in(market, authority):
    refusal = await market.refused(crafted(authority, [URI(ANALYST.uri)], ended=True))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "CONNECTION_CLOSED")
    assert market.logged() == []


async def test_a_certificate_of_another_authority_does_not_get_in(market):
    foreign = new_authority("bourse.test", now=NOW, days=2)
    refusal = await market.refused(issued(foreign, ANALYST))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "CONNECTION_CLOSED")
    assert market.logged() == []


@pytest.mark.parametrize(
    "names",
    [
        [URI(ANALYST.uri), URI(AUDITOR.uri)],
        [URI(ANALYST.uri), URI("https://harbour-bank.test/")],
        [DNS(ANALYST.uri)],
        [DNS("analyst.harbour-bank.test")],
        [URI("https://harbour-bank.test/analyst")],
        [URI("spiffe://bourse.test/bank/harbour-bank")],
        [URI("spiffe://bourse.test/bank/harbour-bank/analyst/")],
        [URI("spiffe://bourse.test/bank/harbour%2Dbank/analyst")],
        [URI("spiffe://BOURSE.test/bank/harbour-bank/analyst")],
        [URI("spiffe://bourse.test/broker/harbour-bank/analyst")],
        [URI("spiffe://other.test/bank/harbour-bank/analyst")],
    ],
    ids=lambda names: " and ".join(name.value for name in names),
)
async def test_a_certificate_must_carry_exactly_one_identity_of_this_market(market, authority, names):
    refusal = await market.refused(crafted(authority, names))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_UNKNOWN")
    assert market.logged()[0]["code"] == "UNAUTHENTICATED"


async def test_a_dns_name_that_spells_another_identity_changes_nothing(market, authority):
    papers = crafted(authority, [URI(AUDITOR.uri), DNS(ANALYST.uri)])
    refusal = await market.refused(papers)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    assert market.logged()[0]["caller"] == AUDITOR.uri


async def test_a_client_does_not_speak_to_another_party_s_server(market, analyst):
    other = Identity("bourse.test", "provider", "tax-office", "node")
    refusal = await market.refused(analyst, server=other)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_NAME_MISMATCH")


async def test_a_client_does_not_speak_to_a_server_of_another_authority(market, analyst):
    foreign = new_authority("bourse.test", now=NOW, days=2).certificate.public_bytes(Encoding.PEM)
    refusal = await market.refused(analyst, ca_pem=foreign)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_CERTIFICATE_REFUSED")


async def test_a_server_that_is_gone_is_said_to_be_gone(market, analyst):
    await market.server.stop(None)
    refusal = await market.refused(analyst)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_UNREACHABLE")


@pytest.mark.parametrize("seconds", [None, 61])
async def test_a_call_without_a_near_deadline_is_refused(market, analyst, seconds):
    refusal = await market.refused(analyst, seconds=seconds)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DEADLINE_REQUIRED")
    assert "60 seconds" in refusal.message


async def test_a_message_over_the_limit_is_refused_with_the_limit(market, analyst):
    refusal = await market.refused(analyst, request=b"?" + bytes(MAX_BYTES))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert str(MAX_BYTES) in refusal.message


async def test_an_answer_over_the_client_s_limit_is_refused_with_the_limit(market, analyst):
    refusal = await market.refused(analyst, request=b"?" + b"1" * 2000, max_message_bytes=2020)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")


async def test_a_compressed_message_is_refused(market, analyst):
    credentials = channel_credentials(analyst.key_pem, analyst.certificate_pem, market.ca_pem)
    options = [("grpc.ssl_target_name_override", "bourse.operator.bourse.test")]
    async with grpc.aio.secure_channel(
        market.address, credentials, options, compression=grpc.Compression.Gzip
    ) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/market.Test/Echo")(b"?" + b"1" * 2000, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert len(gzip.compress(b"1" * 2000)) < 2000, "the message was worth compressing"


async def test_who_may_not_ask_learns_nothing_about_what_would_be_valid(market, authority):
    auditor = issued(authority, AUDITOR)
    for request in (b"?1", b"\xff garbage"):
        for seconds in (10, None):
            refusal = await market.refused(auditor, request=request, seconds=seconds)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


async def test_bytes_that_are_no_request_are_refused_without_being_quoted(market, analyst):
    refusal = await market.refused(analyst, request=b"garbage")
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert refusal.violations[0][0] == "request"


@pytest.mark.parametrize("method", ["Fail", "Abort", "Encode"])
async def test_what_a_handler_says_when_it_fails_reaches_neither_peer_nor_log(market, analyst, method):
    refusal = await market.refused(analyst, method)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert refusal.metadata == {"incident": "incident-1"}
    assert "incident-1" in refusal.message
    (line,) = market.logged()
    assert (line["level"], line["incident"]) == ("error", "incident-1")
    assert any("mtls_world:" in step for step in line["trace"]), "the log says where it happened"


async def test_the_log_names_the_error_and_its_cause_by_type(market, analyst):
    await market.refused(analyst, "Fail")
    (line,) = market.logged()
    assert (line["error"], line["causes"]) == ("builtins.ValueError", ["builtins.KeyError"])


async def test_a_method_without_a_rule_is_closed(market, analyst):
    refusal = await market.refused(analyst, "Unruled")
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")


@pytest.mark.parametrize("method", ["Old", "Missing"])
async def test_a_method_that_is_not_offered_is_said_to_be_so(market, analyst, method):
    refusal = await market.refused(analyst, method)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN")


async def test_a_refusal_by_a_clause_says_the_way_out_however_much_is_wrong(market, analyst):
    refusal = await market.refused(analyst, "Clause")
    assert refusal.reason == "CLAUSE_REFUSED"
    assert refusal.metadata == {"license": "licenses/1"}
    assert refusal.clause == Clause(
        "max_rows", "600, 590 used", "20", "ask for 10 rows, or amend the license"
    )
    assert refusal.message.startswith("许可证不允许")
    shown, more = len(refusal.violations) - 1, refusal.violations[-1]
    assert shown >= 5
    assert more == ("*", f"and {200 - shown} more")


async def test_a_stream_gives_what_it_had_and_then_fails_in_silence(market, analyst):
    async with market.channel(analyst) as channel:
        call = channel.unary_stream("/market.Test/Count")(b"?3", timeout=10)
        received = [await call.read() for _ in range(3)]
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call.read()
    assert received == [b"0", b"1", b"2"]
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert SECRET not in str(failed.value)


async def test_streams_of_requests_pass_the_same_checks(market, analyst, authority):
    async with market.channel(analyst) as channel:
        gathering = channel.stream_unary("/market.Test/Gather")
        assert await gathering(iter([b"?1", b"?2"]), timeout=10) == b"1+2"
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await gathering(iter([b"?1", b"garbage"]), timeout=10)
        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        talk = channel.stream_stream("/market.Test/Converse")(iter([b"?a", b"?b"]), timeout=10)
        assert [reply async for reply in talk] == [b"A", b"B"]
    async with market.channel(issued(authority, AUDITOR)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.stream_unary("/market.Test/Gather")(iter([b"garbage"]), timeout=10)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_deadline_that_passes_ends_the_call_at_both_ends(market, analyst, log):
    refusal = await market.refused(analyst, "Wait", seconds=0.2)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    await log.handlers[0].written.wait()
    assert market.logged()[0]["code"] == "CANCELLED"


async def test_health_alone_goes_around_the_interceptor_and_still_needs_a_certificate(market, analyst):
    request = health_pb2.HealthCheckRequest()
    async with market.channel(analyst) as channel:
        reply = await health_pb2_grpc.HealthStub(channel).Check(request)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING
    async with market.channel(None) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_server_told_to_leave_finishes_what_is_running_and_takes_nothing_new(market, analyst, log):
    left = asyncio.Event()

    async def leave() -> None:
        left.set()

    async with market.channel(analyst) as channel:
        talk = channel.stream_stream("/market.Test/Converse")(timeout=10)
        await talk.write(b"?a")
        assert await talk.read() == b"A"
        draining = asyncio.create_task(
            serve_until_signalled(market.server, leave=leave, grace_seconds=10, log=log)
        )
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await left.wait()
        refusal = await market.refused(analyst)
        assert refusal.code is grpc.StatusCode.UNAVAILABLE
        assert not draining.done()
        await talk.write(b"?b")
        assert await talk.read() == b"B"
        await talk.done_writing()
        assert await talk.read() is grpc.aio.EOF
    await draining
    assert [line["event"] for line in market.logged()][-1] == "stopped"


async def test_a_second_signal_ends_the_grace(market, analyst, log):
    async def leave() -> None:
        os.kill(os.getpid(), signal.SIGINT)

    async with market.channel(analyst) as channel:
        talk = channel.stream_stream("/market.Test/Converse")(timeout=30)
        await talk.write(b"?a")
        assert await talk.read() == b"A"
        draining = asyncio.create_task(
            serve_until_signalled(market.server, leave=leave, grace_seconds=600, log=log)
        )
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        await draining
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await talk.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


def test_the_interceptor_s_own_reasons_are_in_the_contract():
    names = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 - an enum wrapper is no dict
    assert {"IDENTITY_UNKNOWN", "ROLE_NOT_ALLOWED", "DEADLINE_REQUIRED", "FIELD_INVALID", "INTERNAL"} <= names
