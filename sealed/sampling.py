"""Randomness: how byte streams become uniform, ternary, binomial and blinding polynomials.

A stream gives its first n bytes on request and depends on nothing but its key. Rejection sampling reads a
fixed number of bytes, so it could run short: for `uniform_q` with probability below 2^-2900 (513 of 8,704
words rejected at odds of at most 2^-11), for `ternary` below 2^-45000. `StreamExhaustedError` is raised then.
Source: docs/spec/sealing.md.
"""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from sealed.errors import StreamExhaustedError
from sealed.profiles import Profile
from sealed.ring import Residues
from wire.framing import tagged_hash

Stream = Callable[[int], bytes]
Word = TypeVar("Word", np.uint8, np.uint32)

SPARE_WORDS = 512
"""Words read beyond N, so that rejected ones are replaced."""

BLIND_BITS = 29
"""A blinding coefficient is uniform in [−2^28, 2^28)."""

BINOMIAL_BITS = 21
"""An error coefficient is the difference of two sums of 21 bits: variance 10.5."""


def shake_stream(tag: str, *fields: bytes) -> Stream:
    """Return SHAKE256 over the tagged hash of the fields."""
    state = tagged_hash(tag, *fields)
    return lambda count: hashlib.shake_256(state).digest(count)


def aes_stream(key: bytes) -> Stream:
    """Return the key stream of AES-256-CTR under a 32-byte key, counter block zero."""
    return lambda count: Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(count))


def uniform_q(profile: Profile, stream_of: Callable[[int], Stream]) -> Residues:
    """Return uniform residues (L, N); `stream_of(i)` feeds prime i.

    Words are u32le, their low 30 bits kept when below the prime.
    """
    residues = np.empty((len(profile.primes), profile.N), dtype=np.uint64)
    for i, p in enumerate(profile.primes):
        words = np.frombuffer(stream_of(i)(4 * (profile.N + SPARE_WORDS)), dtype="<u4")
        words = words & np.uint32((1 << 30) - 1)
        residues[i] = _first(words[words < p], profile.N)
    return residues


def ternary(profile: Profile, stream: Stream) -> NDArray[np.int8]:
    """Return N coefficients uniform in {−1, 0, 1}: bytes below 255, modulo 3, minus 1."""
    octets = np.frombuffer(stream(2 * profile.N), dtype=np.uint8)
    return (_first(octets[octets < 255], profile.N) % 3).astype(np.int8) - np.int8(1)


def binomial(profile: Profile, stream: Stream) -> NDArray[np.int64]:
    """Return N centered binomial coefficients in [−21, 21]; 42 bits each, every byte from its highest bit."""
    width = 2 * BINOMIAL_BITS
    octets = np.frombuffer(stream(profile.N * width // 8), dtype=np.uint8)
    bits = np.unpackbits(octets).reshape(profile.N, 2, BINOMIAL_BITS)
    plus, minus = bits.sum(axis=2, dtype=np.int64).T
    difference: NDArray[np.int64] = plus - minus
    return difference


def blind(profile: Profile, stream: Stream) -> NDArray[np.int64]:
    """Return N coefficients uniform in [−2^28, 2^28): u32le words, low 29 bits, minus 2^28."""
    words = np.frombuffer(stream(4 * profile.N), dtype="<u4") & np.uint32((1 << BLIND_BITS) - 1)
    return words.astype(np.int64) - (1 << (BLIND_BITS - 1))


def _first(values: NDArray[Word], count: int) -> NDArray[Word]:
    if len(values) < count:
        raise StreamExhaustedError("a random stream ran short; repeat with another salt or seed")
    return values[:count]
