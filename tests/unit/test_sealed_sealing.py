import unicodedata

import numpy as np
import pytest

from sealed import ring
from sealed.errors import ColumnFormatError, FieldError, ScaleError, ScoreRangeError, WeightError
from sealed.packing import pack, parse_column
from sealed.profiles import PROFILES, SCORE_V1, WIDE_V1
from sealed.sealing import (
    check_range,
    column_label,
    commitment,
    context,
    derive_secret,
    largest_score,
    model_digest,
    public_a,
    seal,
)

profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
SALT = bytes([7]) * 32
DIGEST = model_digest(b"points")
TERMS = {
    "kind": "named",
    "license_digest": bytes([1]) * 32,
    "owner": "providers/registry",
    "owner_nonce": bytes([2]) * 32,
    "sealing": bytes([3]) * 32,
    "scale": 9,
    "drop": 9,
    "columns": (column_label("income", 0), column_label("income", 1)),
}


def context_with(**changes) -> bytes:
    return context(SCORE_V1, **(TERMS | changes))


def test_a_column_label_is_the_attribute_and_the_bin():
    assert column_label("income", 12) == b"income\x1f12"


def test_two_spellings_of_one_attribute_are_one_column():
    composed, decomposed = (unicodedata.normalize(form, "crédit") for form in ("NFC", "NFD"))
    assert composed != decomposed
    assert column_label(composed, 0) == column_label(decomposed, 0)


