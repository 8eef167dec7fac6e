"""Resources between the contract and the domain. Missing fields and unknown enum values are refused here."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from bourse.exchange.v1 import dataset_pb2, license_pb2, party_pb2, trade_record_pb2
from bourse.type.v1 import record_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from exchange.domain.datasets import Dataset, DatasetState, Evidence, Listing, Revision, SubjectKind
from exchange.domain.errors import FieldInvalidError
from exchange.domain.licenses import License, LicenseState, Step
from exchange.domain.names import (
    dataset_name,
    license_name,
    party_name,
    revision_name,
    trade_record_name,
)
from exchange.domain.parties import KeyPurpose, Member, Party, PartyKind, Role, SigningKey
from exchange.domain.records import Receipt, RecordKind, TradeRecord
from exchange.domain.texts import check_text
from exchange.formats.enums import enum_from_pb, enum_to_pb
from exchange.formats.signed import signed_to_pb
from exchange.formats.terms import terms_to_pb
from exchange.formats.times import time_to_pb
from exchange.verbs.requests import etag_of

MAX_REASON: Final = 500
MAX_NOTE: Final = 500


def reason_from(field: str, text: str) -> str:
    """Return a reason of 1 to 500 characters, or raise FieldInvalidError."""
    return check_text(field, text, least=1, most=MAX_REASON)


def note_from(text: str) -> str:
    """Return a note of at most 500 characters, or raise FieldInvalidError."""
    return check_text("note", text, most=MAX_NOTE)


def paths_from(mask: FieldMask, known: Sequence[str]) -> frozenset[str]:
    """Return the mask's paths, at least one, each of them known; raises FieldInvalidError otherwise."""
    paths = frozenset(mask.paths)
    if not paths or not paths <= frozenset(known):
        raise FieldInvalidError(("update_mask", f"must name one or more of: {', '.join(known)}"))
    return paths


def party_to_pb(party: Party) -> party_pb2.Party:
    """Return the message of a party."""
    name = party_name(party.party)
    return party_pb2.Party(
        name=name,
        display_name=party.display_name,
        kind=enum_to_pb(party_pb2.PartyKind, party.kind),
        state=enum_to_pb(party_pb2.PartyState, party.state),
        members=[
            party_pb2.Member(
                member=member.member,
                roles=sorted(enum_to_pb(party_pb2.Role, role) for role in member.roles),
            )
            for member in party.members
        ],
        signing_keys=[_key_to_pb(key) for key in party.keys],
        node_address=party.node_address,
        etag=etag_of(name, party.version),
        create_time=time_to_pb(party.create_time),
        update_time=time_to_pb(party.update_time),
        receipt=_receipt_to_pb(party.receipt),
    )


def party_kind_from(field: str, value: int) -> PartyKind:
    """Return a party's kind, or raise FieldInvalidError."""
    kind = enum_from_pb(party_pb2.PartyKind, PartyKind, value)
    if kind is None:
        raise FieldInvalidError((field, "must be a kind of this version's parties"))
    return kind


def party_kind_filter(field: str, value: int) -> PartyKind | None:
    """Return a kind to filter by, None for the unspecified one; raises FieldInvalidError."""
    return None if value == party_pb2.PARTY_KIND_UNSPECIFIED else party_kind_from(field, value)


def members_from(field: str, messages: Iterable[party_pb2.Member]) -> tuple[Member, ...]:
    """Return a party's members, or raise FieldInvalidError."""
    return tuple(
        Member(message.member, frozenset(_role(f"{field}[{place}].roles", role) for role in message.roles))
        for place, message in enumerate(messages)
    )


def purpose_from(field: str, value: int) -> KeyPurpose:
    """Return a key's purpose, or raise FieldInvalidError."""
    purpose = enum_from_pb(party_pb2.KeyPurpose, KeyPurpose, value)
    if purpose is None:
        raise FieldInvalidError((field, "must be a purpose of this version's keys"))
    return purpose


def dataset_to_pb(dataset: Dataset) -> dataset_pb2.Dataset:
    """Return the message of a dataset."""
    name, listing = dataset_name(dataset.dataset), dataset.listing
    return dataset_pb2.Dataset(
        name=name,
        provider=party_name(dataset.provider),
        title=listing.title,
        description=listing.description,
        subject_kind=enum_to_pb(dataset_pb2.SubjectKind, listing.subject_kind)
        if listing.subject_kind
        else dataset_pb2.SUBJECT_KIND_UNSPECIFIED,
        identifier_scheme=listing.identifier_scheme,
        classification_grade=listing.classification_grade,
        scenarios=listing.scenarios,
        tags=listing.tags,
        evidence=dataset_pb2.ComplianceEvidence(
            legality_undertaking=listing.evidence.legality_undertaking,
            assessment_sha256=listing.evidence.assessment_sha256,
            assessor=listing.evidence.assessor,
        ),
        state=enum_to_pb(dataset_pb2.DatasetState, dataset.state),
        state_reason=dataset.state_reason,
        latest_revision=revision_to_pb(dataset.latest),
        etag=etag_of(name, dataset.version),
        create_time=time_to_pb(dataset.create_time),
        update_time=time_to_pb(dataset.update_time),
        receipt=_receipt_to_pb(dataset.receipt),
    )


def revision_to_pb(revision: Revision) -> dataset_pb2.DatasetRevision:
    """Return the message of a revision."""
    return dataset_pb2.DatasetRevision(
        name=revision_name(revision.dataset, revision.number),
        description=signed_to_pb(revision.description),
        revision_digest=revision.digest,
        create_time=time_to_pb(revision.create_time),
    )


