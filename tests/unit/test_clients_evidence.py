"""What a node and an exchange send proves itself in every part, or nothing is opened."""

import hashlib
from dataclasses import dataclass

import pytest
from bourse.compute.v1 import evaluation_service_pb2
from bourse.exchange.v1 import party_pb2, trade_record_pb2
from bourse.type.v1 import agreement_pb2, query_pb2, record_pb2, signature_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.agreement import CheckedAgreement
from clients.deploying import check_deployed
from clients.errors import EvidenceError, InputError
from clients.home import PinnedExchange
from clients.keyproof import KeyProof, parse_proof, possession_payload
from clients.records import check_record, keys_of
from clients.scoring import check_released, rows_digest
from wire.identity import Identity
from wire.signing import Purpose, key_id, public_key_of, sign

NODE, BANK, EXCHANGE, STRANGER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(4))
ORIGIN = "log.test"
PINNED = PinnedExchange(
    "127.0.0.1:1", Identity("bourse.test", "operator", "square", "exchange"), ORIGIN, public_key_of(EXCHANGE)
)
AGREEMENT = agreement_pb2.Agreement(
    version=1,
    license="licenses/one",
    provider="parties/bureau",
    bank="parties/harbour",
    exchange=ORIGIN,
    terms=agreement_pb2.Terms(profile="score-v1", drop=9),
    columns=[agreement_pb2.AgreementColumn(name="age", bins=4)],
    node_key=public_key_of(NODE),
    bank_key=public_key_of(BANK),
    exchange_key=public_key_of(EXCHANGE),
)
CHECKED = CheckedAgreement(
    signature_pb2.SignedPayload(payload=AGREEMENT.SerializeToString(deterministic=True)), AGREEMENT
)
KEYS = keys_of(
    [
        party_pb2.Party(
            name="parties/bureau",
            signing_keys=[
                party_pb2.SigningKey(purpose=party_pb2.KEY_PURPOSE_NODE, public_key=public_key_of(NODE))
            ],
        ),
        party_pb2.Party(
            name="parties/harbour",
            signing_keys=[
                party_pb2.SigningKey(purpose=party_pb2.KEY_PURPOSE_BANK, public_key=public_key_of(BANK))
            ],
        ),
    ]
)


def signed(key, purpose, message):
    payload = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    return signature_pb2.SignedPayload(
        payload=payload,
        signatures=[
            signature_pb2.Signature(key_id=key_id(public_key_of(key)), value=sign(key, purpose, payload))
        ],
    )


def receipt_for(entry, *, key=EXCHANGE, origin=ORIGIN, seconds=7):
    statement = record_pb2.ReceiptStatement(
        version=1, origin=origin, leaf_hash=hashlib.sha256(b"\0" + entry).digest()
    )
    statement.time.seconds = seconds
    return record_pb2.Receipt(statement=signed(key, Purpose.RECEIPT, statement))


def entry_of(kind, statements, **changes):
    values = {"license": "licenses/one", "parties": ["parties/bureau", "parties/harbour"], "salt": bytes(16)}
    entry = record_pb2.TradeRecordEntry(version=1, kind=kind, statements=statements, **values | changes)
    entry.time.seconds = 7
    return entry.SerializeToString(deterministic=True)


@dataclass
class Deployed:
    """A node's answer to AcceptSealing, part by part."""

    own: signature_pb2.SignedPayload
    statements: list
    kind: int = record_pb2.RECORD_KIND_MODEL_DEPLOYED

    def check(self, *, receipt=receipt_for, **changes):
        entry = entry_of(self.kind, self.statements, **changes)
        return check_deployed(CHECKED, "sealings/x", self.own, entry, receipt(entry))


def deployed(*, node=NODE, **changes):
    own = signed(BANK, Purpose.SEALING, statement_pb2.SealingStatement(version=1, sealing="sealings/x"))
    values = {
        "license": "licenses/one",
        "license_digest": CHECKED.digest,
        "sealing": "sealings/x",
        "sealing_statement_sha256": hashlib.sha256(own.payload).digest(),
        "columns": 4,
    }
    statement = statement_pb2.ModelStatement(version=1, **values | changes)
    return Deployed(own, [signed(node, Purpose.MODEL_STATEMENT, statement), own])


def test_a_deployment_is_proven_by_receipt_record_and_both_statements():
    assert deployed().check().columns == 4


@pytest.mark.parametrize(
    "answer",
    [
        deployed(node=STRANGER),
        deployed(license="licenses/two"),
        deployed(license_digest=bytes(32)),
        deployed(sealing="sealings/y"),
        deployed(sealing_statement_sha256=bytes(32)),
        deployed(columns=3),
        Deployed(deployed().own, deployed().statements[:1]),
        Deployed(deployed().own, [*deployed().statements[:1], deployed().statements[0]]),
        Deployed(deployed().own, deployed().statements, record_pb2.RECORD_KIND_RESULT_RELEASED),
    ],
)
def test_a_deployment_that_states_anything_else_has_not_happened(answer):
    with pytest.raises(EvidenceError):
        answer.check()


@pytest.mark.parametrize(
    "receipt",
    [
        lambda entry: receipt_for(entry, key=STRANGER),
        lambda entry: receipt_for(entry, origin="other.test"),
        lambda entry: receipt_for(entry + b"x"),
        lambda entry: receipt_for(entry, seconds=8),
        lambda _: record_pb2.Receipt(),
    ],
)
def test_a_receipt_of_anything_else_is_no_receipt(receipt):
    with pytest.raises(EvidenceError, match="receipt"):
        deployed().check(receipt=receipt)