@pytest.mark.parametrize(("attribute", "bin_index"), [("a\x1fb", 0), ("", 0), ("a", -1), ("\ud800", 0)])
def test_an_attribute_that_would_blur_the_label_is_refused(attribute, bin_index):
    with pytest.raises(FieldError):
        column_label(attribute, bin_index)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "total"},
        {"license_digest": bytes(32)},
        {"owner": "providers/other"},
        {"owner_nonce": bytes(32)},
        {"sealing": bytes(32)},
        {"scale": 10},
        {"drop": 8},
        {"columns": TERMS["columns"][::-1]},
        {"columns": TERMS["columns"][:1]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_sealing_is_bound_to_every_term(change):
    assert context_with(**change) != context_with()


def test_a_sealing_is_bound_to_its_profile():
    assert context(WIDE_V1, **TERMS) != context_with()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "exported"},
        {"license_digest": bytes(31)},
        {"owner": ""},
        {"owner_nonce": bytes(33)},
        {"sealing": b""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_malformed_term_is_refused(change):
    with pytest.raises(FieldError):
        context_with(**change)


@pytest.mark.parametrize("change", [{"drop": 10}, {"scale": 19}, {"drop": -1}])
def test_a_scale_that_cannot_hold_the_drop_is_refused(change):
    with pytest.raises(ScaleError):
        context_with(**change)


@profiles
def test_sealing_again_gives_the_same_bytes(profile):
    ctx = context(profile, **TERMS)
    first, again = (seal(profile, [5, 0, -3], DIGEST, SALT, ctx, scale=9) for _ in range(2))
    assert first.packed() == again.packed()
    assert np.array_equal(first.secret.coefficients, again.secret.coefficients)


@profiles
def test_sealed_columns_decrypt_to_the_weights_and_zeros(profile):
    ctx = context(profile, **TERMS)
    weights = [profile.max_score(9), 0, -profile.max_score(9), 1]
    model = seal(profile, weights, DIGEST, SALT, ctx, scale=9)
    for j, expected in enumerate(weights + [0] * profile.blinds):
        a_s = ring.polynomial(
            profile,
            ring.product(profile, ring.spectrum(profile, public_a(profile, ctx, j)), model.secret.spectrum),
        )
        column = parse_column(profile, model.packed()[j])
        opened = ring.rounded(profile, ring.add(profile, column, a_s))
        assert opened[0] == (expected << 9) % profile.t
        assert not opened[1:].any()


@pytest.mark.parametrize(
    "other",
    [
        {"weights": [5, 0, -4]},
        {"digest": model_digest(b"other points")},
        {"salt": bytes(32)},
        {"ctx": context_with(owner_nonce=bytes(32))},
        {"ctx": context_with(license_digest=bytes(32))},
    ],
    ids=["weight", "model", "salt", "nonce", "license"],
)
def test_one_changed_input_changes_all_randomness(other):
    """The difference of two sealings must not expose the difference of two models."""
    inputs = {"weights": [5, 0, -3], "digest": DIGEST, "salt": SALT, "ctx": context_with()}
    first = seal(SCORE_V1, **inputs, scale=9)
    second = seal(SCORE_V1, **(inputs | other), scale=9)
    assert np.mean(first.secret.coefficients == second.secret.coefficients) < 0.4
    for one, two in zip(first.columns, second.columns, strict=True):
        assert np.mean(one == two) < 0.01
        difference = ring.subtract(SCORE_V1, one.astype(np.uint64), two.astype(np.uint64))
        centered = np.minimum(difference[0], SCORE_V1.primes[0] - difference[0])
        assert centered.mean() > SCORE_V1.primes[0] / 5


def test_the_secret_is_derived_without_sealing_again():
    model = seal(SCORE_V1, [5, 0, -3], DIGEST, SALT, context_with(), scale=9)
    secret = derive_secret(SCORE_V1, [5, 0, -3], DIGEST, SALT, context_with())
    assert np.array_equal(secret.coefficients, model.secret.coefficients)
    assert np.array_equal(secret.spectrum, model.secret.spectrum)


def test_a_secret_never_shows_itself():
    model = seal(SCORE_V1, [1], DIGEST, SALT, context_with(), scale=9)
    assert repr(model) == "SealedModel()"
    assert repr(model.secret) == "Secret()"


def test_a_weight_beyond_64_bits_is_refused_without_being_quoted():
    with pytest.raises(WeightError) as refusal:
        seal(SCORE_V1, [1 << 63], DIGEST, SALT, context_with(), scale=9)
    assert str(1 << 63) not in str(refusal.value)


def test_the_largest_score_takes_the_extreme_bin_of_each_attribute():
    assert largest_score([[-5, 10], [3, 7]]) == 17
    assert largest_score([[-50, 10], [-3, 7]]) == 53
    assert largest_score([[4, 10], [-7, -3]]) == 7
    assert largest_score([]) == 0


def test_a_model_inside_the_range_is_accepted_up_to_its_end():
    check_range(SCORE_V1, 9, 1023)
    check_range(SCORE_V1, 7, 4095)


def test_a_model_out_of_range_is_refused_with_the_limit_and_the_way_out():
    with pytest.raises(ScoreRangeError, match=r"exceeds 1023.*divide the points.*smaller drop") as refusal:
        check_range(SCORE_V1, 9, 1024)
    assert "1024" not in str(refusal.value)


def test_a_commitment_tells_models_apart_and_needs_the_salt():
    assert commitment(DIGEST, SALT) != commitment(DIGEST, bytes(32))
    assert commitment(DIGEST, SALT) != commitment(bytes(32), SALT)
    with pytest.raises(FieldError):
        commitment(DIGEST, SALT[:31])


@profiles
def test_a_column_comes_back_from_its_bytes(profile):
    column = public_a(profile, bytes(32), 0)
    assert np.array_equal(parse_column(profile, pack(column)), column)


@profiles
@pytest.mark.parametrize("length", [-1, 1, -4, 4])
def test_a_column_of_another_length_is_refused(profile, length):
    data = bytes(profile.column_bytes + length)
    with pytest.raises(ColumnFormatError, match=f"exactly {profile.column_bytes} bytes"):
        parse_column(profile, data)


@profiles
@pytest.mark.parametrize("excess", [0, 1, "largest"])
def test_a_residue_outside_its_prime_is_refused_by_the_prime_and_never_quoted(profile, excess):
    for i, p in enumerate(profile.primes):
        residue = (1 << 32) - 1 if excess == "largest" else p + excess
        column = np.zeros((len(profile.primes), profile.N), dtype="<u4")
        column[i, -1] = residue
        with pytest.raises(ColumnFormatError, match=f"prime {i} ") as refusal:
            parse_column(profile, column.tobytes())
        assert str(residue) not in str(refusal.value)
