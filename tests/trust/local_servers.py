"""What the market of trust_world.py is made of: engines, the exchange in this process, a network."""

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import exchange.server
from compute.engine.boundary import BlockResult, BlockTask
from compute.engine.workers import DEFAULT_MODEL_BYTES, WorkerEngine, _evaluate
from durable import AsyncDatabase, migrate, open_database
from exchange.config import Config
from exchange.domain.parties import Member, Role
from exchange.rpc.desk import Desk
from exchange.store import MIGRATIONS
from exchange.verbs.acts import Office
from exchange.verbs.parties import found_exchange
from exchange.verbs.sequencing import Sequencer
from tests.compute_world import ADMINISTRATOR, DOMAIN, EXCHANGE, ORIGIN
from wire.credentials import Credentials
from wire.identity import Identity

OFFICER = Identity(DOMAIN, "operator", "operator", "officer")


# ---- engines ----


class SharedEngine:
    """Worker processes that many nodes use one after another. `hold` keeps blocks from being evaluated."""

    def __init__(self, workers: WorkerEngine) -> None:
        self._workers = workers
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked = 0

    async def start(self) -> None:
        """The workers are warm."""

    async def close(self) -> None:
        """The next node needs them."""

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Evaluate in a worker process."""
        self.asked += 1
        await self.hold.wait()
        return await self._workers.evaluate(task)


class LocalEngine:
    """The same engine inside this process, so that a check inside it can be taken out."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-engine")

    async def start(self) -> None:
        """Nothing to spawn."""

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Evaluate in this process's one engine thread, as a worker process would."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _evaluate, task, DEFAULT_MODEL_BYTES
        )


# ---- between node and exchange ----


class Relay:
    """A network between node and exchange: forwards, holds replies back, or is away."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._replies = asyncio.Event()
        self._replies.set()
        self._away = False

    async def start(self) -> str:
        """Listen; the address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Be away: open connections break, new ones break at once."""
        self._away = True
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def restore(self) -> None:
        """Be back."""
        self._away = False
        self._replies.set()

    async def divert(self, target: str) -> None:
        """Lead to somebody else from now on."""
        await self.cut()
        self._target = target
        self.restore()

    def hold_replies(self) -> None:
        """Let nothing come back from the exchange until `restore`."""
        self._replies.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.get_running_loop().create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        await asyncio.gather(link, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if not self._away:
                host, _, port = self._target.rpartition(":")
                there, back = await asyncio.open_connection(host, int(port))
                writers.append(back)
                pumps = {
                    asyncio.ensure_future(self._pump(reader, back, replies=False)),
                    asyncio.ensure_future(self._pump(there, writer, replies=True)),
                }
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for one in writers:
                one.transport.abort()
                with suppress(OSError):
                    await one.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        while data := await reader.read(65_536):
            if replies:
                await self._replies.wait()
            writer.write(data)
            await writer.drain()


class LocalExchange:
    """The exchange's services on a free port of this process."""

    def __init__(self, folder: Path, credentials: Credentials) -> None:
        self._url = f"sqlite:///{folder / 'exchange.db'}"
        self._credentials = credentials
        self._office = Office(ORIGIN, EXCHANGE.party, credentials.signing_key, os.urandom)
        self._config = Config(
            origin=ORIGIN,
            trust_domain=DOMAIN,
            listen="127.0.0.1:0",
            database=self._url,
            identity=folder,
            passphrase_file=folder / "passphrase",
            drain_seconds=1,
            reflection=False,
            port_file=None,
        )
        self.address = ""

    def found(self) -> None:
        """Make the database with an administrator and a compliance officer."""
        database = open_database(self._url, create=True)
        migrate(database, MIGRATIONS)
        members = (
            Member(ADMINISTRATOR.member, frozenset({Role.ADMINISTRATOR})),
            Member(OFFICER.member, frozenset({Role.COMPLIANCE_OFFICER})),
        )
        database.write(
            lambda tx: found_exchange(
                tx,
                self._office,
                display_name="Operator",
                members=members,
                acting=EXCHANGE.member,
                now=datetime.now(UTC),
            )
        )
        database.close()

    async def start(self) -> None:
        """Serve, as `exchange.server.serve` does until its signal."""
        log = logging.getLogger("exchange")
        self._threads = AsyncDatabase(open_database(self._url))
        sequencer = Sequencer(self._threads, log)
        await sequencer.catch_up()
        self._sequencing = asyncio.get_running_loop().create_task(sequencer.run())
        desk = Desk(office=self._office, database=self._threads, sequencer=sequencer)
        self._server, _ = exchange.server._server(self._config, desk, log)
        self.address = f"127.0.0.1:{exchange.server._bind(self._server, self._config, self._credentials)}"
        await self._server.start()

    async def stop(self) -> None:
        """End at once."""
        await self._server.stop(None)
        self._sequencing.cancel()
        await asyncio.gather(self._sequencing, return_exceptions=True)
        self._threads.close()
