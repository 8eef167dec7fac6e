"""Licenses, their negotiations, and what was used of them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import and_, insert, or_, select, update

from exchange.domain.callers import Caller
from exchange.domain.charges import Charged, Deployed
from exchange.domain.licenses import License, LicenseState, Pins, Step, Usage
from exchange.domain.signed import Signature, SignedBytes
from exchange.store import Transaction
from exchange.store.columns import from_micros, receipt_of, terms_from_json, terms_to_json, to_micros
from exchange.store.pages import Page, load_page
from exchange.store.tables import charged_block, deployed_model, license_step, record
from exchange.store.tables import license_ as licenses
from wire.signing import KEY_ID_BYTES, SIGNATURE_BYTES

_SIGNATURE_WIDTH: Final = KEY_ID_BYTES + SIGNATURE_BYTES
_LICENSE_COST: Final = 4096


def get_license(tx: Transaction, license_id: str) -> License | None:
    """Return a license with its whole negotiation, or None."""
    found = _load(tx, [license_id])
    return found[0] if found else None


def list_licenses(
    tx: Transaction,
    caller: Caller,
    *,
    dataset: str | None,
    state: LicenseState | None,
    before: tuple[int, str] | None,
    size: int,
) -> Page[License]:
    """Return the licenses that the caller may see, the newest first.

    `before` is when the last one of the page before was made, in microseconds, and its id.
    """
    query = select(licenses.c.license)
    if not caller.oversees:
        query = query.where(or_(licenses.c.provider == caller.party, licenses.c.bank == caller.party))
    if dataset is not None:
        query = query.where(licenses.c.dataset == dataset)
    if state is not None:
        query = query.where(licenses.c.state == state.value)
    if before is not None:
        time, license_id = before
        query = query.where(
            or_(
                licenses.c.create_time < time,
                and_(licenses.c.create_time == time, licenses.c.license < license_id),
            )
        )
    query = query.order_by(licenses.c.create_time.desc(), licenses.c.license.desc()).limit(size + 1)
    keys = tx.execute(query).scalars().all()
    return load_page(keys, size, lambda chunk: _load(tx, chunk), _cost)


def insert_license(tx: Transaction, license_: License, record_number: int) -> None:
    """Add a license with its first steps."""
    tx.execute(insert(licenses).values(license=license_.license, record=record_number, **_values(license_)))
    _append_steps(tx, license_, known=0)


def update_license(tx: Transaction, license_: License, record_number: int) -> None:
    """Keep a changed license and its new steps, with the record of the change."""
    tx.execute(
        update(licenses)
        .where(licenses.c.license == license_.license)
        .values(record=record_number, **_values(license_))
    )
    known = len(
        tx.execute(select(license_step.c.position).where(license_step.c.license == license_.license)).all()
    )
    _append_steps(tx, license_, known=known)


def update_usage(tx: Transaction, license_id: str, usage: Usage) -> None:
    """Keep what was used of a license."""
    tx.execute(
        update(licenses)
        .where(licenses.c.license == license_id)
        .values(used_models=usage.models, used_rows=usage.rows, used_bits=usage.bits)
    )


def get_deployed(tx: Transaction, provider: str, sealing: str) -> Deployed | None:
    """Return the sealed model that was recorded for a provider's sealing, or None."""
    row = tx.execute(
        select(deployed_model).where(
            deployed_model.c.provider == provider, deployed_model.c.sealing == sealing
        )
    ).first()
    return None if row is None else Deployed(row.license, row.sealing, row.c0_digest)


def insert_deployed(tx: Transaction, provider: str, deployed: Deployed) -> None:
    """Add a recorded model, for good."""
    tx.execute(
        insert(deployed_model).values(
            provider=provider,
            sealing=deployed.sealing,
            license=deployed.license,
            c0_digest=deployed.c0_digest,
        )
    )


def get_charged(tx: Transaction, provider: str, block: str) -> Charged | None:
    """Return what was charged for a provider's block, or None."""
    row = tx.execute(
        select(charged_block).where(charged_block.c.provider == provider, charged_block.c.block == block)
    ).first()
    if row is None:
        return None
    return Charged(
        license=row.license,
        sealing=row.sealing,
        block=row.block,
        block_digest=row.block_digest,
        place=row.place,
        rows_gathered=row.rows_gathered,
    )


