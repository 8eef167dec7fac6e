"""Attack 10: having a release happen while the node's disk is full, or the exchange away, false or unwilling.

What holds: the node writes down its charge, has the exchange record it, keeps the receipt, and only then
sends. Whatever fails on the way, nothing leaves; and once it is mended, the same request is charged once.
Winning means: scores that leave without a record.
"""

import asyncio

import grpc
import pytest
from bourse.exchange.v1 import license_service_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain.signed import Signed
from compute.release.receipt import Recorded
from tests.compute_world import EXCHANGE, STEWARD, TIMEOUT, canonical, fresh_id
from tests.recording_exchange import Recorder, serving
from tests.trust.at_exchange import agreed
from tests.trust.trust_world import BITS, PERSONS, full_disk, refused
from tests.trust.without import without
from wire.signing import public_key_of

ASKED = PERSONS[:10]
ROWS = list(range(len(ASKED)))
NOTHING = (0, 0)
CHARGED = (10, 10 * BITS)


class Asking:
    """A bank about to open a block of ten persons."""

    def __init__(self, market, license_, deployed, block) -> None:
        self.market = market
        self.license = license_
        self.deployed = deployed
        self.block = block
        self.request = market.release_request(deployed, block, ROWS)
        self.in_clear = [market.score_in_clear(deployed, person) for person in ASKED]

    def release(self):
        return self.market.release(self.request)

    async def opened(self) -> list[int]:
        return self.market.opened(self.deployed, self.block, ROWS, (await self.release()).released)

    async def charged(self):
        return await self.market.charged(self.license)

    async def records(self) -> int:
        return len(await self.market.recorded("RESULT_RELEASED"))


@pytest.fixture
async def bank(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    return Asking(market, license_, deployed, await market.evaluated(deployed, ASKED))


async def settled_with_one_charge(bank) -> None:
    """The same request now opens, again and again the same bytes, and was charged and recorded once."""
    first, second = await bank.release(), await bank.release()
    assert canonical(first) == canonical(second)
    assert await bank.opened() == bank.in_clear
    assert await bank.charged() == (CHARGED, CHARGED)
    assert await bank.records() == 1


# ---- the disk ----


async def test_a_disk_full_before_the_charge_charges_nothing_and_asks_nobody(bank):
    with full_disk():
        assert (await refused(bank.release())).reason == "TRY_AGAIN"
    assert await bank.charged() == (NOTHING, NOTHING)
    assert await bank.records() == 0
    await settled_with_one_charge(bank)


async def test_a_disk_full_after_the_record_lets_nothing_leave(bank):
    with_reply = await recorded_but_not_answered(bank)
    with full_disk():
        bank.market.relay.restore()
        assert (await refused(with_reply)).reason == "TRY_AGAIN"
    assert await bank.charged() == (CHARGED, CHARGED)
    await settled_with_one_charge(bank)


async def test_without_keeping_the_receipt_scores_would_leave_that_the_nodes_books_do_not_know(bank):
    with_reply = await recorded_but_not_answered(bank)
    with full_disk(), without("compute.store.releases.record"):
        bank.market.relay.restore()
        reply = await with_reply
    assert bank.market.opened(bank.deployed, bank.block, ROWS, reply.released) == bank.in_clear
    await bank.market.relay.cut()
    await bank.market.stop_node()
    await bank.market.start_node()
    assert (await refused(bank.release())).reason == "RELEASE_UNRECORDED", "the node holds no proof of it"


async def recorded_but_not_answered(bank):
    """A release that the exchange has recorded, and whose reply is still on its way."""
    bank.market.relay.hold_replies()
    call = asyncio.ensure_future(bank.release())
    await bank.market.until_recorded("RESULT_RELEASED", 1)
    return call


# ---- the exchange ----


async def test_nothing_leaves_while_the_exchange_is_away(bank):
    await bank.market.relay.cut()
    assert (await refused(bank.release())).reason == "RELEASE_UNRECORDED"
    assert await bank.charged() == (CHARGED, NOTHING)
    assert await bank.records() == 0
    bank.market.relay.restore()
    await until_settled(bank)
    await settled_with_one_charge(bank)


async def test_without_the_receipt_check_scores_would_leave_while_the_exchange_is_away(bank):
    await bank.market.relay.cut()

    async def not_asked(_self, row, _agreement, *, first_attempt):
        return row

    # A node that does not ask still sends nothing: whatever leaves passes the receipt.
    with without("compute.release.releasing.Releasing._record", not_asked):
        assert (await refused(bank.release())).reason == "RELEASE_UNRECORDED"
        with without(
            "compute.release.policy.require_receipt",
            lambda recorded: recorded or Recorded(b"", Signed(b"", ())),
        ):
            assert await bank.opened() == bank.in_clear
    assert await bank.records() == 0, "ten scores have left, and the ledger knows of none"


async def test_a_false_exchange_with_the_right_certificate_gets_nothing_to_leave(bank):
    market = bank.market
    keys = public_key_of(market.identity.signing_key), public_key_of(market.bank_key)
    false = Recorder(Ed25519PrivateKey.generate(), *keys)
    async with serving(false, market.papers(EXCHANGE), market.ca_pem) as address:
        await market.relay.divert(address)
        await until_reached(bank, false)
        assert (await refused(bank.release())).reason == "RELEASE_UNRECORDED"
        assert len(false.entries) == 1, "it recorded, and signed with a key of its own"
        with without("compute.release.recording.require_recorded"):
            assert await bank.opened() == bank.in_clear
    assert await bank.records() == 0, "the ledger knows of none"


async def test_a_license_that_was_ended_at_the_exchange_opens_nothing_more(bank):
    await bank.market.licenses(STEWARD).TerminateLicense(
        license_service_pb2.TerminateLicenseRequest(
            name=agreed(bank.license).license, reason="no longer", request_id=fresh_id()
        ),
        timeout=TIMEOUT,
    )
    assert (await refused(bank.release())).reason == "LICENSE_STATE"
    assert await bank.charged() == (NOTHING, NOTHING), "a definite refusal gives the charge back"
    # The node's copy of the license is still in force; it is the exchange that knows better.
    with without("exchange.verbs.ledger.check_in_force"):
        assert await bank.opened() == bank.in_clear


async def until_settled(bank) -> None:
    """Repeat the release until the node reaches the exchange again: its channel pauses between attempts."""
    while True:
        try:
            await bank.release()
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
        else:
            return


async def until_reached(bank, false) -> None:
    """Repeat the release until it arrives at the false exchange."""
    while not false.asked:
        await refused(bank.release())
