"""Attack 6: repeating, interrupting and withdrawing, until something is charged twice or a mask meets twice.

What holds: whatever is repeated gets identical bytes and one charge, across lost replies and restarts; and a
block whose rows changed since it was decided gets a new mask.
"""

import asyncio
import hashlib
import shutil
from dataclasses import replace

import pysqlite3.dbapi2
from bourse.compute.v1 import evaluation_service_pb2
from bourse.exchange.v1 import trade_record_service_pb2

from compute.domain import evaluation
from compute.domain.evaluation import Preparation
from exchange.store.records import append_record
from sealed.block import centered, phase
from sealed.block import place as place_of
from sealed.packing import unpack
from sealed.profiles import SCORE_V1
from tests.compute_world import DROP, NODE, TIMEOUT, canonical, fresh_id, until
from tests.trust.at_exchange import agreed
from tests.trust.local_servers import SharedEngine
from tests.trust.trust_world import BITS, PERSONS, refused
from tests.trust.without import without

ASKED = PERSONS[:10]
ROWS = list(range(len(ASKED)))
ONCE = ((10, 10 * BITS), (10, 10 * BITS))
TWICE = ((20, 20 * BITS), (20, 20 * BITS))


async def models_used(market, license_) -> int:
    usage = await market.evaluations().GetLicenseUsage(
        evaluation_service_pb2.GetLicenseUsageRequest(license=agreed(license_).license), timeout=TIMEOUT
    )
    return usage.models


# ---- the same call again ----


async def test_every_call_of_a_trade_repeated_gets_identical_bytes_and_one_charge(market):
    license_ = await market.negotiated()
    opening, asking = fresh_id(), fresh_id()
    sealing = await market.open_sealing(license_, opening)
    model, digest, statement = market.sealed_for(sealing)
    await market.put_columns(sealing.name, model.packed())
    await market.put_columns(sealing.name, model.packed())
    accepted = await market.accept(sealing.name, statement)
    deployed = market.deployment(accepted, model, digest, statement)
    asked = await market.ask(deployed, ASKED, asking)
    await market.evaluation_outcome(asked.name)
    block = await market.block(asked.name)
    request = market.release_request(deployed, block, ROWS)
    released = await market.release(request)

    async def repeated() -> None:
        assert canonical(await market.open_sealing(license_, opening)) == canonical(sealing)
        await market.put_columns(sealing.name, model.packed())
        assert canonical(await market.accept(sealing.name, statement)) == canonical(accepted)
        assert canonical(await market.ask(deployed, ASKED, asking)) == canonical(asked)
        assert canonical(await market.block(asked.name)) == canonical(block)
        assert canonical(await market.release(request)) == canonical(released)

    await repeated()
    await market.withdraw("p4")
    await market.stop_node()
    await market.start_node()
    await repeated()
    assert await models_used(market, license_) == 1
    assert await market.charged(license_) == ONCE
    assert len(await market.recorded("MODEL_DEPLOYED")) == len(await market.recorded("RESULT_RELEASED")) == 1


async def test_forgetting_first_replies_would_spend_a_second_model_on_a_retry(market):
    license_ = await market.negotiated()
    request_id = fresh_id()
    first = await market.open_sealing(license_, request_id)
    assert (await market.open_sealing(license_, request_id)).name == first.name
    assert await models_used(market, license_) == 1
    with (
        without("compute.store.idempotency.first_reply", lambda _connection, _key: None),
        without("compute.store.idempotency.keep_reply", lambda _connection, _key, reply, _now: reply),
    ):
        assert (await market.open_sealing(license_, request_id)).name != first.name
    assert await models_used(market, license_) == 2


async def test_many_releases_of_a_block_charge_it_once(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED)
    same = market.release_request(deployed, block, [0])
    others = [market.release_request(deployed, block, [row]) for row in ROWS]
    replies = await asyncio.gather(*(market.release(request) for request in [same] * 5 + others))
    assert len({canonical(reply) for reply in replies[:5]}) == 1
    assert await market.charged(license_) == ONCE
    await market.evaluated(deployed, ASKED[:1])  # the node counts blocks not yet charged, and never below 0
    # Node and exchange both remember who was charged for the block: both are taken out.
    with (
        without("compute.release.releasing._charging", lambda _connection, _block: None),
        without(
            "exchange.domain.charges.rows_to_charge", lambda _charged, statement: statement.rows_gathered
        ),
    ):
        await market.release(market.release_request(deployed, block, [0]))
    assert await market.charged(license_) == TWICE, "one block, sold twice"


