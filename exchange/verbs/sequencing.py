"""The sequencer: gives committed records their index, right after the commit and at start.

Whoever added a record waits for the run that began after its commit, so it finds its own record in the log.
A run that fails harms nothing: the record is kept, its receipt is given, and the next run takes it along.
"""

import asyncio
import logging
from typing import Final

from durable import AsyncDatabase
from exchange.store.records import SEQUENCED_AT_ONCE, sequence
from wire.event_log import facts_of, log_event

# Any constant: it must only differ from other advisory locks in the same database.
SEQUENCER_LOCK: Final = 0x626F757273650002
RETRY_SECONDS: Final = 1.0


class Sequencer:
    """One per process; several processes take turns. The event loop that runs `run` owns it."""

    def __init__(self, database: AsyncDatabase, log: logging.Logger) -> None:
        self._database = database
        self._log = log
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    async def settle(self) -> None:
        """Return when the records committed so far have their indexes, or a run for them has failed."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._asked.set()
        await done

    async def catch_up(self) -> None:
        """Give an index to every record that has none. Raises DurableError."""
        while await self._database.write_apart(SEQUENCER_LOCK, sequence) == SEQUENCED_AT_ONCE:
            pass

    async def run(self) -> None:
        """Serve `settle` until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await self.catch_up()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next record needs a sequencer
                log_event(self._log, logging.WARNING, "sequencing_failed", **facts_of(error))
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._asked.set)
            finally:
                for done in waiting:
                    if not done.done():
                        done.set_result(None)
