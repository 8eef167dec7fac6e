"""Connections of one identity: to its exchange, and to the nodes whose addresses the registry gives.

Every call has a deadline. A call that failed in passing (server away, deadline passed, too busy) is sent
again, the same bytes, a few times with growing pauses: every method is safe to repeat, because the changing
ones carry a request id or the whole outcome. What is refused for good is raised at once, in the other party's
words.
"""

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from clients.errors import BourseError
from clients.home import Home, check_address
from clients.member import Member
from wire.identity import Identity
from wire.rpc import Refusal, refusal_from_rpc_error, secure_channel

_Request = TypeVar("_Request", bound=Message)
_Reply = TypeVar("_Reply", bound=Message)
_Item = TypeVar("_Item")

DEFAULT_TIMEOUT_SECONDS = 30.0
PAGE_SIZE = 200

NODE_MEMBER = "node"

_PASSING_CODES = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
# Trying again changes nothing about these.
_LASTING_REASONS = frozenset({"SERVER_NAME_MISMATCH", "SERVER_CERTIFICATE_REFUSED", "MESSAGE_TOO_LARGE"})
_UNREACHED_REASONS = frozenset(
    {
        "SERVER_UNREACHABLE",
        "SERVER_NAME_MISMATCH",
        "SERVER_CERTIFICATE_REFUSED",
        "CONNECTION_CLOSED",
        "DEADLINE_EXCEEDED",
    }
)
# The first pauses are too short to tell anybody of.
_SILENT_ATTEMPTS = 2
_LOG = logging.getLogger(__name__)


class RefusedError(BourseError):
    """Another party refused a call, or could not be reached.

    `status` is gRPC's, such as `FAILED_PRECONDITION`; `passing` says that the same call may succeed later.
    `address` is where the server was looked for, when the call did not get through, and `license` the one
    that was used, when its provider refused.
    """

    def __init__(self, refusal: Refusal, server: Identity, *, address: str = "") -> None:
        clause = refusal.clause
        super().__init__(
            refusal.reason,
            refusal.message.removesuffix(clause.way_out).rstrip() if clause else refusal.message,
            clause=clause.clause if clause else "",
            limit=clause.limit if clause else "",
            asked=clause.asked if clause else "",
            way_out=clause.way_out if clause else "",
            fields=refusal.violations,
        )
        self.status = refusal.code.name
        self.server = server
        self.address = address if refusal.reason in _UNREACHED_REASONS else ""
        self.license = ""
        self.passing = refusal.code in _PASSING_CODES and refusal.reason not in _LASTING_REASONS

    def as_dict(self) -> dict[str, object]:
        more = {"address": self.address, "license": self.license}
        return {
            "status": self.status,
            "server": self.server.uri,
            **{name: value for name, value in more.items() if value},
            **super().as_dict(),
        }


@dataclass(frozen=True)
class Retries:
    """How often a call that failed in passing is sent again, and the pauses in seconds, doubled up to a
    ceiling.
    """

    attempts: int = 6
    first_pause: float = 0.25
    longest_pause: float = 4.0

    def pause(self, attempt: int, jitter: float) -> float:
        """Return the pause after failed attempt `attempt`, from 0; `jitter` is in [0, 1)."""
        return min(self.first_pause * 2.0**attempt, self.longest_pause) * (0.75 + jitter / 2)


@dataclass(frozen=True)
class StepCost:
    """What a kind of step cost so far: calls, seconds spent in them, bytes of messages sent and received."""

    calls: int = 0
    seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0


