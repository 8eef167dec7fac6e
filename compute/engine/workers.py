"""Worker processes: blocks are evaluated beside the event loop, never on it.

SEAL's bindings hold the interpreter's lock, so each worker is a process of its own, spawned and never forked
beside gRPC's threads. A worker that dies takes the pool with it: the pool is rebuilt, and every block that
was lost is tried once more. Workers leave interrupts to the node, and end when it is gone, however it died.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from multiprocessing.connection import wait
from typing import TypeVar

from compute.engine.boundary import BlockResult, BlockTask
from compute.engine.errors import EngineUnavailableError
from compute.engine.evaluation import evaluate_block
from compute.engine.models import ModelCache, read_model
from compute.engine.seal import SealEngine
from sealed.profiles import SCORE_V1, Profile

DEFAULT_MODEL_BYTES = 512 << 20
"""Memory for prepared models in each worker: eight of 100 columns."""

_ATTEMPTS = 2

Result = TypeVar("Result")


class WorkerEngine:
    """An `Engine` of `workers` processes, each keeping up to `model_bytes` of prepared models.

    Its methods belong to one event loop.
    """

    def __init__(self, workers: int, model_bytes: int = DEFAULT_MODEL_BYTES) -> None:
        """Start nothing yet; see `start`."""
        self._workers = workers
        self._model_bytes = model_bytes
        self._pool: ProcessPoolExecutor | None = None
        self._closed = False

    async def start(self) -> None:
        """Spawn every worker and set its arithmetic up, so that the first block finds it warm."""
        await asyncio.gather(*(self._run(partial(_warm_up, SCORE_V1)) for _ in range(self._workers)))

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Return the sealed block of a task; see `Engine`."""
        return await self._run(partial(_evaluate, task, self._model_bytes))

    async def close(self) -> None:
        """Drop what waits, let what runs finish, and end the workers."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        for _ in range(_ATTEMPTS):
            pool = self._current_pool()
            try:
                return await self._outcome(await asyncio.to_thread(_submit, pool, work))
            except BrokenProcessPool:
                self._discard(pool)
        raise EngineUnavailableError(
            "workers died twice while evaluating one block: look at the machine's memory and its system log"
        )

    async def _outcome(self, future: Future[Result]) -> Result:
        """Await a result; one dropped by `close` is no cancellation of whoever waits."""
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise EngineUnavailableError("the engine was closed before the block's turn came") from None
            raise

    def _current_pool(self) -> ProcessPoolExecutor:
        if self._closed:
            raise EngineUnavailableError("the engine is closed")
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin
            )
        return self._pool

    def _discard(self, pool: ProcessPoolExecutor) -> None:
        """Forget a broken pool, once however many tasks it lost."""
        if self._pool is pool:
            self._pool = None
            pool.shutdown(wait=False)


def _submit(pool: ProcessPoolExecutor, work: Callable[[], Result]) -> Future[Result]:
    """Submit with interrupts blocked, which a worker spawned meanwhile inherits for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(work)
    except BrokenProcessPool:
        raise
    except RuntimeError as error:
        raise EngineUnavailableError("the engine is closed") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Watch the node from inside a new worker."""
    threading.Thread(target=_end_with_parent, name="node-watch", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@cache
def _engine(profile: Profile) -> SealEngine:
    return SealEngine(profile)


@cache
def _models(budget: int) -> ModelCache:
    return ModelCache(budget)


def _warm_up(profile: Profile) -> None:
    _engine(profile)


def _evaluate(task: BlockTask, model_bytes: int) -> BlockResult:
    engine = _engine(task.ring)
    size = engine.column_bytes * (len(task.columns) + task.ring.blinds)
    model = _models(model_bytes).get((task.ctx, task.c0_digest), size, partial(read_model, engine, task))
    return evaluate_block(engine, model, task)
