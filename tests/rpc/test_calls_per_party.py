"""What one party may have a server hold: few calls in hand, and nothing of a request that was refused."""

import asyncio
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from clients.pki.authority import ServerNames, new_authority
from tests.rpc.mtls_world import ANALYST, AUDITOR, SERVER, issued
from wire.rpc import (
    Refusal,
    RefusalError,
    SafetyInterceptor,
    aio_secure_channel,
    channel_credentials,
    server_credentials,
    server_options,
)

LIMIT = 3
SECONDS = 30.0


@dataclass(eq=False)
class Request:
    """A request that can be watched being forgotten."""

    data: bytes


class Desk:
    """A server's one method: holds what it is asked until `gate` opens, then refuses it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.in_hand = 0
        self.most = 0
        self.received: list[weakref.ref[Request]] = []

    async def ask(self, request: Request, _context: object) -> bytes:
        self.received.append(weakref.ref(request))
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        try:
            await self.gate.wait()
            self._refuse(request)
        finally:
            self.in_hand -= 1
        raise AssertionError

    def _refuse(self, request: Request) -> None:
        try:
            request.data[len(request.data)]
        except IndexError as error:
            raise RefusalError(
                Refusal(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "not this one")
            ) from error


@asynccontextmanager
async def serving(desk: Desk, *callers):
    """A channel of each caller to the desk."""
    authority = new_authority("bourse.test", now=datetime.now(UTC), days=2)
    ca_pem = authority.certificate.public_bytes(Encoding.PEM)
    own = issued(authority, SERVER, ServerNames())

    async def anyone(_method, identity):
        return identity

    safety = SafetyInterceptor(
        domain="exchange.bourse.test",
        trust_domain="bourse.test",
        authorize=anyone,
        translate=lambda _error: None,
        log=logging.getLogger("market.test"),
        max_calls_per_party=LIMIT,
    )
    server = grpc.aio.server(interceptors=[safety], options=server_options())
    handlers = {"Ask": grpc.unary_unary_rpc_method_handler(desk.ask, request_deserializer=Request)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("market.Test", handlers)])
    port = server.add_secure_port("127.0.0.1:0", server_credentials(own.key_pem, own.certificate_pem, ca_pem))
    await server.start()
    channels = []
    for caller in callers:
        papers = issued(authority, caller)
        credentials = channel_credentials(papers.key_pem, papers.certificate_pem, ca_pem)
        channels.append(aio_secure_channel(f"127.0.0.1:{port}", SERVER, credentials))
    try:
        yield channels
    finally:
        desk.gate.set()
        for channel in channels:
            await channel.close()
        await server.stop(None)


def asked(channel, data: bytes = b"x", within: float = SECONDS) -> asyncio.Future:
    return asyncio.ensure_future(channel.unary_unary("/market.Test/Ask")(data, timeout=within))


async def code_of(call) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code()


async def until(condition) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def test_a_party_has_few_calls_in_hand_and_all_are_answered_in_the_end():
    desk = Desk()
    async with serving(desk, ANALYST, ANALYST) as (one, other):
        calls = [asked(channel) for channel in (one, other) for _ in range(10)]
        await until(lambda: desk.in_hand == LIMIT)
        desk.gate.set()
        assert {await code_of(call) for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert (len(desk.received), desk.most) == (20, LIMIT)


async def test_another_party_waits_for_none_of_them():
    desk = Desk()
    async with serving(desk, ANALYST, AUDITOR) as (flooding, other):
        flood = [asked(flooding) for _ in range(20)]
        await until(lambda: desk.in_hand == LIMIT)
        calls = [asked(other) for _ in range(LIMIT)]
        await until(lambda: desk.in_hand == 2 * LIMIT)
        desk.gate.set()
        await asyncio.gather(*flood, *calls, return_exceptions=True)


async def test_a_call_that_waits_too_long_ends_by_its_own_deadline_and_costs_no_turn():
    desk = Desk()
    async with serving(desk, ANALYST) as (channel,):
        held = [asked(channel) for _ in range(LIMIT)]
        await until(lambda: desk.in_hand == LIMIT)
        waiting = [asked(channel, within=0.3) for _ in range(5)]
        assert {await code_of(call) for call in waiting} == {grpc.StatusCode.DEADLINE_EXCEEDED}
        desk.gate.set()
        await asyncio.gather(*held, return_exceptions=True)
        desk.gate.clear()
        again = [asked(channel) for _ in range(LIMIT)]
        await until(lambda: desk.in_hand == LIMIT)
        desk.gate.set()
        await asyncio.gather(*again, return_exceptions=True)
    assert desk.most == LIMIT


async def test_a_refused_request_is_forgotten_without_waiting_for_the_collector():
    desk = Desk()
    async with serving(desk, ANALYST) as (channel,):
        desk.gate.set()
        await code_of(asked(channel))
        gc.collect()
        gc.disable()
        try:
            calls = [asked(channel, bytes(100_000)) for _ in range(10)]
            for call in calls:
                assert await code_of(call) is grpc.StatusCode.INVALID_ARGUMENT
            await until(lambda: all(request() is None for request in desk.received))
        finally:
            gc.enable()
