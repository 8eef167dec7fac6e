"""Nobody signs an agreement that differs anywhere from what they saw, and nobody uses an unsigned one."""

from datetime import UTC, datetime

import pytest
from bourse.exchange.v1 import license_pb2
from bourse.type.v1 import agreement_pb2, description_pb2, query_pb2, signature_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clients.agreement import (
    SIGNERS,
    CheckedAgreement,
    check_agreement,
    check_signed_by,
    final_agreement,
    read_agreement,
)
from clients.errors import EvidenceError
from clients.evidence import revision_digest
from clients.home import PinnedExchange
from clients.terms import WantedTerms
from wire.bins import category_column, interval_column
from wire.columns import column_to_pb
from wire.identity import Identity
from wire.signing import Purpose, key_id, public_key_of, sign

STEWARD, NODE, BANK, EXCHANGE, STRANGER = (
    Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 6)
)
PINNED = PinnedExchange(
    "127.0.0.1:1",
    Identity("bourse.test", "operator", "square", "exchange"),
    "log.test",
    public_key_of(EXCHANGE),
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
TERMS = WantedTerms().resolved(["age", "job"], NOW)
DESCRIPTION = description_pb2.DatasetDescription(
    version=1,
    dataset="datasets/bureau",
    revision=2,
    provider="parties/bureau",
    columns=[
        column_to_pb(interval_column("age", "", "", [30.0, 45.0])),
        column_to_pb(category_column("job", "", [("clerk", ["clerk"])])),
    ],
)
DESCRIPTION_BYTES = DESCRIPTION.SerializeToString(deterministic=True)


def agreement(**changes):
    made = agreement_pb2.Agreement(
        version=1,
        license="licenses/one",
        dataset="datasets/bureau",
        revision=2,
        revision_digest=revision_digest(DESCRIPTION_BYTES),
        provider="parties/bureau",
        bank="parties/harbour",
        exchange="log.test",
        scenario="credit",
        terms=TERMS,
        columns=[
            agreement_pb2.AgreementColumn(name="age", bins=4),
            agreement_pb2.AgreementColumn(name="job", bins=3),
        ],
        participants=["parties/bureau"],
        steward_key=public_key_of(STEWARD),
        node_key=public_key_of(NODE),
        bank_key=public_key_of(BANK),
        exchange_key=public_key_of(EXCHANGE),
    )
    for field, value in changes.items():
        if isinstance(value, list):
            del getattr(made, field)[:]
            getattr(made, field).extend(value)
        elif field == "terms":
            made.terms.CopyFrom(value)
        else:
            setattr(made, field, value)
    return made


def license_of(made, **changes):
    values = {
        "name": "licenses/one",
        "dataset": "datasets/bureau",
        "revision": 2,
        "scenario": "credit",
        "provider": "parties/bureau",
        "bank": "parties/harbour",
        "terms": TERMS,
    }
    payload = made.SerializeToString(deterministic=True)
    return license_pb2.License(**values | changes, agreement=signature_pb2.SignedPayload(payload=payload))


def checked(made, *, signer="bank", own_key=None, seen=TERMS, **changes):
    return check_agreement(
        license_of(made, **changes),
        seen,
        DESCRIPTION,
        DESCRIPTION_BYTES,
        PINNED,
        own_key=own_key or public_key_of(BANK if signer == "bank" else STEWARD),
        signer=signer,
    )


def signed_by(made, *keys, purpose=Purpose.AGREEMENT):
    payload = made.SerializeToString(deterministic=True)
    return signature_pb2.SignedPayload(
        payload=payload,
        signatures=[
            signature_pb2.Signature(key_id=key_id(public_key_of(key)), value=sign(key, purpose, payload))
            for key in keys
        ],
    )


def test_an_agreement_that_says_what_was_negotiated_may_be_signed_by_both():
    assert checked(agreement(), signer="bank").agreement == agreement()
    assert checked(agreement(), signer="provider").agreement == agreement()


OTHER_TERMS = WantedTerms(max_rows=1001).resolved(["age", "job"], NOW)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"license": "licenses/two"}, "license"),
        ({"dataset": "datasets/other"}, "dataset"),
        ({"revision": 1}, "revision"),
        ({"revision_digest": bytes(32)}, "revision_digest"),
        ({"provider": "parties/other"}, "provider"),
        ({"bank": "parties/other"}, "bank"),
        ({"exchange": "other.test"}, "exchange"),
        ({"scenario": "marketing"}, "scenario"),
        ({"terms": OTHER_TERMS}, "terms"),
        ({"columns": [agreement_pb2.AgreementColumn(name="age", bins=4)]}, "columns"),
        (
            {
                "columns": [
                    agreement_pb2.AgreementColumn(name="age", bins=4),
                    agreement_pb2.AgreementColumn(name="job", bins=4),
                ]
            },
            "columns",
        ),
        ({"participants": ["parties/bureau", "parties/other"]}, "participants"),
        ({"exchange_key": public_key_of(STRANGER)}, "exchange_key"),
        ({"bank_key": public_key_of(STRANGER)}, "bank's key"),
    ],
)
def test_one_changed_field_and_nothing_is_signed(changes, field):
    with pytest.raises(EvidenceError) as error:
        checked(agreement(**changes))
    assert field in [place for place, _ in error.value.fields]
    assert "nothing has been signed" in error.value.message


