"""Arithmetic in R_q: residues, the negacyclic transform, products, and exact rounding to Z_t.

The transform is the four-step one (Bailey 1989): with N = 64·128, a polynomial is a 64 × 128 matrix a, and
its values at the odd powers of a 2N-th root of unity are ((F1 · a) ∘ twiddle) · F2 modulo each prime. Both
are float64 matrix products over integers so small that every partial sum is an exact integer below 2^53, in
whatever order the BLAS adds. Nothing that travels is transformed, so the values' order is our own business.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sealed.profiles import Profile

Residues = NDArray[np.uint64]
"""Shape (L, N): row i holds the coefficients modulo prime i, each in [0, p_i)."""

Spectrum = NDArray[np.float64]
"""Shape (L, 64, 128): a polynomial's values at the odd roots, centered, |value| ≤ p/2 + 1."""

_ROWS = 64
_HALF = 2.0**15


@dataclass(frozen=True, eq=False)
class _Tables:
    """Per profile: the primes broadcast over residues and spectra, and the centered transform matrices."""

    primes: Residues
    signed_primes: NDArray[np.int64]
    float_primes: Spectrum
    inverses: Spectrum
    forward_left: Spectrum
    forward_twiddle: Spectrum
    forward_right: Spectrum
    backward_right: Spectrum
    backward_twiddle: Spectrum
    backward_left: Spectrum


