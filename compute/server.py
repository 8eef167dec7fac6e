"""The running node: what is started in which order, and how it ends.

The engine's workers are spawned and warm before the health check says SERVING; what an earlier stop
interrupted is taken up again before the first call. On SIGTERM new calls are refused, running ones and their
releases end, and whatever remains is taken up at the next start.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_bytes
from typing import Final

import grpc
from bourse.compute.v1 import (
    consent_service_pb2_grpc,
    evaluation_service_pb2_grpc,
    publication_service_pb2_grpc,
    sealing_service_pb2_grpc,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from compute.config import Config
from compute.domain.license import Pins
from compute.engine.boundary import Engine
from compute.engine.workers import WorkerEngine
from compute.exchange_link import ExchangeLink
from compute.files import write_whole
from compute.identity import NodeIdentity
from compute.release.releasing import Releasing
from compute.rpc.authority import Authority
from compute.rpc.consent_service import ConsentService
from compute.rpc.evaluation_service import EvaluationService
from compute.rpc.publication_service import PublicationService
from compute.rpc.refusals import translate
from compute.rpc.sealing_service import SealingService
from compute.store.database import AsyncDatabase, open_node_database
from compute.verbs.evaluating import Evaluations
from compute.verbs.gathering import Gathering
from compute.verbs.model_files import ModelFiles
from compute.verbs.node import Node, unlock
from compute.verbs.publishing import Publishing
from compute.verbs.running import Tasks
from compute.verbs.sealing import Sealings
from wire.event_log import facts_of, log_event
from wire.identity import server_dns_name
from wire.rpc import (
    SafetyInterceptor,
    aio_secure_channel,
    channel_credentials,
    serve_until_signalled,
    server_credentials,
    server_options,
)

MAX_DEADLINE_SECONDS: Final = 600.0
# The longest request names 65,536 persons of 64 bytes, which take 66 each; a sealed column has 128 KiB.
MAX_MESSAGE_BYTES: Final = 5 * 2**20
SWEEP_SECONDS = 30.0
_HEALTH: Final = "grpc.health.v1.Health"


@dataclass(frozen=True)
class RunningNode:
    """A node that serves calls on `address` until its stack is closed."""

    server: grpc.aio.Server
    health: health.aio.HealthServicer
    address: str


async def serve(
    config: Config, identity: NodeIdentity, passphrase: bytes, *, announce: Callable[[str], None]
) -> None:
    """Run a node until SIGTERM or SIGINT; `announce` is told the address once calls are served."""
    log = logging.getLogger("compute")
    async with AsyncExitStack() as stack:
        engine = WorkerEngine(config.workers)
        running = await start(config, identity, passphrase, engine, stack, log, now=utc_now)
        announce(running.address)
        await serve_until_signalled(
            running.server,
            leave=running.health.enter_graceful_shutdown,
            grace_seconds=config.drain_seconds,
            log=log,
        )


async def start(
    config: Config,
    identity: NodeIdentity,
    passphrase: bytes,
    engine: Engine,
    stack: AsyncExitStack,
    log: logging.Logger,
    *,
    now: Callable[[], datetime],
) -> RunningNode:
    """Start a node on `engine`, whose parts `stack` closes, the last one first.

    Raises DurableError when the database cannot be used, EnvelopeError for another passphrase than the first
    start's, OSError when the port is taken.
    """
    database = AsyncDatabase(open_node_database(config.database))
    stack.callback(database.close)
    vault, entity_secret = await unlock(database, passphrase, token_bytes)
    node = Node(
        database=database,
        vault=vault,
        entity_secret=entity_secret,
        pins=_pins(config, identity),
        signing_key=identity.signing_key,
        signing_keys=identity.signing_keys,
        now=now,
        entropy=token_bytes,
        log=log,
    )
    stack.push_async_callback(engine.close)
    await engine.start()
    channel = aio_secure_channel(
        config.exchange.address,
        config.exchange.identity,
        channel_credentials(
            identity.credentials.key_pem,
            identity.credentials.certificate_pem,
            identity.credentials.ca_pem,
        ),
    )
    stack.push_async_callback(channel.close)
    exchange = ExchangeLink(channel, config.exchange.origin)
    tasks = Tasks(log)
    stack.push_async_callback(tasks.close, config.drain_seconds)
    publishing = Publishing(node, config.records, tasks)
    stack.callback(publishing.stop)
    evaluations = Evaluations(
        node,
        engine,
        Gathering(database),
        ModelFiles(config.state / "models", database),
        tasks,
        slots=config.workers,
    )
    releasing = Releasing(node, exchange, tasks)
    await publishing.resume()
    await evaluations.resume()
    sweeper = asyncio.get_running_loop().create_task(_sweep(publishing, evaluations, releasing, log))
    stack.push_async_callback(_ended, sweeper)

    server = _server(config, identity, log)
    publication_service_pb2_grpc.add_PublicationServiceServicer_to_server(
        PublicationService(node, publishing), server
    )
    consent_service_pb2_grpc.add_ConsentServiceServicer_to_server(ConsentService(node), server)
    sealing_service_pb2_grpc.add_SealingServiceServicer_to_server(
        SealingService(node, Sealings(node, exchange, tasks)), server
    )
    evaluation_service_pb2_grpc.add_EvaluationServiceServicer_to_server(
        EvaluationService(node, evaluations, releasing), server
    )
    healthy = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    address = _bind(server, config, identity)
    await server.start()
    stack.push_async_callback(server.stop, None)
    await healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    if config.port_file is not None:
        write_whole(config.port_file, [f"{address.rpartition(':')[2]}\n".encode()])
    log_event(log, logging.INFO, "serving", address=address, workers=config.workers)
    return RunningNode(server, healthy, address)


def utc_now() -> datetime:
    """Return the time, aware."""
    return datetime.now(UTC)


def _pins(config: Config, identity: NodeIdentity) -> Pins:
    return Pins(
        provider=f"parties/{config.provider}",
        node_keys=frozenset(identity.signing_keys),
        steward_keys=config.steward_keys,
        exchange_key=config.exchange.public_key,
        origin=config.exchange.origin,
    )


def _server(config: Config, identity: NodeIdentity, log: logging.Logger) -> grpc.aio.Server:
    authority = Authority(f"parties/{config.provider}", config.stewards)
    safety = SafetyInterceptor(
        domain=server_dns_name(identity.credentials.identity),
        trust_domain=config.trust_domain,
        authorize=authority.authorize,
        translate=translate,
        log=log,
        exempt=[_HEALTH],
        max_deadline_seconds=MAX_DEADLINE_SECONDS,
    )
    return grpc.aio.server(
        interceptors=[safety],
        options=server_options(max_message_bytes=MAX_MESSAGE_BYTES),
        compression=grpc.Compression.NoCompression,
    )


def _bind(server: grpc.aio.Server, config: Config, identity: NodeIdentity) -> str:
    credentials = identity.credentials
    transport = server_credentials(credentials.key_pem, credentials.certificate_pem, credentials.ca_pem)
    try:
        port = server.add_secure_port(config.listen, transport)
    except RuntimeError:
        raise OSError(f"listen: {config.listen} cannot be bound; is it taken?") from None
    return f"{config.listen.rpartition(':')[0]}:{port}"


async def _sweep(
    publishing: Publishing, evaluations: Evaluations, releasing: Releasing, log: logging.Logger
) -> None:
    """Take up what was left undone and settle releases in doubt, at the start and from time to time."""
    while True:
        try:
            await releasing.reconcile()
            await publishing.resume()
            await evaluations.resume()
        except Exception as error:  # noqa: BLE001 - the next round may succeed; this loop must not end
            log_event(log, logging.WARNING, "sweep_failed", **facts_of(error))
        await asyncio.sleep(SWEEP_SECONDS)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
