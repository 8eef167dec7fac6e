"""Whoever reads a node's database must not learn who was asked for, or who withdrew.

Identifiers are guessable: there are few enough to try them all. So everything that is kept of a request that
names persons must be keyed, also what only serves to recognize the request when it comes again.
"""

import hashlib
import itertools

import pysqlite3.dbapi2
import pytest
import pytest_asyncio
from bourse.compute.v1 import consent_service_pb2, evaluation_pb2, evaluation_service_pb2
from google.protobuf.message import Message

from tests.compute_world import DATASET, TIMEOUT, canonical, fresh_id, open_world
from tests.trust.trust_world import refused
from wire.framing import tagged_hash

CANDIDATES = [f"p{n}" for n in range(50)]


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        await opened.publish()
        yield opened


def kept_of_requests(world) -> dict[str, bytes]:
    """What a thief of the database finds: request ids, and what is kept of each request's bytes."""
    path = world.config.database.removeprefix("sqlite:///")
    connection = pysqlite3.dbapi2.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT request_id, request_sha256 FROM idempotency")
        return {request_id: bytes(digest) for request_id, digest in rows}
    finally:
        connection.close()


def guesses(request: Message) -> set[bytes]:
    """Every digest of a request that can be computed without a secret."""
    name, body = request.DESCRIPTOR.full_name.encode(), canonical(request)
    tag = "bourse/node/v1/request"
    plain = {hashlib.sha256(data).digest() for data in (body, name + body, name + b"\0" + body)}
    return plain | {tagged_hash(tag, name, body), tagged_hash(tag, body)}


async def test_a_stolen_database_does_not_tell_who_withdrew(world):
    withdrawing = fresh_id()
    await world.withdraw("p7", withdrawing)
    kept = kept_of_requests(world)[withdrawing]
    tried = {
        guess
        for person in CANDIDATES
        for guess in guesses(
            consent_service_pb2.WithdrawConsentRequest(
                dataset=DATASET, entity_id=person, request_id=withdrawing
            )
        )
    }
    assert kept not in tried, "trying all persons finds the one who withdrew"


async def test_a_stolen_database_does_not_tell_who_was_asked_for(world):
    deployed = await world.deploy()
    asking = fresh_id()
    await world.ask(deployed, ["p3", "p9"], asking)
    kept = kept_of_requests(world)[asking]
    tried = {
        guess
        for pair in itertools.permutations(CANDIDATES[:12], 2)
        for guess in guesses(
            evaluation_service_pb2.CreateEvaluationRequest(
                evaluation=evaluation_pb2.Evaluation(
                    sealing=deployed.sealing.name,
                    entity_ids=pair,
                    consent_reference="file 12, form 3",
                ),
                request_id=asking,
            )
        )
    }
    assert kept not in tried, "trying all pairs finds the two who were asked for"


@pytest.mark.parametrize("spelling", [" p7", "p7 ", "p7\u3000", "p\x007", "p7\n"])
async def test_a_withdrawal_under_a_spelling_that_no_row_can_have_is_refused(world, spelling):
    # Taken, it would answer as any other, and the person would go on being evaluated.
    refusal = await refused(
        world.consent().WithdrawConsent(
            consent_service_pb2.WithdrawConsentRequest(
                dataset=DATASET, entity_id=spelling, request_id=fresh_id()
            ),
            timeout=TIMEOUT,
        )
    )
    assert refusal.reason == "FIELD_INVALID"
    assert refusal.violations[0][0] == "entity_id"
    assert "p7" not in str(refusal)
    assert await world.withdraw("p7") == 1
