"""Which agreements a node honors: each check, and that all of them are made."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain import license as licensing
from compute.domain.errors import (
    ClauseRefusedError,
    LicenseRefusedError,
    RoleError,
    SealedModelError,
    SealingStateError,
    SignatureRefusedError,
)
from compute.domain.evaluation import entity_key, prepare, still_stands
from compute.domain.license import Agreement, LicensedColumn, Pins, PublishedColumn, QueryKind, Terms
from compute.domain.model import (
    MAX_BLOCKS_PER_SEALING,
    Sealing,
    SealingState,
    SealingStatement,
    bins_of,
    columns_of,
    context_of,
    require_all_columns,
    require_blocks_left,
    require_statement_of,
)
from compute.domain.signed import Signature, Signed, require_signatures, sign_alone
from sealed.sealing import column_label, context
from wire.signing import Purpose, key_id, public_key_of, sign

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STEWARD, BANK, EXCHANGE, NODE, STRANGER = (Ed25519PrivateKey.generate() for _ in range(5))
COLUMNS = (LicensedColumn("age", 4), LicensedColumn("job", 3))
PUBLISHED = [PublishedColumn("job", 3), PublishedColumn("age", 4), PublishedColumn("more", 9)]
TERMS = Terms(
    columns=("age", "job"),
    query_kinds=frozenset({QueryKind.NAMED}),
    profile="score-v1",
    drop=9,
    max_rows=100,
    max_openings_per_entity=2,
    max_models=1,
    max_bits=1100,
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=1),
)
AGREEMENT = Agreement(
    version=1,
    license="licenses/one",
    dataset="datasets/one",
    revision=1,
    revision_digest=b"r" * 32,
    provider="parties/registry",
    bank="parties/harbour",
    exchange="exchange.bourse.test",
    scenario="credit",
    terms=TERMS,
    columns=COLUMNS,
    participants=("parties/registry",),
    steward_key=public_key_of(STEWARD),
    node_key=public_key_of(NODE),
    bank_key=public_key_of(BANK),
    exchange_key=public_key_of(EXCHANGE),
)
PINS = Pins(
    "parties/registry",
    frozenset({public_key_of(NODE)}),
    frozenset({public_key_of(STEWARD)}),
    public_key_of(EXCHANGE),
    "exchange.bourse.test",
)
PAYLOAD = b"the agreement's bytes"


def signature(key: Ed25519PrivateKey, payload: bytes = PAYLOAD, purpose: Purpose = Purpose.AGREEMENT):
    return Signature(key_id(public_key_of(key)), sign(key, purpose, payload))


SIGNED = Signed(PAYLOAD, tuple(map(signature, (STEWARD, BANK, EXCHANGE))))


def test_an_agreement_for_this_node_is_honored():
    licensing.require_honored(SIGNED, AGREEMENT, PINS, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"provider": "parties/bureau"},
        {"node_key": public_key_of(STRANGER)},
        {"exchange": "elsewhere.test"},
        {"exchange_key": public_key_of(STRANGER)},
        {"steward_key": public_key_of(STRANGER)},
        {"bank_key": public_key_of(STRANGER)},
        {"participants": ()},
        {"participants": ("parties/registry", "parties/registry")},
        {"terms": replace(TERMS, profile="wide-v1")},
        {"terms": replace(TERMS, profile="none")},
        {"terms": replace(TERMS, drop=19)},
        {"terms": replace(TERMS, valid_until=NOW)},
        {"terms": replace(TERMS, valid_from=NOW + timedelta(seconds=1))},
    ],
    ids=str,
)
def test_any_other_agreement_is_refused(changes):
    with pytest.raises(LicenseRefusedError):
        licensing.require_honored(SIGNED, replace(AGREEMENT, **changes), PINS, NOW)


def test_a_license_that_pins_a_retired_key_of_the_node_is_honored():
    both = replace(PINS, node_keys=frozenset({public_key_of(NODE), public_key_of(STRANGER)}))
    licensing.require_honored(SIGNED, AGREEMENT, both, NOW)


@pytest.mark.parametrize(
    "signatures",
    [
        (),
        (signature(STEWARD), signature(BANK)),
        (signature(BANK), signature(STEWARD), signature(EXCHANGE)),
        (signature(STEWARD), signature(BANK), signature(EXCHANGE), signature(EXCHANGE)),
        (signature(STEWARD), signature(STRANGER), signature(EXCHANGE)),
        (signature(STEWARD), signature(BANK, b"other bytes"), signature(EXCHANGE)),
        (signature(STEWARD), signature(BANK, purpose=Purpose.SEALING), signature(EXCHANGE)),
        (replace(signature(STEWARD), key_id=bytes(16)), signature(BANK), signature(EXCHANGE)),
    ],
    ids=["none", "two", "disordered", "four", "stranger", "other-bytes", "other-purpose", "other-key-id"],
)
def test_an_agreement_needs_exactly_its_three_signatures_in_order(signatures):
    with pytest.raises(LicenseRefusedError, match="signature"):
        licensing.require_three_signatures(Signed(PAYLOAD, signatures), AGREEMENT)


def test_a_revision_that_is_not_here_or_is_another_is_refused():
    licensing.require_revision(AGREEMENT, b"r" * 32)
    for digest in (None, b"s" * 32, b""):
        with pytest.raises(LicenseRefusedError):
            licensing.require_revision(AGREEMENT, digest)


@pytest.mark.parametrize(
    ("columns", "terms"),
    [
        ((), ()),
        (COLUMNS, ("age",)),
        (COLUMNS, ("job", "age")),
        ((*COLUMNS, COLUMNS[0]), ("age", "job", "age")),
        ((LicensedColumn("age", 3),), ("age",)),
        ((LicensedColumn("unknown", 3),), ("unknown",)),
    ],
)
def test_licensed_columns_must_be_the_terms_and_the_revisions(columns, terms):
    licensing.require_licensed_columns(AGREEMENT, PUBLISHED)
    other = replace(AGREEMENT, columns=columns, terms=replace(TERMS, columns=terms))
    with pytest.raises(LicenseRefusedError):
        licensing.require_licensed_columns(other, PUBLISHED)


def test_only_the_licensee_opens_sealings():
    licensing.require_bank_of(AGREEMENT, "parties/harbour")
    with pytest.raises(RoleError):
        licensing.require_bank_of(AGREEMENT, "parties/hill")


def test_a_kind_that_the_terms_leave_out_is_refused():
    licensing.require_kind_licensed(TERMS, QueryKind.NAMED)
    with pytest.raises(ClauseRefusedError):
        licensing.require_kind_licensed(replace(TERMS, query_kinds=frozenset()), QueryKind.NAMED)


def test_a_context_is_bound_as_the_specification_says():
    labels = [column_label(name, n) for name, count in (("age", 4), ("job", 3)) for n in range(count)]
    expected = context(
        AGREEMENT.profile,
        kind="named",
        license_digest=b"l" * 32,
        owner="parties/registry",
        owner_nonce=b"o" * 32,
        sealing=b"s" * 32,
        scale=9,
        drop=9,
        columns=labels,
    )
    assert context_of(AGREEMENT, b"l" * 32, QueryKind.NAMED, b"o" * 32, b"s" * 32) == expected
    assert bins_of(AGREEMENT) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2)]
    assert columns_of(AGREEMENT) == 7 + 10


SEALING = Sealing(
    "sealings/one",
    "licenses/one",
    QueryKind.NAMED,
    b"o" * 32,
    b"s" * 32,
    b"c" * 32,
    3,
    SealingState.OPEN,
    NOW,
)
STATEMENT = SealingStatement(1, "sealings/one", b"c" * 32, b"d" * 32, b"m" * 32)


@pytest.mark.parametrize(
    "changes", [{"version": 2}, {"sealing": "sealings/two"}, {"context": b"x" * 32}, {"commitment": b""}]
)
def test_a_statement_about_another_sealing_is_refused(changes):
    require_statement_of(STATEMENT, SEALING)
    with pytest.raises(SealedModelError):
        require_statement_of(replace(STATEMENT, **changes), SEALING)


def test_a_model_is_complete_only_with_all_its_columns():
    require_all_columns(SEALING, [0, 1, 2])
    for present in ([], [0, 1], [0, 0, 1]):
        with pytest.raises(SealedModelError):
            require_all_columns(SEALING, present)


def test_a_sealing_serves_no_more_blocks_than_its_argument_covers():
    require_blocks_left(MAX_BLOCKS_PER_SEALING - 8, 8)
    with pytest.raises(SealingStateError):
        require_blocks_left(MAX_BLOCKS_PER_SEALING - 8, 9)


def test_an_own_signature_is_the_same_every_time_and_verifies():
    one, two = (sign_alone(NODE, Purpose.RELEASE_STATEMENT, b"said") for _ in range(2))
    assert one == two
    assert require_signatures(one, Purpose.RELEASE_STATEMENT, {"node": public_key_of(NODE)}) == b"said"
    with pytest.raises(SignatureRefusedError):
        require_signatures(one, Purpose.MODEL_STATEMENT, {"node": public_key_of(NODE)})


def test_a_blocks_place_binds_job_number_revision_withdrawals_rows_and_salt():
    arguments = {
        "job": "evaluations/e",
        "number": 0,
        "revision_digest": b"r" * 32,
        "withdrawals": 0,
        "rows": (3, -1, 5),
        "salt": b"s" * 32,
        "seed": b"k" * 32,
    }
    changes = [
        {"job": "evaluations/f"},
        {"number": 1},
        {"revision_digest": b"q" * 32},
        {"withdrawals": 1},
        {"rows": (3, 5, -1)},
        {"salt": b"t" * 32},
    ]
    places = {prepare(**(arguments | change)).place for change in [{}, *changes]}
    assert len(places) == 1 + len(changes)
    prepared = prepare(**arguments)
    assert prepared.seed not in repr(prepared).encode()
    assert still_stands(prepared, 0)
    assert not still_stands(prepared, 1)


def test_a_person_has_another_key_in_another_dataset_or_at_another_node():
    keys = {
        entity_key(secret, dataset, person)
        for secret in (b"one", b"two")
        for dataset in ("datasets/a", "datasets/b")
        for person in (b"p1", b"p2")
    }
    assert len(keys) == 8
    assert all(len(key) == 16 for key in keys)
