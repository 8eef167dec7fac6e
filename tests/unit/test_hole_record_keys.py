"""A record is checked with keys from the registry: which of them may sign, the signed bytes must say."""

import hashlib

import pytest
from bourse.exchange.v1 import party_pb2, trade_record_pb2
from bourse.type.v1 import agreement_pb2, record_pb2, signature_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.errors import EvidenceError
from clients.home import PinnedExchange
from clients.keyproof import possession_payload
from clients.records import check_record, keys_of
from wire.identity import Identity
from wire.signing import Purpose, key_id, public_key_of, sign

EXCHANGE, STEWARD, OTHER_STEWARD, NODE, BANK, OTHER_BANK = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 7)
)
ORIGIN = "log.test"
PINNED = PinnedExchange(
    "127.0.0.1:1", Identity("bourse.test", "operator", "square", "exchange"), ORIGIN, public_key_of(EXCHANGE)
)


def party(name: str, *keys: tuple[str, Ed25519PrivateKey]) -> party_pb2.Party:
    held = [
        party_pb2.SigningKey(
            purpose=party_pb2.KeyPurpose.Value(f"KEY_PURPOSE_{purpose}"), public_key=public_key_of(key)
        )
        for purpose, key in keys
    ]
    return party_pb2.Party(name=name, signing_keys=held)


# Both sides have rotated: two keys each, all registered properly.
KEYS = keys_of(
    [
        party("parties/bureau", ("STEWARD", OTHER_STEWARD), ("STEWARD", STEWARD), ("NODE", NODE)),
        party("parties/harbour", ("BANK", OTHER_BANK), ("BANK", BANK)),
    ]
)
PARTIES = ["parties/bureau", "parties/harbour"]


def by(purpose: Purpose, payload: bytes, *keys: Ed25519PrivateKey) -> signature_pb2.SignedPayload:
    signatures = [
        signature_pb2.Signature(key_id=key_id(public_key_of(key)), value=sign(key, purpose, payload))
        for key in keys
    ]
    return signature_pb2.SignedPayload(payload=payload, signatures=signatures)


def recorded(kind: int, *statements: signature_pb2.SignedPayload, **values) -> trade_record_pb2.TradeRecord:
    """A record that the exchange has promised."""
    entry = record_pb2.TradeRecordEntry(
        version=1, kind=kind, statements=statements, parties=PARTIES, salt=bytes(16), **values
    ).SerializeToString(deterministic=True)
    receipt = record_pb2.ReceiptStatement(version=1, origin=ORIGIN)
    receipt.leaf_hash = leaf(entry)
    signed = by(Purpose.RECEIPT, receipt.SerializeToString(deterministic=True), EXCHANGE)
    return trade_record_pb2.TradeRecord(index=5, entry=entry, receipt=record_pb2.Receipt(statement=signed))


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def agreement(**changes) -> bytes:
    values = {
        "license": "licenses/one",
        "steward_key": public_key_of(STEWARD),
        "node_key": public_key_of(NODE),
        "bank_key": public_key_of(BANK),
        "exchange_key": public_key_of(EXCHANGE),
    }
    return agreement_pb2.Agreement(version=1, **values | changes).SerializeToString(deterministic=True)


def finalized(payload: bytes, *keys: Ed25519PrivateKey) -> trade_record_pb2.TradeRecord:
    kind = record_pb2.RECORD_KIND_LICENSE_FINALIZED
    return recorded(kind, by(Purpose.AGREEMENT, payload, *keys), license="licenses/one")


def test_an_agreement_signed_by_the_keys_that_it_pins_proves_itself():
    assert check_record(finalized(agreement(), STEWARD, BANK, EXCHANGE), PINNED, KEYS).signatures == 3


@pytest.mark.parametrize(
    ("payload", "keys"),
    [
        (agreement(), (OTHER_STEWARD, BANK, EXCHANGE)),
        (agreement(), (STEWARD, OTHER_BANK, EXCHANGE)),
        (agreement(exchange_key=public_key_of(NODE)), (STEWARD, BANK, EXCHANGE)),
        (agreement(steward_key=b"short"), (STEWARD, BANK, EXCHANGE)),
    ],
)
def test_an_agreement_signed_by_a_registered_key_that_it_does_not_pin_proves_nothing(payload, keys):
    # A node would refuse it: a regulator must not call it good.
    with pytest.raises(EvidenceError, match="pins"):
        check_record(finalized(payload, *keys), PINNED, KEYS)


def test_a_proof_of_possession_for_another_party_or_purpose_proves_nothing():
    def registered(party_name: str, purpose: int) -> trade_record_pb2.TradeRecord:
        proof = by(Purpose.KEY_POSSESSION, possession_payload(party_name, purpose), BANK)
        return recorded(record_pb2.RECORD_KIND_SIGNING_KEY_REGISTERED, proof)

    bank, node = party_pb2.KEY_PURPOSE_BANK, party_pb2.KEY_PURPOSE_NODE
    assert check_record(registered("parties/harbour", bank), PINNED, KEYS).signatures == 1
    for party_name, purpose in (("parties/bureau", bank), ("parties/harbour", node)):
        with pytest.raises(EvidenceError, match="possession"):
            check_record(registered(party_name, purpose), PINNED, KEYS)


def test_a_release_of_another_number_of_rows_than_was_asked_for_proves_nothing():
    def release(rows_opened: int) -> trade_record_pb2.TradeRecord:
        request = statement_pb2.ReleaseRequest(version=1, block="evaluations/e/blocks/0", rows=2)
        asked = by(Purpose.RELEASE_REQUEST, request.SerializeToString(deterministic=True), BANK)
        statement = statement_pb2.ReleaseStatement(
            version=1,
            license="licenses/one",
            block=request.block,
            request_sha256=hashlib.sha256(asked.payload).digest(),
            rows_gathered=9,
            rows_opened=rows_opened,
        )
        stated = by(Purpose.RELEASE_STATEMENT, statement.SerializeToString(deterministic=True), NODE)
        usage = record_pb2.Usage(rows_gathered=9, rows_opened=rows_opened)
        kind = record_pb2.RECORD_KIND_RESULT_RELEASED
        return recorded(kind, stated, asked, license="licenses/one", usage=usage)

    assert check_record(release(2), PINNED, KEYS).signatures == 2
    with pytest.raises(EvidenceError, match="number of rows"):
        check_record(release(9), PINNED, KEYS)
