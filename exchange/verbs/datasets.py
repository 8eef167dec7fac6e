"""Listing datasets: providers draft and submit, the operator's compliance officers review.

A description is taken only when the provider's node signed it with its key in use.
"""

from dataclasses import replace

from exchange.domain.callers import Caller
from exchange.domain.datasets import (
    Dataset,
    DatasetState,
    Listing,
    Revision,
    check_description,
    check_listing,
)
from exchange.domain.errors import DatasetExistsError, DatasetNotFoundError, RoleNotAllowedError
from exchange.domain.licenses import License
from exchange.domain.names import dataset_name
from exchange.domain.parties import KeyPurpose, Role
from exchange.domain.records import RecordDraft, RecordKind
from exchange.domain.signed import SignedBytes, verify_one
from exchange.formats.description import description, revision_digest
from exchange.store import Transaction
from exchange.store.datasets import (
    get_dataset,
    get_revision,
    insert_dataset,
    insert_revision,
    update_dataset,
)
from exchange.verbs.acts import Act, record
from exchange.verbs.parties import existing_party
from exchange.verbs.requests import check_etag
from wire.signing import Purpose

_KIND_OF_VERB = {
    "submit": RecordKind.DATASET_SUBMITTED,
    "approve": RecordKind.DATASET_LISTED,
    "reject": RecordKind.DATASET_REJECTED,
    "suspend": RecordKind.DATASET_SUSPENDED,
    "reinstate": RecordKind.DATASET_REINSTATED,
    "delist": RecordKind.DATASET_DELISTED,
}


def visible_dataset(tx: Transaction, caller: Caller, dataset_id: str) -> Dataset:
    """Return a dataset that the caller may see, or raise DatasetNotFoundError."""
    dataset = get_dataset(tx, dataset_id)
    if dataset is None or not dataset.visible_to(caller):
        raise DatasetNotFoundError("there is no dataset of this name that you may see")
    return dataset


def own_dataset(tx: Transaction, caller: Caller, dataset_id: str) -> Dataset:
    """Return a dataset of the caller's party. Raises DatasetNotFoundError or RoleNotAllowedError."""
    dataset = visible_dataset(tx, caller, dataset_id)
    if dataset.provider != caller.party:
        raise RoleNotAllowedError("this call is for the dataset's provider")
    return dataset


def governed_dataset(tx: Transaction, caller: Caller, dataset_id: str) -> Dataset:
    """Return a dataset that the caller reviews, or that is its party's own.

    Raises DatasetNotFoundError or RoleNotAllowedError.
    """
    if Role.COMPLIANCE_OFFICER in caller.roles:
        return visible_dataset(tx, caller, dataset_id)
    return own_dataset(tx, caller, dataset_id)


def visible_revision(tx: Transaction, caller: Caller, dataset_id: str, number: int) -> Revision:
    """Return a revision of a dataset that the caller may see, or raise DatasetNotFoundError."""
    visible_dataset(tx, caller, dataset_id)
    revision = get_revision(tx, dataset_id, number)
    if revision is None:
        raise DatasetNotFoundError("the dataset has no such revision")
    return revision


def licensed_dataset(tx: Transaction, license_: License) -> tuple[Dataset, Revision]:
    """Return what a license is about, or raise DatasetNotFoundError."""
    dataset = get_dataset(tx, license_.dataset)
    revision = get_revision(tx, license_.dataset, license_.revision)
    if dataset is None or revision is None:
        raise DatasetNotFoundError("the dataset of this license is gone")
    return dataset, revision


def create_dataset(
    tx: Transaction, act: Act, dataset_id: str, listing: Listing, signed: SignedBytes
) -> Dataset:
    """Draft a listing with its first revision.

    Raises DatasetExistsError, SignatureRefusedError, SigningKeyUnusableError or FieldInvalidError.
    """
    check_listing("dataset", listing)
    if get_dataset(tx, dataset_id) is not None:
        raise DatasetExistsError("a dataset of this name exists already; choose another name")
    revision = _revision(tx, act, "dataset.latest_revision.description", dataset_id, act.caller.party, signed)
    dataset = Dataset(
        dataset=dataset_id,
        provider=act.caller.party,
        listing=listing,
        state=DatasetState.DRAFT,
        state_reason="",
        latest=revision,
        version=1,
        create_time=act.now,
        update_time=act.now,
    )
    insert_dataset(tx, dataset)
    return dataset


def change_dataset(tx: Transaction, act: Act, dataset: Dataset, listing: Listing, *, etag: str) -> Dataset:
    """Give a draft or rejected dataset another listing.

    Raises EtagMismatchError, FieldInvalidError or DatasetStateError.
    """
    check_etag(etag, dataset_name(dataset.dataset), dataset.version)
    check_listing("dataset", listing)
    changed = dataset.rewritten(listing, act.now)
    update_dataset(tx, changed, None)
    return changed


def move_dataset(
    tx: Transaction, act: Act, dataset: Dataset, verb: str, *, etag: str, reason: str = ""
) -> Dataset:
    """Take a dataset from one state to the next by one of DATASET_STATES' verbs.

    A comment or reason is recorded. Raises EtagMismatchError, DatasetStateError or DatasetIncompleteError.
    """
    check_etag(etag, dataset_name(dataset.dataset), dataset.version)
    shown = "" if verb in {"submit", "approve", "reinstate"} else reason
    changed = dataset.moved(verb, act.now, shown)
    return _keep(tx, act, changed, _KIND_OF_VERB[verb], reason=reason)


def add_revision(tx: Transaction, act: Act, dataset: Dataset, signed: SignedBytes) -> Revision:
    """Add a revision to a dataset; recorded once the dataset has been submitted.

    Raises SignatureRefusedError, SigningKeyUnusableError, FieldInvalidError or DatasetStateError.
    """
    revision = _revision(tx, act, "revision.description", dataset.dataset, dataset.provider, signed)
    changed = dataset.revised(revision, act.now)
    insert_revision(tx, revision)
    if dataset.state is DatasetState.DRAFT:
        update_dataset(tx, changed, None)
    else:
        _keep(tx, act, changed, RecordKind.DATASET_REVISED)
    return revision


def _revision(
    tx: Transaction, act: Act, field: str, dataset_id: str, provider: str, signed: SignedBytes
) -> Revision:
    node_key = existing_party(tx, provider).pinned_key(KeyPurpose.NODE)
    payload = verify_one(field, signed, Purpose.DATASET_DESCRIPTION, node_key)
    described = description(field, payload)
    check_description(field, described, dataset_id, provider)
    return Revision(
        dataset=dataset_id,
        number=described.revision,
        description=signed,
        digest=revision_digest(payload),
        columns=described.columns,
        create_time=act.now,
    )


def _keep(tx: Transaction, act: Act, dataset: Dataset, kind: RecordKind, *, reason: str = "") -> Dataset:
    draft = RecordDraft(
        kind,
        f"{dataset_name(dataset.dataset)}/{dataset.version}",
        concerns=(dataset.provider,),
        dataset=dataset.dataset,
        revision=dataset.latest.number,
        revision_digest=dataset.latest.digest,
        reason=reason,
    )
    recorded = record(tx, act, draft)
    update_dataset(tx, dataset, recorded.number)
    return replace(dataset, receipt=recorded.receipt)
