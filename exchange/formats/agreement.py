"""The agreement's bytes: composed once, when the bank accepts; from then on only signed and compared.

Source: docs/spec/agreement.md.
"""

from collections.abc import Mapping
from typing import Final

from bourse.type.v1 import agreement_pb2

from exchange.domain.errors import FieldInvalidError
from exchange.domain.licenses import License, Pins
from exchange.domain.names import dataset_name, license_name, party_name
from exchange.formats.terms import terms_to_pb

# An entry of the ledger carries the agreement with three signatures within its 60,000 bytes.
MAX_AGREEMENT_BYTES: Final = 40_000

_VERSION: Final = 1


def agreement_bytes(
    license_: License, pins: Pins, published: Mapping[str, int], *, origin: str, exchange_key: bytes
) -> bytes:
    """Return the exact bytes that provider, bank and exchange sign.

    `published` are the revision's columns with their numbers of bins. Raises FieldInvalidError when the
    bytes would be more than 40,000.
    """
    terms = license_.terms
    payload = agreement_pb2.Agreement(
        version=_VERSION,
        license=license_name(license_.license),
        dataset=dataset_name(license_.dataset),
        revision=license_.revision,
        revision_digest=license_.revision_digest,
        provider=party_name(license_.provider),
        bank=party_name(license_.bank),
        exchange=origin,
        scenario=license_.scenario,
        terms=terms_to_pb(terms),
        columns=[agreement_pb2.AgreementColumn(name=name, bins=published[name]) for name in terms.columns],
        participants=[party_name(license_.provider)],
        steward_key=pins.steward_key,
        node_key=pins.node_key,
        bank_key=pins.bank_key,
        exchange_key=exchange_key,
    ).SerializeToString(deterministic=True)
    if len(payload) > MAX_AGREEMENT_BYTES:
        raise FieldInvalidError(
            (
                "terms.columns",
                f"give an agreement of {len(payload)} bytes, at most {MAX_AGREEMENT_BYTES}; license fewer",
            )
        )
    return payload
