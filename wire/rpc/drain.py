"""Leaving politely: stop being listed as healthy, finish what is running, then go."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

import grpc

from wire.event_log import log_event


async def serve_until_signalled(
    server: grpc.aio.Server,
    *,
    leave: Callable[[], Awaitable[None]],
    grace_seconds: float,
    log: logging.Logger,
) -> None:
    """Return when SIGTERM or SIGINT has come and `server`, already started, has drained.

    In order: (1) `leave` tells the health service NOT_SERVING (`HealthServicer.enter_graceful_shutdown`),
    (2) new calls are refused and running ones get `grace_seconds` to end, (3) what still runs is cancelled.
    A second signal skips what is left of the grace.
    """
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        received = await signals.get()
        log_event(log, logging.INFO, "draining", signal=received.name, grace_seconds=grace_seconds)
        await leave()
        stopping = asyncio.ensure_future(server.stop(grace_seconds))
        impatient = asyncio.ensure_future(signals.get())
        await asyncio.wait({stopping, impatient}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            await server.stop(None)
        await stopping
        impatient.cancel()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    log_event(log, logging.INFO, "stopped")
