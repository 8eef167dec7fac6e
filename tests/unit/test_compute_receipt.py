"""What proves that the exchange recorded our statement, and everything that does not."""

import hashlib
import logging
from dataclasses import replace

import pytest
from bourse.type.v1 import record_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain.caps import NOTHING, Charge
from compute.domain.errors import (
    ClauseRefusedError,
    ExchangeRefusedError,
    ReceiptError,
    UnrecordedError,
)
from compute.domain.signed import Signed, sign_alone
from compute.formats.payloads import entry_from_bytes, receipt_statement_from_payload, signed_to_pb
from compute.release.receipt import Expected, Recorded, RecordKind, require_recorded
from compute.release.recording import recorded_by_exchange
from tests.unit.test_compute_license import AGREEMENT, EXCHANGE
from wire.signing import Purpose, public_key_of

NODE, BANK, STRANGER = (Ed25519PrivateKey.generate() for _ in range(3))
ORIGIN = AGREEMENT.exchange
OURS = sign_alone(NODE, Purpose.RELEASE_STATEMENT, b"our statement")
THEIRS = sign_alone(BANK, Purpose.RELEASE_REQUEST, b"the bank's request")
EXPECTED = Expected(RecordKind.RESULT_RELEASED, "licenses/one", Charge(10, 110), (OURS, THEIRS))
LOG = logging.getLogger("tests.receipt")


def entry(**changes) -> bytes:
    values = {
        "version": 1,
        "kind": record_pb2.RECORD_KIND_RESULT_RELEASED,
        "license": "licenses/one",
        "usage": record_pb2.Usage(rows_gathered=10, rows_opened=1, rows_charged=10, bits_charged=110),
        "statements": [signed_to_pb(OURS), signed_to_pb(THEIRS)],
        "salt": bytes(16),
    }
    return record_pb2.TradeRecordEntry(**(values | changes)).SerializeToString(deterministic=True)


def receipt(data: bytes, key: Ed25519PrivateKey = EXCHANGE, **changes) -> Signed:
    values = {"version": 1, "origin": ORIGIN, "leaf_hash": hashlib.sha256(b"\0" + data).digest()}
    statement = record_pb2.ReceiptStatement(**(values | changes))
    return sign_alone(key, Purpose.RECEIPT, statement.SerializeToString(deterministic=True))


def check(recorded: Recorded, expected: Expected = EXPECTED) -> None:
    require_recorded(
        recorded,
        expected,
        exchange_key=public_key_of(EXCHANGE),
        origin=ORIGIN,
        read_statement=receipt_statement_from_payload,
        read_entry=entry_from_bytes,
    )


GOOD = Recorded(entry(), receipt(entry()))


def test_the_exchanges_signature_over_our_own_entry_is_proof():
    check(GOOD)


def test_a_deployment_is_recorded_without_a_charge():
    deployed = entry(kind=record_pb2.RECORD_KIND_MODEL_DEPLOYED, usage=None)
    expected = replace(EXPECTED, kind=RecordKind.MODEL_DEPLOYED, charge=NOTHING)
    check(Recorded(deployed, receipt(deployed)), expected)


@pytest.mark.parametrize(
    "signed",
    [
        receipt(GOOD.entry, STRANGER),
        Signed(GOOD.receipt.payload, ()),
        Signed(GOOD.receipt.payload, GOOD.receipt.signatures * 2),
        Signed(GOOD.receipt.payload + b"\0", GOOD.receipt.signatures),
        sign_alone(EXCHANGE, Purpose.AGREEMENT, GOOD.receipt.payload),
        sign_alone(EXCHANGE, Purpose.RECEIPT, GOOD.receipt.payload + b"\x08\x01"),
        sign_alone(EXCHANGE, Purpose.RECEIPT, b""),
        receipt(GOOD.entry, version=2),
        receipt(GOOD.entry, origin="elsewhere.test"),
        receipt(GOOD.entry, leaf_hash=hashlib.sha256(GOOD.entry).digest()),
        receipt(entry(salt=b"x" * 16)),
    ],
    ids=[
        "stranger",
        "unsigned",
        "signed-twice",
        "changed",
        "other-purpose",
        "other-spelling",
        "empty",
        "version",
        "origin",
        "no-leaf-prefix",
        "other-entry",
    ],
)
def test_any_other_receipt_is_none(signed):
    with pytest.raises(ReceiptError):
        check(Recorded(GOOD.entry, signed))


@pytest.mark.parametrize(
    "data",
    [
        entry(version=2),
        entry(kind=record_pb2.RECORD_KIND_MODEL_DEPLOYED),
        entry(kind=record_pb2.RECORD_KIND_DATASET_LISTED),
        entry(license="licenses/two"),
        entry(usage=record_pb2.Usage(rows_charged=9, bits_charged=110)),
        entry(usage=record_pb2.Usage(rows_charged=10, bits_charged=111)),
        entry(usage=None),
        entry(statements=[signed_to_pb(OURS)]),
        entry(statements=[signed_to_pb(THEIRS), signed_to_pb(OURS)]),
        entry(statements=[signed_to_pb(replace(OURS, payload=b"other")), signed_to_pb(THEIRS)]),
        entry(statements=[signed_to_pb(replace(OURS, signatures=())), signed_to_pb(THEIRS)]),
        entry() + b"\x08\x01",
        b"",
        b"\xff" * 60_001,
    ],
    ids=[
        "version",
        "deployment",
        "other-kind",
        "other-license",
        "fewer-rows",
        "more-bits",
        "no-charge",
        "ours-alone",
        "disordered",
        "other-statement",
        "unsigned-statement",
        "other-spelling",
        "empty",
        "too-long",
    ],
)
def test_an_entry_that_says_anything_else_is_no_proof_however_well_it_is_signed(data):
    with pytest.raises(ReceiptError):
        check(Recorded(data, receipt(data)))


async def answered(answer: Recorded) -> Recorded:
    return answer


async def failed(error: Exception) -> Recorded:
    raise error


def refusal(*, final: bool) -> ExchangeRefusedError:
    clause = ClauseRefusedError("max_rows", "1", "2", "fewer")
    return ExchangeRefusedError("FAILED_PRECONDITION", "CLAUSE_REFUSED", "no", final=final, clause=clause)


async def ask(answer, *, first_attempt: bool) -> Recorded:
    return await recorded_by_exchange(answer, EXPECTED, AGREEMENT, LOG, first_attempt=first_attempt)


async def test_a_proven_answer_is_returned():
    assert await ask(answered(GOOD), first_attempt=True) is GOOD


@pytest.mark.parametrize("first_attempt", [True, False])
async def test_a_final_refusal_is_certain_at_every_attempt(first_attempt):
    with pytest.raises(ExchangeRefusedError):
        await ask(failed(refusal(final=True)), first_attempt=first_attempt)


async def test_a_refusal_of_the_node_is_certain_at_the_first_attempt_alone():
    with pytest.raises(ExchangeRefusedError):
        await ask(failed(refusal(final=False)), first_attempt=True)
    with pytest.raises(UnrecordedError):
        await ask(failed(refusal(final=False)), first_attempt=False)


async def test_no_answer_and_an_unproven_answer_leave_everything_in_doubt():
    with pytest.raises(UnrecordedError):
        await ask(failed(UnrecordedError("away")), first_attempt=True)
    with pytest.raises(UnrecordedError):
        await ask(answered(Recorded(GOOD.entry, receipt(GOOD.entry, STRANGER))), first_attempt=True)
