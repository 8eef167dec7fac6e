"""The exchange's own bytes: records, receipts, agreements, and what it reads of others'."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bourse.exchange.v1 import dataset_pb2, license_pb2, party_pb2
from bourse.type.v1 import agreement_pb2, column_pb2, description_pb2, query_pb2, record_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchange_papers import (
    COLUMNS,
    canonical,
    description,
    model_statement,
    release_request,
    release_statement,
    sealing_statement,
    terms,
    timestamp,
)
from google.protobuf.timestamp_pb2 import Timestamp

from exchange.domain.datasets import DatasetState, SubjectKind
from exchange.domain.errors import FieldInvalidError, TermNotEnforcedError
from exchange.domain.licenses import LicenseState
from exchange.domain.parties import KeyPurpose, PartyKind, PartyState, Role
from exchange.domain.records import Charge, RecordDraft, RecordKind
from exchange.domain.signed import Signature, SignedBytes
from exchange.domain.terms import QueryKind
from exchange.formats import statements
from exchange.formats.description import MAX_DESCRIPTION_BYTES, revision_digest
from exchange.formats.description import description as read_description
from exchange.formats.enums import enum_from_pb, enum_to_pb
from exchange.formats.possession import possession_payload
from exchange.formats.records import entry_bytes, leaf_hash, payloads_of, receipt_statement
from exchange.formats.signed import signed_from_pb, signed_to_pb
from exchange.formats.terms import terms_from_pb, terms_to_pb
from exchange.formats.times import time_from_pb, time_to_pb
from wire.framing import tagged_hash
from wire.signing import Purpose, public_key_of, sign

PAGE = Path(__file__).parent.parent.parent / "docs" / "spec" / "record.md"
TIME = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
DRAFT = RecordDraft(
    RecordKind.RESULT_RELEASED,
    "release/parties/bureau/1",
    concerns=("harbour-bank",),
    dataset="loans",
    revision=1,
    revision_digest=bytes(range(32)),
    license="0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    scenario="consumer-credit-scoring",
    query_kind=QueryKind.NAMED,
    charge=Charge(rows_gathered=100, rows_opened=10, rows_charged=100, bits_charged=1100),
    statements=(SignedBytes(b"statement", (Signature(bytes(16), bytes(64)),)),),
)


def example() -> dict[str, bytes]:
    values: dict[str, str] = {}
    for line in PAGE.read_text().split("```")[1].splitlines():
        named = re.fullmatch(r"(\w+) +([0-9a-f]+)", line)
        if named:
            name = named[1]
        if line.strip():
            values[name] = values.get(name, "") + line.split()[-1]
    return {name: bytes.fromhex(text) for name, text in values.items()}


def written(draft=DRAFT):
    return entry_bytes(draft, actor="bureau", member="node", time=TIME, salt=bytes(range(16)))


def test_the_page_of_records_shows_the_bytes_that_are_written():
    shown, entry = example(), written()
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    statement = receipt_statement(origin="exchange.bourse.test/ledger", leaf=leaf_hash(entry), time=TIME)
    assert shown == {
        "entry": entry,
        "leaf": leaf_hash(entry),
        "receipt": statement,
        "key": public_key_of(key),
        "signature": sign(key, Purpose.RECEIPT, statement),
    }


def test_an_entry_names_every_party_once_with_the_actor_first():
    entry = record_pb2.TradeRecordEntry.FromString(
        written(replace(DRAFT, concerns=("harbour-bank", "bureau", "harbour-bank")))
    )
    assert list(entry.parties) == ["parties/bureau", "parties/harbour-bank"]
    assert payloads_of(written()) == (b"statement",)


def test_an_entry_stays_within_its_limit():
    with pytest.raises(ValueError, match="60000"):
        written(replace(DRAFT, reason="x" * 60_000))
    with pytest.raises(ValueError, match="salt"):
        entry_bytes(DRAFT, actor="bureau", member="node", time=TIME, salt=b"short")


@pytest.mark.parametrize(
    ("wrapper", "kind"),
    [
        (party_pb2.PartyKind, PartyKind),
        (party_pb2.PartyState, PartyState),
        (party_pb2.Role, Role),
        (party_pb2.KeyPurpose, KeyPurpose),
        (dataset_pb2.DatasetState, DatasetState),
        (dataset_pb2.SubjectKind, SubjectKind),
        (license_pb2.LicenseState, LicenseState),
        (record_pb2.RecordKind, RecordKind),
        (query_pb2.QueryKind, QueryKind),
    ],
)
def test_contract_and_domain_know_the_same_values(wrapper, kind):
    there = {number for number in wrapper.values() if number}
    assert {enum_to_pb(wrapper, member) for member in kind} == there
    for member in kind:
        assert enum_from_pb(wrapper, kind, enum_to_pb(wrapper, member)) is member
    assert enum_from_pb(wrapper, kind, 0) is None
    assert enum_from_pb(wrapper, kind, 999) is None


def test_a_time_keeps_its_microsecond():
    for time in (TIME, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)):
        assert time_from_pb("time", time_to_pb(time)) == time
    assert time_to_pb(TIME - timedelta(microseconds=1)).nanos == 999_999_000


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(0, 1), (0, -1), (0, 10**9), (-62135596801, 0), (253402300800, 0), (2**62, 0)]
)
def test_a_time_that_cannot_be_kept_exactly_is_refused(seconds, nanos):
    with pytest.raises(FieldInvalidError) as refused:
        time_from_pb("terms.valid_from", Timestamp(seconds=seconds, nanos=nanos))
    assert refused.value.violations[0][0] == "terms.valid_from"


def test_terms_come_back_as_they_went():
    given = terms()
    assert terms_to_pb(terms_from_pb("terms", given)) == given


def test_a_term_of_another_version_is_not_enforced_and_so_refused():
    newer = agreement_pb2.Terms.FromString(canonical(terms()) + b"\xf8\x07\x01")
    with pytest.raises(TermNotEnforcedError, match="another version"):
        terms_from_pb("terms", newer)
    kinds = terms_from_pb("terms", terms(query_kinds=[1, 7])).query_kinds
    assert kinds == (QueryKind.NAMED, None)


def test_terms_without_a_time_or_too_long_are_refused():
    endless = terms()
    endless.ClearField("valid_until")
    with pytest.raises(FieldInvalidError, match="valid_until"):
        terms_from_pb("terms", endless)
    with pytest.raises(FieldInvalidError, match="bytes"):
        terms_from_pb("terms", terms(columns=["x" * 100] * 1000))


def test_signed_payloads_are_bounded_and_shaped():
    good = SignedBytes(b"payload", (Signature(bytes(16), bytes(64)),))
    assert signed_from_pb("x", signed_to_pb(good), 7) == good
    bad = {
        "payload": SignedBytes(b"", good.signatures),
        "bytes are accepted": SignedBytes(b"longer than", good.signatures),
        "signatures": SignedBytes(b"payload", ()),
        "1 to 8": SignedBytes(b"payload", good.signatures * 9),
        "key_id": SignedBytes(b"payload", (Signature(bytes(15), bytes(64)),)),
        "value 64": SignedBytes(b"payload", (Signature(bytes(16), bytes(63)),)),
    }
    for what, signed in bad.items():
        with pytest.raises(FieldInvalidError, match=what):
            signed_from_pb("x", signed_to_pb(signed), 7)


def test_a_proof_of_possession_names_party_and_purpose():
    assert possession_payload("bureau", KeyPurpose.NODE) == b"parties/bureau\0KEY_PURPOSE_NODE"


def test_a_description_gives_its_columns_and_is_named_by_its_digest():
    payload = canonical(description("loans", "bureau"))
    read = read_description("description", payload)
    assert read.columns == (("duration", 5), ("housing", 4))
    assert (read.dataset, read.provider, read.revision) == ("datasets/loans", "parties/bureau", 1)
    assert revision_digest(payload) == tagged_hash("bourse/dataset/v1/revision", payload)


def changed_description(**changes):
    message = description("loans", "bureau")
    for field, value in changes.items():
        message.ClearField(field)
        if isinstance(value, list):
            getattr(message, field).extend(value)
        elif value is not None:
            setattr(message, field, value)
    return message


def quality(*values):
    return [
        description_pb2.ColumnQuality(column=name, complete_permille=complete, valid_permille=valid)
        for name, complete, valid in values
    ]


BROKEN_COLUMN = column_pb2.Column(name="duration", bins=[column_pb2.Bin(label="missing")])


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("version", {"version": 2}),
        ("bins_commitment", {"bins_commitment": bytes(31)}),
        ("columns", {"columns": [], "quality": []}),
        ("columns", {"columns": [COLUMNS[0]] * 2}),
        ("columns[1].bins[0].content", {"columns": [COLUMNS[1], BROKEN_COLUMN]}),
        ("rows_at_least", {"rows_at_least": 910}),
        ("quality", {"quality": []}),
        ("quality", {"quality": quality(("housing", 1, 1), ("duration", 1, 1))}),
        ("quality[0]", {"quality": quality(("duration", 900, 901), ("housing", 1, 1))}),
        ("quality[1]", {"quality": quality(("duration", 1, 1), ("housing", 1001, 1))}),
        ("change_note", {"change_note": "x" * 501}),
        ("prepare_time", {"prepare_time": None}),
    ],
)
def test_a_description_that_breaks_a_rule_is_refused_by_its_field(path, changes):
    with pytest.raises(FieldInvalidError) as refused:
        read_description("description", canonical(changed_description(**changes)))
    assert f"description.{path}" in [field for field, _ in refused.value.violations]


@pytest.mark.parametrize("damage", ["second spelling", "unknown field", "no message", "too long"])
def test_a_description_in_any_other_bytes_is_refused(damage):
    payload = canonical(description("loans", "bureau"))
    payload = {
        "second spelling": payload + b"\x08\x01",
        "unknown field": payload + b"\xf8\x07\x01",
        "no message": payload[:-1],
        "too long": payload + bytes(MAX_DESCRIPTION_BYTES),
    }[damage]
    with pytest.raises(FieldInvalidError):
        read_description("description", payload)


def test_statements_are_read_as_they_were_signed():
    sealing = canonical(sealing_statement("sealings/model-01"))
    model = canonical(model_statement("licenses/0f1e2d3c", b"agreement", sealing))
    request = canonical(release_request("evaluations/eval-001/blocks/0", "sealings/model-01"))
    release = canonical(release_statement("licenses/0f1e2d3c", b"agreement", "sealings/model-01", request))
    assert statements.sealing_statement("s", sealing).sealing == "sealings/model-01"
    assert statements.model_statement("m", model).license == "0f1e2d3c"
    assert statements.release_request("r", request).rows == 10
    assert statements.release_statement("t", release).bits_charged == 1100


@pytest.mark.parametrize(
    ("reader", "message", "changes"),
    [
        (statements.sealing_statement, statement_pb2.SealingStatement, {"sealing": "sealings/UPPER-CASE"}),
        (statements.sealing_statement, statement_pb2.SealingStatement, {"context": bytes(31)}),
        (statements.sealing_statement, statement_pb2.SealingStatement, {"version": 0}),
        (statements.model_statement, statement_pb2.ModelStatement, {"license": "licenses/x/y"}),
        (statements.model_statement, statement_pb2.ModelStatement, {"license_digest": b""}),
        (
            statements.release_request,
            statement_pb2.ReleaseRequest,
            {"block": "evaluations/eval-001/blocks/00"},
        ),
        (statements.release_request, statement_pb2.ReleaseRequest, {"block": "evaluations/eval-001"}),
        (statements.release_request, statement_pb2.ReleaseRequest, {"query_kind": 0}),
        (statements.release_request, statement_pb2.ReleaseRequest, {"query_kind": 9}),
        (statements.release_request, statement_pb2.ReleaseRequest, {"nonce": bytes(33)}),
        (statements.release_statement, statement_pb2.ReleaseStatement, {"place": b""}),
        (statements.release_statement, statement_pb2.ReleaseStatement, {"consent_digest": bytes(16)}),
        (statements.release_statement, statement_pb2.ReleaseStatement, {"sealing": "datasets/loans"}),
    ],
)
def test_a_statement_with_a_misshapen_field_is_refused(reader, message, changes):
    sealing = canonical(sealing_statement("sealings/model-01"))
    request = canonical(release_request("evaluations/eval-001/blocks/0", "sealings/model-01"))
    good = {
        statement_pb2.SealingStatement: sealing,
        statement_pb2.ModelStatement: canonical(model_statement("licenses/0f1e2d3c", b"", sealing)),
        statement_pb2.ReleaseRequest: request,
        statement_pb2.ReleaseStatement: canonical(
            release_statement("licenses/0f1e2d3c", b"", "sealings/model-01", request)
        ),
    }[message]
    reader("statement", good)
    bad = message.FromString(good)
    for field, value in changes.items():
        setattr(bad, field, value)
    with pytest.raises(FieldInvalidError) as refused:
        reader("statement", canonical(bad))
    assert refused.value.violations[0][0] == f"statement.{next(iter(changes))}"


def test_no_refusal_quotes_what_it_refuses():
    secret = "applicant-4711"
    for payload in (secret.encode(), canonical(changed_description(dataset=secret, rows_at_least=4711))):
        with pytest.raises(FieldInvalidError) as refused:
            read_description("description", payload)
        assert "4711" not in str(refused.value)
    assert timestamp(TIME).seconds == 1772443800
