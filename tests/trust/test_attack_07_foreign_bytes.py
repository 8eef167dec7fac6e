"""Attack 7: bytes that are no sealed model, or not the one that was signed, or not for this sealing.

Winning means: bytes that no model needs are kept, a model is recorded that is not the one evaluated, or the
ledger's proof is void.
"""

import asyncio
import ctypes
import gc
import os
import random
from contextlib import nullcontext
from pathlib import Path

import grpc
import numpy as np
import pytest
from bourse.compute.v1 import publication_service_pb2, sealing_pb2, sealing_service_pb2
from bourse.type.v1 import statement_pb2

from sealed.profiles import SCORE_V1
from sealed.sealing import c0_digest
from tests.compute_world import ANALYST, DROP, NODE, TIMEOUT, until
from tests.trust.at_exchange import agreed
from tests.trust.crafted import polynomials
from tests.trust.trust_world import PERSONS, refused
from tests.trust.without import without
from wire.rpc import aio_secure_channel, channel_credentials, server_options

ASKED = PERSONS[:10]
ROWS = list(range(len(ASKED)))
MiB = 2**20
WELL_FORMED = "compute.domain.model.require_well_formed_column"


def put(market, sealing, data: bytes, index: int = 0):
    return market.sealings().PutSealedColumn(
        sealing_service_pb2.PutSealedColumnRequest(sealing=sealing.name, index=index, data=data),
        timeout=TIMEOUT,
    )


def with_residue(column: bytes, prime: int, residue: int) -> bytes:
    """The column with its first residue modulo one of the primes replaced."""
    words = np.frombuffer(column, dtype="<u4").copy()
    words[prime * SCORE_V1.N] = residue
    return words.tobytes()


ILL_FORMED = {
    "residue-p": lambda column: with_residue(column, 0, SCORE_V1.primes[0]),
    "residue-p-last-prime": lambda column: with_residue(column, 3, SCORE_V1.primes[3]),
    "residue-all-ones": lambda column: with_residue(column, 1, 2**32 - 1),
    "trailing-bytes": lambda column: column + bytes(4),
    "one-byte-short": lambda column: column[:-1],
    "one-prime-short": lambda column: column[: 3 * 4 * SCORE_V1.N],
    "twice": lambda column: column * 2,
    "empty": lambda _column: b"",
    "one-byte": lambda _column: b"\0",
    "huge": lambda column: column * 32,
}


@pytest.mark.parametrize("spoil", ILL_FORMED.values(), ids=ILL_FORMED)
async def test_a_column_that_is_none_is_refused_and_leaves_nothing(market, spoil):
    sealing = await market.open_sealing(await market.negotiated())
    model, _, _ = market.sealed_for(sealing)
    refusal = await refused(put(market, sealing, spoil(model.packed()[0])))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SEALED_MODEL_INVALID")
    found = await market.sealings().GetSealing(
        sealing_service_pb2.GetSealingRequest(name=sealing.name), timeout=TIMEOUT
    )
    assert list(found.missing_columns) == list(range(sealing.columns))


@pytest.mark.parametrize("spoil", [ILL_FORMED["residue-p"], ILL_FORMED["trailing-bytes"]], ids=["p", "long"])
async def test_without_parsing_a_model_that_cannot_be_evaluated_would_be_recorded(market, spoil):
    license_ = await market.negotiated()

    async def deployed_ill_formed():
        sealing = await market.open_sealing(license_)
        model, digest, statement = market.sealed_for(sealing)
        columns = [spoil(model.packed()[0]), *model.packed()[1:]]
        await market.put_columns(sealing.name, columns)
        accepted = await market.accept(sealing.name, market.sealing_statement(sealing, columns))
        return market.deployment(accepted, model, digest, statement)

    with without(WELL_FORMED):
        deployed = await deployed_ill_formed()
    assert len(await market.recorded("MODEL_DEPLOYED")) == 1
    # The engine's reader is a last line: nothing foreign reaches SEAL, and the job fails.
    job = await market.ask(deployed, ASKED)
    assert (await market.evaluation_outcome(job.name)).error


async def test_without_parsing_bytes_that_no_model_needs_would_fill_the_nodes_disk(market):
    sealing = await market.open_sealing(await market.negotiated())
    size = 4 * MiB
    assert (await refused(put(market, sealing, os.urandom(size)))).reason == "SEALED_MODEL_INVALID"
    assert stored(market) < 2 * MiB
    with without(WELL_FORMED):
        for index in range(3):
            await put(market, sealing, os.urandom(size), index)
    assert stored(market) > 3 * size


