"""Work that outlives its caller, and locks by name."""

import asyncio
import logging

import pytest

from compute.verbs.running import NamedLocks, Tasks

LOG = logging.getLogger("tests.running")


async def test_work_ends_though_its_caller_hangs_up():
    tasks, go_on, done = Tasks(LOG), asyncio.Event(), []

    async def work() -> None:
        await go_on.wait()
        done.append(1)

    caller = asyncio.ensure_future(tasks.to_the_end(work()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await tasks.close(1)
    assert done == [1]


async def test_a_caller_that_stays_gets_the_result_or_the_failure():
    tasks = Tasks(LOG)
    assert await tasks.to_the_end(asyncio.sleep(0, "result")) == "result"

    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await tasks.to_the_end(fail())
    await tasks.close(0)


async def test_a_failure_that_nobody_waits_for_is_logged_by_type_alone(caplog):
    tasks = Tasks(LOG)

    async def fail() -> None:
        raise LookupError("SECRET")

    tasks.in_background(fail())
    await tasks.close(1)
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.bourse_facts["error"] == "builtins.LookupError"
    assert "SECRET" not in str(record.__dict__)


async def test_closing_cancels_what_does_not_end_in_time():
    tasks, cancelled = Tasks(LOG), []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    tasks.in_background(work())
    await asyncio.sleep(0)
    await tasks.close(0)
    assert cancelled == [1]


async def test_one_name_is_held_by_one_at_a_time_and_other_names_do_not_wait():
    locks, inside, most = NamedLocks(), {"a": 0, "b": 0}, {"a": 0, "b": 0}
    together = []

    async def hold(name: str) -> None:
        async with locks.holding(name):
            inside[name] += 1
            most[name] = max(most[name], inside[name])
            await asyncio.sleep(0)
            together.append(inside["a"] + inside["b"])
            inside[name] -= 1

    await asyncio.gather(*(hold(name) for name in "abababab"))
    assert most == {"a": 1, "b": 1}
    assert max(together) == 2
    assert locks._locks == {}


async def test_a_holder_that_fails_or_is_cancelled_lets_go():
    locks = NamedLocks()
    with pytest.raises(LookupError):
        async with locks.holding("a"):
            raise LookupError
    async with locks.holding("a"):
        waiting = asyncio.ensure_future(locks.holding("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert locks._locks == {}