LISTING_PATHS: Final = (
    "title",
    "description",
    "subject_kind",
    "identifier_scheme",
    "classification_grade",
    "scenarios",
    "tags",
    "evidence",
)


def listing_from_pb(field: str, message: dataset_pb2.Dataset) -> Listing:
    """Return what a provider says of a dataset; raises FieldInvalidError for an unknown subject kind."""
    subject_kind = enum_from_pb(dataset_pb2.SubjectKind, SubjectKind, message.subject_kind)
    if subject_kind is None and message.subject_kind != dataset_pb2.SUBJECT_KIND_UNSPECIFIED:
        raise FieldInvalidError((f"{field}.subject_kind", "must be a kind that this version knows"))
    return Listing(
        title=message.title,
        description=message.description,
        subject_kind=subject_kind,
        identifier_scheme=message.identifier_scheme,
        classification_grade=message.classification_grade,
        scenarios=tuple(message.scenarios),
        tags=tuple(message.tags),
        evidence=Evidence(
            legality_undertaking=message.evidence.legality_undertaking,
            assessment_sha256=message.evidence.assessment_sha256,
            assessor=message.evidence.assessor,
        ),
    )


def listing_with(listing: Listing, changed: Listing, paths: Iterable[str]) -> Listing:
    """Return `listing` with the fields at `paths` taken from `changed`."""
    return replace(listing, **{path: getattr(changed, path) for path in paths})


def dataset_state_from(field: str, value: int) -> DatasetState | None:
    """Return a state to filter by, None for the unspecified one; raises FieldInvalidError."""
    state = enum_from_pb(dataset_pb2.DatasetState, DatasetState, value)
    if state is None and value != dataset_pb2.DATASET_STATE_UNSPECIFIED:
        raise FieldInvalidError((field, "must be a state that this version knows"))
    return state


def license_to_pb(license_: License) -> license_pb2.License:
    """Return the message of a license."""
    name = license_name(license_.license)
    return license_pb2.License(
        name=name,
        dataset=dataset_name(license_.dataset),
        revision=license_.revision,
        scenario=license_.scenario,
        provider=party_name(license_.provider),
        bank=party_name(license_.bank),
        state=enum_to_pb(license_pb2.LicenseState, license_.state),
        terms=terms_to_pb(license_.terms),
        history=[_step_to_pb(step) for step in license_.history],
        agreement=signed_to_pb(license_.agreement) if license_.agreement else None,
        state_reason=license_.state_reason,
        usage=license_pb2.LicenseUsage(
            models=license_.usage.models, rows=license_.usage.rows, bits=license_.usage.bits
        ),
        etag=etag_of(name, license_.version),
        create_time=time_to_pb(license_.create_time),
        update_time=time_to_pb(license_.update_time),
        receipt=_receipt_to_pb(license_.receipt),
    )


def license_state_from(field: str, value: int) -> LicenseState | None:
    """Return a state to filter by, None for the unspecified one; raises FieldInvalidError."""
    state = enum_from_pb(license_pb2.LicenseState, LicenseState, value)
    if state is None and value != license_pb2.LICENSE_STATE_UNSPECIFIED:
        raise FieldInvalidError((field, "must be a state that this version knows"))
    return state


def trade_record_to_pb(record: TradeRecord) -> trade_record_pb2.TradeRecord:
    """Return the message of a trade record."""
    return trade_record_pb2.TradeRecord(
        name=trade_record_name(record.index),
        index=record.index,
        entry=record.entry,
        receipt=receipt_to_pb(record.receipt),
    )


def record_kinds_from(field: str, values: Iterable[int]) -> tuple[RecordKind, ...]:
    """Return record kinds to filter by, each once, or raise FieldInvalidError."""
    kinds = []
    for place, value in enumerate(values):
        kind = enum_from_pb(record_pb2.RecordKind, RecordKind, value)
        if kind is None:
            raise FieldInvalidError((f"{field}[{place}]", "must be a kind that this version knows"))
        kinds.append(kind)
    return tuple(dict.fromkeys(kinds))


def receipt_to_pb(receipt: Receipt) -> record_pb2.Receipt:
    """Return the message of a receipt."""
    return record_pb2.Receipt(statement=signed_to_pb(receipt.statement))


def _receipt_to_pb(receipt: Receipt | None) -> record_pb2.Receipt | None:
    return None if receipt is None else receipt_to_pb(receipt)


def _key_to_pb(key: SigningKey) -> party_pb2.SigningKey:
    return party_pb2.SigningKey(
        purpose=enum_to_pb(party_pb2.KeyPurpose, key.purpose),
        public_key=key.public_key,
        register_time=time_to_pb(key.register_time),
        retire_time=time_to_pb(key.retire_time) if key.retire_time else None,
    )


def _step_to_pb(step: Step) -> license_pb2.NegotiationStep:
    return license_pb2.NegotiationStep(
        state=enum_to_pb(license_pb2.LicenseState, step.state),
        actor=party_name(step.actor),
        time=time_to_pb(step.time),
        terms=terms_to_pb(step.terms) if step.terms else None,
        note=step.note,
    )


def _role(field: str, value: int) -> Role:
    role = enum_from_pb(party_pb2.Role, Role, value)
    if role is None:
        raise FieldInvalidError((field, "must be roles that this version knows"))
    return role
