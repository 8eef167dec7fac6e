"""Licenses honored so far, as they were signed, and what was charged to each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, insert, select, update

from compute.domain.caps import Charge, Usage
from compute.domain.errors import LicenseNotFoundError, LicenseRefusedError
from compute.domain.signed import Signed
from compute.store.packing import micros, pack_signatures, signed_of
from compute.store.schema import license_, opening

_BATCH: Final = 1000


def keep(connection: Connection, name: str, bank: str, agreement: Signed, now: datetime) -> None:
    """Remember a license that was found good; a name stands for the same bytes for ever.

    Raises LicenseRefusedError when another agreement of this name was honored before.
    """
    row = connection.execute(select(license_.c.agreement).where(license_.c.name == name)).one_or_none()
    if row is None:
        connection.execute(
            insert(license_).values(
                name=name,
                agreement=agreement.payload,
                signatures=pack_signatures(agreement),
                bank=bank,
                models=0,
                rows=0,
                bits=0,
                waiting=0,
                create_time=micros(now),
            )
        )
    elif bytes(row.agreement) != agreement.payload:
        raise LicenseRefusedError("agreement.license: another agreement of this name was honored before")


def agreement(connection: Connection, name: str) -> Signed:
    """Return a license as it was signed, or raise LicenseNotFoundError."""
    row = connection.execute(
        select(license_.c.agreement, license_.c.signatures).where(license_.c.name == name)
    ).one_or_none()
    if row is None:
        raise LicenseNotFoundError("license: this node knows no such license of yours")
    return signed_of(row.agreement, row.signatures)


def bank_of(connection: Connection, name: str) -> str:
    """Return the party whose license it is; the license is known."""
    bank: str = connection.execute(select(license_.c.bank).where(license_.c.name == name)).scalar_one()
    return bank


def usage(connection: Connection, name: str) -> Usage:
    """Return what was charged to a license that is known."""
    row = connection.execute(
        select(license_.c.models, license_.c.rows, license_.c.bits).where(license_.c.name == name)
    ).one()
    return Usage(row.models, row.rows, row.bits)


def blocks_waiting(connection: Connection, name: str) -> int:
    """Return how many blocks were asked for under a license that is known, and not charged."""
    waiting: int = connection.execute(select(license_.c.waiting).where(license_.c.name == name)).scalar_one()
    return waiting


def count_model(connection: Connection, name: str) -> None:
    """Count one more sealing of a license."""
    connection.execute(update(license_).where(license_.c.name == name).values(models=license_.c.models + 1))


def openings(connection: Connection, name: str, entity_keys: Sequence[bytes]) -> list[int]:
    """Return how often each person was charged under a license, in the order asked."""
    counts = _known(connection, name, entity_keys)
    return [counts.get(key, 0) for key in entity_keys]


def charge(connection: Connection, name: str, what: Charge, entity_keys: Sequence[bytes]) -> None:
    """Charge rows and bits, and one opening for each person, who must be named once."""
    _add(connection, name, what.rows, what.bits)
    known = _known(connection, name, entity_keys)
    _count(connection, name, [key for key in entity_keys if key in known], 1)
    fresh = [{"license": name, "entity_key": key, "charged": 1} for key in entity_keys if key not in known]
    if fresh:
        connection.execute(insert(opening), fresh)


def give_back(connection: Connection, name: str, what: Charge, entity_keys: Sequence[bytes]) -> None:
    """Undo `charge` with the same arguments."""
    _add(connection, name, -what.rows, -what.bits)
    _count(connection, name, entity_keys, -1)


def _known(connection: Connection, name: str, entity_keys: Sequence[bytes]) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    for start in range(0, len(entity_keys), _BATCH):
        found = connection.execute(
            select(opening.c.entity_key, opening.c.charged).where(
                opening.c.license == name, opening.c.entity_key.in_(entity_keys[start : start + _BATCH])
            )
        )
        counts |= {bytes(row.entity_key): row.charged for row in found}
    return counts


def _add(connection: Connection, name: str, rows: int, bits: int) -> None:
    connection.execute(
        update(license_)
        .where(license_.c.name == name)
        .values(rows=license_.c.rows + rows, bits=license_.c.bits + bits)
    )


def _count(connection: Connection, name: str, entity_keys: Sequence[bytes], by: int) -> None:
    for start in range(0, len(entity_keys), _BATCH):
        connection.execute(
            update(opening)
            .where(opening.c.license == name, opening.c.entity_key.in_(entity_keys[start : start + _BATCH]))
            .values(charged=opening.c.charged + by)
        )
