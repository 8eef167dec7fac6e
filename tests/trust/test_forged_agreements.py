"""Forged agreements: terms edited after signing, a steward nobody appointed, another provider's license.

What holds: a node honors exact bytes that its own steward, the bank and its own exchange have signed.
"""

from contextlib import ExitStack

import pytest
from bourse.exchange.v1 import party_pb2, party_service_pb2
from bourse.type.v1 import description_pb2, signature_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.compute_world import DOMAIN, NODE, OTHER_STEWARD, TIMEOUT, canonical, fresh_id, signed_by
from tests.trust.at_exchange import agreed
from tests.trust.trust_world import BITS, OTHER_NODE, PERSONS, refused
from tests.trust.without import without
from wire.identity import Identity
from wire.signing import Purpose

MALLORY = Identity(DOMAIN, "provider", NODE.party, "mallory")
OTHER_DATASET = "datasets/payments"


def edited(license_: signature_pb2.SignedPayload, **terms: int) -> signature_pb2.SignedPayload:
    """The license with other terms under the same signatures."""
    agreement = agreed(license_)
    for name, value in terms.items():
        setattr(agreement.terms, name, value)
    return signature_pb2.SignedPayload(payload=canonical(agreement), signatures=license_.signatures)


async def test_terms_edited_after_signing_are_refused(market):
    license_ = await market.negotiated(max_rows=10)
    forged = edited(license_, max_rows=1000)
    refusal = await refused(market.open_sealing(forged))
    assert (refusal.reason, "signature" in refusal.message) == ("LICENSE_REFUSED", True)
    # The bank may sign what it likes; the others' signatures are not over these bytes.
    forged.signatures[1].CopyFrom(signed_by(Purpose.AGREEMENT, forged.payload, market.bank_key).signatures[0])
    assert (await refused(market.open_sealing(forged))).reason == "LICENSE_REFUSED"

    with without("compute.domain.license.require_three_signatures"):
        # The exchange knows which bytes were agreed, and counts rows itself: two lines more.
        assert (await refused(market.deployed(forged))).reason == "STATEMENT_REFUSED"
        with without("exchange.domain.charges.require_same_agreement"):
            deployed = await market.deployed(forged)
            block = await market.evaluated(deployed, PERSONS)
            request = market.release_request(deployed, block, range(len(PERSONS)))
            refusal = await refused(market.release(request))
            assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "max_rows")
            with without("exchange.domain.charges.require_rows_left"):
                opened = await market.read(deployed, block, range(len(PERSONS)))
    assert opened == [market.score_in_clear(deployed, person) for person in PERSONS]
    assert await market.charged(license_) == ((50, 50 * BITS), (50, 50 * BITS)), "of ten licensed rows"


async def test_openings_per_person_edited_after_signing_are_refused(market):
    license_ = await market.negotiated(max_openings_per_entity=1)
    forged = edited(license_, max_openings_per_entity=99)
    assert (await refused(market.open_sealing(forged))).reason == "LICENSE_REFUSED"
    with (
        without("compute.domain.license.require_three_signatures"),
        without("exchange.domain.charges.require_same_agreement"),
    ):
        deployed = await market.deployed(forged)
        for _ in range(3):
            block = await market.evaluated(deployed, PERSONS[:1])
            assert await market.read(deployed, block, [0]) == [market.score_in_clear(deployed, "p0")]


async def test_a_steward_whom_the_provider_never_appointed_licenses_nothing(market):
    # The exchange's own administrator takes part: it registers mallory and a key as the provider's.
    registered = await market.parties().GetParty(
        party_service_pb2.GetPartyRequest(name=NODE.party_name), timeout=TIMEOUT
    )
    update = party_service_pb2.UpdatePartyRequest(
        party=party_pb2.Party(name=registered.name, etag=registered.etag, members=registered.members),
        request_id=fresh_id(),
    )
    update.party.members.add(member=MALLORY.member, roles=[party_pb2.ROLE_STEWARD])
    update.update_mask.paths.append("members")
    await market.parties().UpdateParty(update, timeout=TIMEOUT)
    key = Ed25519PrivateKey.generate()
    await market.register_key(NODE.party, "STEWARD", key)
    license_ = await market.negotiated(steward=MALLORY, steward_key=key)

    refusal = await refused(market.open_sealing(license_))
    assert (refusal.reason, "steward_key" in refusal.message) == ("LICENSE_REFUSED", True)
    with without("compute.domain.license.require_honored_steward"):
        deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, PERSONS[:10])
    opened = await market.read(deployed, block, range(10))
    assert opened == [market.score_in_clear(deployed, person) for person in PERSONS[:10]], (
        "the provider's records are sold, and nobody at the provider agreed"
    )


CHECKS_OF_ANOTHER_PROVIDERS_LICENSE = (
    "compute.domain.license.require_own_node",
    "compute.domain.license.require_honored_steward",
    "compute.domain.license.require_alone",
    "compute.domain.license.require_revision",
)


@pytest.fixture
async def license_of_another(market):
    """A license in force, signed by all three, on a dataset of another provider."""
    steward_key, node_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    await market.register(
        OTHER_STEWARD.party,
        "provider",
        {OTHER_STEWARD.member: "STEWARD", OTHER_NODE.member: "NODE"},
        {"STEWARD": steward_key, "NODE": node_key},
    )
    described = description_pb2.DatasetDescription()
    described.CopyFrom(market.description)
    described.dataset, described.provider = OTHER_DATASET, OTHER_STEWARD.party_name
    description = signed_by(Purpose.DATASET_DESCRIPTION, canonical(described), node_key)
    await market.listed(OTHER_STEWARD, OTHER_DATASET, description)
    return await market.negotiated(dataset=OTHER_DATASET, steward=OTHER_STEWARD, steward_key=steward_key)


async def test_a_license_of_another_provider_opens_no_sealing_here(market, license_of_another):
    refusal = await refused(market.open_sealing(license_of_another))
    assert (refusal.reason, "another provider" in refusal.message) == ("LICENSE_REFUSED", True)


@pytest.mark.parametrize("taken_out", [1, 2, 3])
async def test_the_next_of_four_checks_refuses_another_providers_license(
    market, license_of_another, taken_out
):
    with ExitStack() as out:
        for check in CHECKS_OF_ANOTHER_PROVIDERS_LICENSE[:taken_out]:
            out.enter_context(without(check))
        assert (await refused(market.open_sealing(license_of_another))).reason == "LICENSE_REFUSED"


async def test_without_all_four_the_node_serves_a_license_that_its_provider_never_signed(
    market, license_of_another
):
    with ExitStack() as out:
        for check in CHECKS_OF_ANOTHER_PROVIDERS_LICENSE:
            out.enter_context(without(check))
        out.enter_context(without("compute.domain.license.require_licensed_columns"))
        sealing = await market.open_sealing(license_of_another)
    assert agreed(sealing.agreement).provider == OTHER_STEWARD.party_name
