"""Datasets and their revisions."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, insert, or_, select, update

from exchange.domain.callers import Caller
from exchange.domain.datasets import (
    CATALOG,
    Dataset,
    DatasetState,
    Evidence,
    Listing,
    Revision,
    SubjectKind,
)
from exchange.domain.signed import Signature, SignedBytes
from exchange.store import Transaction
from exchange.store.columns import from_micros, receipt_of, to_json, to_micros
from exchange.store.pages import Page, load_page
from exchange.store.tables import dataset as datasets
from exchange.store.tables import dataset_revision, record

_LISTING_COST = 4096


def get_dataset(tx: Transaction, dataset: str) -> Dataset | None:
    """Return a dataset with its newest revision, or None."""
    found = _load(tx, [dataset])
    return found[0] if found else None


def list_datasets(
    tx: Transaction,
    caller: Caller,
    *,
    provider: str | None,
    state: DatasetState | None,
    after: str,
    size: int,
) -> Page[Dataset]:
    """Return the datasets that the caller may see by id, those after `after`."""
    query = select(datasets.c.dataset).where(datasets.c.dataset > after)
    if not caller.oversees:
        in_catalog = datasets.c.state.in_([one.value for one in CATALOG])
        query = query.where(or_(in_catalog, datasets.c.provider == caller.party))
    if provider is not None:
        query = query.where(datasets.c.provider == provider)
    if state is not None:
        query = query.where(datasets.c.state == state.value)
    keys = tx.execute(query.order_by(datasets.c.dataset).limit(size + 1)).scalars().all()
    return load_page(
        keys,
        size,
        lambda chunk: _load(tx, chunk),
        lambda one: (
            _LISTING_COST + len(one.latest.description.payload) + len(one.listing.description.encode())
        ),
    )


def insert_dataset(tx: Transaction, dataset: Dataset) -> None:
    """Add a dataset with its first revision."""
    tx.execute(insert(datasets).values(dataset=dataset.dataset, record=None, **_values(dataset)))
    insert_revision(tx, dataset.latest)


def update_dataset(tx: Transaction, dataset: Dataset, record_number: int | None) -> None:
    """Keep a changed dataset; `record_number` is the record of the change, None when it is not recorded."""
    values = _values(dataset)
    if record_number is not None:
        values["record"] = record_number
    tx.execute(update(datasets).where(datasets.c.dataset == dataset.dataset).values(**values))


def get_revision(tx: Transaction, dataset: str, number: int) -> Revision | None:
    """Return one revision, or None."""
    row = tx.execute(
        select(dataset_revision).where(
            dataset_revision.c.dataset == dataset, dataset_revision.c.number == number
        )
    ).first()
    return None if row is None else _revision(row)


def list_revisions(tx: Transaction, dataset: str, *, before: int, size: int) -> Page[Revision]:
    """Return a dataset's revisions, the newest first, those with numbers below `before`."""
    keys = (
        tx.execute(
            select(dataset_revision.c.number)
            .where(dataset_revision.c.dataset == dataset, dataset_revision.c.number < before)
            .order_by(dataset_revision.c.number.desc())
            .limit(size + 1)
        )
        .scalars()
        .all()
    )

    def load(chunk: Sequence[int]) -> list[Revision]:
        query = select(dataset_revision).where(
            dataset_revision.c.dataset == dataset, dataset_revision.c.number.in_(chunk)
        )
        return [_revision(row) for row in tx.execute(query.order_by(dataset_revision.c.number.desc()))]

    return load_page(keys, size, load, lambda one: len(one.description.payload))


def insert_revision(tx: Transaction, revision: Revision) -> None:
    """Add a revision, for good."""
    (signature,) = revision.description.signatures
    tx.execute(
        insert(dataset_revision).values(
            dataset=revision.dataset,
            number=revision.number,
            description=revision.description.payload,
            key_id=signature.key_id,
            signature=signature.value,
            digest=revision.digest,
            columns=to_json(revision.columns),
            create_time=to_micros(revision.create_time),
        )
    )


def _load(tx: Transaction, ids: Sequence[str]) -> list[Dataset]:
    rows = tx.execute(
        select(
            datasets,
            dataset_revision.c.number,
            dataset_revision.c.description.label("signed_description"),
            dataset_revision.c.key_id,
            dataset_revision.c.signature,
            dataset_revision.c.digest,
            dataset_revision.c.columns,
            dataset_revision.c.create_time.label("revision_time"),
            record.c.receipt,
            record.c.receipt_key_id,
            record.c.receipt_signature,
        )
        .join(
            dataset_revision,
            and_(
                dataset_revision.c.dataset == datasets.c.dataset,
                dataset_revision.c.number == datasets.c.latest,
            ),
        )
        .outerjoin(record, record.c.number == datasets.c.record)
        .where(datasets.c.dataset.in_(ids))
        .order_by(datasets.c.dataset)
    )
    return [_dataset(row) for row in rows]


def _dataset(row: Any) -> Dataset:
    return Dataset(
        dataset=row.dataset,
        provider=row.provider,
        listing=Listing(
            title=row.title,
            description=row.description,
            subject_kind=None if row.subject_kind is None else SubjectKind(row.subject_kind),
            identifier_scheme=row.identifier_scheme,
            classification_grade=row.classification_grade,
            scenarios=tuple(json.loads(row.scenarios)),
            tags=tuple(json.loads(row.tags)),
            evidence=Evidence(
                legality_undertaking=row.legality_undertaking,
                assessment_sha256=row.assessment_sha256,
                assessor=row.assessor,
            ),
        ),
        state=DatasetState(row.state),
        state_reason=row.state_reason,
        latest=Revision(
            dataset=row.dataset,
            number=row.number,
            description=SignedBytes(row.signed_description, (Signature(row.key_id, row.signature),)),
            digest=row.digest,
            columns=_columns(row.columns),
            create_time=from_micros(row.revision_time),
        ),
        version=row.version,
        create_time=from_micros(row.create_time),
        update_time=from_micros(row.update_time),
        reviewed=row.reviewed,
        receipt=receipt_of(row),
    )


def _revision(row: Any) -> Revision:
    return Revision(
        dataset=row.dataset,
        number=row.number,
        description=SignedBytes(row.description, (Signature(row.key_id, row.signature),)),
        digest=row.digest,
        columns=_columns(row.columns),
        create_time=from_micros(row.create_time),
    )


def _columns(text: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, bins) for name, bins in json.loads(text))


def _values(dataset: Dataset) -> dict[str, object]:
    listing = dataset.listing
    return {
        "provider": dataset.provider,
        "title": listing.title,
        "description": listing.description,
        "subject_kind": None if listing.subject_kind is None else listing.subject_kind.value,
        "identifier_scheme": listing.identifier_scheme,
        "classification_grade": listing.classification_grade,
        "scenarios": to_json(listing.scenarios),
        "tags": to_json(listing.tags),
        "legality_undertaking": listing.evidence.legality_undertaking,
        "assessment_sha256": listing.evidence.assessment_sha256,
        "assessor": listing.evidence.assessor,
        "state": dataset.state.value,
        "state_reason": dataset.state_reason,
        "latest": dataset.latest.number,
        "reviewed": dataset.reviewed,
        "version": dataset.version,
        "create_time": to_micros(dataset.create_time),
        "update_time": to_micros(dataset.update_time),
    }
