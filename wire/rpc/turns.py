"""Turns: how many calls of one party a server has in hand at a time, so that no party takes all its memory.

A request is received when its call has its turn. What one party may have a server hold is therefore bounded
by its turns and the longest message, however many connections it opens, and other parties wait for none of
it. A call that waits keeps its own deadline.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from wire.identity import Identity


class Turns:
    """At most `limit` calls of each party at a time; more wait, the first first. One event loop owns it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parties: dict[tuple[str, str], tuple[asyncio.Semaphore, int]] = {}

    @asynccontextmanager
    async def of(self, identity: Identity) -> AsyncIterator[None]:
        """Wait for a turn of the caller's party and hold it."""
        party = (identity.kind, identity.party)
        turns, users = self._parties.get(party, (asyncio.Semaphore(self._limit), 0))
        self._parties[party] = (turns, users + 1)
        try:
            async with turns:
                yield
        finally:
            turns, users = self._parties[party]
            if users == 1:
                del self._parties[party]
            else:
                self._parties[party] = (turns, users - 1)
