"""What every call passes before a handler sees it, and everything that leaves when one fails.

In order: (1) the certificate names the caller, (2) `authorize` decides on caller and method, (3) the call
must have a deadline, (4) it is its party's turn, the request is received and parsed, (5) the handler runs. So
a caller who may not ask learns nothing about what would have been valid (AIP-211) and has no memory taken up
by what it sends, one who may takes no more than its party's share, and nobody can hold the server for ever,
not even by never finishing a request.

A handler refuses by raising: `RefusalError`, or an error of the domain that `translate` knows. Whatever
else it raises becomes INTERNAL with an incident id; no text of an exception reaches the caller or the log.
Handlers get a `CallContext`, which has no way to send a text past this module.
"""

import inspect
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import Any, TypeAlias, TypeVar

import grpc
from grpc_status import rpc_status  # type: ignore[import-untyped]  # has no py.typed

from wire.event_log import Fact, facts_of, log_event
from wire.identity import Identity, IdentityError
from wire.rpc.peer import peer_identity
from wire.rpc.refusal import Refusal, RefusalError
from wire.rpc.turns import Turns

Authorize = Callable[[str, Identity], Awaitable[object | None]]
"""(full method name such as `/bourse.exchange.v1.LicenseService/GetLicense`, identity) -> who the caller is
to the registry. None means that no rule speaks of the method: the call is refused. Raises errors that
`translate` knows."""

Translate = Callable[[Exception], Refusal | None]
"""The party's table from domain errors to refusals; None when the error is not in it."""

_CallerT = TypeVar("_CallerT")
_RawContext = grpc.aio.ServicerContext[bytes, bytes]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_FoundHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"

# A call may stay open this long; watching resumes from where it ended.
DEFAULT_MAX_DEADLINE_SECONDS = 3600.0
# Enough to keep a server's database busy; with messages of a few MiB it bounds what one party takes up.
DEFAULT_MAX_CALLS_PER_PARTY = 16
_MAX_CAUSES = 8


@dataclass(frozen=True)
class CallContext:
    """What a handler may know of its call. It replaces gRPC's servicer context and sends nothing."""

    method: str
    identity: Identity
    caller: object
    time_remaining: Callable[[], float]
    cancelled: Callable[[], bool]


def caller_of(context: object, kind: type[_CallerT]) -> _CallerT:
    """Return what `authorize` returned for this call. Raises TypeError when that is not a `kind`."""
    caller = _call_context(context).caller
    if not isinstance(caller, kind):
        raise TypeError(f"the caller of this method is no {kind.__name__}")
    return caller


def identity_of(context: object) -> Identity:
    """Return the identity that the certificate of this call carries."""
    return _call_context(context).identity