def stored(market) -> int:
    """Bytes of the node's database."""
    return sum(path.stat().st_size for path in market.folder.glob("node.db*"))


# ---- too much ----


def generous_channel(market):
    """A client that sends what it likes."""
    papers = market.papers(ANALYST)
    credentials = channel_credentials(papers.key_pem, papers.certificate_pem, market.ca_pem)
    return aio_secure_channel(market.running.address, NODE, credentials, max_message_bytes=256 * MiB)


async def test_a_message_beyond_the_limit_is_not_read(market):
    sealing = await market.open_sealing(await market.negotiated())

    async def send(size: int):
        async with generous_channel(market) as channel:
            return await refused(
                channel.unary_unary("/bourse.compute.v1.SealingService/PutSealedColumn")(
                    sealing_service_pb2.PutSealedColumnRequest(
                        sealing=sealing.name, data=bytes(size)
                    ).SerializeToString(),
                    timeout=TIMEOUT,
                )
            )

    assert (await send(5 * MiB)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await send(16 * MiB)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await send(64 * MiB)).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    await market.stop_node()
    with without(
        "compute.server.server_options", lambda **_bounds: server_options(max_message_bytes=256 * MiB)
    ):
        await market.start_node()
    assert (await send(64 * MiB)).reason == "SEALED_MODEL_INVALID", "all of it was read and handed on"


async def test_hundreds_of_bad_messages_leave_the_node_small_and_serving(market):
    sealing = await market.open_sealing(await market.negotiated())
    model, _, statement = market.sealed_for(sealing)
    draw = random.Random(7)
    methods = [
        "SealingService/CreateSealing",
        "SealingService/PutSealedColumn",
        "SealingService/AcceptSealing",
        "EvaluationService/CreateEvaluation",
        "EvaluationService/GetBlock",
        "EvaluationService/ReleaseBlock",
    ]

    async def bad_messages(count: int) -> None:
        channel = market.channel(ANALYST)
        for number in range(count):
            column = draw.randbytes(SCORE_V1.column_bytes + number % 3)
            assert (await refused(put(market, sealing, column))).reason == "SEALED_MODEL_INVALID"
            garbage = draw.randbytes(draw.randrange(1, 200_000))
            call = channel.unary_unary(f"/bourse.compute.v1.{methods[number % len(methods)]}")
            refusal = await refused(call(garbage, timeout=TIMEOUT))
            assert refusal.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION}

    await bad_messages(20)
    before = resident()
    await bad_messages(200)
    assert resident() - before < 32 * MiB
    await market.put_columns(sealing.name, model.packed())
    await market.accept(sealing.name, statement)


