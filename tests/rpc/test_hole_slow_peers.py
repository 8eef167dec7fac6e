"""Peers that open a call and never finish their request, or send one that they may not make."""

import asyncio
import logging
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from clients.pki.authority import ServerNames, new_authority
from tests.rpc.mtls_world import ANALYST, AUDITOR, SERVER, authorize, issued, translate
from wire.rpc import SafetyInterceptor, aio_secure_channel, channel_credentials, server_credentials
from wire.rpc.channel import server_options
from wire.rpc.refusal import Refusal, refusal_from_rpc_error

PATIENCE = 30  # how long a test waits before it calls a call held for ever


@asynccontextmanager
async def serving(caller, **options):
    """A channel of `caller` to a server of one method that echoes."""
    authority = new_authority("bourse.test", now=datetime.now(UTC), days=2)
    ca_pem = authority.certificate.public_bytes(Encoding.PEM)
    own, theirs = issued(authority, SERVER, ServerNames()), issued(authority, caller)
    safety = SafetyInterceptor(
        domain="exchange.bourse.test",
        trust_domain="bourse.test",
        authorize=authorize,
        translate=translate,
        log=logging.getLogger("market.test"),
    )

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    server = grpc.aio.server(interceptors=[safety], options=server_options(**options))
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("market.Test", handlers)])
    port = server.add_secure_port("127.0.0.1:0", server_credentials(own.key_pem, own.certificate_pem, ca_pem))
    await server.start()
    credentials = channel_credentials(theirs.key_pem, theirs.certificate_pem, ca_pem)
    try:
        async with aio_secure_channel(f"127.0.0.1:{port}", SERVER, credentials) as channel:
            yield channel
    finally:
        await server.stop(None)


async def never_sent():
    await asyncio.Event().wait()
    yield b""


async def outcome(channel, **settings) -> Refusal:
    """What a call is told whose request never comes."""
    call = channel.stream_unary("/market.Test/Echo")(never_sent(), **settings)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, PATIENCE)
    return refusal_from_rpc_error(caught.value)


async def test_a_call_without_deadline_is_refused_before_its_request_is_there():
    async with serving(ANALYST) as channel:
        assert (await outcome(channel)).reason == "DEADLINE_REQUIRED"


async def test_a_caller_who_may_not_ask_is_refused_before_anything_is_received():
    async with serving(AUDITOR) as channel:
        assert (await outcome(channel, timeout=PATIENCE)).code is grpc.StatusCode.PERMISSION_DENIED


async def test_a_request_that_does_not_come_ends_with_its_deadline():
    async with serving(ANALYST) as channel:
        assert (await outcome(channel, timeout=0.3)).reason == "DEADLINE_EXCEEDED"


async def test_a_connection_ends_though_a_call_on_it_does_not():
    async with serving(ANALYST, connection_seconds=0.3, grace_seconds=0.3) as channel:
        assert (await outcome(channel, timeout=PATIENCE)).code is grpc.StatusCode.UNAVAILABLE


async def test_a_call_that_ends_without_a_request_is_refused():
    async def nothing():
        return
        yield

    async with serving(ANALYST) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.stream_unary("/market.Test/Echo")(nothing(), timeout=PATIENCE)
    assert refusal_from_rpc_error(caught.value).reason == "FIELD_INVALID"


async def test_an_ordinary_call_is_answered():
    async with serving(ANALYST) as channel:
        assert await channel.unary_unary("/market.Test/Echo")(b"\x01", timeout=PATIENCE) == b"\x01"
