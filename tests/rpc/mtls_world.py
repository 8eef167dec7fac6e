"""A server behind the safety interceptor, callers with all kinds of papers, and handlers that misbehave."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from grpc_health.v1 import health, health_pb2_grpc

from clients.pki.authority import Authority, ServerNames, issue_certificate
from wire.envelope import cleartext_private_key_pem
from wire.event_log import EventFormatter
from wire.identity import Identity
from wire.rpc import (
    Clause,
    Refusal,
    RefusalError,
    SafetyInterceptor,
    aio_secure_channel,
    caller_of,
    channel_credentials,
    identity_of,
    refusal_from_rpc_error,
    server_credentials,
    server_options,
)

NOW = datetime.now(UTC)
SECRET = "applicant 4711 earns 52,000"
SERVER = Identity("bourse.test", "operator", "bourse", "exchange")
ANALYST = Identity("bourse.test", "bank", "harbour-bank", "analyst")
AUDITOR = Identity("bourse.test", "regulator", "watch", "auditor")
MAX_BYTES = 64 * 1024


class RoleError(Exception):
    """What a domain raises when a role does not allow a call."""


@dataclass(frozen=True)
class Caller:
    party: str


@dataclass(frozen=True)
class Papers:
    """A key and a certificate, as TLS wants them."""

    key_pem: bytes
    certificate_pem: bytes


def issued(authority: Authority, identity: Identity, server: ServerNames | None = None) -> Papers:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue_certificate(authority, identity, key.public_key(), server=server, now=NOW, days=1)
    return Papers(cleartext_private_key_pem(key), certificate.public_bytes(Encoding.PEM))


def crafted(authority: Authority, names: list[x509.GeneralName], *, ended: bool = False) -> Papers:
    """Papers that `issue_certificate` would never give out."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = NOW - timedelta(hours=1) if ended else NOW + timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Papers(cleartext_private_key_pem(key), certificate.public_bytes(Encoding.PEM))


def parse_question(data: bytes) -> str:
    text = data.decode()
    if not text.startswith("?"):
        raise ValueError(f"cannot read {SECRET}")
    return text[1:]


async def echo(request, context):
    return f"{caller_of(context, Caller).party} {identity_of(context).member} asked {request}".encode()


async def fail(request, context):
    raise ValueError(SECRET) from KeyError(SECRET)


async def fail_behind_the_back(request, context):
    await context.abort(grpc.StatusCode.NOT_FOUND, SECRET)


async def answer_what_cannot_be_encoded(request, context):
    return SECRET


async def wait_for_ever(request, context):
    await asyncio.Event().wait()


def old_style(request, context):
    return b"never"


async def refuse_by_clause(request, context):
    raise RefusalError(
        Refusal(
            grpc.StatusCode.FAILED_PRECONDITION,
            "CLAUSE_REFUSED",
            "许可证不允许" * 60,
            metadata={"license": "licenses/1"},
            clause=Clause("max_rows", "600, 590 used", "20", "ask for 10 rows, or amend the license"),
            violations=tuple((f"rows[{n}]", f"第{n}行超出许可范围" * 10) for n in range(200)),
        )
    )


async def count_up(request, context):
    for number in range(int(request)):
        yield str(number).encode()
    raise ValueError(SECRET)


async def gather(requests, context):
    return "+".join([request async for request in requests]).encode()


async def converse(requests, context):
    async for request in requests:
        yield request.upper().encode()


def unencodable(reply):
    raise ValueError(reply)