def test_terms_changed_in_license_and_agreement_alike_are_still_not_those_seen():
    with pytest.raises(EvidenceError) as error:
        checked(agreement(terms=OTHER_TERMS), terms=OTHER_TERMS)
    assert error.value.fields == (("terms", "are not the terms that you saw"),)


def test_the_steward_signs_only_with_the_key_that_the_agreement_pins():
    with pytest.raises(EvidenceError) as error:
        checked(agreement(steward_key=public_key_of(STRANGER)), signer="provider")
    assert error.value.fields == (
        (
            "provider's key",
            "is not the signing key of this identity; `key-proof` makes what registers that one",
        ),
    )


def test_an_agreement_in_another_spelling_is_refused():
    made = license_of(agreement())
    made.agreement.payload += b"\x08\x01"
    with pytest.raises(EvidenceError, match="canonical"):
        read_agreement(made.agreement)
    with pytest.raises(EvidenceError, match="version"):
        read_agreement(license_of(agreement(version=2)).agreement)


def test_a_license_is_used_only_with_all_three_signatures_in_order():
    final = signed_by(agreement(), STEWARD, BANK, EXCHANGE)
    assert final_agreement(final, PINNED, bank="parties/harbour").agreement == agreement()


@pytest.mark.parametrize(
    "signed",
    [
        signed_by(agreement(), STEWARD, BANK),
        signed_by(agreement(), BANK, STEWARD, EXCHANGE),
        signed_by(agreement(), STEWARD, BANK, STRANGER),
        signed_by(agreement(), STEWARD, BANK, EXCHANGE, EXCHANGE),
        signed_by(agreement(), STEWARD, BANK, EXCHANGE, purpose=Purpose.SEALING),
        signed_by(agreement(exchange="other.test"), STEWARD, BANK, EXCHANGE),
        signed_by(agreement(bank="parties/other"), STEWARD, BANK, EXCHANGE),
        signed_by(agreement(exchange_key=public_key_of(STRANGER)), STEWARD, BANK, STRANGER),
        signed_by(
            agreement(terms=agreement_pb2.Terms(query_kinds=[query_pb2.QUERY_KIND_UNSPECIFIED])),
            STEWARD, BANK, EXCHANGE,
        ),
    ],
)  # fmt: skip
def test_a_license_without_them_or_of_another_is_not_used(signed):
    with pytest.raises(EvidenceError):
        final_agreement(signed, PINNED, bank="parties/harbour")


def test_a_signature_over_other_bytes_is_no_signature():
    final = signed_by(agreement(), STEWARD, BANK, EXCHANGE)
    final.payload = agreement(scenario="marketing").SerializeToString(deterministic=True)
    with pytest.raises(EvidenceError, match="not this key's"):
        check_signed_by(CheckedAgreement(final, read_agreement(final)), *SIGNERS)
