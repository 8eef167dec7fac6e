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

Matrix = NDArray[np.float64]
"""Shape (64, 128), or a factor of one: integers modulo one prime, centered."""

_ROWS = 64
_HALF = 2.0**15
_ONE_THREAD = 1 << 17
"""Multiplications in one matrix product that OpenBLAS does not divide among threads: it does above 2^18."""


@dataclass(frozen=True, eq=False)
class _Transform:
    """The transform modulo the prime p, and back; `_halves` gives the form of the factors.

    The degree is divided out on the way back.
    """

    p: int
    left: Matrix
    twiddle: Matrix
    right: Matrix
    back_right: Matrix
    back_twiddle: Matrix
    back_left: Matrix

    def forward(self, x: Matrix) -> Matrix:
        """Return the values of a polynomial, given its coefficients as integers |x| ≤ 2^30."""
        values = _times(_from_left(self.left, x, self.p), self.twiddle, self.p)
        return _from_right(values, self.right, self.p)

    def backward(self, x: Matrix) -> Matrix:
        """Return the centered coefficients of the polynomial that has these values."""
        twisted = _times(_from_right(x, self.back_right, self.p), self.back_twiddle, self.p)
        return _from_left(self.back_left, twisted, self.p)


@cache
def _transforms(profile: Profile) -> tuple[_Transform, ...]:
    return tuple(_transform(p, profile.N) for p in profile.primes)


def _transform(p: int, degree: int) -> _Transform:
    columns, order = degree // _ROWS, 2 * degree
    root = _root(p, order)
    powers = np.array([pow(root, k, p) for k in range(order)], dtype=np.int64)

    def matrix(exponents: NDArray[np.int64], factor: int = 1) -> Matrix:
        return _center((powers[exponents % order] * factor % p).astype(np.float64), p)

    odd = 2 * np.arange(_ROWS) + 1
    left = columns * np.outer(odd, np.arange(_ROWS))
    twiddle = np.outer(odd, np.arange(columns))
    right = 2 * _ROWS * np.outer(np.arange(columns), np.arange(columns))
    return _Transform(
        p,
        left=_halves(matrix(left), axis=0),
        twiddle=matrix(twiddle),
        right=_halves(matrix(right), axis=1),
        back_right=_halves(matrix(-right), axis=1),
        back_twiddle=matrix(-twiddle),
        back_left=_halves(matrix(-left.T, factor=pow(degree, -1, p)), axis=0),
    )


def _halves(matrix: Matrix, axis: int) -> Matrix:
    """Split integers |m| < 2^29 into high·2^15 + low, |high|, |low| ≤ 2^14; join the two along an axis."""
    high = np.rint(matrix / _HALF)
    return np.concatenate([high, matrix - high * _HALF], axis=axis)


def _root(p: int, order: int) -> int:
    """Find a primitive root of unity of that order, a power of two, modulo p."""
    candidates = (pow(g, (p - 1) // order, p) for g in range(2, p))
    return next(root for root in candidates if pow(root, order // 2, p) == p - 1)


@cache
def _primes(profile: Profile) -> Residues:
    return np.array(profile.primes, dtype=np.uint64)[:, None]


def _center(x: Matrix, p: int) -> Matrix:
    """Center x modulo p, in place; exact for integers |x| < 2^52."""
    quotient = x * (1 / p)
    np.rint(quotient, out=quotient)
    quotient *= p
    x -= quotient
    return x


def _times(x: Matrix, y: Matrix, p: int) -> Matrix:
    """Multiply value by value: the product below 2^60 in int64, its quotient by p in float64."""
    quotient = x * y
    quotient *= 1 / p
    np.rint(quotient, out=quotient)
    product = x.astype(np.int64)
    product *= y.astype(np.int64)
    product -= quotient.astype(np.int64) * p
    return product.astype(np.float64)


def _from_left(halves: Matrix, x: Matrix, p: int) -> Matrix:
    """Return matrix · x modulo p, the matrix in halves one above the other."""
    both = _matmul(halves, x)
    return _joined(both[: len(x)], both[len(x) :], p)


def _from_right(x: Matrix, halves: Matrix, p: int) -> Matrix:
    """Return x · matrix modulo p, the matrix in halves side by side."""
    both = _matmul(x, halves)
    return _joined(both[:, : x.shape[1]], both[:, x.shape[1] :], p)


def _joined(high: Matrix, low: Matrix, p: int) -> Matrix:
    """Return high·2^15 + low modulo p; both are sums of at most 128 terms below 2^30 · 2^14 = 2^44."""
    result = _center(high, p)
    result *= _HALF
    result += low
    return _center(result, p)


def _strips(matrix: Matrix, width: int) -> NDArray[np.float64]:
    """View a matrix (rows, columns) as strips (columns/width, rows, width)."""
    return matrix.reshape(len(matrix), -1, width).swapaxes(0, 1)


def _matmul(a: Matrix, b: Matrix) -> Matrix:
    """Return a · b, in products so small that the BLAS keeps them on the calling thread.

    More threads would gain nothing at this size, and wait for each other long when the cores are busy.
    """
    width = _ONE_THREAD // a.size
    result = np.empty((len(a), b.shape[1]))
    np.matmul(a, _strips(b, width), out=_strips(result, width))
    return result


def spectrum(profile: Profile, residues: Residues) -> Spectrum:
    """Transform residues (L, N) of any integer type into their values at the odd roots."""
    transforms = _transforms(profile)
    matrices = residues.astype(np.float64).reshape(len(transforms), _ROWS, -1)
    return np.stack([one.forward(matrix) for one, matrix in zip(transforms, matrices, strict=True)])


def polynomial(profile: Profile, values: Spectrum) -> Residues:
    """Return the residues whose spectrum this is; sums of up to 2^20 spectra are welcome."""
    residues = np.empty((len(values), profile.N), dtype=np.int64)
    for i, one in enumerate(_transforms(profile)):
        residues[i] = one.backward(_center(values[i].copy(), one.p)).reshape(-1)
    residues += (residues < 0) * _primes(profile).view(np.int64)
    return residues.view(np.uint64)


def product(profile: Profile, x: Spectrum, y: Spectrum) -> Spectrum:
    """Return the spectrum of the product of two polynomials, given theirs."""
    return np.stack([_times(*factors) for factors in zip(x, y, profile.primes, strict=True)])


def multiply(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a·b in R_q."""
    return polynomial(profile, product(profile, spectrum(profile, a), spectrum(profile, b)))


def residues_of(profile: Profile, coefficients: NDArray[np.int64]) -> Residues:
    """Return the residues (L, N) of signed integer coefficients (N,)."""
    return np.mod(coefficients, _primes(profile).view(np.int64)).view(np.uint64)


def add(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a + b in R_q."""
    total = a + b
    reduced: Residues = np.minimum(total, total - _primes(profile))
    return reduced


def subtract(profile: Profile, a: Residues, b: Residues) -> Residues:
    """Return a − b in R_q."""
    difference = a - b
    reduced: Residues = np.minimum(difference, difference + _primes(profile))
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