def _root(p: int, degree: int) -> int:
    """Find a primitive root of unity of order 2·degree modulo p."""
    candidates = (pow(g, (p - 1) // (2 * degree), p) for g in range(2, p))
    return next(root for root in candidates if pow(root, degree, p) == p - 1)


def _matrices(p: int, degree: int) -> list[NDArray[np.float64]]:
    """Return the six matrices modulo p in the order of `_Tables`, centered around zero."""
    root, columns = _root(p, degree), degree // _ROWS
    powers = np.array([pow(root, k, p) for k in range(2 * degree)], dtype=np.int64)
    odd = 2 * np.arange(_ROWS) + 1
    left = columns * np.outer(odd, np.arange(_ROWS))
    twiddle = np.outer(odd, np.arange(columns))
    right = 2 * _ROWS * np.outer(np.arange(columns), np.arange(columns))
    matrices = [powers[k % (2 * degree)] for k in (left, twiddle, right, -right.T, -twiddle)]
    matrices.append(powers[-left.T % (2 * degree)] * pow(degree, -1, p) % p)
    return [np.where(m > p // 2, m - p, m).astype(np.float64) for m in matrices]


@cache
def _tables(profile: Profile) -> _Tables:
    primes = np.array(profile.primes, dtype=np.uint64)[:, None]
    float_primes = primes.astype(np.float64)[:, :, None]
    per_prime = [_matrices(p, profile.N) for p in profile.primes]
    stacked = [np.stack(matrices) for matrices in zip(*per_prime, strict=True)]
    return _Tables(primes, primes.astype(np.int64), float_primes, 1.0 / float_primes, *stacked)


def _reduce(x: Spectrum, tables: _Tables) -> Spectrum:
    """Center x modulo the primes, in place; exact for integers |x| < 2^52."""
    quotient = x * tables.inverses
    np.rint(quotient, out=quotient)
    quotient *= tables.float_primes
    x -= quotient
    return x


def _halves(x: Spectrum) -> tuple[Spectrum, Spectrum]:
    """Split integers |x| ≤ 2^30 into high·2^15 + low with |high| ≤ 2^15 and |low| ≤ 2^14."""
    high = np.rint(x * (1 / _HALF))
    return high, x - high * _HALF


def _left(matrix: Spectrum, x: Spectrum, tables: _Tables) -> Spectrum:
    """Return matrix · x modulo the primes; 64 terms of at most 2^29 · 2^15 each stay below 2^50."""
    high, low = _halves(x)
    result = _reduce(matrix @ high, tables)
    result *= _HALF
    result += matrix @ low
    return _reduce(result, tables)


def _right(x: Spectrum, matrix: Spectrum, tables: _Tables) -> Spectrum:
    """Return x · matrix modulo the primes; 128 terms of at most 2^29 · 2^15 each stay below 2^51."""
    high, low = _halves(x)
    result = _reduce(high @ matrix, tables)
    result *= _HALF
    result += low @ matrix
    return _reduce(result, tables)


def _times(x: Spectrum, y: Spectrum, tables: _Tables) -> Spectrum:
    """Multiply value by value: the product below 2^60 in int64, its quotient by the prime in float64."""
    quotient = x * y
    quotient *= tables.inverses
    np.rint(quotient, out=quotient)
    product = x.astype(np.int64)
    product *= y.astype(np.int64)
    product -= quotient.astype(np.int64) * tables.signed_primes[:, :, None]
    return product.astype(np.float64)


def spectrum(profile: Profile, residues: Residues) -> Spectrum:
    """Transform residues (L, N) of any integer type into their values at the odd roots."""
    tables = _tables(profile)
    matrix = residues.astype(np.float64).reshape(len(profile.primes), _ROWS, -1)
    values = _left(tables.forward_left, matrix, tables)
    return _right(_times(values, tables.forward_twiddle, tables), tables.forward_right, tables)


def polynomial(profile: Profile, values: Spectrum) -> Residues:
    """Return the residues whose spectrum this is; sums of up to 2^20 spectra are welcome."""
    tables = _tables(profile)
    centered = _reduce(values.copy(), tables)
    twisted = _times(_right(centered, tables.backward_right, tables), tables.backward_twiddle, tables)
    signed = _left(tables.backward_left, twisted, tables).reshape(len(profile.primes), -1).astype(np.int64)
    signed += (signed < 0) * tables.signed_primes
    return signed.view(np.uint64)


def product(profile: Profile, x: Spectrum, y: Spectrum) -> Spectrum:
    """Return the spectrum of the product of two polynomials, given theirs."""
    return _times(x, y, _tables(profile))


def multiply(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a·b in R_q."""
    return polynomial(profile, product(profile, spectrum(profile, a), spectrum(profile, b)))


def residues_of(profile: Profile, coefficients: NDArray[np.int64]) -> Residues:
    """Return the residues (L, N) of signed integer coefficients (N,)."""
    return np.mod(coefficients, _tables(profile).signed_primes).view(np.uint64)


def add(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a + b in R_q."""
    total = a + b
    reduced: Residues = np.minimum(total, total - _tables(profile).primes)
    return reduced


def subtract(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a − b in R_q."""
    difference = a - b
    reduced: Residues = np.minimum(difference, difference + _tables(profile).primes)
    return reduced


def rounded(profile: Profile, residues: Residues) -> NDArray[np.int64]:
    """Return round(t·x/q) mod t for each coefficient x in Z_q given as residues (L, K).

    With y_i = x·(q/p_i)^-1 mod p_i, x/q is the fraction of Σ y_i/p_i. Each term is cut to 64 binary places,
    so the sum F satisfies F ≤ x/q < F + L·2^-64, and F decides the rounding unless it lies within L units
    below the next step; those few coefficients (one in 2^(64−log_t)/L) are decided by big integers.
    """
    fraction = np.zeros(residues.shape[1], dtype=np.uint64)
    for x, p in zip(residues, profile.primes, strict=True):
        modulus, cofactor = np.uint64(p), np.uint64(pow(profile.q // p, -1, p))
        shifted = (x * cofactor % modulus) << np.uint64(32)
        high = shifted // modulus
        low = ((shifted - high * modulus) << np.uint64(32)) // modulus
        fraction += (high << np.uint64(32)) + low
    below = 64 - profile.log_t
    fraction += np.uint64(1 << (below - 1))
    values = (fraction >> np.uint64(below)).astype(np.int64)
    step = np.uint64((1 << below) - 1)
    undecided = np.flatnonzero((fraction & step) > step - np.uint64(len(profile.primes)))
    if undecided.size:
        values[undecided] = rounded_exactly(profile, residues[:, undecided])
    return values


def rounded_exactly(profile: Profile, residues: Residues) -> NDArray[np.int64]:
    """Return what `rounded` returns, by big integers alone: slow, and the formula itself."""
    q, t = profile.q, profile.t
    units = [q // p * pow(q // p, -1, p) for p in profile.primes]
    lifted = [sum(x * u for x, u in zip(column, units, strict=True)) % q for column in residues.T.tolist()]
    return np.array([(t * x + q // 2) // q % t for x in lifted], dtype=np.int64)
