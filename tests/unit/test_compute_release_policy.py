"""What may leave a node: each check of a release, one at a time, and the counters behind them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compute.domain import caps
from compute.domain.caps import NOTHING, Charge, Usage, charge_for
from compute.domain.errors import ClauseRefusedError, FieldError, ReleaseRefusedError, UnrecordedError
from compute.domain.license import Agreement, LicensedColumn, QueryKind, Terms
from compute.release import policy
from compute.release.policy import ReleaseRequest, Target, packed_rows
from compute.release.statement import request_id_of
from wire.framing import tagged_hash

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SALT = b"s" * 32
TARGET = Target("evaluations/e/blocks/0", b"c" * 32, b"b" * 32, QueryKind.NAMED, 9, 10)
TERMS = Terms(
    columns=("age",),
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
    revision_digest=bytes(32),
    provider="parties/registry",
    bank="parties/harbour",
    exchange="exchange.bourse.test",
    scenario="credit",
    terms=TERMS,
    columns=(LicensedColumn("age", 4),),
    participants=("parties/registry",),
    steward_key=bytes(32),
    node_key=bytes(32),
    bank_key=bytes(32),
    exchange_key=bytes(32),
)


def request_for(rows: list[int]) -> ReleaseRequest:
    digest = tagged_hash("bourse/release/v1/rows", SALT, packed_rows(rows))
    return ReleaseRequest(
        1, TARGET.name, b"n" * 32, b"c" * 32, b"b" * 32, digest, len(rows), QueryKind.NAMED, 9
    )


@given(st.sets(st.integers(0, 9), min_size=1).map(sorted))
def test_every_rising_choice_of_gathered_rows_fits(rows):
    policy.require_fits_block(request_for(rows), TARGET, rows, SALT)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
def test_no_other_list_of_rows_fits(rows):
    allowed = bool(rows) and rows == sorted(set(rows)) and rows[-1] < 10
    if allowed:
        policy.require_fits_block(request_for(rows), TARGET, rows, SALT)
    else:
        with pytest.raises(ReleaseRefusedError):
            policy.require_fits_block(request_for(rows), TARGET, rows, SALT)


@pytest.mark.parametrize(
    "changes",
    [
        {"c0_digest": b"x" * 32},
        {"block": "evaluations/e/blocks/1"},
        {"block_digest": b"x" * 32},
        {"rows_digest": b"x" * 32},
        {"rows": 1},
        {"drop": 8},
        {"drop": 10},
    ],
)
def test_a_request_that_names_anything_else_does_not_fit(changes):
    request = replace(request_for([1, 2]), **changes)
    with pytest.raises(ReleaseRefusedError):
        policy.require_fits_block(request, TARGET, [1, 2], SALT)


@pytest.mark.parametrize("changes", [{"version": 0}, {"version": 2}, {"nonce": b""}, {"nonce": b"n" * 33}])
def test_a_request_of_another_form_is_refused(changes):
    with pytest.raises(FieldError):
        policy.require_fits_block(replace(request_for([1]), **changes), TARGET, [1], SALT)


def test_rows_under_another_salt_or_of_another_choice_do_not_fit():
    with pytest.raises(ReleaseRefusedError):
        policy.require_fits_block(request_for([1, 2]), TARGET, [1, 2], b"t" * 32)
    with pytest.raises(ReleaseRefusedError):
        policy.require_fits_block(request_for([1, 2]), TARGET, [1, 3], SALT)
    with pytest.raises(FieldError):
        policy.require_fits_block(request_for([1, 2]), TARGET, [1, 2], b"short")


def test_a_license_in_force_with_room_pays():
    policy.require_license_pays(AGREEMENT, NOW, Usage(1, 90, 990), charge_for(AGREEMENT, 10), [1, 0])


@pytest.mark.parametrize("now", [TERMS.valid_from - timedelta(microseconds=1), TERMS.valid_until])
def test_a_license_pays_nothing_outside_its_time_even_when_nothing_is_charged(now):
    with pytest.raises(ClauseRefusedError) as caught:
        policy.require_license_pays(AGREEMENT, now, Usage(), NOTHING, [])
    assert caught.value.clause.startswith("valid_")


@pytest.mark.parametrize("now", [TERMS.valid_from, TERMS.valid_until - timedelta(microseconds=1)])
def test_a_license_pays_from_its_first_moment_to_its_last(now):
    policy.require_license_pays(AGREEMENT, now, Usage(), NOTHING, [])


@pytest.mark.parametrize(
    ("usage", "openings", "clause"),
    [
        (Usage(rows=91), [0], "max_rows"),
        (Usage(bits=991), [0], "max_bits"),
        (Usage(), [0, 2], "max_openings_per_entity"),
    ],
)
def test_the_cap_that_does_not_suffice_is_named(usage, openings, clause):
    with pytest.raises(ClauseRefusedError) as caught:
        policy.require_license_pays(AGREEMENT, NOW, usage, charge_for(AGREEMENT, 10), openings)
    assert caught.value.clause == clause
    assert all((caught.value.limit, caught.value.asked, caught.value.way_out))


def test_persons_without_openings_left_are_named_by_their_places():
    with pytest.raises(ClauseRefusedError) as caught:
        caps.require_openings_left(TERMS, [0, 2, 1, 3])
    assert caught.value.asked == "1 more for those at 2, 4, counted from 1 in the order asked"
    with pytest.raises(ClauseRefusedError) as caught:
        caps.require_openings_left(TERMS, [2] * 12)
    assert "at 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more places, " in caught.value.asked
    caps.require_openings_left(TERMS, [0, 1])


@given(
    used=st.integers(0, 200), asked=st.integers(1, 200), max_rows=st.integers(1, 200), drop=st.integers(0, 18)
)
def test_a_way_out_of_a_cap_is_one(used, asked, max_rows, drop):
    terms = replace(TERMS, max_rows=max_rows, max_bits=max_rows * (20 - drop), drop=drop)
    agreement = replace(AGREEMENT, terms=terms)
    usage = Usage(rows=min(used, max_rows), bits=min(used, max_rows) * (20 - drop))
    charge = charge_for(agreement, asked)
    if usage.rows + asked <= max_rows:
        caps.require_caps_suffice(agreement, usage, charge, [])
        return
    with pytest.raises(ClauseRefusedError) as caught:
        caps.require_caps_suffice(agreement, usage, charge, [])
    left = max_rows - usage.rows
    assert str(left) in caught.value.way_out if left else "Nothing is left" in caught.value.way_out
    caps.require_caps_suffice(agreement, usage, charge_for(agreement, left), [])


def test_the_first_release_is_charged_for_every_row_gathered():
    assert charge_for(AGREEMENT, 8192) == Charge(8192, 8192 * 11)
    assert charge_for(replace(AGREEMENT, terms=replace(TERMS, drop=7)), 1) == Charge(1, 13)


def test_no_further_model_passes_the_cap():
    caps.require_models_left(TERMS, Usage(models=0))
    with pytest.raises(ClauseRefusedError):
        caps.require_models_left(TERMS, Usage(models=1))


def test_nothing_leaves_in_doubt_or_without_a_receipt():
    policy.require_settled(True)
    with pytest.raises(UnrecordedError):
        policy.require_settled(False)
    with pytest.raises(UnrecordedError):
        policy.require_receipt(None)


def test_a_statement_has_one_request_id_and_another_statement_another():
    assert request_id_of(b"one") == request_id_of(b"one") != request_id_of(b"two")
    assert request_id_of(b"one") == "a904d6d8-d0d5-5e60-82b2-742fa4879c3d"
