"""The exchange's verbs on a bare database, with a clock that stands still: no network, no process."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchange_papers import (
    COLUMNS,
    SCENARIO,
    canonical,
    description,
    model_statement,
    release_request,
    release_statement,
    sealing_statement,
)

from durable import Database, migrate
from exchange.domain.datasets import Dataset, Evidence, Listing, SubjectKind
from exchange.domain.licenses import License
from exchange.domain.parties import KeyPurpose, Member, Party, PartyKind, Role
from exchange.domain.records import Recorded
from exchange.domain.signed import Signature, SignedBytes
from exchange.domain.terms import QueryKind, Terms
from exchange.formats import statements
from exchange.formats.possession import possession_payload
from exchange.store import MIGRATIONS, Transaction
from exchange.store.datasets import get_dataset
from exchange.store.licenses import get_license
from exchange.store.parties import get_party
from exchange.verbs import datasets, ledger, licenses, parties
from exchange.verbs.acts import Act, Office
from exchange.verbs.ledger import SignedModel, SignedRelease
from exchange.verbs.requests import admitted, etag_of
from wire.identity import Identity
from wire.signing import Purpose, key_id, public_key_of, sign

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TERMS = Terms(
    columns=tuple(column.name for column in COLUMNS),
    query_kinds=(QueryKind.NAMED,),
    profile="score-v1",
    drop=9,
    max_rows=600,
    max_openings_per_entity=2,
    max_models=2,
    max_bits=6600,
    valid_from=NOW - timedelta(days=1),
    valid_until=NOW + timedelta(days=30),
)
LISTING = Listing(
    title="Loans of a town",
    description="Loans granted between 1990 and 1994.",
    subject_kind=SubjectKind.NATURAL_PERSON,
    identifier_scheme="national-id",
    classification_grade=3,
    scenarios=(SCENARIO,),
    tags=("loans",),
    evidence=Evidence(legality_undertaking=True, assessment_sha256=bytes(32), assessor="Examiner & Sons"),
)


def person(kind: str, party: str, member: str) -> Identity:
    return Identity("bourse.test", kind, party, member)


ADMIN = person("operator", "square", "admin")
OFFICER = person("operator", "square", "officer")
STEWARD = person("provider", "bureau", "steward")
NODE = person("provider", "bureau", "node")
ANALYST = person("bank", "harbour-bank", "analyst")
AUDITOR = person("regulator", "watch", "auditor")


def signed(key: Ed25519PrivateKey, purpose: Purpose, payload: bytes) -> SignedBytes:
    return SignedBytes(payload, (Signature(key_id(public_key_of(key)), sign(key, purpose, payload)),))


@dataclass
class Clock:
    """Time that moves when a test says so."""

    now: datetime = NOW

    def pass_(self, span: timedelta) -> None:
        self.now += span


class Bench:
    """A founded exchange with one provider, one bank and one regulator. `keys` by purpose."""

    def __init__(self, database: Database, *, founded: bool = False) -> None:
        self.database = database
        self.clock = Clock()
        self.office = Office(
            "exchange.bourse.test/ledger", "square", Ed25519PrivateKey.generate(), os.urandom
        )
        self.keys = {purpose: Ed25519PrivateKey.generate() for purpose in KeyPurpose}
        if not founded:
            self._found()

    def _found(self) -> None:
        database = self.database
        migrate(database, MIGRATIONS)
        database.write(
            lambda tx: parties.found_exchange(
                tx,
                self.office,
                display_name="The square",
                members=(
                    Member("admin", frozenset({Role.ADMINISTRATOR})),
                    Member("officer", frozenset({Role.COMPLIANCE_OFFICER})),
                ),
                acting="exchange",
                now=self.clock.now,
            )
        )
        steward, node = frozenset({Role.STEWARD}), frozenset({Role.NODE})
        self.register("bureau", PartyKind.PROVIDER, Member("steward", steward), Member("node", node))
        self.register("harbour-bank", PartyKind.BANK, Member("analyst", frozenset({Role.ANALYST})))
        self.register("watch", PartyKind.REGULATOR, Member("auditor", frozenset({Role.AUDITOR})))
        for purpose, party in (
            (KeyPurpose.STEWARD, "bureau"),
            (KeyPurpose.NODE, "bureau"),
            (KeyPurpose.BANK, "harbour-bank"),
        ):
            self.register_key(party, purpose, self.keys[purpose])

    def do(self, who: Identity, verb: Callable[[Transaction, Act], Any]) -> Any:
        """Have a member do something, in one transaction."""

        def change(tx: Transaction) -> Any:
            return verb(tx, Act(self.office, admitted(tx, who, frozenset(Role)), self.clock.now))

        return self.database.write(change)

    def register(self, party: str, kind: PartyKind, *members: Member, node_address: str = "") -> Party:
        return self.do(
            ADMIN,
            lambda tx, act: parties.create_party(
                tx,
                act,
                party,
                kind,
                display_name=party.title(),
                members=members,
                node_address=node_address,
            ),
        )

    def register_key(self, party: str, purpose: KeyPurpose, key: Ed25519PrivateKey) -> Party:
        possession = sign(key, Purpose.KEY_POSSESSION, possession_payload(party, purpose))
        return self.do(
            ADMIN,
            lambda tx, act: parties.register_key(
                tx, act, get_party(tx, party), purpose, public_key_of(key), possession
            ),
        )

    def suspend(self, party: str) -> None:
        self.do(
            ADMIN,
            lambda tx, act: parties.suspend_party(tx, act, get_party(tx, party), etag="", reason="test"),
        )

    def described(self, dataset: str, revision: int = 1) -> SignedBytes:
        payload = canonical(description(dataset, "bureau", revision=revision))
        return signed(self.keys[KeyPurpose.NODE], Purpose.DATASET_DESCRIPTION, payload)

    def drafted(self, dataset: str, listing: Listing = LISTING) -> Dataset:
        return self.do(
            STEWARD,
            lambda tx, act: datasets.create_dataset(tx, act, dataset, listing, self.described(dataset)),
        )

    def move_dataset(self, dataset: str, verb: str, who: Identity = OFFICER) -> Dataset:
        return self.do(
            who,
            lambda tx, act: datasets.move_dataset(
                tx, act, get_dataset(tx, dataset), verb, etag="", reason="test"
            ),
        )

    def listed(self, dataset: str) -> Dataset:
        self.drafted(dataset)
        self.move_dataset(dataset, "submit", STEWARD)
        return self.move_dataset(dataset, "approve")

    def requested(self, dataset: str, terms: Terms = TERMS) -> License:
        license_id = os.urandom(16).hex()
        return self.do(
            ANALYST,
            lambda tx, act: licenses.request_license(
                tx,
                act,
                license_id,
                dataset_id=dataset,
                revision=0,
                scenario=SCENARIO,
                terms=terms,
                note="",
            ),
        )

    def step(self, verb: str, license_: License) -> License:
        """Have the side whose turn it is take one step, with whatever the step needs."""
        who = STEWARD if verb in {"offer", "agree"} else ANALYST
        return self.do(who, lambda tx, act: self.take(tx, act, verb, get_license(tx, license_.license)))

    def take(self, tx: Transaction, act: Act, verb: str, license_: License) -> License:
        payload = license_.agreement.payload if license_.agreement else b"none"
        if verb == "offer":
            return licenses.offer(tx, act, license_, terms=None, note="", etag="")
        if verb == "counter":
            return licenses.counter(tx, act, license_, terms=license_.terms, note="", etag="")
        if verb == "accept":
            etag = etag_of(f"licenses/{license_.license}", license_.version)
            return licenses.accept(tx, act, license_, etag=etag)
        if verb == "agree":
            mine = signed(self.keys[KeyPurpose.STEWARD], Purpose.AGREEMENT, payload)
            return licenses.agree(tx, act, license_, mine)
        if verb == "verify":
            mine = signed(self.keys[KeyPurpose.BANK], Purpose.AGREEMENT, payload)
            return licenses.verify(tx, act, license_, mine)
        return licenses.terminate(tx, act, license_, reason="test", etag="")

    def licensed(self, dataset: str, terms: Terms = TERMS) -> License:
        license_ = self.requested(dataset, terms)
        for verb in ("offer", "accept", "agree", "verify"):
            license_ = self.step(verb, license_)
        return license_

    def model(self, license_: License, sealing: str, **changes: Any) -> SignedModel:
        """A model as bank and node sign it; `changes` go into the node's statement."""
        bank_says = canonical(sealing_statement(sealing))
        node_says = canonical(
            model_statement(f"licenses/{license_.license}", license_.agreement.payload, bank_says, **changes)
        )
        return SignedModel(
            model_bytes=signed(self.keys[KeyPurpose.NODE], Purpose.MODEL_STATEMENT, node_says),
            model=statements.model_statement("model_statement", node_says),
            sealing_bytes=signed(self.keys[KeyPurpose.BANK], Purpose.SEALING, bank_says),
            sealing=statements.sealing_statement("sealing_statement", bank_says),
        )

    def release(
        self, license_: License, sealing: str, block: str, *, asked: dict | None = None, **changes: Any
    ) -> SignedRelease:
        """A release as bank and node sign it; `asked` goes into the request, `changes` into the statement."""
        bank_says = canonical(release_request(block, sealing, **(asked or {})))
        node_says = canonical(
            release_statement(
                f"licenses/{license_.license}", license_.agreement.payload, sealing, bank_says, **changes
            )
        )
        return SignedRelease(
            statement_bytes=signed(self.keys[KeyPurpose.NODE], Purpose.RELEASE_STATEMENT, node_says),
            statement=statements.release_statement("release_statement", node_says),
            request_bytes=signed(self.keys[KeyPurpose.BANK], Purpose.RELEASE_REQUEST, bank_says),
            request=statements.release_request("release_request", bank_says),
        )

    def record_model(self, license_: License, model: SignedModel) -> Recorded:
        return self.do(
            NODE,
            lambda tx, act: ledger.record_model(
                tx, act, ledger.node_license(tx, act.caller, license_.license), model
            ),
        )

    def record_release(self, license_: License, release: SignedRelease) -> Recorded:
        return self.do(
            NODE,
            lambda tx, act: ledger.record_release(
                tx, act, ledger.node_license(tx, act.caller, license_.license), release
            ),
        )

    def license(self, license_: License) -> License:
        """The license as it stands now."""
        return self.database.read(lambda tx: get_license(tx, license_.license))


def with_terms(**changes: Any) -> Terms:
    return replace(TERMS, **changes)
