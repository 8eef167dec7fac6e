import numpy as np
import pytest

from sealed.errors import StreamExhaustedError
from sealed.profiles import SCORE_V1
from sealed.sampling import aes_stream, binomial, blind, shake_stream, ternary, uniform_q


def words(*values: int) -> bytes:
    return np.array(values, dtype="<u4").tobytes()


def padded(head: bytes):
    return lambda count: (head + bytes(count))[:count]


def test_a_uniform_word_keeps_its_low_thirty_bits_and_is_skipped_unless_below_the_prime():
    p = SCORE_V1.primes[0]
    stream = padded(words(p - 1, p, (1 << 30) - 1, 3 << 30 | 7))
    assert uniform_q(SCORE_V1, lambda _: stream)[0, :3].tolist() == [p - 1, 7, 0]


def test_each_prime_is_fed_by_its_own_stream():
    residues = uniform_q(SCORE_V1, lambda i: padded(words(i + 1)))
    assert residues[:, 0].tolist() == [1, 2, 3, 4]


def test_ternary_bytes_are_taken_modulo_three_and_255_is_skipped():
    coefficients = ternary(SCORE_V1, padded(bytes([0, 1, 2, 255, 254])))
    assert coefficients[:5].tolist() == [-1, 0, 1, 1, -1]


def test_binomial_bits_are_read_from_the_highest_of_each_byte():
    ones = padded(bytes([0b1000_0000, 0, 0b0000_0111, 0xFF]))
    assert binomial(SCORE_V1, ones)[:2].tolist() == [1 - 11, 0]


def test_blinds_reach_both_ends_of_their_range():
    top = (1 << 29) - 1
    assert blind(SCORE_V1, padded(words(0, top, 0xFFFF_FFFF)))[:3].tolist() == [
        -(1 << 28),
        (1 << 28) - 1,
        (1 << 28) - 1,
    ]


@pytest.mark.parametrize(
    "sample", [lambda stream: uniform_q(SCORE_V1, lambda _: stream), lambda stream: ternary(SCORE_V1, stream)]
)
def test_a_stream_of_rejected_words_is_an_error_and_never_a_short_polynomial(sample):
    with pytest.raises(StreamExhaustedError):
        sample(lambda count: b"\xff" * count)


def test_streams_depend_on_their_key_alone():
    assert shake_stream("test", b"a")(64)[:32] == shake_stream("test", b"a")(32)
    assert shake_stream("test", b"a")(32) != shake_stream("test", b"b")(32)
    assert aes_stream(bytes(32))(64)[:32] == aes_stream(bytes(32))(32)
    assert aes_stream(bytes(32))(32) != aes_stream(bytes([1]) * 32)(32)


def test_samples_have_the_moments_of_their_distributions():
    stream = shake_stream("test", b"moments")
    assert abs(ternary(SCORE_V1, stream).mean()) < 0.05
    assert abs(binomial(SCORE_V1, stream).var() - 10.5) < 1
    assert abs(blind(SCORE_V1, stream).mean()) < 2**28 / 20
