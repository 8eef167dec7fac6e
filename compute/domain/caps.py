"""Caps: what a license has been charged, and whether it allows more.

Every row gathered is charged alike, whether the dataset knows the person or not: no refusal tells who is
there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from compute.domain.errors import ClauseRefusedError
from compute.domain.license import Agreement, Terms


@dataclass(frozen=True)
class Usage:
    """What a node has charged to a license: sealings opened, rows, bits."""

    models: int = 0
    rows: int = 0
    bits: int = 0


@dataclass(frozen=True)
class Charge:
    """What one release is charged: every row gathered at a block's first release, nothing afterwards."""

    rows: int
    bits: int


NOTHING = Charge(0, 0)

# Enough to find the others by.
_SHOWN_PLACES = 10


def charge_for(agreement: Agreement, rows_gathered: int) -> Charge:
    """Return what the first release of a block costs, whichever of its rows are asked for."""
    return Charge(rows_gathered, rows_gathered * agreement.bits_per_row)


def require_models_left(terms: Terms, usage: Usage) -> None:
    """Raise ClauseRefusedError when one more sealing would pass max_models."""
    if usage.models + 1 > terms.max_models:
        raise ClauseRefusedError(
            "max_models",
            f"{terms.max_models}, of which {usage.models} used",
            "1 more",
            "Negotiate a license for more models.",
        )


def require_rows_left(terms: Terms, usage: Usage, charge: Charge) -> None:
    """Raise ClauseRefusedError when the charge would pass max_rows."""
    if usage.rows + charge.rows > terms.max_rows:
        raise ClauseRefusedError(
            "max_rows",
            f"{terms.max_rows}, of which {usage.rows} used",
            f"{charge.rows} more",
            _fewer(max(terms.max_rows - usage.rows, 0)),
        )


def require_bits_left(terms: Terms, usage: Usage, charge: Charge, bits_per_row: int) -> None:
    """Raise ClauseRefusedError when the charge would pass max_bits."""
    if usage.bits + charge.bits > terms.max_bits:
        raise ClauseRefusedError(
            "max_bits",
            f"{terms.max_bits}, of which {usage.bits} used",
            f"{charge.bits} more, {bits_per_row} a row",
            _fewer(max(terms.max_bits - usage.bits, 0) // bits_per_row),
        )


def require_openings_left(terms: Terms, openings: Iterable[int]) -> None:
    """Raise ClauseRefusedError when one more opening of any of these persons would pass the cap.

    `openings` are the counts of openings charged so far, one for each person. Those who have none left are
    named by their places among the persons asked for: the asker paid for each of these openings.
    """
    exhausted = [
        place for place, count in enumerate(openings, start=1) if count + 1 > terms.max_openings_per_entity
    ]
    if exhausted:
        places = ", ".join(map(str, exhausted[:_SHOWN_PLACES]))
        if len(exhausted) > _SHOWN_PLACES:
            places += f" and {len(exhausted) - _SHOWN_PLACES} more places"
        raise ClauseRefusedError(
            "max_openings_per_entity",
            f"{terms.max_openings_per_entity} for each person",
            f"1 more for those at {places}, counted from 1 in the order asked",
            "Leave those persons out, or negotiate more openings per entity.",
        )


def require_caps_suffice(agreement: Agreement, usage: Usage, charge: Charge, openings: Iterable[int]) -> None:
    """Raise ClauseRefusedError unless rows, bits and every person's openings suffice for the charge."""
    require_rows_left(agreement.terms, usage, charge)
    require_bits_left(agreement.terms, usage, charge, agreement.bits_per_row)
    require_openings_left(agreement.terms, openings)


def _fewer(rows: int) -> str:
    if rows:
        return f"Ask for at most {rows} persons, or negotiate a larger license."
    return "Nothing is left; negotiate a larger license."
