"""Sealed columns as no honest bank makes them: any polynomial under the bank's key instead of a constant."""

from collections.abc import Callable, Mapping

import numpy as np

from sealed.profiles import SCORE_V1
from sealed.sealing import SealedModel

Polynomial = Mapping[int, int]
"""Coefficients by power of x. Power −k stands for x^−k, which is −x^(N−k) in this ring."""


def polynomials(weights: Mapping[int, Polynomial], *, scale: int) -> Callable[[SealedModel], SealedModel]:
    """Return the craft that adds round(q·w·2^scale/t) for every coefficient w of column j's polynomial.

    Node and exchange see uniform residues, as with any model.
    """

    def craft(honest: SealedModel) -> SealedModel:
        columns = honest.columns.astype(np.int64)
        for column, polynomial in weights.items():
            for power, weight in polynomial.items():
                sign, place = (1, power) if power >= 0 else (-1, SCORE_V1.N + power)
                for prime, p in enumerate(SCORE_V1.primes):
                    residue = int(columns[column, prime, place]) + sign * level(weight, scale)
                    columns[column, prime, place] = residue % p
        return SealedModel(honest.secret, columns.astype(np.uint32))

    return craft


def level(weight: int, scale: int) -> int:
    """round(q·weight·2^scale/t), halves up."""
    return (2 * SCORE_V1.q * (weight << scale) + SCORE_V1.t) // (2 * SCORE_V1.t)


def bits_of(score: int, count: int) -> list[int]:
    """The `count` bits that persons' indicators left in a packed score, person 0 first."""
    return [score >> place & 1 for place in range(count)]
