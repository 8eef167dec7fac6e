"""A license must not oblige a node to hold more of a model than it has memory for.

256 columns of 255 bins fit a description and an agreement, and would make a sealed model of 8.5 GB: whoever
licensed all of them could have any node killed by accepting one.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from compute.domain import license as node_licenses
from compute.domain.errors import LicenseRefusedError
from compute.domain.license import Agreement, LicensedColumn, Pins
from compute.domain.license import QueryKind as NodeQueryKind
from compute.domain.license import Terms as NodeTerms
from compute.domain.signed import Signature, Signed
from exchange.domain.errors import FieldInvalidError
from exchange.domain.terms import QueryKind, Terms, check_terms
from wire.signing import Purpose, key_id, public_key_of, sign

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STEWARD, BANK, EXCHANGE, NODE = (Ed25519PrivateKey.generate() for _ in range(4))
# 8 · 255 + 8 = 2048 bins; one more column of two passes the limit.
MOST = (*(LicensedColumn(f"c{n}", 255) for n in range(8)), LicensedColumn("c8", 8))
MORE = (*MOST, LicensedColumn("c9", 2))
CAPS = {"profile": "score-v1", "drop": 9, "max_rows": 9, "max_openings_per_entity": 1, "max_models": 1}
LIMITS = CAPS | {"max_bits": 99, "valid_from": NOW, "valid_until": NOW + timedelta(days=1)}


def test_the_exchange_lets_nobody_license_a_model_that_no_node_can_hold():
    def terms(columns: tuple[LicensedColumn, ...]) -> Terms:
        names = tuple(column.name for column in columns)
        return Terms(columns=names, query_kinds=(QueryKind.NAMED,), **LIMITS)

    published = {column.name: column.bins for column in MORE}
    check_terms("terms", terms(MOST), published, NOW)
    with pytest.raises(FieldInvalidError, match="2050 bins together"):
        check_terms("terms", terms(MORE), published, NOW)


def test_a_node_honors_no_license_for_a_model_that_it_cannot_hold():
    payload = b"the agreement's bytes"
    signatures = (
        Signature(key_id(public_key_of(key)), sign(key, Purpose.AGREEMENT, payload))
        for key in (STEWARD, BANK, EXCHANGE)
    )
    signed = Signed(payload, tuple(signatures))
    agreement = Agreement(
        version=1,
        license="licenses/one",
        dataset="datasets/one",
        revision=1,
        revision_digest=bytes(32),
        provider="parties/registry",
        bank="parties/harbour",
        exchange="exchange.bourse.test",
        scenario="credit",
        terms=NodeTerms(columns=(), query_kinds=frozenset({NodeQueryKind.NAMED}), **LIMITS),
        columns=MOST,
        participants=("parties/registry",),
        steward_key=public_key_of(STEWARD),
        node_key=public_key_of(NODE),
        bank_key=public_key_of(BANK),
        exchange_key=public_key_of(EXCHANGE),
    )
    pins = Pins(
        agreement.provider,
        frozenset({agreement.node_key}),
        frozenset({agreement.steward_key}),
        agreement.exchange_key,
        agreement.exchange,
    )
    node_licenses.require_honored(signed, agreement, pins, NOW)
    with pytest.raises(LicenseRefusedError, match="2050 bins together"):
        node_licenses.require_honored(signed, replace(agreement, columns=MORE), pins, NOW)
