"""Every RPC of a node, as every kind of caller, with no certificate, and without a deadline."""

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import (
    consent_service_pb2,
    evaluation_service_pb2,
    publication_service_pb2,
    sealing_service_pb2,
)

from compute.rpc.authority import RULES, Role
from tests.compute_world import (
    ADMINISTRATOR,
    ANALYST,
    AUDITOR,
    CLERK,
    NODE,
    OTHER_ANALYST,
    OTHER_STEWARD,
    STEWARD,
    TIMEOUT,
    open_world,
    refusal_of,
)
from wire.identity import Identity, server_dns_name

SERVICES = {
    "PublicationService": publication_service_pb2,
    "ConsentService": consent_service_pb2,
    "SealingService": sealing_service_pb2,
    "EvaluationService": evaluation_service_pb2,
}
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for name, module in SERVICES.items()
    for service in [module.DESCRIPTOR.services_by_name[name]]
    for method in service.methods
}
CALLERS = {
    "steward": (STEWARD, {Role.OWN_STEWARD}),
    "clerk of the provider": (CLERK, set()),
    "node itself": (NODE, set()),
    "another provider's steward": (OTHER_STEWARD, set()),
    "bank": (ANALYST, {Role.BANK}),
    "another bank": (OTHER_ANALYST, {Role.BANK}),
    "auditor": (AUDITOR, set()),
    "administrator": (ADMINISTRATOR, set()),
}
# What an admitted caller with an empty request is told; no method serves one.
ADMITTED = {"FIELD_INVALID"}
SERVES_EMPTY = {"/bourse.compute.v1.PublicationService/ListPublications"}


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        yield opened


def empty_call(channel: grpc.aio.Channel, method: str):
    return channel.unary_unary(method, request_serializer=None, response_deserializer=None)


def test_every_method_of_the_contract_has_a_rule_and_no_rule_lacks_its_method():
    assert RULES.keys() == METHODS.keys()
    assert all(RULES.values())


async def test_every_method_lets_in_whom_its_rule_names_and_nobody_else(world):
    for caller, (identity, roles) in CALLERS.items():
        channel = world.channel(identity)
        for method in METHODS:
            told = await answer(empty_call(channel, method)(b"", timeout=TIMEOUT))
            if roles & RULES[method]:
                assert told in (ADMITTED if method not in SERVES_EMPTY else {"served"}), (caller, method)
            else:
                assert told == "ROLE_NOT_ALLOWED", (caller, method)


async def test_nobody_without_a_certificate_reaches_any_method(world):
    credentials = grpc.ssl_channel_credentials(root_certificates=world.ca_pem)
    options = [("grpc.ssl_target_name_override", server_dns_name(NODE))]
    async with grpc.aio.secure_channel(world.running.address, credentials, options=options) as channel:
        for method in METHODS:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await empty_call(channel, method)(b"", timeout=TIMEOUT)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_no_method_serves_a_call_without_a_deadline_or_with_one_too_far(world):
    for method, allowed in RULES.items():
        channel = world.channel(STEWARD if Role.OWN_STEWARD in allowed else ANALYST)
        for timeout in (None, 1000):
            assert await answer(empty_call(channel, method)(b"", timeout=timeout)) == "DEADLINE_REQUIRED"


async def test_who_may_not_call_learns_nothing_of_what_would_be_valid(world):
    channel = world.channel(AUDITOR)
    for method in METHODS:
        for request in (b"", b"\xff\xff\xff"):
            assert await answer(empty_call(channel, method)(request, timeout=None)) == "ROLE_NOT_ALLOWED"


async def test_a_bank_named_like_a_steward_is_no_steward(world):
    imposter = Identity("bourse.test", "bank", STEWARD.party, STEWARD.member)
    call = empty_call(world.channel(imposter), "/bourse.compute.v1.PublicationService/ListPublications")
    assert await answer(call(b"", timeout=TIMEOUT)) == "ROLE_NOT_ALLOWED"


async def test_health_is_told_to_every_certificate(world):
    call = empty_call(world.channel(AUDITOR), "/grpc.health.v1.Health/Check")
    assert await call(b"", timeout=TIMEOUT) == b"\x08\x01"


async def answer(call) -> str:
    """The reason of the refusal, or `served`."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return refusal_of(error).reason
    return "served"