def resident() -> int:
    """Bytes of memory that this process holds, node and exchange and client in one, less what is free."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_flood_of_one_party_holds_few_requests_and_keeps_nobody_else_waiting(market, monkeypatch):
    sealing = await market.open_sealing(await market.negotiated())
    gate, in_hand = asyncio.Event(), []

    async def slow(_self, _bank, _name, _index, data):
        in_hand.append(len(data))
        await gate.wait()
        in_hand.pop()

    # The calls are held where they would work, to count how many are let in: the limit under test is before.
    monkeypatch.setattr("compute.verbs.sealing.Sealings.put_column", slow)

    async def flood(calls: int, expected: int) -> None:
        puts = [asyncio.ensure_future(put(market, sealing, bytes(100_000))) for _ in range(calls)]
        await until(lambda: len(in_hand) == expected)
        listed = publication_service_pb2.ListPublicationsRequest()
        await market.publications().ListPublications(listed, timeout=TIMEOUT)
        assert len(in_hand) == expected
        gate.set()
        await asyncio.gather(*puts)
        gate.clear()

    await flood(60, expected=16)
    with without("wire.rpc.turns.Turns.of", lambda _self, _identity: nullcontext()):
        await flood(60, expected=60)


# ---- another model than the one signed ----


async def test_a_sealing_is_used_for_one_model(open_engine_market):
    market = open_engine_market
    license_ = await market.negotiated(max_models=1)
    first = await market.deployed(license_, (0,) * 8)
    second, second_digest, second_statement = market.sealed_for(first.sealing)
    refusal = await refused(put(market, first.sealing, second.packed()[0]))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SEALING_STATE")
    refusal = await refused(market.accept(first.sealing.name, second_statement))
    assert refusal.reason == "SEALING_STATE"
    with without("compute.domain.model.require_open"):
        await market.put_columns(first.sealing.name, second.packed())
    smuggled = market.deployment(first.sealing, second, first.c0_digest, first.statement)
    # A last line: the engine reads no columns whose digest is not the one recorded.
    job = await market.ask(smuggled, ASKED)
    assert (await market.evaluation_outcome(job.name)).error
    with without("compute.engine.models.c0_digest", lambda _columns: first.c0_digest):
        block = await market.evaluated(smuggled, ASKED)
    in_clear = [market.score_in_clear(smuggled, person) for person in ASKED]
    assert await market.read(smuggled, block, ROWS) == in_clear, "a second model for the price of one"
    (entry,) = await market.recorded("MODEL_DEPLOYED")
    signed = statement_pb2.SealingStatement.FromString(entry.statements[1].payload)
    assert signed.c0_digest == first.c0_digest != second_digest, "and the ledger never heard of it"


async def test_an_accepted_sealing_takes_no_second_statement(market):
    first = await market.deployed(await market.negotiated())
    other = market.sealing_statement(first.sealing, first.model.packed())
    assert (await refused(market.accept(first.sealing.name, other))).reason == "SEALING_STATE"
    with without("compute.domain.model.require_same_statement"):
        answer = await market.accept(first.sealing.name, other)
    assert answer.state == sealing_pb2.SEALING_STATE_ACCEPTED
    (entry,) = await market.recorded("MODEL_DEPLOYED")
    assert other not in entry.statements, "taken, though the ledger holds another commitment"


async def test_columns_altered_under_a_signature_are_refused(market):
    license_ = await market.negotiated()
    sealing = await market.open_sealing(license_)
    model, digest, statement = market.sealed_for(sealing)
    heavier = polynomials({column: {0: 100} for column in range(4)}, scale=DROP)(model)
    await market.put_columns(sealing.name, heavier.packed())
    refusal = await refused(market.accept(sealing.name, statement))
    assert (refusal.reason, "c0_digest" in refusal.message) == ("SEALED_MODEL_INVALID", True)
    with without("compute.domain.model.require_c0_digest"):
        accepted = await market.accept(sealing.name, statement)
    altered = market.deployment(accepted, heavier, digest, statement)
    block = await market.evaluated(altered, ASKED)
    # Two more lines: a release names the columns, and node and exchange know different ones.
    for name, reason in ((digest, "RELEASE_REFUSED"), (c0_digest(heavier.packed()), "STATEMENT_REFUSED")):
        request = market.release_request(altered, block, ROWS, c0_digest=name)
        assert (await refused(market.release(request))).reason == reason
    with without("compute.release.policy.require_same_sealing"):
        opened = await market.read(altered, block, ROWS)
    assert opened == [market.score_in_clear(altered, person) + 100 for person in ASKED]
    (entry,) = await market.recorded("MODEL_DEPLOYED")
    signed = statement_pb2.SealingStatement.FromString(entry.statements[1].payload)
    assert signed.c0_digest == digest, "the ledger holds the model that was signed, not the one that was used"


async def test_a_statement_for_another_licenses_context_is_refused(market):
    cheap, dear = await market.negotiated(max_rows=1), await market.negotiated()
    ours, other = await market.open_sealing(dear), await market.open_sealing(cheap)
    model, _, _ = market.sealed_for(ours)
    await market.put_columns(ours.name, model.packed())
    claim = market.sealing_statement(ours, model.packed(), context=other.context)
    refusal = await refused(market.accept(ours.name, claim))
    assert (refusal.reason, "context" in refusal.message) == ("SEALED_MODEL_INVALID", True)
    with without("compute.domain.model.require_statement_of"):
        await market.accept(ours.name, claim)
    (entry,) = await market.recorded("MODEL_DEPLOYED")
    signed = statement_pb2.SealingStatement.FromString(entry.statements[1].payload)
    assert (entry.license, signed.context) == (agreed(dear).license, other.context), (
        "the bank's own signature says that it was for the cheap license"
    )


async def test_columns_sealed_for_another_licenses_context_open_nothing(market):
    license_ = await market.negotiated()
    ours = await market.open_sealing(license_)
    other = await market.open_sealing(await market.negotiated())
    model, _, _ = market.sealed_for(other)
    await market.put_columns(ours.name, model.packed())
    statement = market.sealing_statement(ours, model.packed())
    accepted = await market.accept(ours.name, statement)
    deployed = market.deployment(accepted, model, c0_digest(model.packed()), statement)
    block = await market.evaluated(deployed, ASKED)
    opened = await market.read(deployed, block, ROWS)
    in_clear = [market.score_in_clear(deployed, person) for person in ASKED]
    assert opened != in_clear, "the node multiplies by its own a_j: paid for, and noise"
