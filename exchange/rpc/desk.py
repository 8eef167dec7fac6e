"""How every call is served: admitted, answered before or done once, in one transaction, then logged in order.

A call that changes something runs in this order, all of it inside one transaction: (1) the registry admits
the caller as it stands now, (2) the caller's relation to the resource is checked, (3) the request id may have
been answered before, (4) the rest of the request is read, (5) the verb changes and records, (6) the reply is
kept. Records get their index before the reply leaves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from durable import AsyncDatabase
from exchange.domain.callers import Caller
from exchange.domain.parties import Role
from exchange.rpc.authority import AUTHORITY
from exchange.store import Transaction
from exchange.verbs.acts import Act, Office
from exchange.verbs.requests import admitted, answer_once, check_request_id
from exchange.verbs.sequencing import Sequencer
from wire.framing import tagged_hash
from wire.identity import Identity
from wire.rpc import caller_of

_REQUEST_TAG = "bourse/exchange/v1/request"

ReplyT = TypeVar("ReplyT", bound=Message)
RelatedT = TypeVar("RelatedT")
ResultT = TypeVar("ResultT")


class ChangeRequest(Protocol):
    """A request that changes something."""

    @property
    def request_id(self) -> str: ...

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 - protobuf's name
        ...


@dataclass(frozen=True)
class Admission:
    """Who was let in at the door, and which roles the method allows: they are asked for again inside."""

    identity: Identity
    caller: Caller
    allowed: frozenset[Role]


def utc_now() -> datetime:
    """Return the time in UTC; Python's clock has whole microseconds."""
    return datetime.now(UTC)


class Desk:
    """What the services share."""

    def __init__(
        self,
        *,
        office: Office,
        database: AsyncDatabase,
        sequencer: Sequencer,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.office = office
        self._database = database
        self._sequencer = sequencer
        self._clock = clock

    async def authorize(self, method: str, identity: Identity) -> Admission | None:
        """Let a caller in by what the registry says now; None when no rule speaks of the method."""
        allowed = AUTHORITY.get(method)
        if allowed is None:
            return None
        caller = await self._database.read(lambda tx: admitted(tx, identity, allowed))
        return Admission(identity, caller, allowed)

    async def read(self, context: object, query: Callable[[Transaction, Caller], ResultT]) -> ResultT:
        """Return what `query` finds for the caller at one moment."""
        admission = caller_of(context, Admission)
        return await self._database.read(lambda tx: query(tx, admission.caller))

    async def change(
        self,
        request: ChangeRequest,
        context: object,
        *,
        relate: Callable[[Transaction, Caller], RelatedT],
        change: Callable[[Transaction, Act, RelatedT], ReplyT],
        reply: type[ReplyT],
    ) -> ReplyT:
        """Return the reply of `change`, which happens once for a request id.

        `relate` returns what the call is about, if the caller may do this to it. Both read the request's
        fields themselves, so that nothing of it is looked at before.
        """
        admission = caller_of(context, Admission)
        body = request.SerializeToString(deterministic=True)
        digest = tagged_hash(_REQUEST_TAG, type(request).__name__.encode(), body)

        def serve(tx: Transaction) -> bytes:
            now = self._clock()
            caller = admitted(tx, admission.identity, admission.allowed)  # (1)
            related = relate(tx, caller)  # (2)
            request_id = check_request_id(request.request_id)
            act = Act(self.office, caller, now)
            return answer_once(  # (3) and (6)
                tx,
                caller,
                request_id,
                digest,
                now,
                lambda: change(tx, act, related).SerializeToString(deterministic=True),  # (4) and (5)
            )

        written = await self._database.write(serve)
        await self._sequencer.settle()
        return reply.FromString(written)