async def test_a_record_repeated_at_the_exchange_is_kept_and_charged_once(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    reply = await market.release(
        market.release_request(deployed, await market.evaluated(deployed, ASKED), ROWS)
    )
    (entry,) = await market.recorded("RESULT_RELEASED")

    async def record(request_id: str):
        return await market.trade_records(NODE).RecordRelease(
            trade_record_service_pb2.RecordReleaseRequest(
                release_statement=entry.statements[0],
                release_request=entry.statements[1],
                request_id=request_id,
            ),
            timeout=TIMEOUT,
        )

    request_id = fresh_id()
    for again in (request_id, request_id, fresh_id()):
        answer = await record(again)
        assert (answer.entry, answer.receipt) == (reply.entry, reply.receipt)
    assert await market.charged(license_) == ONCE
    with without("exchange.verbs.ledger._recorded_before"):
        # Two lines more: a block is charged once, and a record's source is unique in the database.
        assert (await refused(record(fresh_id()))).reason == "STATEMENT_REFUSED"
        with without(
            "exchange.domain.charges.rows_to_charge", lambda _charged, statement: statement.rows_gathered
        ):
            assert (await refused(record(fresh_id()))).reason == "INTERNAL"
            assert await market.charged(license_) == ONCE
            with without(
                "exchange.verbs.acts.append_record",
                lambda tx, draft, **rest: append_record(
                    tx, replace(draft, source=f"{draft.source}/{fresh_id()}"), **rest
                ),
            ):
                await record(fresh_id())
    node, at_exchange = await market.charged(license_)
    assert (node, at_exchange) == (ONCE[0], TWICE[1]), "a repeated record is charged twice"


# ---- interrupted ----


async def test_a_node_that_stops_between_charge_and_send_charges_once_and_sends_the_same_bytes(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    block = await market.evaluated(deployed, ASKED)
    request = market.release_request(deployed, block, ROWS)
    market.relay.hold_replies()
    call = asyncio.ensure_future(market.release(request))
    await market.until_recorded("RESULT_RELEASED", 1)
    await market.relay.cut()  # the exchange has recorded; its reply is lost
    assert (await refused(call)).reason == "RELEASE_UNRECORDED"
    await market.stop_node()
    market.relay.restore()
    await market.start_node()
    released = await market.release(request)
    assert canonical(await market.release(request)) == canonical(released)
    assert market.opened(deployed, block, ROWS, released.released) == [
        market.score_in_clear(deployed, person) for person in ASKED
    ]
    assert await market.charged(license_) == ONCE
    assert len(await market.recorded("RESULT_RELEASED")) == 1


# ---- withdrawn meanwhile ----


class Interrupted:
    """An evaluation that is decided, seed and all, when the provider makes a backup.

    The bank gets its block; then the node's disk is lost, the backup restored, a person withdrawn, and the
    node started again: it finds an evaluation that was decided and never done.
    """

    def __init__(self, market) -> None:
        self.market = market
        self._make_engine = market.make_engine

    async def first_block(self, deployed):
        """Evaluate and return the block; a backup was made before the block was stored."""
        self.market.engine.hold.clear()
        self.asked = await self.market.ask(deployed, ASKED)
        await until(lambda: self.market.engine.asked == 1)
        self._copy(self._database, self._backup)
        self.prepared = await self.market.preparation(f"{self.asked.name}/blocks/0")
        self.market.engine.hold.set()
        await self.market.evaluation_outcome(self.asked.name)
        return await self.market.block(self.asked.name)

    async def second_block(self, withdrawn: str | None):
        """Restore the backup, withdraw a person, start again and return the block of the same name."""
        await self.market.stop_node()
        for leftover in self.market.folder.glob("node.db*"):
            leftover.unlink()
        shutil.copy(self._backup, self._database)
        if withdrawn is not None:
            self.market.make_engine = self._held_engine
            await self.market.start_node()
            await until(lambda: self.market.engine.asked == 1)
            await self.market.withdraw(withdrawn)
            await self.market.stop_node()
            self.market.make_engine = self._make_engine
        await self.market.start_node()
        await self.market.evaluation_outcome(self.asked.name)
        return await self.market.block(self.asked.name)

    @property
    def _database(self):
        return self.market.folder / "node.db"

    @property
    def _backup(self):
        return self.market.folder / "backup.db"

    def _held_engine(self) -> SharedEngine:
        engine = self._make_engine()
        engine.hold.clear()
        return engine

    @staticmethod
    def _copy(source, target) -> None:
        with (
            pysqlite3.dbapi2.connect(source) as from_,
            pysqlite3.dbapi2.connect(target) as to,
        ):
            from_.backup(to)
        from_.close()
        to.close()


def differences(deployed, one, two) -> list[int]:
    """What the difference of two blocks shows the bank of each row, without any release."""
    first, second = (
        phase(SCORE_V1, unpack(SCORE_V1, block.data), deployed.model.secret, ROWS) for block in (one, two)
    )
    return ((centered(SCORE_V1, first - second) + (1 << DROP - 1)) >> DROP).tolist()


def what_a_withdrawal_changes(market, deployed) -> list[int]:
    """Everybody's difference is 0, but that of p4, who had a record and is absent now."""
    absent = market.score_in_clear(deployed, "nobody")
    return [market.score_in_clear(deployed, person) - absent if person == "p4" else 0 for person in ASKED]


async def test_an_interrupted_block_is_evaluated_as_decided_to_the_same_bytes(market):
    deployed = await market.deployed(await market.negotiated())
    interrupted = Interrupted(market)
    one = await interrupted.first_block(deployed)
    two = await interrupted.second_block(withdrawn=None)
    assert canonical(one) == canonical(two)


async def test_a_withdrawal_before_the_retry_makes_another_mask(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    interrupted = Interrupted(market)
    one = await interrupted.first_block(deployed)
    two = await interrupted.second_block(withdrawn="p4")
    prepared, seed = await market.preparation(two.name)
    assert seed != interrupted.prepared[1]
    assert prepared.place != interrupted.prepared[0].place
    shown = differences(deployed, one, two)
    assert shown != what_a_withdrawal_changes(market, deployed)
    assert not any(score == 0 for score in shown), "two masks, nothing to see"
    absent = market.score_in_clear(deployed, "nobody")
    in_clear = [market.score_in_clear(deployed, person) for person in ASKED]
    assert await market.read(deployed, two, ROWS) == [*in_clear[:4], absent, *in_clear[5:]]


def not_fresh(job: str, number: int) -> bytes:
    """A seed as a node would have it that draws none for a block decided anew."""
    return hashlib.sha256(f"{job} {number}".encode()).digest()


async def test_an_old_seed_would_be_harmless_because_the_place_counts_withdrawals(market):
    deployed = await market.deployed(await market.negotiated())
    interrupted = Interrupted(market)
    prepare = evaluation.prepare

    def old_seed(job, number, revision_digest, withdrawals, rows, _salt, _seed):
        return prepare(job, number, revision_digest, withdrawals, [0], bytes(32), not_fresh(job, number))

    def with_rows(job, number, revision_digest, withdrawals, rows, salt, seed):
        decided = old_seed(job, number, revision_digest, withdrawals, rows, salt, seed)
        return Preparation(tuple(rows), withdrawals, decided.place, decided.seed)

    # Seed, row list and its salt are the same again: of what binds the mask, the count alone is left.
    with without("compute.domain.evaluation.prepare", with_rows):
        one = await interrupted.first_block(deployed)
        two = await interrupted.second_block(withdrawn="p4")
    assert differences(deployed, one, two) != what_a_withdrawal_changes(market, deployed)


async def test_a_place_that_counts_no_withdrawals_would_show_the_withdrawn_persons_record(market):
    license_ = await market.negotiated()
    deployed = await market.deployed(license_)
    interrupted = Interrupted(market)

    def unbound(job, number, revision_digest, withdrawals, rows, _salt, _seed):
        where = place_of(job, number, revision_digest, 0, bytes(32))
        return Preparation(tuple(rows), withdrawals, where, not_fresh(job, number))

    with without("compute.domain.evaluation.prepare", unbound):
        one = await interrupted.first_block(deployed)
        two = await interrupted.second_block(withdrawn="p4")
    assert differences(deployed, one, two) == what_a_withdrawal_changes(market, deployed)
    assert await market.charged(license_) == ((0, 0), (0, 0)), "who withdrew, and their score, for nothing"