def insert_charged(tx: Transaction, provider: str, charged: Charged) -> None:
    """Add a charged block, for good."""
    tx.execute(
        insert(charged_block).values(
            provider=provider,
            block=charged.block,
            license=charged.license,
            sealing=charged.sealing,
            block_digest=charged.block_digest,
            place=charged.place,
            rows_gathered=charged.rows_gathered,
        )
    )


def _append_steps(tx: Transaction, license_: License, *, known: int) -> None:
    for position, step in list(enumerate(license_.history))[known:]:
        tx.execute(
            insert(license_step).values(
                license=license_.license,
                position=position,
                state=step.state.value,
                actor=step.actor,
                time=to_micros(step.time),
                terms=None if step.terms is None else terms_to_json(step.terms),
                note=step.note,
            )
        )


def _load(tx: Transaction, ids: Sequence[str]) -> list[License]:
    steps: dict[str, list[Step]] = {}
    for row in tx.execute(
        select(license_step)
        .where(license_step.c.license.in_(ids))
        .order_by(license_step.c.license, license_step.c.position)
    ):
        steps.setdefault(row.license, []).append(
            Step(
                state=LicenseState(row.state),
                actor=row.actor,
                time=from_micros(row.time),
                terms=None if row.terms is None else terms_from_json(row.terms),
                note=row.note,
            )
        )
    rows = tx.execute(
        select(licenses, record.c.receipt, record.c.receipt_key_id, record.c.receipt_signature)
        .outerjoin(record, record.c.number == licenses.c.record)
        .where(licenses.c.license.in_(ids))
        .order_by(licenses.c.create_time.desc(), licenses.c.license.desc())
    )
    return [_license(row, tuple(steps.get(row.license, ()))) for row in rows]


def _license(row: Any, history: tuple[Step, ...]) -> License:
    packed = row.agreement_signatures
    signatures = tuple(
        Signature(
            packed[start : start + KEY_ID_BYTES], packed[start + KEY_ID_BYTES : start + _SIGNATURE_WIDTH]
        )
        for start in range(0, len(packed), _SIGNATURE_WIDTH)
    )
    return License(
        license=row.license,
        dataset=row.dataset,
        revision=row.revision,
        revision_digest=row.revision_digest,
        scenario=row.scenario,
        provider=row.provider,
        bank=row.bank,
        state=LicenseState(row.state),
        terms=terms_from_json(row.terms),
        history=history,
        agreement=None if row.agreement is None else SignedBytes(row.agreement, signatures),
        pins=None
        if row.steward_key is None
        else Pins(steward_key=row.steward_key, node_key=row.node_key, bank_key=row.bank_key),
        state_reason=row.state_reason,
        usage=Usage(models=row.used_models, rows=row.used_rows, bits=row.used_bits),
        version=row.version,
        create_time=from_micros(row.create_time),
        update_time=from_micros(row.update_time),
        receipt=receipt_of(row),
    )


def _values(license_: License) -> dict[str, object]:
    signatures = license_.agreement.signatures if license_.agreement else ()
    return {
        "dataset": license_.dataset,
        "revision": license_.revision,
        "revision_digest": license_.revision_digest,
        "scenario": license_.scenario,
        "provider": license_.provider,
        "bank": license_.bank,
        "state": license_.state.value,
        "terms": terms_to_json(license_.terms),
        "agreement": license_.agreement.payload if license_.agreement else None,
        "agreement_signatures": b"".join(one.key_id + one.value for one in signatures),
        "steward_key": license_.pins.steward_key if license_.pins else None,
        "node_key": license_.pins.node_key if license_.pins else None,
        "bank_key": license_.pins.bank_key if license_.pins else None,
        "state_reason": license_.state_reason,
        "used_models": license_.usage.models,
        "used_rows": license_.usage.rows,
        "used_bits": license_.usage.bits,
        "version": license_.version,
        "create_time": to_micros(license_.create_time),
        "update_time": to_micros(license_.update_time),
    }


def _cost(license_: License) -> int:
    columns = sum(len(column.encode()) + 2 for column in license_.terms.columns)
    agreement = len(license_.agreement.payload) if license_.agreement else 0
    notes = sum(len(step.note.encode()) for step in license_.history)
    return _LICENSE_COST + agreement + notes + (columns + 128) * (len(license_.history) + 1)
