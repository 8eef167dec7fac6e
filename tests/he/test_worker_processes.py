import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compute.engine.errors import EngineUnavailableError, ModelFileError
from compute.engine.workers import WorkerEngine
from sealed.profiles import SCORE_V1, WIDE_V1

PATIENCE = 60
"""Seconds after which a wait that should have ended fails the test."""


@pytest.fixture
async def engine():
    engine = WorkerEngine(workers=1)
    yield engine
    await engine.close()


@pytest.fixture
def trade(trade_of):
    return trade_of(SCORE_V1, [[5, -7], [1, 2, 3]], np.array([[0, 2], [1, 1], [1, 0]]))


@pytest.fixture
def stalled(trade, tmp_path):
    """The same task, whose sealed model is a pipe: a worker that reads it stands still until it is fed."""
    path = tmp_path / "model"
    os.mkfifo(path)
    return replace(trade.task, c0_path=path)


def worker_ids() -> list[int]:
    return [process.pid for process in multiprocessing.active_children()]


async def until(happened, what: str):
    deadline = time.monotonic() + PATIENCE
    while not (result := happened()):
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        await asyncio.sleep(0.01)
    return result


async def being_read(path: Path) -> int:
    """Wait until a worker has opened the pipe, and return its writing end."""

    def opened() -> int | None:
        try:
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    return await until(opened, "a worker reads the model")


async def feed(writer: int, data: bytes) -> None:
    os.set_blocking(writer, True)
    with os.fdopen(writer, "wb") as pipe:
        await asyncio.to_thread(pipe.write, data)


async def test_workers_give_the_bytes_of_the_numpy_witness_under_both_profiles(trade_of, engine):
    await engine.start()
    trades = [
        trade_of(profile, [[5, -7], [1, 2, 3]], np.array([[0, 2], [1, 1], [1, 0]]), number)
        for profile in (SCORE_V1, WIDE_V1)
        for number in range(2)
    ]
    results = await asyncio.gather(*(engine.evaluate(trade.task) for trade in trades))
    assert [result.block for result in results] == [trade.block_by_numpy() for trade in trades]
    assert await engine.evaluate(trades[0].task) == results[0]


async def test_as_many_workers_start_as_were_asked_for():
    engine = WorkerEngine(workers=2)
    try:
        await engine.start()
        assert len(worker_ids()) == 2
    finally:
        await engine.close()
    assert not worker_ids()


async def test_a_worker_killed_in_the_middle_of_a_block_costs_nobody_the_block(trade, stalled, engine):
    running = asyncio.create_task(engine.evaluate(stalled))
    writer = await being_read(stalled.c0_path)
    stalled.c0_path.unlink()
    stalled.c0_path.write_bytes(trade.task.c0_path.read_bytes())
    (worker,) = worker_ids()
    os.kill(worker, signal.SIGKILL)
    result = await running
    os.close(writer)
    assert result.block == trade.block_by_numpy()
    assert worker_ids() != [worker]
    assert await engine.evaluate(trade.task) == result


async def test_blocks_waiting_behind_a_killed_worker_are_evaluated_too(trade_of, trade, stalled, engine):
    first = asyncio.create_task(engine.evaluate(stalled))
    writer = await being_read(stalled.c0_path)
    others = [trade_of(SCORE_V1, [[n]], np.array([[0]]), n) for n in range(4)]
    waiting = [asyncio.create_task(engine.evaluate(other.task)) for other in others]
    await asyncio.sleep(0)
    stalled.c0_path.unlink()
    stalled.c0_path.write_bytes(trade.task.c0_path.read_bytes())
    os.kill(worker_ids()[0], signal.SIGKILL)
    results = await asyncio.gather(first, *waiting)
    os.close(writer)
    assert [result.block for result in results] == [t.block_by_numpy() for t in (trade, *others)]


