"""Publishing and withdrawing over mutual TLS: one outcome each, and no word about who is in the records."""

import asyncio

import grpc
import pytest
import pytest_asyncio
from bourse.compute.v1 import (
    consent_service_pb2,
    evaluation_pb2,
    publication_pb2,
    publication_service_pb2,
)

from compute.verbs import publishing
from tests.compute_world import (
    DATASET,
    ROWS,
    SECRET_ID,
    TIMEOUT,
    canonical,
    fresh_id,
    open_world,
    publication,
    refusal_of,
)
from wire.signing import Purpose, public_key_of, verify


@pytest_asyncio.fixture
async def world(tmp_path):
    async with open_world(tmp_path) as opened:
        yield opened


async def create(world, asked: publication_pb2.Publication, request_id: str | None = None):
    return await world.publications().CreatePublication(
        publication_service_pb2.CreatePublicationRequest(
            publication=asked, request_id=request_id or fresh_id()
        ),
        timeout=TIMEOUT,
    )


async def refused(call) -> object:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def test_a_published_file_becomes_a_signed_description_without_a_record(world):
    outcome = await world.publish()
    assert outcome.state == publication_pb2.PUBLICATION_STATE_SUCCEEDED
    (signature,) = outcome.description.signatures
    key = public_key_of(world.identity.signing_key)
    payload = verify(key, Purpose.DATASET_DESCRIPTION, outcome.description.payload, signature.value)
    assert b"p17" not in payload
    assert (world.description.dataset, world.description.revision) == (DATASET, 1)
    assert world.description.provider == "parties/registry"
    assert [len(column.bins) for column in world.description.columns] == [4, 4]
    assert (outcome.rows, outcome.rows_read, world.description.rows_at_least) == (ROWS, ROWS, 50)
    assert outcome.bytes_read == outcome.bytes_total > 0


async def test_each_publication_of_a_dataset_is_its_next_revision(world):
    for number in (1, 2, 3):
        await world.publish()
        assert world.description.revision == number


async def test_the_same_request_again_makes_no_second_publication(world):
    request_id = fresh_id()
    first = await create(world, publication(), request_id)
    await world.publication_outcome(first.name)
    assert canonical(await create(world, publication(), request_id)) == canonical(first)
    listed = await world.publications().ListPublications(
        publication_service_pb2.ListPublicationsRequest(), timeout=TIMEOUT
    )
    assert [one.name for one in listed.publications] == [first.name]


async def test_a_request_id_used_for_another_publication_is_refused(world):
    request_id = fresh_id()
    await create(world, publication(), request_id)
    refusal = await refused(create(world, publication("other.csv"), request_id))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": "datasets/Employment"}, "publication.dataset"),
        ({"dataset": "employment"}, "publication.dataset"),
        ({"file": "../records.csv"}, "publication.file"),
        ({"file": "/etc/passwd.csv"}, "publication.file"),
        ({"change_note": "x" * 501}, "publication.change_note"),
    ],
)
async def test_a_malformed_publication_is_refused_by_field(world, changes, field):
    asked = publication()
    for name, value in changes.items():
        setattr(asked, name, value)
    refusal = await refused(create(world, asked))
    assert refusal.reason == "FIELD_INVALID"
    assert refusal.violations[0][0] == field


async def test_an_unusable_specification_is_refused_with_every_place(world):
    asked = publication()
    asked.specification.columns[0].edges.edges[:] = [45, 30]
    asked.specification.id_column = ""
    refusal = await refused(create(world, asked))
    fields = [field for field, _ in refusal.violations]
    assert fields == [
        "publication.specification.id_column",
        "publication.specification.columns[0].edges.edges[1]",
    ]


@pytest.mark.parametrize("request_id", ["", "1", "A7B4C1D2-0000-4000-8000-000000000000"])
async def test_a_request_id_that_is_no_uuid_is_refused(world, request_id):
    call = world.publications().CreatePublication(
        publication_service_pb2.CreatePublicationRequest(publication=publication(), request_id=request_id),
        timeout=TIMEOUT,
    )
    assert (await refused(call)).violations[0][0] == "request_id"


async def test_a_file_that_cannot_be_published_leaves_a_reason_and_nothing_else(world):
    (world.config.records / "bad.csv").write_text(f"applicant,age,job\n{SECRET_ID},1,a\n{SECRET_ID},2,b\n")
    outcome = await world.publish("bad.csv")
    assert outcome.state == publication_pb2.PUBLICATION_STATE_FAILED
    assert outcome.error.reason == "RECORDS_UNREADABLE"
    assert "rows 1 and 2" in outcome.error.message
    assert SECRET_ID not in outcome.error.message
    await world.publish()
    assert world.description.revision == 1


