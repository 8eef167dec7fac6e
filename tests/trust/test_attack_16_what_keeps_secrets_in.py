"""Attack 16, check by check: what logs, errors, records and databases would tell without each of them."""

import hashlib
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from compute.engine.boundary import BlockTask
from tests.trust.secrets_search import database_bytes, find_in, secret_bytes, secret_text
from tests.trust.trust_world import PERSONS, open_market, refused
from tests.trust.without import without
from wire.event_log import EventFormatter
from wire.rpc import Refusal

ASKED = PERSONS[:10]
IDENTIFIERS = [f"ZQX-7731-{number:05}" for number in range(12)]
CONSENT = "file 12, form 3"  # what the world's bank names


class ChattyEngine:
    """An engine whose library logs what it chokes on, and raises it too."""

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        """Nothing to end."""

    async def evaluate(self, task: BlockTask):
        logging.getLogger("some.library").error("cannot multiply %s under %s", task.bins, task.seed.hex())
        raise RuntimeError(f"bad bins {task.bins!r} under seed {task.seed.hex()}")


@contextmanager
def server_log() -> Iterator[io.StringIO]:
    """What this process logs as its servers format it, at debug level."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(EventFormatter())
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def in_log(lines: io.StringIO, *planted) -> list[str]:
    return find_in({"the log": lines.getvalue().encode()}, planted)


async def test_what_a_library_logs_or_raises_about_records_stays_out_of_the_log(tmp_path, stock):
    with server_log() as lines:
        async with open_market(tmp_path, stock, ChattyEngine) as market:
            deployed = await market.deployed(await market.negotiated())
            seed, bins = await failed_evaluation(market, deployed)
            assert "evaluation_failed" in lines.getvalue()
            assert "some.library" in lines.getvalue()
            assert in_log(lines, seed, bins) == []
            with without(
                "wire.event_log.EventFormatter.format",
                lambda _self, record: logging.Formatter().format(record),
            ):
                seed, bins = await failed_evaluation(market, deployed)
            assert in_log(lines, seed), "a library's words"
            assert in_log(lines, bins), "a library's words"
            with without("compute.verbs.evaluating.facts_of", lambda error: {"error": str(error)}):
                seed, bins = await failed_evaluation(market, deployed)
            assert in_log(lines, seed), "an exception's words"
            assert in_log(lines, bins), "an exception's words"


async def failed_evaluation(market, deployed):
    job = await market.ask(deployed, ASKED)
    assert (await market.evaluation_outcome(job.name)).error
    _, seed = await market.preparation(f"{job.name}/blocks/0")
    bins = bytes(bin_ for person in ASKED for bin_ in market.bins_in_clear(person))
    return secret_bytes("a seed", seed), secret_bytes("bins of records", bins)


async def test_what_a_failing_server_raises_about_persons_stays_out_of_its_reply(market, monkeypatch):
    deployed = await market.deployed(await market.negotiated())

    def broken(_field, entity_ids):
        raise LookupError(f"no room for {list(entity_ids)}")

    # A defect is put in: an exception whose text quotes persons. What is under test stands around it.
    monkeypatch.setattr("compute.rpc.evaluation_service.check_entity_ids", broken)
    persons = [secret_text("an identifier", person) for person in IDENTIFIERS]

    async def told() -> dict[str, bytes]:
        refusal = await refused(market.ask(deployed, IDENTIFIERS))
        assert refusal.code is grpc.StatusCode.INTERNAL
        return {"the reply": repr(refusal).encode()}

    with server_log() as lines:
        assert find_in(await told(), persons) == in_log(lines, *persons) == []
        with without(
            "wire.rpc.safety.SafetyInterceptor._refuse",
            lambda _self, error, _facts: Refusal(grpc.StatusCode.INTERNAL, "INTERNAL", str(error)),
        ):
            assert find_in(await told(), persons)


async def test_seeds_lie_encrypted_in_the_nodes_database(market):
    deployed = await market.deployed(await market.negotiated())

    def found(seed: bytes) -> list[str]:
        database = database_bytes(market.folder / "node.db")
        return find_in({"node.db": database}, [secret_bytes("a seed", seed)])

    block = await market.evaluated(deployed, ASKED)
    _, seed = await market.preparation(block.name)
    assert found(seed) == []
    with (
        without("compute.vault.encrypt", lambda _key, _what, secret, **_place: secret),
        without("compute.vault.decrypt", lambda _key, _what, envelope, **_place: envelope),
    ):
        block = await market.evaluated(deployed, ASKED)
        assert await market.read(deployed, block, [0]) == [market.score_in_clear(deployed, "p0")]
        _, seed = await market.preparation(block.name)
    assert found(seed), "whoever reads the file derives the mask, and with the bank's key every score"


async def test_identifiers_lie_in_the_nodes_database_as_keyed_digests_alone(market):
    persons = [secret_text("an identifier", person) for person in IDENTIFIERS]

    async def published() -> list[str]:
        lines = [f"{person},{20 + number},clerk" for number, person in enumerate(IDENTIFIERS)]
        await market.revised("\n".join(["applicant,age,job", *lines]))
        await market.withdraw(IDENTIFIERS[0])
        return find_in({"node.db": database_bytes(market.folder / "node.db")}, persons)

    assert await published() == []
    with without(
        "compute.verbs.publishing.entity_key",
        lambda _secret, _dataset, entity_id: hashlib.sha256(entity_id).digest(),
    ):
        assert await published(), "a digest without a key: whoever guesses an identifier finds it"


@pytest.mark.parametrize("salted", [True, False], ids=["salted", "unsalted"])
async def test_a_consent_reference_is_recorded_under_a_salt(market, salted):
    consent = secret_text("the consent reference", CONSENT)

    async def trade() -> list[str]:
        deployed = await market.deployed(await market.negotiated())
        await market.read(deployed, await market.evaluated(deployed, ASKED), [0])
        (entry,) = await market.recorded("RESULT_RELEASED")
        return find_in(
            {
                "the ledger": entry.SerializeToString(),
                "exchange.db": database_bytes(market.folder / "exchange.db"),
                "node.db": database_bytes(market.folder / "node.db"),
            },
            [consent],
        )

    if salted:
        assert await trade() == []
    else:
        with without(
            "compute.domain.evaluation.consent_digest",
            lambda _salt, reference: hashlib.sha256(reference.encode()).digest(),
        ):
            found = await trade()
        assert any("the ledger" in one for one in found), "whoever guesses the reference finds the release"
