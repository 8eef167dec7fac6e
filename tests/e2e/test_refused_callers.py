"""Callers that the real servers do not serve: each is told what is wrong in words that help."""

import re
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from bourse.compute.v1 import sealing_service_pb2, sealing_service_pb2_grpc
from bourse.exchange.v1 import (
    license_service_pb2,
    license_service_pb2_grpc,
    party_service_pb2,
    party_service_pb2_grpc,
)
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from market_records import BUREAU, KNOWN, REGISTRY, rows_of
from market_world import ANALYST, dataset_of

from clients.connection import RefusedError
from clients.demo.market import EXCHANGE_IDENTITY, TRUST_DOMAIN
from clients.errors import HomeError
from clients.member import Member
from clients.pki.authority import issue_certificate, new_authority
from wire.envelope import cleartext_private_key_pem
from wire.identity import Identity
from wire.rpc import channel_credentials, refusal_from_rpc_error, secure_channel

SECONDS = 10
SERVERS = ("exchange", REGISTRY)
NO_SEALING = "sealings/00000000-0000-4000-8000-000000000000"
NODE = Identity(TRUST_DOMAIN, "provider", REGISTRY, "node")


def papers(authority, identity=ANALYST, *, ago_days=0):
    """A key and a certificate of one day that began `ago_days` ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue_certificate(
        authority,
        identity,
        key.public_key(),
        server=None,
        now=datetime.now(UTC) - timedelta(days=ago_days),
        days=1,
    )
    return cleartext_private_key_pem(key), certificate.public_bytes(Encoding.PEM)


def identity_of(server):
    return Identity.parse(EXCHANGE_IDENTITY) if server == "exchange" else NODE


def open_channel(market, server, key_and_certificate, ca_pem, **options):
    return secure_channel(
        market.market.servers[server].address,
        identity_of(server),
        channel_credentials(*key_and_certificate, ca_pem),
        **options,
    )


def call(channel, server, *, timeout=SECONDS):
    """The cheapest call of each server."""
    if server == "exchange":
        service = party_service_pb2_grpc.PartyServiceStub(channel)
        return service.ListParties(party_service_pb2.ListPartiesRequest(), timeout=timeout)
    service = sealing_service_pb2_grpc.SealingServiceStub(channel)
    return service.GetSealing(sealing_service_pb2.GetSealingRequest(name=NO_SEALING), timeout=timeout)


def refusal(market, server, key_and_certificate, ca_pem=None, **options):
    with open_channel(market, server, key_and_certificate, ca_pem or market.ca_pem) as channel:
        with pytest.raises(grpc.RpcError) as error:
            call(channel, server, **options)
        return refusal_from_rpc_error(error.value)


@pytest.mark.parametrize("server", SERVERS)
def test_an_expired_certificate_is_refused_and_the_caller_is_told_what_to_renew(market, server):
    refused = refusal(market, server, papers(market.authority, ago_days=3))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "CONNECTION_CLOSED")
    assert "must be unexpired and of its authority" in refused.message
    assert "bourse pki rotate" in refused.message


@pytest.mark.parametrize("server", SERVERS)
def test_a_certificate_of_a_foreign_authority_of_the_same_name_is_refused(market, server):
    foreign = new_authority(TRUST_DOMAIN, now=datetime.now(UTC), days=2)
    refused = refusal(market, server, papers(foreign))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "CONNECTION_CLOSED")
    assert "of its authority" in refused.message


@pytest.mark.parametrize("server", SERVERS)
def test_a_caller_of_a_foreign_authority_does_not_accept_the_server_either(market, server):
    foreign = new_authority(TRUST_DOMAIN, now=datetime.now(UTC), days=2)
    ca_pem = foreign.certificate.public_bytes(Encoding.PEM)
    refused = refusal(market, server, papers(foreign), ca_pem)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_CERTIFICATE_REFUSED")
    assert "another authority than this identity's ca.crt" in refused.message


@pytest.mark.parametrize("server", SERVERS)
def test_a_certificate_of_nobody_in_the_registry_is_refused_as_unknown(market, server):
    stranger = Identity(TRUST_DOMAIN, "bank", "hill-bank", "analyst")
    refused = refusal(market, server, papers(market.authority, stranger))
    if server == "exchange":
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAUTHENTICATED, "IDENTITY_UNKNOWN")
    else:
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "SEALING_NOT_FOUND")


def test_a_home_whose_certificate_has_expired_is_refused_before_anybody_is_called(market):
    later = datetime.now(UTC) + timedelta(days=5)
    home = market.home(ANALYST)
    with pytest.raises(HomeError) as error:
        Member.open(home / "identity", now=later)
    assert "bourse pki rotate" in error.value.message
    assert "tls.crt: valid from" in error.value.message


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("seconds", [None, 3601.0])
def test_a_call_without_a_near_deadline_is_refused_with_the_limit(market, server, seconds):
    refused = refusal(market, server, papers(market.authority), timeout=seconds)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DEADLINE_REQUIRED")
    assert "deadline of at most 600 seconds" in refused.message
    assert refused.metadata["maxSeconds"] == "600"


@pytest.mark.parametrize("server", SERVERS)
def test_an_oversized_message_is_refused_with_both_sizes_and_the_server_goes_on(market, server):
    own = papers(market.authority)
    with open_channel(market, server, own, market.ca_pem, max_message_bytes=64 * 2**20) as channel:
        with pytest.raises(grpc.RpcError) as error:
            send_much(channel, server, 40 * 2**20)
        refused = refusal_from_rpc_error(error.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    sent, limit = re.search(r"has (\d+) bytes and the limit is (\d+)", refused.message).groups()
    assert int(limit) <= 8 * 2**20 < int(sent)
    with open_channel(market, server, own, market.ca_pem) as channel:
        assert reason_or_none(channel, server) == (None if server == "exchange" else "SEALING_NOT_FOUND")


def send_much(channel, server, size):
    """Send a message of more than `size` bytes."""
    if server == "exchange":
        license_service_pb2_grpc.LicenseServiceStub(channel).CreateLicense(
            license_service_pb2.CreateLicenseRequest(note="x" * size), timeout=SECONDS
        )
    else:
        sealing_service_pb2_grpc.SealingServiceStub(channel).PutSealedColumn(
            sealing_service_pb2.PutSealedColumnRequest(sealing=NO_SEALING, data=bytes(size)), timeout=SECONDS
        )


def reason_or_none(channel, server):
    try:
        call(channel, server)
    except grpc.RpcError as error:
        return refusal_from_rpc_error(error).reason
    return None


def test_a_job_beyond_a_license_is_refused_with_its_clause_and_way_out_and_nobody_is_charged(market):
    wide, narrow = market.license(dataset_of(REGISTRY)), market.license(dataset_of(BUREAU), max_rows=10)
    card = market.deploy([wide, narrow])
    with pytest.raises(RefusedError) as refused:
        market.bank.score(card, rows_of(KNOWN[:11]), consent_reference="x", licenses=[wide, narrow])
    error = refused.value
    assert (error.reason, error.clause) == ("CLAUSE_REFUSED", "max_rows")
    assert (error.limit, error.asked) == ("10, of which 0 used", "11 more")
    assert error.way_out.startswith("Ask for at most 10 persons, or negotiate a larger license.")
    assert [market.bank.usage(name).rows for name in (wide, narrow)] == [0, 0]
    assert [job.plan().rows for job in market.bank.jobs()].count(11) == 0