async def test_a_missing_file_is_an_outcome(world):
    outcome = await world.publish("nowhere.csv")
    assert outcome.error.reason == "RECORDS_UNREADABLE"


async def test_an_unknown_publication_is_not_found(world):
    call = world.publications().GetPublication(
        publication_service_pb2.GetPublicationRequest(name=f"publications/{fresh_id()}"), timeout=TIMEOUT
    )
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "PUBLICATION_NOT_FOUND")


async def test_publications_are_listed_the_newest_first_a_page_at_a_time(world):
    names = [(await create(world, publication("nowhere.csv"))).name for _ in range(5)]
    found, token = [], ""
    while True:
        page = await world.publications().ListPublications(
            publication_service_pb2.ListPublicationsRequest(page_size=2, page_token=token), timeout=TIMEOUT
        )
        assert len(page.publications) <= 2
        found += [one.name for one in page.publications]
        token = page.next_page_token
        if not token:
            break
    assert found == names[::-1]


@pytest.mark.parametrize("token", ["x", "AAAA", "cHVibGljYXRpb25zAA==", "é"])
async def test_a_page_token_of_nobody_is_refused(world, token):
    call = world.publications().ListPublications(
        publication_service_pb2.ListPublicationsRequest(page_token=token), timeout=TIMEOUT
    )
    assert (await refused(call)).reason == "PAGE_TOKEN_INVALID"


async def test_a_publication_that_a_stop_interrupted_runs_again(world, monkeypatch):
    reading, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    prepare = publishing.prepare

    def slowly(directory, name, specification, progress):
        loop.call_soon_threadsafe(reading.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return prepare(directory, name, specification, progress)

    # The real reading, held until the node is stopping.
    monkeypatch.setattr(publishing, "prepare", slowly)
    started = await create(world, publication())
    await reading.wait()
    stopping = asyncio.ensure_future(world.stop_node())
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    monkeypatch.setattr(publishing, "prepare", prepare)
    await world.start_node()
    outcome = await world.publication_outcome(started.name)
    assert outcome.state == publication_pb2.PUBLICATION_STATE_SUCCEEDED
    listed = await world.publications().ListPublications(
        publication_service_pb2.ListPublicationsRequest(), timeout=TIMEOUT
    )
    assert len(listed.publications) == 1


async def test_withdrawing_counts_each_person_once_and_tells_nothing_of_presence(world):
    await world.publish()
    assert await world.withdraw("p3") == 1
    assert await world.withdraw("p3") == 1
    assert await world.withdraw("never-there") == 2
    assert await world.withdraw("p4") == 3


async def test_the_same_withdrawal_request_gets_its_first_reply(world):
    await world.publish()
    request_id = fresh_id()
    assert await world.withdraw("p3", request_id) == 1
    await world.withdraw("p4")
    assert await world.withdraw("p3", request_id) == 1


async def test_withdrawing_from_an_unknown_dataset_is_not_found(world):
    refusal = await refused(world.withdraw("p3"))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "CONSENT_DATASET_NOT_FOUND")


@pytest.mark.parametrize("person", ["", "x" * 65, "é" * 33])
async def test_an_identifier_of_another_length_is_refused(world, person):
    await world.publish()
    call = world.consent().WithdrawConsent(
        consent_service_pb2.WithdrawConsentRequest(dataset=DATASET, entity_id=person, request_id=fresh_id()),
        timeout=TIMEOUT,
    )
    assert (await refused(call)).violations[0][0] == "entity_id"


async def test_a_withdrawn_person_is_scored_like_an_absent_one_from_then_on(world):
    await world.publish()
    deployed = await world.deploy()
    persons = ["p1", "p2", "nobody"]
    before = await world.evaluated(deployed, persons)
    await world.withdraw("p1")
    after = await world.evaluated(deployed, persons)
    rows = [0, 1, 2]
    opened = []
    for block in (before, after):
        assert isinstance(block, evaluation_pb2.Block)
        reply = await world.release(world.release_request(deployed, block, rows))
        opened.append(world.opened(deployed, block, rows, reply.released))
    clear = [world.score_in_clear(deployed, person) for person in persons]
    assert opened[0] == clear
    assert opened[1] == [clear[2], clear[1], clear[2]]