class SafetyInterceptor(grpc.aio.ServerInterceptor):
    """Put it first on every server; services named in `exempt` (health, reflection) alone go around it.

    `domain` issues the refusals' reasons, `trust_domain` is the only one whose identities are let in. A party
    has at most `max_calls_per_party` calls in hand; more wait. Handlers are `async def`; streaming ones take
    an async iterator of requests or are async generators of responses.
    """

    def __init__(
        self,
        *,
        domain: str,
        trust_domain: str,
        authorize: Authorize,
        translate: Translate,
        log: logging.Logger,
        exempt: Collection[str] = (),
        max_deadline_seconds: float = DEFAULT_MAX_DEADLINE_SECONDS,
        max_calls_per_party: int = DEFAULT_MAX_CALLS_PER_PARTY,
        clock: Callable[[], float] = time.monotonic,
        new_incident: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._domain = domain
        self._trust_domain = trust_domain
        self._authorize = authorize
        self._translate = translate
        self._log = log
        self._exempt = frozenset(exempt)
        self._max_deadline_seconds = max_deadline_seconds
        self._turns = Turns(max_calls_per_party)
        self._clock = clock
        self._new_incident = new_incident

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_FoundHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _FoundHandler:
        """Return the method's handler with this module around it; an unknown method stays unknown."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.strip("/").split("/")[0] in self._exempt:
            return handler
        return self._guarded(method, handler)

    def _guarded(self, method: str, handler: _Handler) -> _Handler:
        """Wrap `handler` so that it takes and gives bytes, and asks for a request itself.

        gRPC would parse before authorization. It would also wait for the one request of a unary call before
        anything of ours runs; on the wire that call is a stream of one, and it is received as such.
        """
        decode, encode = handler.request_deserializer, handler.response_serializer

        async def unary(_requests: AsyncIterator[bytes], raw: _RawContext) -> bytes:
            async with self._call(method, raw) as context:
                behavior = _coroutine(handler.unary_unary)
                return _encoded(encode, await behavior(await _received(decode, raw), context))
            raise AssertionError("unreachable: a failed call has been aborted")

        async def stream_unary(requests: AsyncIterator[bytes], raw: _RawContext) -> bytes:
            async with self._call(method, raw) as context:
                reply = await _coroutine(handler.stream_unary)(_decoded_all(decode, requests), context)
                return _encoded(encode, reply)
            raise AssertionError("unreachable: a failed call has been aborted")

        async def unary_stream(_requests: AsyncIterator[bytes], raw: _RawContext) -> None:
            async with self._call(method, raw) as context:
                behavior = _generator(handler.unary_stream)
                async with aclosing(behavior(await _received(decode, raw), context)) as replies:
                    async for reply in replies:
                        await raw.write(_encoded(encode, reply))

        async def stream_stream(requests: AsyncIterator[bytes], raw: _RawContext) -> None:
            async with self._call(method, raw) as context:
                behavior = _generator(handler.stream_stream)
                async with aclosing(behavior(_decoded_all(decode, requests), context)) as replies:
                    async for reply in replies:
                        await raw.write(_encoded(encode, reply))

        if handler.request_streaming and handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream_stream)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(stream_unary)
        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(unary_stream)
        return grpc.stream_unary_rpc_method_handler(unary)

    @asynccontextmanager
    async def _call(self, method: str, raw: _RawContext) -> AsyncIterator[CallContext]:
        started = self._clock()
        facts: dict[str, Fact] = {"method": method}
        refusal: Refusal | None = None
        code = "CANCELLED"  # what remains true when the call is cancelled
        async with AsyncExitStack() as turn:
            try:
                try:
                    context = await self._admit(method, raw, facts)
                    await turn.enter_async_context(self._turns.of(context.identity))  # (4)
                    yield context
                    code = "OK"
                except Exception as error:  # noqa: BLE001 - this is the one place where nothing may pass
                    refusal = self._refuse(error, facts)
                    code = refusal.code.name
                    _let_go(error)
            finally:
                level = logging.INFO if code in {"OK", "CANCELLED"} else logging.WARNING
                log_event(
                    self._log,
                    logging.ERROR if "incident" in facts else level,
                    "call",
                    code=code,
                    seconds=round(self._clock() - started, 6),
                    **facts,
                )
            if refusal is not None:
                await raw.abort_with_status(rpc_status.to_status(refusal.to_status(self._domain)))

    async def _admit(self, method: str, raw: _RawContext, facts: dict[str, Fact]) -> CallContext:
        identity = self._identified(raw)  # (1)
        facts["caller"] = identity.uri
        caller = await self._authorize(method, identity)  # (2)
        if caller is None:
            raise RefusalError(_NO_RULE)
        remaining: float | None = raw.time_remaining()  # (3)
        if remaining is None or remaining > self._max_deadline_seconds:
            raise RefusalError(_deadline_required(self._max_deadline_seconds))
        return CallContext(method, identity, caller, raw.time_remaining, raw.cancelled)

    def _identified(self, raw: _RawContext) -> Identity:
        try:
            identity = peer_identity(raw)
        except IdentityError as error:
            raise RefusalError(_unidentified(str(error))) from None
        if identity.trust_domain != self._trust_domain:
            raise RefusalError(_unidentified(f"certificate: must be of trust domain {self._trust_domain}"))
        return identity

    def _refuse(self, error: Exception, facts: dict[str, Fact]) -> Refusal:
        if isinstance(error, RefusalError):
            refusal: Refusal | None = error.refusal
        else:
            refusal = self._translated(error, facts)
        if refusal is None:
            incident = self._new_incident()
            facts |= {"incident": incident, **facts_of(error)}
            refusal = Refusal(
                grpc.StatusCode.INTERNAL,
                "INTERNAL",
                f"The server failed; its operator finds the detail under incident {incident}.",
                metadata={"incident": incident},
            )
        facts["reason"] = refusal.reason
        return refusal

    def _translated(self, error: Exception, facts: dict[str, Fact]) -> Refusal | None:
        try:
            return self._translate(error)
        except Exception as broken:  # noqa: BLE001 - a fault in the table must not open another way out
            facts["translate_error"] = str(facts_of(broken)["error"])
            return None


_NO_RULE = Refusal(
    grpc.StatusCode.PERMISSION_DENIED,
    "ROLE_NOT_ALLOWED",
    "No rule of this server lets anyone call this method.",
)
_UNREADABLE = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT,
    "FIELD_INVALID",
    "The request is not a message of this method; use the stubs of the server's version.",
    violations=(("request", "the bytes cannot be parsed"),),
)
_NOT_OFFERED = Refusal(
    grpc.StatusCode.UNIMPLEMENTED, "METHOD_UNKNOWN", "This server does not offer the method."
)


def _let_go(error: BaseException) -> None:
    """Empty the frames that an exception passed, those of its causes too.

    They hold the request, and would until the collector found them: gRPC's own exception closes a circle.
    """
    chain: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if chain is None:
            return
        clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__


def _unidentified(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_UNKNOWN", message)


def _deadline_required(max_seconds: float) -> Refusal:
    return Refusal(
        grpc.StatusCode.INVALID_ARGUMENT,
        "DEADLINE_REQUIRED",
        f"Every call needs a deadline of at most {max_seconds:g} seconds; "
        "pass timeout=<seconds> to the call.",
        metadata={"maxSeconds": f"{max_seconds:g}"},
    )


def _call_context(context: object) -> CallContext:
    if not isinstance(context, CallContext):
        raise TypeError("this call did not pass the safety interceptor")
    return context


def _coroutine(behavior: Callable[..., Any] | None) -> Callable[..., Any]:
    if behavior is None or not inspect.iscoroutinefunction(behavior):
        raise RefusalError(_NOT_OFFERED)
    return behavior


def _generator(behavior: Callable[..., Any] | None) -> Callable[..., Any]:
    if behavior is None or not inspect.isasyncgenfunction(behavior):
        raise RefusalError(_NOT_OFFERED)
    return behavior


async def _received(decode: Callable[[bytes], Any] | None, raw: _RawContext) -> Any:
    """Return the parsed request; its bytes are not kept beside it."""
    request = await raw.read()
    if not isinstance(request, bytes):
        raise RefusalError(_UNREADABLE)
    return _decoded(decode, request)


def _decoded(decode: Callable[[bytes], Any] | None, request: bytes) -> Any:
    if decode is None:
        return request
    try:
        return decode(request)
    except Exception:  # noqa: BLE001 - foreign bytes: whatever the parser says of them stays here
        raise RefusalError(_UNREADABLE) from None


async def _decoded_all(
    decode: Callable[[bytes], Any] | None, requests: AsyncIterator[bytes]
) -> AsyncIterator[Any]:
    async for request in requests:
        yield _decoded(decode, request)


def _encoded(encode: Callable[[Any], bytes] | None, reply: Any) -> bytes:
    return reply if encode is None else encode(reply)
