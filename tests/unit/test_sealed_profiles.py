import pytest

from sealed.errors import ScaleError, UnknownProfileError
from sealed.profiles import PROFILES, SCORE_V1, WIDE_V1, profile_named


def is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def test_each_profile_uses_the_largest_primes_that_fit():
    step = 2 * WIDE_V1.N
    candidates = range((1 << 30) - (1 << 30) % step + 1 - step, 1 << 29, -step)
    largest = [p for p in candidates if p >= WIDE_V1.primes[-1] and is_prime(p)]
    assert list(WIDE_V1.primes) == largest
    assert SCORE_V1.primes == WIDE_V1.primes[:4]


def test_both_profiles_stay_inside_the_security_limit():
    assert [profile.q.bit_length() for profile in PROFILES.values()] == [120, 150]


@pytest.mark.parametrize(
    ("profile", "drop", "bits", "largest"),
    [
        (SCORE_V1, 9, 11, 1023),
        (SCORE_V1, 7, 13, 4095),
        (SCORE_V1, 0, 20, (1 << 19) - 1),
        (WIDE_V1, 0, 40, (1 << 39) - 1),
    ],
)
def test_dropping_bits_narrows_the_scores_that_open(profile, drop, bits, largest):
    assert profile.bits_per_row(drop) == bits
    assert profile.max_score(drop) == largest


def test_every_doubling_of_owners_costs_one_bit_of_scale():
    assert [SCORE_V1.scale_for(7, owners) for owners in (1, 2, 3, 4, 5)] == [7, 8, 9, 9, 10]


@pytest.mark.parametrize(("drop", "owners"), [(7, 0), (19, 1), (-1, 1), (17, 9)])
def test_a_scale_without_room_for_a_score_is_refused(drop, owners):
    with pytest.raises(ScaleError):
        SCORE_V1.scale_for(drop, owners)


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(UnknownProfileError, match="score-v1, wide-v1"):
        profile_named("score-v2")
