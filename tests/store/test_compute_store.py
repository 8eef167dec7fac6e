"""What a node keeps: the same on SQLite and on PostgreSQL."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text

from compute.domain.caps import NOTHING, Charge, Usage
from compute.domain.errors import (
    EvaluationNotFoundError,
    LicenseNotFoundError,
    LicenseRefusedError,
    PublicationNotFoundError,
    RequestIdReusedError,
    SealingNotFoundError,
)
from compute.domain.evaluation import Evaluation, EvaluationState
from compute.domain.license import PublishedColumn, QueryKind
from compute.domain.model import Sealing, SealingState
from compute.domain.signed import Signature, Signed
from compute.release.receipt import Recorded
from compute.store import (
    evaluations,
    idempotency,
    licenses,
    publications,
    releases,
    revisions,
    sealings,
    secrets,
    withdrawals,
)
from compute.store.database import MIGRATIONS, migrate_database, open_node_database
from compute.store.evaluations import PreparedRow
from compute.store.idempotency import RequestKey
from compute.store.publications import PublicationRow, PublicationState
from compute.store.releases import ReleaseRow, ReleaseState
from compute.store.revisions import PreparedColumn, RevisionRow
from compute.store.schema import metadata, release
from compute.store.sealings import Deployment
from durable import SchemaOutdatedError, downgrade, open_database

NOW = datetime(2026, 3, 1, 12, 30, 15, 123_456, tzinfo=UTC)
DATASET, LICENSE, BANK = "datasets/employment", "licenses/one-and-only", "parties/harbour"
SEALING, EVALUATION = "sealings/one", "evaluations/one"


def signed(payload: bytes, count: int = 1) -> Signed:
    return Signed(payload, tuple(Signature(bytes([n]) * 16, bytes([n]) * 64) for n in range(count)))


def person(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.fixture
def node(database_url):
    migrate_database(database_url)
    opened = open_node_database(database_url)
    yield opened
    opened.close()


def published(node, number: int = 1, rows: int = 5) -> RevisionRow:
    row = RevisionRow(DATASET, number, bytes([number]) * 32, rows)
    columns = [
        PreparedColumn("age", 4, bytes(n % 4 for n in range(rows))),
        PreparedColumn("job", 3, bytes(rows)),
    ]
    keys = [person(n) for n in range(rows)]
    node.write(lambda c: revisions.add(c, row, signed(b"description"), b"salt", columns, keys, NOW))
    return row


def licensed(node) -> Signed:
    agreement = signed(b"agreement", 3)
    node.write(lambda c: licenses.keep(c, LICENSE, BANK, agreement, NOW))
    return agreement


def opened_sealing(node) -> Sealing:
    licensed(node)
    row = Sealing(
        SEALING,
        LICENSE,
        QueryKind.NAMED,
        b"o" * 32,
        b"s" * 32,
        b"c" * 32,
        3,
        SealingState.OPEN,
        NOW,
    )
    node.write(lambda c: sealings.add(c, row))
    return row


def started(node) -> Evaluation:
    blocks = [[person(1), person(2)], [person(3)]]
    opened_sealing(node)
    rows = sum(map(len, blocks))
    row = Evaluation(
        EVALUATION, SEALING, LICENSE, rows, len(blocks), 0, EvaluationState.RUNNING, "", b"d" * 32, NOW
    )
    node.write(lambda c: evaluations.add(c, row, b"salt", blocks))
    return row


def reserved(request: bytes = b"request", name: str = "release-1", charge: Charge = NOTHING) -> ReleaseRow:
    return ReleaseRow(
        name,
        EVALUATION,
        0,
        LICENSE,
        request.ljust(32, b"\0"),
        signed(request),
        (0, 1),
        charge,
        signed(b"statement"),
        "an-id",
        ReleaseState.RESERVED,
        None,
        NOW,
    )


def test_migrating_leads_to_the_schema_that_the_program_uses(node):
    assert node.read(lambda c: compare_metadata(MigrationContext.configure(c), metadata)) == []


def test_migrating_twice_changes_nothing_and_stepping_back_leaves_nothing(database_url):
    migrate_database(database_url)
    migrate_database(database_url)
    database = open_database(database_url)
    downgrade(database, MIGRATIONS, "base")
    tables = database.read(lambda c: set(inspect(c).get_table_names()))
    database.close()
    assert tables <= {"alembic_version"}


def test_a_node_does_not_start_on_a_database_that_was_not_migrated(database_url):
    open_database(database_url, create=True).close()
    with pytest.raises(SchemaOutdatedError):
        open_node_database(database_url)


def test_the_entity_secret_is_kept_once(node):
    assert node.read(secrets.find) is None
    assert node.write(lambda c: secrets.keep_first(c, b"first")) == b"first"
    assert node.write(lambda c: secrets.keep_first(c, b"second")) == b"first"
    assert node.read(secrets.find) == b"first"


def test_a_request_gets_its_first_reply_and_its_id_stands_for_nothing_else(node):
    key = RequestKey("spiffe://a", "id", b"1" * 32)
    assert node.read(lambda c: idempotency.first_reply(c, key)) is None
    node.write(lambda c: idempotency.keep_reply(c, key, b"reply", NOW))
    assert node.read(lambda c: idempotency.first_reply(c, key)) == b"reply"
    other = replace(key, sha256=b"2" * 32)
    with pytest.raises(RequestIdReusedError):
        node.read(lambda c: idempotency.first_reply(c, other))
    assert node.read(lambda c: idempotency.first_reply(c, replace(other, caller="spiffe://b"))) is None


def test_a_revision_is_kept_whole(node):
    row = published(node)
    assert node.read(lambda c: revisions.find(c, DATASET, 1)) == row
    assert node.read(lambda c: revisions.find(c, DATASET, 2)) is None
    assert node.read(lambda c: revisions.description(c, DATASET, 1)) == signed(b"description")
    columns = node.read(lambda c: revisions.published_columns(c, DATASET, 1))
    assert columns == [PublishedColumn("age", 4), PublishedColumn("job", 3)]
    assert node.read(lambda c: revisions.column_data(c, DATASET, 1, "age")) == bytes([0, 1, 2, 3, 0])


def test_revisions_are_numbered_from_one_up_for_each_dataset(node):
    assert node.read(lambda c: revisions.next_number(c, DATASET)) == 1
    assert not node.read(lambda c: revisions.knows_dataset(c, DATASET))
    published(node, 1)
    published(node, 2)
    assert node.read(lambda c: revisions.next_number(c, DATASET)) == 3
    assert node.read(lambda c: revisions.next_number(c, "datasets/other")) == 1
    assert node.read(lambda c: revisions.knows_dataset(c, DATASET))


def test_persons_are_found_by_key_in_the_order_asked(node):
    published(node, rows=2500)
    keys = [person(n) for n in (2400, 7, 99_999, 0, 1200)]
    found = node.read(lambda c: revisions.rows_of_entities(c, DATASET, 1, keys))
    assert found == (2400, 7, -1, 0, 1200)
    everybody = [person(n) for n in range(2500)]
    assert node.read(lambda c: revisions.rows_of_entities(c, DATASET, 1, everybody)) == tuple(range(2500))
    assert node.read(lambda c: revisions.rows_of_entities(c, DATASET, 2, keys)) == (-1,) * 5


def test_a_withdrawn_person_has_no_row_in_any_revision(node):
    published(node, 1)
    published(node, 2)
    assert node.write(lambda c: withdrawals.add(c, DATASET, person(3), NOW)) == 1
    assert node.write(lambda c: withdrawals.add(c, DATASET, person(3), NOW)) == 1
    assert node.write(lambda c: withdrawals.add(c, DATASET, person(77), NOW)) == 2
    for number in (1, 2):
        keys = [person(2), person(3), person(77)]
        found = node.read(lambda c, n=number, k=keys: revisions.rows_of_entities(c, DATASET, n, k))
        assert found == (2, -1, -1)
    assert node.read(lambda c: withdrawals.count(c, DATASET)) == 2
    assert node.read(lambda c: withdrawals.count(c, "datasets/other")) == 0


def publication_row(name: str, state: PublicationState = PublicationState.RUNNING) -> PublicationRow:
    return PublicationRow(name, DATASET, "records.csv", b"spec", "note", state, None, 0, 0, (), "", "", NOW)


def test_a_publication_has_one_outcome(node):
    node.write(lambda c: publications.add(c, publication_row("publications/a")))
    node.write(lambda c: publications.add(c, publication_row("publications/b")))
    assert node.read(publications.running) == ["publications/a", "publications/b"]
    node.write(lambda c: publications.succeed(c, "publications/a", 1, 5, 99, ("a remark",)))
    node.write(lambda c: publications.fail(c, "publications/a", "RECORDS_UNREADABLE", "too late"))
    done = node.read(lambda c: publications.get(c, "publications/a"))
    assert (done.state, done.revision, done.rows) == (PublicationState.SUCCEEDED, 1, 5)
    assert (done.remarks, done.error_reason, done.create_time) == (("a remark",), "", NOW)
    node.write(lambda c: publications.fail(c, "publications/b", "RECORDS_UNREADABLE", "row 3"))
    assert node.read(lambda c: publications.get(c, "publications/b")).error_message == "row 3"
    assert node.read(publications.running) == []
    with pytest.raises(PublicationNotFoundError):
        node.read(lambda c: publications.get(c, "publications/c"))


def test_publications_come_in_pages_the_newest_first(node):
    for n in range(5):
        node.write(lambda c, n=n: publications.add(c, publication_row(f"publications/{n}")))
    one, more = node.read(lambda c: publications.page(c, None, 3))
    two, end = node.read(lambda c: publications.page(c, more, 3))
    assert [row.name[-1] for row in one + two] == ["4", "3", "2", "1", "0"]
    assert end is None


def test_a_license_stands_for_the_same_bytes_for_ever(node):
    agreement = licensed(node)
    licensed(node)
    assert node.read(lambda c: licenses.agreement(c, LICENSE)) == agreement
    assert node.read(lambda c: licenses.bank_of(c, LICENSE)) == BANK
    with pytest.raises(LicenseRefusedError):
        node.write(lambda c: licenses.keep(c, LICENSE, BANK, signed(b"another"), NOW))
    with pytest.raises(LicenseNotFoundError):
        node.read(lambda c: licenses.agreement(c, "licenses/unknown-one"))


def test_a_charge_given_back_leaves_no_trace_in_the_counters(node):
    licensed(node)
    keys = [person(n) for n in range(1500)]
    charge = Charge(1500, 16_500)
    for times in (1, 2):
        node.write(lambda c: licenses.charge(c, LICENSE, charge, keys))
        assert node.read(lambda c: licenses.openings(c, LICENSE, keys[-3:])) == [times] * 3
    node.write(lambda c: licenses.charge(c, LICENSE, Charge(1, 11), [person(9999)]))
    assert node.read(lambda c: licenses.usage(c, LICENSE)) == Usage(0, 3001, 33_011)
    node.write(lambda c: licenses.give_back(c, LICENSE, charge, keys))
    node.write(lambda c: licenses.give_back(c, LICENSE, charge, keys))
    assert node.read(lambda c: licenses.usage(c, LICENSE)) == Usage(0, 1, 11)
    assert node.read(lambda c: licenses.openings(c, LICENSE, [*keys[:2], person(9999)])) == [0, 0, 1]


def test_models_are_counted(node):
    licensed(node)
    node.write(lambda c: licenses.count_model(c, LICENSE))
    node.write(lambda c: licenses.count_model(c, LICENSE))
    assert node.read(lambda c: licenses.usage(c, LICENSE)).models == 2


def test_charges_at_once_never_pass_a_cap(node):
    licensed(node)
    refused = []

    def charge(connection, number: int) -> None:
        if licenses.usage(connection, LICENSE).rows + 1 > 10:
            raise LookupError
        licenses.charge(connection, LICENSE, Charge(1, 11), [person(number % 4)])

    def many(first: int) -> None:
        for number in range(first, first + 5):
            try:
                node.write(lambda c, n=number: charge(c, n))
            except LookupError:
                refused.append(number)

    threads = [threading.Thread(target=many, args=(5 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 10
    assert node.read(lambda c: licenses.usage(c, LICENSE)) == Usage(0, 10, 110)
    assert sum(node.read(lambda c: licenses.openings(c, LICENSE, [person(n) for n in range(4)]))) == 10


def test_a_sealing_goes_from_open_to_accepted_and_back_only_while_recording(node):
    row = opened_sealing(node)
    assert node.read(lambda c: sealings.get(c, SEALING)) == row
    deployment = Deployment(b"d" * 32, signed(b"bank"), signed(b"node"), "an-id")
    node.write(lambda c: sealings.fix(c, SEALING, deployment))
    assert node.read(lambda c: sealings.deployment(c, SEALING)) == deployment
    node.write(lambda c: sealings.reopen(c, SEALING))
    assert node.read(lambda c: sealings.deployment(c, SEALING)) is None
    assert node.read(lambda c: sealings.get(c, SEALING)) == row
    node.write(lambda c: sealings.fix(c, SEALING, deployment))
    recorded = Recorded(b"entry", signed(b"receipt"))
    node.write(lambda c: sealings.accept(c, SEALING, recorded))
    node.write(lambda c: sealings.reopen(c, SEALING))
    assert node.read(lambda c: sealings.get(c, SEALING)).state is SealingState.ACCEPTED
    assert node.read(lambda c: sealings.recorded(c, SEALING)) == recorded
    with pytest.raises(SealingNotFoundError):
        node.read(lambda c: sealings.get(c, "sealings/unknown"))


def test_sealed_columns_are_kept_by_place(node):
    opened_sealing(node)
    for place, data in ((2, b"two"), (0, b"zero"), (2, b"TWO")):
        node.write(lambda c, p=place, d=data: sealings.put_column(c, SEALING, p, d))
    assert node.read(lambda c: sealings.places_present(c, SEALING)) == [0, 2]
    assert node.read(lambda c: list(sealings.columns(c, SEALING))) == [b"zero", b"TWO"]
    assert node.read(lambda c: sealings.column(c, SEALING, 1)) is None


def test_blocks_of_a_sealing_are_counted(node):
    opened_sealing(node)
    node.write(lambda c: sealings.count_blocks(c, SEALING, 8))
    node.write(lambda c: sealings.count_blocks(c, SEALING, 1))
    assert node.read(lambda c: sealings.blocks_so_far(c, SEALING)) == 9


def test_an_evaluation_ends_with_its_last_block(node):
    row = started(node)
    assert node.read(lambda c: evaluations.get(c, EVALUATION)) == row
    assert node.read(evaluations.running) == [EVALUATION]
    prepared = PreparedRow((4, -1), 3, b"p" * 32, b"salt", b"seed")
    for number in (0, 1):
        node.write(lambda c, n=number: evaluations.keep_prepared(c, EVALUATION, n, prepared))
        node.write(
            lambda c, n=number: evaluations.keep_block(c, EVALUATION, n, b"p" * 32, b"data", b"h" * 32)
        )
    done = node.read(lambda c: evaluations.get(c, EVALUATION))
    assert (done.state, done.blocks_done) == (EvaluationState.SUCCEEDED, 2)
    assert node.read(lambda c: evaluations.prepared(c, EVALUATION, 0)) == prepared
    assert node.read(lambda c: evaluations.entity_keys(c, EVALUATION, 0)) == (person(1), person(2))
    assert node.read(lambda c: evaluations.block_data(c, EVALUATION, 1)) == (1, b"h" * 32, b"data")
    node.write(lambda c: evaluations.fail(c, EVALUATION, "too late"))
    assert node.read(lambda c: evaluations.get(c, EVALUATION)).state is EvaluationState.SUCCEEDED
    with pytest.raises(EvaluationNotFoundError):
        node.read(lambda c: evaluations.block_data(c, EVALUATION, 2))


def test_a_block_with_bytes_is_never_decided_or_evaluated_again(node):
    started(node)
    prepared = PreparedRow((4, -1), 3, b"p" * 32, b"salt", b"seed")
    node.write(lambda c: evaluations.keep_prepared(c, EVALUATION, 0, prepared))
    node.write(lambda c: evaluations.keep_block(c, EVALUATION, 0, b"p" * 32, b"data", b"h" * 32))
    other = replace(prepared, place=b"q" * 32, seed=b"other")
    node.write(lambda c: evaluations.keep_prepared(c, EVALUATION, 0, other))
    node.write(lambda c: evaluations.keep_block(c, EVALUATION, 0, b"p" * 32, b"DATA", b"g" * 32))
    assert node.read(lambda c: evaluations.prepared(c, EVALUATION, 0)) == prepared
    assert node.read(lambda c: evaluations.block_data(c, EVALUATION, 0))[2] == b"data"


def test_bytes_of_a_block_that_was_decided_anew_are_not_kept(node):
    started(node)
    prepared = PreparedRow((4, -1), 3, b"p" * 32, b"salt", b"seed")
    node.write(lambda c: evaluations.keep_prepared(c, EVALUATION, 0, prepared))
    node.write(lambda c: evaluations.keep_block(c, EVALUATION, 0, b"old".ljust(32), b"data", b"h" * 32))
    assert node.read(lambda c: evaluations.block_data(c, EVALUATION, 0))[2] is None
    assert node.read(lambda c: evaluations.blocks_to_do(c, EVALUATION)) == [0, 1]


def test_a_release_is_recorded_or_refused_and_never_both(node):
    started(node)
    row = reserved(charge=Charge(2, 22))
    node.write(lambda c: releases.add(c, row))
    assert node.read(releases.reserved) == [row]
    recorded = Recorded(b"entry", signed(b"receipt"))
    node.write(lambda c: releases.record(c, row.name, recorded))
    assert node.write(lambda c: releases.refuse(c, row.name)) is False
    kept = node.read(lambda c: releases.find(c, row.name))
    assert kept == replace(row, state=ReleaseState.RECORDED, recorded=recorded)
    assert node.read(releases.reserved) == []


def test_a_refused_release_makes_room_for_the_same_request(node):
    started(node)
    row = reserved()
    node.write(lambda c: releases.add(c, row))
    assert node.write(lambda c: releases.refuse(c, row.name)) is True
    assert node.write(lambda c: releases.refuse(c, row.name)) is False
    assert node.read(lambda c: releases.find_same(c, EVALUATION, 0, row.request_sha256)) is None
    again = replace(row, name="release-2", create_time=NOW + timedelta(seconds=1))
    node.write(lambda c: releases.add(c, again))
    assert node.read(lambda c: releases.find_same(c, EVALUATION, 0, row.request_sha256)) == again
    assert len(node.read(lambda c: c.execute(select(release.c.name)).all())) == 1


def test_one_request_has_one_release(node):
    started(node)
    node.write(lambda c: releases.add(c, reserved()))
    with pytest.raises(Exception, match=r"(?i)unique"):
        node.write(lambda c: releases.add(c, reserved(name="release-2")))


def test_who_charged_a_block_is_noted(node):
    started(node)
    prepared = PreparedRow((4, -1), 3, b"p" * 32, b"salt", b"seed")
    assert node.read(lambda c: evaluations.sealed_block(c, EVALUATION, 0)) is None
    node.write(lambda c: evaluations.keep_prepared(c, EVALUATION, 0, prepared))
    node.write(lambda c: evaluations.keep_block(c, EVALUATION, 0, b"p" * 32, b"data", b"h" * 32))
    for who in (None, "release-1", None):
        node.write(lambda c, w=who: evaluations.charge_by(c, EVALUATION, 0, w))
        block = node.read(lambda c: evaluations.sealed_block(c, EVALUATION, 0))
        assert (block.rows, block.place, block.charged_by) == (2, b"p" * 32, who)


def test_counters_below_zero_cannot_be_kept(node):
    licensed(node)
    with pytest.raises(Exception, match=r"(?i)check"):
        node.write(lambda c: licenses.give_back(c, LICENSE, Charge(1, 1), []))


def test_nothing_of_a_change_that_fails_is_kept(node):
    published(node)

    def half(connection):
        withdrawals.add(connection, DATASET, person(1), NOW)
        connection.execute(text("SELECT 1"))
        raise InterruptedError

    with pytest.raises(InterruptedError):
        node.write(half)
    assert node.read(lambda c: withdrawals.count(c, DATASET)) == 0