METHODS = {
    "Echo": grpc.unary_unary_rpc_method_handler(echo, parse_question),
    "Fail": grpc.unary_unary_rpc_method_handler(fail, parse_question),
    "Abort": grpc.unary_unary_rpc_method_handler(fail_behind_the_back, parse_question),
    "Encode": grpc.unary_unary_rpc_method_handler(answer_what_cannot_be_encoded, parse_question, unencodable),
    "Wait": grpc.unary_unary_rpc_method_handler(wait_for_ever, parse_question),
    "Old": grpc.unary_unary_rpc_method_handler(old_style, parse_question),
    "Unruled": grpc.unary_unary_rpc_method_handler(echo, parse_question),
    "Clause": grpc.unary_unary_rpc_method_handler(refuse_by_clause, parse_question),
    "Count": grpc.unary_stream_rpc_method_handler(count_up, parse_question),
    "Gather": grpc.stream_unary_rpc_method_handler(gather, parse_question),
    "Converse": grpc.stream_stream_rpc_method_handler(converse, parse_question),
}


async def authorize(method: str, identity: Identity) -> Caller | None:
    if identity.kind != "bank":
        raise RoleError(SECRET)
    return None if method.endswith("/Unruled") else Caller(identity.party)


def translate(error: Exception) -> Refusal | None:
    if isinstance(error, RoleError):
        return Refusal(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", "Only banks may ask.")
    return None


class Market:
    """A server, its log, and callers with all kinds of papers."""

    def __init__(self, authority: Authority, server: grpc.aio.Server, port: int, lines: list[str]) -> None:
        self.authority = authority
        self.server = server
        self.address = f"127.0.0.1:{port}"
        self.lines = lines
        self.told: list[str] = []  # whatever a failed call brought to the peer
        self.ca_pem = authority.certificate.public_bytes(Encoding.PEM)

    def channel(self, papers: Papers | None, **settings) -> grpc.aio.Channel:
        server = settings.pop("server", SERVER)
        ca_pem = settings.pop("ca_pem", self.ca_pem)
        if papers is None:
            credentials = grpc.ssl_channel_credentials(ca_pem)
        else:
            credentials = channel_credentials(papers.key_pem, papers.certificate_pem, ca_pem)
        return aio_secure_channel(self.address, server, credentials, **settings)

    async def ask(
        self, papers: Papers | None, method="Echo", request=b"?1", *, seconds=10, **settings
    ) -> bytes:
        """Call, and raise what was refused as a RefusalError."""
        async with self.channel(papers, **settings) as channel:
            try:
                return await channel.unary_unary(f"/market.Test/{method}")(request, timeout=seconds)
            except grpc.aio.AioRpcError as error:
                self.told += [error.details(), str(error.trailing_metadata()), error.debug_error_string()]
                raise RefusalError(refusal_from_rpc_error(error)) from error

    async def refused(self, papers: Papers | None, method="Echo", request=b"?1", **settings) -> Refusal:
        with pytest.raises(RefusalError) as refused:
            await self.ask(papers, method, request, **settings)
        return refused.value.refusal

    def logged(self) -> list[dict]:
        return [json.loads(line) for line in self.lines]


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(EventFormatter())
        self.lines: list[str] = []
        self.written = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.written.set()


@asynccontextmanager
async def open_market(authority: Authority, log: logging.Logger) -> AsyncIterator[Market]:
    """Serve on a free port; at the end, nobody may have been told the secret."""
    interceptor = SafetyInterceptor(
        domain="exchange.bourse.test",
        trust_domain="bourse.test",
        authorize=authorize,
        translate=translate,
        log=log,
        exempt={"grpc.health.v1.Health"},
        max_deadline_seconds=60,
        new_incident=lambda: "incident-1",
    )
    server = grpc.aio.server(interceptors=[interceptor], options=server_options(max_message_bytes=MAX_BYTES))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("market.Test", METHODS),))
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    papers = issued(authority, SERVER, ServerNames())
    ca_pem = authority.certificate.public_bytes(Encoding.PEM)
    port = server.add_secure_port(
        "127.0.0.1:0", server_credentials(papers.key_pem, papers.certificate_pem, ca_pem)
    )
    await server.start()
    (handler,) = log.handlers
    market = Market(authority, server, port, handler.lines)
    yield market
    await server.stop(None)
    assert SECRET not in "".join(market.told)
    assert SECRET not in "".join(handler.lines)
