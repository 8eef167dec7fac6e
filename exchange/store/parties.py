"""Parties, their members and their keys."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update

from exchange.domain.parties import KeyPurpose, Member, Party, PartyKind, PartyState, Role, SigningKey
from exchange.store import Transaction
from exchange.store.columns import from_micros, receipt_of, to_micros
from exchange.store.pages import Page, load_page
from exchange.store.tables import party as parties
from exchange.store.tables import party_member, record, signing_key

_PARTY_COST = 4096


def get_party(tx: Transaction, party: str) -> Party | None:
    """Return a party with its members and keys, or None."""
    found = _load(tx, [party])
    return found[0] if found else None


def list_parties(tx: Transaction, *, kind: PartyKind | None, after: str, size: int) -> Page[Party]:
    """Return parties by id, those after `after`."""
    query = select(parties.c.party).where(parties.c.party > after).order_by(parties.c.party).limit(size + 1)
    if kind is not None:
        query = query.where(parties.c.kind == kind.value)
    keys = tx.execute(query).scalars().all()
    return load_page(keys, size, lambda chunk: _load(tx, chunk), lambda _: _PARTY_COST)


def insert_party(tx: Transaction, party: Party, record_number: int) -> None:
    """Add a party with its members and keys, with the record of its registration."""
    tx.execute(insert(parties).values(party=party.party, record=record_number, **_values(party)))
    _write_members(tx, party)
    for key in party.keys:
        _insert_key(tx, party.party, key)


def update_party(tx: Transaction, party: Party, record_number: int) -> None:
    """Keep a changed party, its members and keys, with the record of the change."""
    tx.execute(
        update(parties).where(parties.c.party == party.party).values(record=record_number, **_values(party))
    )
    tx.execute(delete(party_member).where(party_member.c.party == party.party))
    _write_members(tx, party)
    kept = set(
        tx.execute(select(signing_key.c.public_key).where(signing_key.c.party == party.party)).scalars()
    )
    for key in sorted(party.keys, key=lambda one: one.retire_time is None):
        if key.public_key not in kept:
            _insert_key(tx, party.party, key)
        elif key.retire_time is not None:
            tx.execute(
                update(signing_key)
                .where(signing_key.c.public_key == key.public_key)
                .values(retire_time=to_micros(key.retire_time))
            )


def is_key_known(tx: Transaction, public_key: bytes) -> bool:
    """Return whether anybody ever registered the key."""
    query = select(signing_key.c.public_key).where(signing_key.c.public_key == public_key)
    return tx.execute(query).first() is not None


def _load(tx: Transaction, ids: Sequence[str]) -> list[Party]:
    rows = tx.execute(
        select(parties, record.c.receipt, record.c.receipt_key_id, record.c.receipt_signature)
        .outerjoin(record, record.c.number == parties.c.record)
        .where(parties.c.party.in_(ids))
        .order_by(parties.c.party)
    ).all()
    members: dict[str, list[Member]] = {}
    for row in tx.execute(
        select(party_member)
        .where(party_member.c.party.in_(ids))
        .order_by(party_member.c.party, party_member.c.position)
    ):
        roles = frozenset(Role(role) for role in row.roles.split())
        members.setdefault(row.party, []).append(Member(row.member, roles))
    keys: dict[str, list[SigningKey]] = {}
    for row in tx.execute(
        select(signing_key)
        .where(signing_key.c.party.in_(ids))
        .order_by(signing_key.c.register_time.desc(), signing_key.c.public_key)
    ):
        keys.setdefault(row.party, []).append(
            SigningKey(
                purpose=KeyPurpose(row.purpose),
                public_key=row.public_key,
                possession=row.possession,
                register_time=from_micros(row.register_time),
                retire_time=None if row.retire_time is None else from_micros(row.retire_time),
            )
        )
    return [
        Party(
            party=row.party,
            display_name=row.display_name,
            kind=PartyKind(row.kind),
            state=PartyState(row.state),
            members=tuple(members.get(row.party, ())),
            keys=tuple(keys.get(row.party, ())),
            node_address=row.node_address,
            version=row.version,
            create_time=from_micros(row.create_time),
            update_time=from_micros(row.update_time),
            receipt=receipt_of(row),
        )
        for row in rows
    ]


def _values(party: Party) -> dict[str, object]:
    return {
        "display_name": party.display_name,
        "kind": party.kind.value,
        "state": party.state.value,
        "node_address": party.node_address,
        "version": party.version,
        "create_time": to_micros(party.create_time),
        "update_time": to_micros(party.update_time),
    }


def _write_members(tx: Transaction, party: Party) -> None:
    for position, member in enumerate(party.members):
        tx.execute(
            insert(party_member).values(
                party=party.party,
                member=member.member,
                position=position,
                roles=" ".join(sorted(member.roles)),
            )
        )


def _insert_key(tx: Transaction, party: str, key: SigningKey) -> None:
    tx.execute(
        insert(signing_key).values(
            public_key=key.public_key,
            party=party,
            purpose=key.purpose.value,
            possession=key.possession,
            register_time=to_micros(key.register_time),
            retire_time=None if key.retire_time is None else to_micros(key.retire_time),
        )
    )
