"""Licenses that a node honors, as its verbs hold them, and whose they are.

A name that belongs to another party's license is answered like one that does not exist.
"""

from dataclasses import dataclass

from compute.domain.caps import Usage
from compute.domain.errors import LicenseNotFoundError, SealingNotFoundError
from compute.domain.license import Agreement
from compute.domain.model import Sealing
from compute.domain.signed import Signed
from compute.formats.payloads import agreement_from_payload
from compute.release.statement import sha256
from compute.store import licenses, sealings
from compute.store.database import Connection


@dataclass(frozen=True)
class HeldLicense:
    """A license as it was signed, and what it says; `digest` is SHA-256 of the agreement's bytes."""

    signed: Signed
    agreement: Agreement
    digest: bytes


def held_license(signed: Signed) -> HeldLicense:
    """Return a license with what its bytes say. Raises LicenseRefusedError when they are no agreement."""
    return HeldLicense(signed, agreement_from_payload(signed.payload), sha256(signed.payload))


def sealing_with_license(connection: Connection, name: str) -> tuple[Sealing, HeldLicense]:
    """Return a sealing and its license, whosever it is. Raises SealingNotFoundError when there is none."""
    sealing = sealings.get(connection, name)
    return sealing, held_license(licenses.agreement(connection, sealing.license))


def own_sealing(connection: Connection, bank: str, name: str) -> tuple[Sealing, HeldLicense]:
    """Return a sealing and its license. Raises SealingNotFoundError unless the license is `bank`'s."""
    sealing, held = sealing_with_license(connection, name)
    if held.agreement.bank != bank:
        raise SealingNotFoundError("sealing: your party has no sealing of this name")
    return sealing, held


def usage_of(connection: Connection, name: str, bank: str | None) -> Usage:
    """Return what was charged to a license. `bank` is the party that asks, None for the node's own steward.

    Raises LicenseNotFoundError when the license is not known, or not that bank's.
    """
    held = held_license(licenses.agreement(connection, name))
    if bank is not None and held.agreement.bank != bank:
        raise LicenseNotFoundError("license: this node knows no such license of yours")
    return licenses.usage(connection, name)
