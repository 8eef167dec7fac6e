"""Agreements: checked against what the signer saw before anything is signed, and again before it is used.

The exchange writes the agreement's bytes, so whoever signs compares them with the license, the terms it
accepted, the published revision, the keys and the exchange it is set up for. One difference, and nothing is
signed.

Source: docs/spec/agreement.md.
"""

import hashlib
from dataclasses import dataclass

from bourse.exchange.v1 import license_pb2
from bourse.type.v1 import agreement_pb2, description_pb2, query_pb2, signature_pb2

from clients.errors import BourseError, EvidenceError
from clients.evidence import check_signature, read_payload, revision_digest
from clients.home import PinnedExchange
from sealed.profiles import Profile, profile_named
from wire.signing import Purpose

MAX_AGREEMENT_BYTES = 40_000
SIGNERS = ("provider", "bank", "exchange")


@dataclass(frozen=True)
class CheckedAgreement:
    """An agreement whose bytes say what they must. `digest` is the license digest, 32 bytes."""

    signed: signature_pb2.SignedPayload
    agreement: agreement_pb2.Agreement

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.signed.payload).digest()

    @property
    def profile(self) -> Profile:
        return profile_named(self.agreement.terms.profile)

    @property
    def provider_party(self) -> str:
        """The provider's bare name."""
        return self.agreement.provider.removeprefix("parties/")


def check_turn(license_: license_pb2.License, signer: str) -> None:
    """Raise BourseError unless it is the turn of `signer`, `provider` or `bank`, to sign the license."""
    state, name = license_.state, license_.name
    turns = {
        "provider": (license_pb2.LICENSE_STATE_ACCEPTED, "the provider signs once the bank has accepted"),
        "bank": (license_pb2.LICENSE_STATE_AGREED, "the bank signs once the provider has"),
    }
    wanted, rule = turns[signer]
    if state != wanted:
        said = license_pb2.LicenseState.Name(state).removeprefix("LICENSE_STATE_")
        raise BourseError(
            "LICENSE_STATE",
            f"{name} is {said}: {rule}, and once only.",
            way_out="`license show` tells how far it is.",
        )


def check_agreement(
    license_: license_pb2.License,
    seen: agreement_pb2.Terms,
    description: description_pb2.DatasetDescription,
    description_bytes: bytes,
    exchange: PinnedExchange,
    *,
    own_key: bytes,
    signer: str,
) -> CheckedAgreement:
    """Return the license's agreement once it says exactly what `signer` (`provider` or `bank`) saw.

    `seen` are the terms that the signer accepted or offered, `description` what the provider's node signed of
    the licensed revision, `own_key` the signer's 32-byte key in use. Raises EvidenceError naming every
    difference.
    """
    signed = license_.agreement
    if not signed.payload:
        raise EvidenceError(f"{license_.name}: has no agreement yet.")
    agreement = read_agreement(signed)
    pinned = agreement.steward_key if signer == "provider" else agreement.bank_key
    bins = {column.name: len(column.bins) for column in description.columns}
    licensed = [(column.name, column.bins) for column in agreement.columns]
    differences = [
        (field, problem)
        for field, fits, problem in (
            ("license", agreement.license == license_.name, "is another license's"),
            ("dataset", agreement.dataset == license_.dataset, "is another dataset"),
            ("revision", agreement.revision == license_.revision, "is another revision"),
            ("provider", agreement.provider == license_.provider, "is another party"),
            ("bank", agreement.bank == license_.bank, "is another party"),
            ("scenario", agreement.scenario == license_.scenario, "is another purpose"),
            ("terms", agreement.terms == license_.terms, "are not the license's"),
            ("terms", agreement.terms == seen, "are not the terms that you saw"),
            ("exchange", agreement.exchange == exchange.origin, "is not the exchange of this home"),
            ("exchange_key", agreement.exchange_key == exchange.public_key, "is not the key of this home"),
            (
                f"{signer}'s key",
                pinned == own_key,
                "is not the signing key of this identity; `key-proof` makes what registers that one",
            ),
            (
                "revision_digest",
                agreement.revision_digest == revision_digest(description_bytes),
                "is not that of the published description",
            ),
            ("revision", description.revision == agreement.revision, "is not the description's"),
            (
                "columns",
                licensed == [(name, bins.get(name, 0)) for name in agreement.terms.columns],
                "are not those of the terms with their published bins",
            ),
            (
                "participants",
                list(agreement.participants) == [agreement.provider],
                "must be the provider alone",
            ),
        )
        if not fits
    ]
    if differences:
        raise EvidenceError(
            f"{license_.name}: the agreement is not what was negotiated; nothing has been signed.",
            way_out="Compare it with the other side before any of you signs.",
            fields=differences,
        )
    return CheckedAgreement(signed, agreement)


def read_agreement(signed: signature_pb2.SignedPayload) -> agreement_pb2.Agreement:
    """Return the agreement in a payload, its form checked; proves nothing about who signed it."""
    agreement = read_payload("agreement", agreement_pb2.Agreement, signed.payload, MAX_AGREEMENT_BYTES)
    if agreement.version != 1:
        raise EvidenceError("agreement: of a version that this release does not know.")
    return agreement


def check_signed_by(checked: CheckedAgreement, *signers: str) -> CheckedAgreement:
    """Return the agreement once exactly these of SIGNERS, in order, are proven to have signed it."""
    agreement = checked.agreement
    keys = {"provider": agreement.steward_key, "bank": agreement.bank_key, "exchange": agreement.exchange_key}
    if len(checked.signed.signatures) != len(signers):
        raise EvidenceError(f"agreement: must be signed by {', '.join(signers)}, and by nobody else.")
    for position, signer in enumerate(signers):
        check_signature(
            f"agreement, {signer}'s signature", checked.signed, position, keys[signer], Purpose.AGREEMENT
        )
    return checked


def final_agreement(
    signed: signature_pb2.SignedPayload, exchange: PinnedExchange, *, bank: str
) -> CheckedAgreement:
    """Return an agreement once provider, bank and exchange are proven to have signed it, for this exchange
    and this bank, for named queries.
    """
    checked = check_signed_by(CheckedAgreement(signed, read_agreement(signed)), *SIGNERS)
    agreement = checked.agreement
    if agreement.exchange != exchange.origin or agreement.exchange_key != exchange.public_key:
        raise EvidenceError("agreement: was countersigned by another exchange than this home's.")
    if agreement.bank != bank:
        raise EvidenceError("agreement: is another bank's.")
    if query_pb2.QUERY_KIND_NAMED not in agreement.terms.query_kinds:
        raise EvidenceError("agreement: allows no named queries.", way_out="Ask for a license that does.")
    return checked