async def test_a_block_that_kills_two_workers_is_given_up_and_the_next_one_is_not(trade, stalled, engine):
    running = asyncio.create_task(engine.evaluate(stalled))
    for _ in range(2):
        writer = await being_read(stalled.c0_path)
        (worker,) = worker_ids()
        os.kill(worker, signal.SIGKILL)
        await until(lambda worker=worker: worker not in worker_ids(), "the worker is gone")
        os.close(writer)
    with pytest.raises(EngineUnavailableError, match="twice"):
        await running
    assert (await engine.evaluate(trade.task)).block == trade.block_by_numpy()


async def test_an_interrupt_at_the_terminal_is_left_to_the_node(trade, stalled, engine):
    running = asyncio.create_task(engine.evaluate(stalled))
    writer = await being_read(stalled.c0_path)
    os.kill(worker_ids()[0], signal.SIGINT)
    await feed(writer, trade.task.c0_path.read_bytes())
    assert (await running).block == trade.block_by_numpy()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


async def test_a_refusal_inside_a_worker_reaches_the_node_by_its_type(trade, engine, tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        await engine.evaluate(replace(trade.task, c0_path=tmp_path / "gone"))
    assert (await engine.evaluate(trade.task)).block == trade.block_by_numpy()


async def test_closing_finishes_what_runs_and_refuses_what_waits(trade, stalled, engine):
    running = asyncio.create_task(engine.evaluate(stalled))
    writer = await being_read(stalled.c0_path)
    waiting = [asyncio.create_task(engine.evaluate(trade.task)) for _ in range(8)]
    await until(lambda: all_submitted(engine, 9), "every block is handed to the pool")
    closing = asyncio.create_task(engine.close())
    await until(lambda: any(task.done() for task in waiting), "a waiting block is refused")
    await feed(writer, trade.task.c0_path.read_bytes())
    await closing
    assert (await running).block == trade.block_by_numpy()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, EngineUnavailableError)]
    finished = [outcome for outcome in outcomes if outcome not in refused]
    assert len(refused) >= 6
    assert all(result.block == trade.block_by_numpy() for result in finished)
    with pytest.raises(EngineUnavailableError, match="closed"):
        await engine.evaluate(trade.task)


def all_submitted(engine: WorkerEngine, count: int) -> bool:
    return engine._pool is not None and engine._pool._queue_count == count


async def test_a_caller_that_gives_up_is_cancelled_and_nobody_else(trade, stalled, engine):
    running = asyncio.create_task(engine.evaluate(stalled))
    writer = await being_read(stalled.c0_path)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await feed(writer, trade.task.c0_path.read_bytes())
    assert (await engine.evaluate(trade.task)).block == trade.block_by_numpy()


NODE = """
import asyncio, multiprocessing, sys
from compute.engine.workers import WorkerEngine

async def serve():
    engine = WorkerEngine(workers=2)
    await engine.start()
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(serve())
"""


def is_running(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_node_killed_outright_leaves_no_worker_behind(tmp_path):
    script = tmp_path / "node.py"
    script.write_text(NODE)
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    ) as node:
        workers = [int(word) for word in node.stdout.readline().split()]
        assert len(workers) == 2
        assert all(is_running(worker) for worker in workers)
        node.kill()
    asyncio.run(until(lambda: not any(map(is_running, workers)), "the workers have ended"))


def test_workers_are_spawned_and_never_forked_beside_the_nodes_threads():
    """A fork would copy the node's threads' locks; a spawned worker starts as its own interpreter."""

    def command_lines() -> list[bytes]:
        return [Path(f"/proc/{worker}/cmdline").read_bytes() for worker in worker_ids()]

    async def started() -> list[bytes]:
        engine = WorkerEngine(workers=1)
        try:
            await engine.start()
            return command_lines()
        finally:
            await engine.close()

    stop = threading.Event()
    busy = threading.Thread(target=stop.wait)
    busy.start()
    try:
        lines = asyncio.run(started())
    finally:
        stop.set()
        busy.join()
    assert lines
    assert all(b"spawn_main" in line for line in lines)