def test_another_licenses_record_is_not_this_deployments():
    with pytest.raises(EvidenceError):
        deployed().check(license="licenses/two")


REQUEST = statement_pb2.ReleaseRequest(
    version=1,
    block="evaluations/e/blocks/0",
    nonce=bytes(32),
    rows_digest=rows_digest(bytes(32), [0, 1, 2]),
    rows=3,
    query_kind=query_pb2.QUERY_KIND_NAMED,
    drop=9,
)
OWN = signed(BANK, Purpose.RELEASE_REQUEST, REQUEST)


def released(*, node=NODE, entry_changes=None, **changes):
    values = {
        "license": "licenses/one",
        "license_digest": CHECKED.digest,
        "sealing": "sealings/x",
        "block": REQUEST.block,
        "request_sha256": hashlib.sha256(OWN.payload).digest(),
        "place": bytes(32),
        "rows_gathered": 3,
        "rows_opened": 3,
        "rows_charged": 3,
        "bits_charged": 33,
        "consent_digest": bytes(32),
        "query_kind": query_pb2.QUERY_KIND_NAMED,
    }
    statement = statement_pb2.ReleaseStatement(version=1, **values | changes)
    proof = signed(node, Purpose.RELEASE_STATEMENT, statement)
    usage = record_pb2.Usage(
        rows_gathered=statement.rows_gathered,
        rows_opened=statement.rows_opened,
        rows_charged=statement.rows_charged,
        bits_charged=statement.bits_charged,
    )
    entry_values = {"statements": [proof, OWN], "usage": usage} | (entry_changes or {})
    entry = entry_of(record_pb2.RECORD_KIND_RESULT_RELEASED, **entry_values)
    return evaluation_service_pb2.ReleaseBlockResponse(
        statement=proof, entry=entry, receipt=receipt_for(entry)
    )


def check(answer):
    return check_released(CHECKED, "sealings/x", REQUEST, OWN, 3, answer)


def test_a_release_is_proven_by_receipt_record_charge_and_both_statements():
    assert check(released()).rows_charged == 3
    assert check(released(rows_charged=0, bits_charged=0)).rows_charged == 0


@pytest.mark.parametrize(
    "answer",
    [
        released(node=STRANGER),
        released(license="licenses/two"),
        released(license_digest=bytes(32)),
        released(sealing="sealings/y"),
        released(block="evaluations/e/blocks/1"),
        released(request_sha256=bytes(32)),
        released(rows_gathered=4),
        released(rows_opened=2),
        released(rows_charged=2, bits_charged=22),
        released(bits_charged=39),
        released(query_kind=query_pb2.QUERY_KIND_UNSPECIFIED),
        released(entry_changes={"usage": record_pb2.Usage(rows_charged=1)}),
        released(entry_changes={"license": "licenses/two"}),
        released(entry_changes={"statements": [OWN, OWN]}),
    ],
)
def test_a_release_that_states_or_charges_anything_else_opens_nothing(answer):
    with pytest.raises(EvidenceError):
        check(answer)


def record(entry, **receipt):
    return trade_record_pb2.TradeRecord(index=5, entry=entry, receipt=receipt_for(entry, **receipt))


def test_an_auditor_proves_a_release_from_the_record_alone():
    checked = check_record(record(released().entry), PINNED, KEYS)
    assert (checked.index, checked.signatures) == (5, 2)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (record(released().entry, key=STRANGER), "receipt"),
        (record(released(node=STRANGER).entry), "registry holds for none"),
        (record(released(request_sha256=bytes(32)).entry), "another request"),
        (record(released(license="licenses/two").entry), "another license"),
        (record(released(entry_changes={"usage": record_pb2.Usage(rows_charged=1)}).entry), "charge"),
        (record(released(entry_changes={"statements": [OWN]}).entry), "number of statements"),
        (record(released(entry_changes={"statements": []}).entry), "number of statements"),
        (record(released(entry_changes={"parties": ["parties/bureau"]}).entry), "none of its parties"),
    ],
)
def test_a_record_that_does_not_prove_itself_is_named(broken, words):
    with pytest.raises(EvidenceError, match=rf"record 5: .*{words}"):
        check_record(broken, PINNED, KEYS)


def proof(**changes):
    payload = possession_payload("parties/harbour", party_pb2.KEY_PURPOSE_BANK)
    made = KeyProof(
        "parties/harbour",
        party_pb2.KEY_PURPOSE_BANK,
        public_key_of(BANK),
        sign(BANK, Purpose.KEY_POSSESSION, payload),
    )
    return made.to_json() | changes


def test_a_key_is_handed_over_with_its_owners_proof():
    import json

    assert parse_proof(json.dumps(proof()).encode()).public_key == public_key_of(BANK)


@pytest.mark.parametrize(
    "changed",
    [
        proof(party="parties/other"),
        proof(purpose="node"),
        proof(purpose="gatekeeper"),
        proof(public_key=public_key_of(STRANGER).hex()),
        proof(public_key="zz"),
        proof(signature=7),
        proof(more="x"),
    ],
)
def test_a_proof_for_anything_else_proves_nothing(changed):
    import json

    with pytest.raises(InputError):
        parse_proof(json.dumps(changed).encode())
