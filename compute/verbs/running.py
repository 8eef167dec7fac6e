"""Work that outlives the call that asked for it, and locks by name.

A caller may hang up at any moment; what it started must still end in one of its proper states.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from compute.domain.errors import BusyError
from wire.event_log import facts_of, log_event

_T = TypeVar("_T")

# A caller who hangs up leaves its work behind: whoever calls and hangs up must not pile it up without end.
MAX_CALLS: Final = 512


class Tasks:
    """The tasks of one event loop that nobody may cancel but the node's stop."""

    def __init__(self, log: logging.Logger) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._calls = 0
        self._log = log

    async def to_the_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return what `work` returns; when the caller is cancelled, `work` still runs to its end.

        Raises BusyError, with nothing begun, while 512 calls have not come to their ends.
        """
        if self._calls >= MAX_CALLS:
            work.close()
            raise BusyError(
                f"the node still works for {MAX_CALLS} calls; repeat the same request in a moment"
            )
        self._calls += 1
        task = self._start(work)
        task.add_done_callback(self._call_ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._log_failure)
            raise

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; its failure is logged."""
        self._start(work).add_done_callback(self._log_failure)

    async def close(self, grace_seconds: float) -> None:
        """Wait for what runs, then cancel what is left."""
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        left = set(self._running)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def _start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def _call_ended(self, _task: asyncio.Task[Any]) -> None:
        self._calls -= 1

    def _log_failure(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log_event(self._log, logging.WARNING, "task_failed", **facts_of(error))


class NamedLocks:
    """One lock per name, kept only while somebody holds or awaits it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def holding(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of `name`."""
        lock, users = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)