class Meter:
    """Adds up what the steps of some work cost; safe to share between threads, which a lock keeps apart.

    Bytes are those of protobuf messages, without the few per cent that HTTP/2 and TLS add.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._costs: dict[str, StepCost] = {}

    def add(
        self, step: str, *, calls: int = 0, seconds: float = 0.0, sent: int = 0, received: int = 0
    ) -> None:
        with self._lock:
            cost = self._costs.get(step, StepCost())
            self._costs[step] = StepCost(
                cost.calls + calls,
                cost.seconds + seconds,
                cost.bytes_sent + sent,
                cost.bytes_received + received,
            )

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a step that calls nobody."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(step, seconds=time.perf_counter() - started)

    def costs(self) -> Mapping[str, StepCost]:
        """Return the costs by step, in the order of their first use."""
        with self._lock:
            return dict(self._costs)


@dataclass(frozen=True)
class Peer:
    """One server as this identity reaches it."""

    server: Identity
    channel: grpc.Channel
    retries: Retries = field(default_factory=Retries)
    sleep: Callable[[float], None] = time.sleep
    address: str = ""

    def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[_Request, _Reply]",
        request: _Request,
        *,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        meter: Meter | None = None,
        step: str = "call",
    ) -> _Reply:
        """Return the reply to `request`, trying again what fails in passing. `timeout` is per attempt, in
        seconds.

        Raises RefusedError.
        """
        attempt = 0
        while True:
            started = time.perf_counter()
            try:
                reply = method(request, timeout=timeout)
            except grpc.RpcError as error:
                refused = RefusedError(refusal_from_rpc_error(error), self.server, address=self.address)
                if meter is not None:
                    meter.add(step, calls=1, seconds=time.perf_counter() - started, sent=request.ByteSize())
                if not refused.passing or attempt + 1 >= self.retries.attempts:
                    raise refused from None
            else:
                if meter is not None:
                    meter.add(
                        step,
                        calls=1,
                        seconds=time.perf_counter() - started,
                        sent=request.ByteSize(),
                        received=reply.ByteSize(),
                    )
                return reply
            attempt += 1
            if attempt >= _SILENT_ATTEMPTS:
                _LOG.info(
                    "Waiting for %s%s: attempt %d of %d failed (%s).",
                    self.server.uri,
                    f" at {self.address}" if self.address else "",
                    attempt,
                    self.retries.attempts,
                    refused.reason,
                )
            self.sleep(self.retries.pause(attempt - 1, random.random()))  # noqa: S311 - spreads retries, guards nothing


class Connection:
    """One member's open channels. A context manager; threads may share it."""

    def __init__(self, home: Home, member: Member, *, retries: Retries | None = None) -> None:
        self.home = home
        self.member = member
        self._retries = retries or Retries()
        self._lock = threading.Lock()
        self._peers: dict[str, Peer] = {}

    @property
    def exchange(self) -> Peer:
        """The exchange that the home pins."""
        return self._peer(self.home.exchange.server, self.home.exchange.address)

    def node(self, party: str, registered_address: str) -> Peer:
        """Return a provider's node: at the home's override, else at the address that the registry gives.

        `party` is a bare name such as `tax-registry`. The certificate must be that party's node's, whatever
        the address: an address is only where to knock. Raises BourseError when there is none.
        """
        address = self.home.nodes.get(party) or registered_address
        if not address:
            raise BourseError(
                "NODE_ADDRESS_UNKNOWN",
                f"The registry has no node address of parties/{party}.",
                way_out="The exchange's administrator registers it; or set it in [nodes] of bourse.toml.",
            )
        server = Identity(self.home.trust_domain, "provider", party, NODE_MEMBER)
        return self._peer(server, check_address("node_address", address))

    def close(self) -> None:
        """Close all channels; calls under way end."""
        with self._lock:
            peers, self._peers = self._peers, {}
        for peer in peers.values():
            peer.channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _peer(self, server: Identity, address: str) -> Peer:
        key = f"{server.uri} {address}"
        with self._lock:
            if key not in self._peers:
                channel = secure_channel(address, server, self.member.channel_credentials)
                self._peers[key] = Peer(server, channel, self._retries, address=address)
            return self._peers[key]


def new_request_id() -> str:
    """Return a fresh request id: a random UUID in its canonical spelling."""
    return str(uuid.uuid4())


def paged(
    fetch: Callable[[str], tuple[Sequence[_Item], str]], *, limit: int | None = None
) -> Iterator[_Item]:
    """Yield the items of all pages, at most `limit`; `fetch` takes a page token and returns items and the
    next one.
    """
    token, left = "", limit
    while True:
        items, token = fetch(token)
        for item in items:
            if left is not None:
                if left <= 0:
                    return
                left -= 1
            yield item
        if not token or left == 0:
            return
