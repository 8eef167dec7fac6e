import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealed import ring
from sealed.profiles import PROFILES, SCORE_V1, WIDE_V1, Profile

profiles = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
SLOT = 10
"""Bytes that hold a sum of N products of residues: 73 bits."""


def product_by_big_integers(profile: Profile, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Kronecker substitution: one product of two huge integers per prime, then x^N = −1."""
    rows = []
    for x, y, p in zip(a, b, profile.primes, strict=True):
        left, right = (
            int.from_bytes(b"".join(int(c).to_bytes(SLOT, "little") for c in factor), "little")
            for factor in (x, y)
        )
        octets = (left * right).to_bytes(2 * profile.N * SLOT, "little")
        terms = [int.from_bytes(octets[i : i + SLOT], "little") for i in range(0, len(octets), SLOT)]
        low, high = terms[: profile.N], terms[profile.N :]
        rows.append([(u - v) % p for u, v in zip(low, high, strict=True)])
    return np.array(rows, dtype=np.uint64)


def random_residues(profile: Profile, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, p, profile.N, dtype=np.uint64) for p in profile.primes])


def constant(profile: Profile, per_prime) -> np.ndarray:
    return np.repeat(np.array([per_prime(p) for p in profile.primes], dtype=np.uint64)[:, None], profile.N, 1)


@profiles
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_product_equals_that_of_big_integers(profile, seed):
    a, b = random_residues(profile, seed), random_residues(profile, seed + 1)
    assert np.array_equal(ring.multiply(profile, a, b), product_by_big_integers(profile, a, b))


@profiles
@pytest.mark.parametrize("extreme", [lambda p: p - 1, lambda p: p // 2, lambda p: p // 2 + 1])
def test_a_product_is_exact_at_the_largest_residues(profile, extreme):
    a = constant(profile, extreme)
    assert np.array_equal(ring.multiply(profile, a, a), product_by_big_integers(profile, a, a))


@profiles
def test_a_polynomial_comes_back_from_its_spectrum(profile):
    a = random_residues(profile, 1)
    assert np.array_equal(ring.polynomial(profile, ring.spectrum(profile, a)), a)


@profiles
def test_x_to_the_power_n_is_minus_one(profile):
    x, last = (np.zeros((len(profile.primes), profile.N), dtype=np.uint64) for _ in range(2))
    x[:, 1] = last[:, -1] = 1
    expected = np.zeros_like(x)
    expected[:, 0] = np.array(profile.primes) - 1
    assert np.array_equal(ring.multiply(profile, x, last), expected)


def test_a_sum_of_a_thousand_spectra_is_the_spectrum_of_the_sum():
    a = constant(SCORE_V1, lambda p: p - 1)
    total = ring.polynomial(SCORE_V1, sum([ring.spectrum(SCORE_V1, a)] * 1000))
    assert np.array_equal(total, constant(SCORE_V1, lambda p: p - 1000))


@profiles
def test_sums_and_differences_stay_below_their_primes(profile):
    a, b = random_residues(profile, 2), random_residues(profile, 3)
    a[:, :3], b[:, :3] = 0, 0
    a[:, 1] = b[:, 2] = np.array(profile.primes) - 1
    primes = np.array(profile.primes, dtype=np.int64)[:, None]
    assert np.array_equal(ring.add(profile, a, b), (a + b).astype(np.int64) % primes)
    assert np.array_equal(ring.subtract(profile, a, b), (a.astype(np.int64) - b.astype(np.int64)) % primes)


def test_negative_coefficients_become_residues_of_every_prime():
    coefficients = np.zeros(SCORE_V1.N, dtype=np.int64)
    coefficients[:3] = (-1, 0, -(1 << 28))
    residues = ring.residues_of(SCORE_V1, coefficients)
    assert [tuple(row[:3]) for row in residues] == [(p - 1, 0, p - (1 << 28)) for p in SCORE_V1.primes]


def residues_of_integers(profile: Profile, integers: list[int]) -> np.ndarray:
    return np.array([[x % p for x in integers] for p in profile.primes], dtype=np.uint64)


def rounded_by_formula(profile: Profile, integers: list[int]) -> list[int]:
    return [(profile.t * x + profile.q // 2) // profile.q % profile.t for x in integers]


def integers_at_steps(profile: Profile, steps: list[int]) -> list[int]:
    """The last integers below and the first above (k + 1/2)·q/t, where rounding turns from k to k + 1."""
    turns = [(2 * k + 1) * profile.q // (2 * profile.t) for k in steps]
    return [(turn + offset) % profile.q for turn in turns for offset in (-2, -1, 0, 1, 2)]


@profiles
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rounding_equals_the_formula_anywhere(profile, data):
    integers = data.draw(st.lists(st.integers(0, profile.q - 1), min_size=1, max_size=50))
    residues = residues_of_integers(profile, integers)
    assert ring.rounded(profile, residues).tolist() == rounded_by_formula(profile, integers)
    assert ring.rounded_exactly(profile, residues).tolist() == rounded_by_formula(profile, integers)


@profiles
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_rounding_equals_the_formula_where_it_turns(profile, data):
    steps = data.draw(st.lists(st.integers(0, profile.t - 1), min_size=1, max_size=20))
    integers = integers_at_steps(profile, [0, profile.t - 2, profile.t - 1, *steps])
    residues = residues_of_integers(profile, integers)
    assert ring.rounded(profile, residues).tolist() == rounded_by_formula(profile, integers)


@profiles
def test_rounding_at_both_ends_of_the_ring(profile):
    integers = [0, 1, profile.q - 1, profile.q // 2, profile.q // 2 + 1]
    residues = residues_of_integers(profile, integers)
    assert ring.rounded(profile, residues).tolist() == [0, 0, 0, profile.t // 2, profile.t // 2]


@profiles
def test_only_coefficients_at_a_turn_are_left_to_big_integers(profile, monkeypatch):
    decided_slowly = []
    exactly = ring.rounded_exactly

    def counting(at, residues):
        decided_slowly.append(residues.shape[1])
        return exactly(at, residues)

    monkeypatch.setattr(ring, "rounded_exactly", counting)
    ring.rounded(profile, residues_of_integers(profile, integers_at_steps(profile, list(range(1000)))))
    assert sum(decided_slowly) >= 1000
    decided_slowly.clear()
    ring.rounded(profile, random_residues(profile, 4))
    assert sum(decided_slowly) <= 1


def test_the_cut_fraction_decides_no_turn_by_itself_that_it_could_get_wrong(monkeypatch):
    integers = integers_at_steps(WIDE_V1, list(range(1000)))
    monkeypatch.setattr(ring, "rounded_exactly", lambda _, residues: np.full(residues.shape[1], -1))
    values = ring.rounded(WIDE_V1, residues_of_integers(WIDE_V1, integers))
    decided = values != -1
    assert not decided.all()
    assert values[decided].tolist() == np.array(rounded_by_formula(WIDE_V1, integers))[decided].tolist()
