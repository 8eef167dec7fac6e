"""Who may call what: every method of the exchange, called by every role, by strangers and by nobody."""

import grpc
import pytest
from bourse.exchange.v1 import party_pb2, party_service_pb2
from exchange_papers import request_id
from exchange_world import (
    ADMIN,
    BUREAU,
    HARBOUR,
    OFFICER,
    SECONDS,
    SERVER,
    TRUST_DOMAIN,
    WATCH,
    PartyOfTests,
    refused,
)
from google.protobuf import descriptor_pool

from exchange.domain.parties import Role
from exchange.rpc.authority import AUTHORITY
from exchange.server import SERVICES
from wire.identity import Identity
from wire.rpc import channel_options, refusal_from_rpc_error

MEMBER_OF_ROLE = {
    Role.ADMINISTRATOR: ADMIN,
    Role.COMPLIANCE_OFFICER: OFFICER,
    Role.STEWARD: BUREAU.member("steward"),
    Role.NODE: BUREAU.member("node"),
    Role.ANALYST: HARBOUR.member("analyst"),
    Role.AUDITOR: WATCH.member("auditor"),
}
METHODS = sorted(
    f"/{service}/{method.name}"
    for service in SERVICES
    for method in descriptor_pool.Default().FindServiceByName(service).methods
)
NOT_LET_IN = {"IDENTITY_UNKNOWN", "PARTY_SUSPENDED", "ROLE_NOT_ALLOWED"}
FROZEN = PartyOfTests("frozen-bank", "bank", (("analyst", ("ANALYST",)),))
# Not a message of any method: whoever may not call learns nothing about that.
GARBAGE = b"\xff\xff\xff"


def answer(channel, method, request=b""):
    """The reason of the refusal, or OK."""
    try:
        channel.unary_unary(method)(request, timeout=SECONDS)
    except grpc.RpcError as error:
        return refusal_from_rpc_error(error).reason
    return "OK"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", METHODS)
def test_each_role_calls_what_it_may_and_nothing_else(exchange, method, role):
    channel = exchange.channel(MEMBER_OF_ROLE[role])
    if role in AUTHORITY[method]:
        assert answer(channel, method) not in NOT_LET_IN
        assert answer(channel, method, GARBAGE) == "FIELD_INVALID"
    else:
        assert answer(channel, method) == "ROLE_NOT_ALLOWED"
        assert answer(channel, method, GARBAGE) == "ROLE_NOT_ALLOWED"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "stranger",
    [
        Identity(TRUST_DOMAIN, "provider", "bureau", "stranger"),
        Identity(TRUST_DOMAIN, "bank", "nobody", "analyst"),
        Identity(TRUST_DOMAIN, "bank", "bureau", "steward"),
        Identity(TRUST_DOMAIN, "operator", "harbour-bank", "analyst"),
        SERVER,
    ],
    ids=["unknown member", "unknown party", "other kind", "would-be operator", "the exchange itself"],
)
def test_a_certificate_alone_lets_nobody_in(exchange, method, stranger):
    assert answer(exchange.channel(stranger), method, GARBAGE) == "IDENTITY_UNKNOWN"


def test_a_suspended_party_is_out_at_once_and_back_at_once(exchange):
    exchange.register(FROZEN)
    channel = exchange.channel(FROZEN.member("analyst"))
    administration = exchange.as_(ADMIN).parties
    allowed = [method for method in METHODS if Role.ANALYST in AUTHORITY[method]]
    assert {answer(channel, method) for method in allowed} & NOT_LET_IN == set()
    administration.SuspendParty(
        party_service_pb2.SuspendPartyRequest(
            name="parties/frozen-bank", reason="fees unpaid", request_id=request_id()
        ),
        timeout=SECONDS,
    )
    assert {answer(channel, method) for method in METHODS} == {"PARTY_SUSPENDED"}
    administration.ReinstateParty(
        party_service_pb2.ReinstatePartyRequest(
            name="parties/frozen-bank", reason="fees paid", request_id=request_id()
        ),
        timeout=SECONDS,
    )
    assert {answer(channel, method) for method in allowed} & NOT_LET_IN == set()


def test_a_member_taken_off_the_list_is_out_at_once(exchange):
    leaving = PartyOfTests("leaving-bank", "bank", (("analyst", ("ANALYST",)), ("trainee", ("ANALYST",))))
    exchange.register(leaving)
    trainee = exchange.as_(leaving.member("trainee")).parties
    exchange_of = party_service_pb2.GetExchangeRequest()
    assert trainee.GetExchange(exchange_of, timeout=SECONDS).public_key == exchange.public_key
    exchange.as_(ADMIN).parties.UpdateParty(
        party_service_pb2.UpdatePartyRequest(
            party=party_pb2.Party(
                name="parties/leaving-bank",
                members=[party_pb2.Member(member="analyst", roles=["ROLE_ANALYST"])],
            ),
            update_mask={"paths": ["members"]},
            request_id=request_id(),
        ),
        timeout=SECONDS,
    )
    with refused() as refusals:
        trainee.GetExchange(exchange_of, timeout=SECONDS)
    assert refusals[0].reason == "IDENTITY_UNKNOWN"
    assert refusals[0].code is grpc.StatusCode.UNAUTHENTICATED
    remaining = exchange.as_(leaving.member("analyst")).parties
    assert remaining.GetExchange(exchange_of, timeout=SECONDS).origin


@pytest.mark.parametrize("method", METHODS)
def test_without_a_certificate_no_call_arrives(exchange, method):
    ca_pem = exchange.credentials(ADMIN).ca_pem
    with (
        grpc.secure_channel(
            exchange.address, grpc.ssl_channel_credentials(ca_pem), options=channel_options(SERVER)
        ) as channel,
        pytest.raises(grpc.RpcError) as error,
    ):
        channel.unary_unary(method)(b"", timeout=SECONDS)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("method", METHODS)
def test_a_call_without_deadline_is_refused(exchange, method):
    (role, *_) = AUTHORITY[method]
    with refused() as refusals:
        exchange.channel(MEMBER_OF_ROLE[role]).unary_unary(method)(b"")
    assert refusals[0].reason == "DEADLINE_REQUIRED"
    with refused() as refusals:
        exchange.channel(MEMBER_OF_ROLE[role]).unary_unary(method)(b"", timeout=601)
    assert refusals[0].reason == "DEADLINE_REQUIRED"
