"""The sequencer beside a running exchange: nobody waits for it in vain, and no failure loses an index."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import func, select

from durable import AsyncDatabase, DatabaseUnavailableError
from exchange.domain.parties import PartyKind
from exchange.store.tables import log_entry, record_pending
from exchange.verbs import sequencing
from exchange.verbs.sequencing import Sequencer

LOG = logging.getLogger("exchange.tests")


class FailingDatabase(AsyncDatabase):
    """A database that is away for as many of the sequencer's runs as a test says."""

    def __init__(self, database, failures):
        super().__init__(database)
        self.failures = failures
        self.runs = 0
        self.back = asyncio.Event()

    async def write_apart(self, lock, change):
        self.runs += 1
        if self.runs <= self.failures:
            raise DatabaseUnavailableError("the database is out of reach")
        self.back.set()
        return await super().write_apart(lock, change)


@asynccontextmanager
async def running(database, failures=0):
    threads = FailingDatabase(database, failures)
    sequencer = Sequencer(threads, LOG)
    task = asyncio.create_task(sequencer.run())
    try:
        yield sequencer, threads
    finally:
        task.cancel()
        threads.close()


def count(bench, table):
    return bench.database.read(lambda tx: tx.execute(select(func.count()).select_from(table)).scalar())


async def test_whoever_was_answered_finds_its_record_in_the_log(bench):
    async with running(bench.database) as (sequencer, _):
        for number in range(3):
            await asyncio.to_thread(bench.register, f"bank-{number}", PartyKind.BANK)
            await sequencer.settle()
            assert count(bench, record_pending) == 0
    assert count(bench, log_entry) == 10


async def test_many_who_wait_share_a_run(bench):
    async with running(bench.database) as (sequencer, threads):
        await asyncio.gather(*(sequencer.settle() for _ in range(50)))
        assert threads.runs <= 2
    assert count(bench, record_pending) == 0


@pytest.mark.parametrize("failures", [1, 3])
async def test_a_run_that_fails_keeps_nobody_waiting_and_is_made_up_for(bench, monkeypatch, failures):
    monkeypatch.setattr(sequencing, "RETRY_SECONDS", 0.001)
    async with running(bench.database, failures) as (sequencer, threads):
        await sequencer.settle()
        await threads.back.wait()
        await sequencer.settle()
    assert count(bench, record_pending) == 0
    assert count(bench, log_entry) == 7
