"""A peer that opens a call and never finishes its request: no handler runs, so no deadline is asked for."""

import asyncio
import logging
from datetime import UTC, datetime

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from clients.pki.authority import ServerNames, new_authority
from tests.rpc.mtls_world import ANALYST, SERVER, authorize, issued, translate
from wire.rpc import SafetyInterceptor, aio_secure_channel, channel_credentials, server_credentials
from wire.rpc.channel import server_options
from wire.rpc.refusal import refusal_from_rpc_error


async def test_a_request_that_never_ends_does_not_hold_its_place_for_ever():
    authority = new_authority("bourse.test", now=datetime.now(UTC), days=2)
    ca_pem = authority.certificate.public_bytes(Encoding.PEM)
    own, bank = issued(authority, SERVER, ServerNames()), issued(authority, ANALYST)
    safety = SafetyInterceptor(
        domain="exchange.bourse.test",
        trust_domain="bourse.test",
        authorize=authorize,
        translate=translate,
        log=logging.getLogger("market.test"),
    )
    options = server_options(connection_seconds=0.5, grace_seconds=0.5)
    server = grpc.aio.server(interceptors=[safety], options=options)

    async def echo(request: bytes, _context: object) -> bytes:
        return request

    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("market.Test", handlers)])
    credentials = server_credentials(own.key_pem, own.certificate_pem, ca_pem)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    own_credentials = channel_credentials(bank.key_pem, bank.certificate_pem, ca_pem)
    try:
        async with aio_secure_channel(f"127.0.0.1:{port}", SERVER, own_credentials) as channel:
            call = channel.stream_unary("/market.Test/Echo")(_never_sent())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(call, 30)
    finally:
        await server.stop(None)
    assert refusal_from_rpc_error(caught.value).code is grpc.StatusCode.UNAVAILABLE


async def _never_sent():
    await asyncio.Event().wait()
    yield b""
