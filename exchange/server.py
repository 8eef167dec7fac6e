"""The running exchange: services on a port, a sequencer beside them, health told, and a polite end."""

import asyncio
import logging
import sys
from collections.abc import Callable

import grpc
from bourse.exchange.v1 import (
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    license_service_pb2,
    license_service_pb2_grpc,
    party_service_pb2,
    party_service_pb2_grpc,
    trade_record_service_pb2,
    trade_record_service_pb2_grpc,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from durable import AsyncDatabase, Database
from exchange.config import Config
from exchange.rpc.dataset_service import DatasetService
from exchange.rpc.desk import Desk
from exchange.rpc.license_service import LicenseService
from exchange.rpc.party_service import PartyService
from exchange.rpc.refusals import refusal_of
from exchange.rpc.trade_record_service import TradeRecordService
from exchange.verbs.acts import Office
from exchange.verbs.sequencing import Sequencer
from wire.credentials import Credentials
from wire.event_log import log_event
from wire.rpc import SafetyInterceptor, serve_until_signalled, server_credentials, server_options

SERVICES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (party_service_pb2, "PartyService"),
        (dataset_service_pb2, "DatasetService"),
        (license_service_pb2, "LicenseService"),
        (trade_record_service_pb2, "TradeRecordService"),
    )
)
MAX_DEADLINE_SECONDS = 600.0
# The longest request is a description of 1 MiB; the longest reply is a page of such.
MAX_MESSAGE_BYTES = 8 * 2**20


async def serve(
    config: Config,
    credentials: Credentials,
    office: Office,
    database: Database,
    log: logging.Logger,
    *,
    announce: Callable[[int], None],
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is told the bound port once calls are answered.

    Raises DurableError when the ledger cannot be brought up to date, OSError when the port is taken.
    """
    threads = AsyncDatabase(database)
    try:
        sequencer = Sequencer(threads, log)
        await sequencer.catch_up()
        running = asyncio.create_task(sequencer.run())
        desk = Desk(office=office, database=threads, sequencer=sequencer)
        server, health_servicer = _server(config, desk, log)
        port = _bind(server, config, credentials)
        await server.start()
        await _tell_health(health_servicer)
        log_event(log, logging.INFO, "serving", port=port, origin=office.origin)
        announce(port)
        await serve_until_signalled(
            server,
            leave=health_servicer.enter_graceful_shutdown,
            grace_seconds=config.drain_seconds,
            log=log,
        )
        running.cancel()
    finally:
        threads.close()


def print_serving(config: Config, port: int) -> None:
    """Tell who started the process where it listens: by the port file, and by one line."""
    if config.port_file is not None:
        partial = config.port_file.with_name(config.port_file.name + ".partial")
        partial.write_text(f"{port}\n")
        partial.replace(config.port_file)
    host = config.listen.rpartition(":")[0]
    sys.stdout.write(f"SERVING {host}:{port}\n")
    sys.stdout.flush()


def _server(
    config: Config, desk: Desk, log: logging.Logger
) -> tuple[grpc.aio.Server, health.aio.HealthServicer]:
    around = [health.SERVICE_NAME]
    if config.reflection:
        around.append(reflection.SERVICE_NAME)
    server = grpc.aio.server(
        interceptors=[
            SafetyInterceptor(
                domain=config.origin,
                trust_domain=config.trust_domain,
                authorize=desk.authorize,
                translate=refusal_of,
                log=log,
                exempt=around,
                max_deadline_seconds=MAX_DEADLINE_SECONDS,
            )
        ],
        options=server_options(max_message_bytes=MAX_MESSAGE_BYTES),
        compression=grpc.Compression.NoCompression,
    )
    party_service_pb2_grpc.add_PartyServiceServicer_to_server(PartyService(desk), server)
    dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server(DatasetService(desk), server)
    license_service_pb2_grpc.add_LicenseServiceServicer_to_server(LicenseService(desk), server)
    trade_record_service_pb2_grpc.add_TradeRecordServiceServicer_to_server(TradeRecordService(desk), server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if config.reflection:
        reflection.enable_server_reflection([*SERVICES, *around], server)
    return server, health_servicer


def _bind(server: grpc.aio.Server, config: Config, credentials: Credentials) -> int:
    transport = server_credentials(credentials.key_pem, credentials.certificate_pem, credentials.ca_pem)
    try:
        return server.add_secure_port(config.listen, transport)
    except RuntimeError:
        raise OSError(f"listen: {config.listen} cannot be bound; is it taken?") from None


async def _tell_health(servicer: health.aio.HealthServicer) -> None:
    for service in ("", *SERVICES):
        await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
