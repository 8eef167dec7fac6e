"""Attack 2: weights that are no constants mix rows, so that few coefficients read many persons.

What holds: nothing but the rows asked for can be mixed, and every one of them is charged, whichever
coefficients are opened. Within the bits paid a bank chooses what it reads (docs/security.md).
"""

import numpy as np

from compute.domain.caps import Charge
from compute.records.revision import gather
from sealed.block import evaluate
from sealed.packing import pack
from sealed.profiles import SCORE_V1
from tests.compute_world import DROP, JOBS
from tests.trust.crafted import bits_of, polynomials
from tests.trust.trust_world import BITS, PERSONS, ROWS, parsed, refused
from tests.trust.without import without

CLERK = 4 + 1  # four bins of age come first
ASKED = PERSONS[:10]
OTHERS = PERSONS[40:]
IS_CLERK = [int(JOBS[n % 4] == "clerk") for n in range(ROWS)]


def packing(places: range):
    """Weights Σ 2^k·x^−place(k) on one bin: coefficient 0 gets one bit of each of these rows."""
    return polynomials({CLERK: {-place: 1 << k for k, place in enumerate(places)}}, scale=DROP)


async def test_one_coefficient_reads_ten_persons_and_all_ten_are_charged(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(10)))
    block = await market.evaluated(deployed, ASKED)
    (score,) = await market.read(deployed, block, [0])
    assert bits_of(score, 10) == IS_CLERK[:10]
    assert await market.charged(license_) == ((10, 10 * BITS), (10, 10 * BITS))


async def test_a_license_for_one_row_does_not_pay_for_a_coefficient_that_mixes_ten(market):
    license_ = await market.negotiated(max_rows=1)
    deployed = await market.deployed_as(license_, packing(range(10)))
    refusal = await refused(market.ask(deployed, ASKED))
    assert (refusal.reason, refusal.clause.clause) == ("CLAUSE_REFUSED", "max_rows")


async def test_charging_opened_rows_alone_would_sell_ten_persons_for_the_price_of_one(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(10)))
    block = await market.evaluated(deployed, ASKED)
    # Node and exchange count for themselves: both are taken out.
    with (
        without("compute.release.releasing.charge_for", lambda _agreement, _gathered: Charge(1, BITS)),
        without("exchange.domain.charges.rows_to_charge", lambda _charged, statement: statement.rows_opened),
    ):
        (score,) = await market.read(deployed, block, [0])
    assert bits_of(score, 10) == IS_CLERK[:10], "ten persons are read"
    assert await market.charged(license_) == ((1, BITS), (1, BITS)), "one is paid for"


async def test_a_node_that_charges_opened_rows_alone_is_refused_by_the_exchange(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(10)))
    block = await market.evaluated(deployed, ASKED)
    with without("compute.release.releasing.charge_for", lambda _agreement, _gathered: Charge(1, BITS)):
        refusal = await refused(market.release(market.release_request(deployed, block, [0])))
    assert refusal.reason == "STATEMENT_REFUSED"
    assert await market.charged(license_) == ((0, 0), (0, 0))


async def test_weights_that_reach_beyond_the_rows_asked_for_read_nothing(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(10, 20)))
    block = await market.evaluated(deployed, OTHERS)
    assert await market.read(deployed, block, [0]) == [0]


async def test_gathering_the_whole_table_would_read_persons_whom_nobody_asked_for(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(10, 20)))

    def gather_everybody(columns, rows):
        return np.concatenate([gather(columns, rows), gather(columns, range(len(columns[0])))])

    with without("compute.verbs.gathering.gather", gather_everybody):
        block = await market.evaluated(deployed, OTHERS)
    (score,) = await market.read(deployed, block, [0])
    assert bits_of(score, 10) == IS_CLERK[:10], "p0 to p9 are read, p40 to p49 were paid"


async def test_every_byte_of_a_block_is_made_of_the_rows_asked_for_and_the_seed(market):
    license_ = await market.negotiated()
    deployed = await market.deployed_as(license_, packing(range(40)))
    block = await market.evaluated(deployed, ASKED)
    prepared, seed = await market.preparation(block.name)
    bins = np.array([market.bins_in_clear(person) for person in ASKED])
    gathered = np.stack([bins[:, column] == bin_ for column in range(2) for bin_ in range(4)])
    columns = parsed(deployed.model.packed())
    replay = evaluate(SCORE_V1, columns, deployed.sealing.context, gathered, seed, prepared.place)
    assert pack(replay.block) == block.data


async def test_another_record_of_a_person_not_asked_for_changes_nothing_that_opens(market):
    reach = polynomials(
        {column: {-place: 5 * column + place for place in range(ROWS)} for column in range(8)}, scale=DROP
    )
    rows = list(range(len(ASKED)))
    opened = []
    for job in ("baker", "clerk"):
        await market.revised(records(changed=f"p23,61,{job}"))
        license_ = await market.negotiated()
        deployed = await market.deployed_as(license_, reach)
        opened.append(await market.read(deployed, await market.evaluated(deployed, ASKED), rows))
    assert opened[0] == opened[1]
    await market.revised(records(changed="p3,61,clerk"))
    deployed = await market.deployed_as(await market.negotiated(), reach)
    assert await market.read(deployed, await market.evaluated(deployed, ASKED), rows) != opened[0]


def records(*, changed: str) -> str:
    """The stock's records with one person's line changed."""
    person = changed.partition(",")[0]
    lines = [f"p{n},{20 + n if n % 7 else ''},{JOBS[n % 4]}" for n in range(ROWS)]
    return "\n".join(
        ["applicant,age,job", *(changed if one.startswith(f"{person},") else one for one in lines)]
    )
