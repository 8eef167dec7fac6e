"""A whole market in processes of its own: an exchange, two providers' nodes, and everybody's clients.

    with open_market(tmp_path) as world:
        licenses = world.license_both()
        world.deploy(licenses, CARD)
        results = world.bank.score(CARD, world.rows(PERSONS), consent_reference="file 7", licenses=licenses)
        assert results.scores == world.plain_scores(PERSONS)

Set up through the SDK alone, as people would over months: identities, parties, keys, records, listings,
licenses. What the plaintext scorecard says is computed here from the records themselves, by other means than
the product's.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bourse.compute.v1 import publication_pb2
from bourse.exchange.v1 import dataset_pb2, license_pb2, party_pb2
from bourse.type.v1 import description_pb2
from cryptography.hazmat.primitives.serialization import Encoding
from market_records import (
    ATTRIBUTES,
    BASE_POINTS,
    Attribute,
    Record,
    csv_of,
    own_columns,
    own_points,
    records_of,
)

from clients.admin import AdminClient
from clients.bank import BankClient
from clients.demo.market import EXCHANGE_IDENTITY, OPERATOR, ORIGIN, TRUST_DOMAIN, Market, Server, running
from clients.home import Home, pinned_exchange, write_home
from clients.keyproof import KeyProof, prove_possession
from clients.market import MarketClient
from clients.member import Member
from clients.pki.authority import Authority, ServerNames
from clients.pki.directories import create_identity, describe, init_authority
from clients.provider import ProviderClient
from clients.regulator import RegulatorClient
from clients.scorecard import ProviderColumn, ProviderPart, Scorecard
from clients.terms import WantedTerms
from wire.identity import Identity

SCENARIO = "consumer-credit-scoring"
BANK = "harbour-bank"
WATCH = "market-watch"

ADMIN = Identity(TRUST_DOMAIN, "operator", OPERATOR, "admin")
OFFICER = Identity(TRUST_DOMAIN, "operator", OPERATOR, "officer")
ANALYST = Identity(TRUST_DOMAIN, "bank", BANK, "analyst")
AUDITOR = Identity(TRUST_DOMAIN, "regulator", WATCH, "auditor")

_Client = TypeVar("_Client", bound=MarketClient)


def dataset_of(provider: str) -> str:
    """The dataset that a provider lists from the start."""
    return f"datasets/{provider}"


def specification(provider: str) -> publication_pb2.ColumnSpecification:
    """How a provider's records are to be read."""
    return publication_pb2.ColumnSpecification(
        id_column="applicant",
        columns=[attribute.rule() for attribute in ATTRIBUTES[provider]],
        missing_values=["NA"],
    )


@dataclass
class MarketWorld:
    """One market, its processes and everybody's clients. Owned by one test at a time."""

    root: Path
    market: Market
    authority: Authority
    exchange_key: bytes = b""
    records: dict[str, dict[str, Record]] = field(default_factory=dict)
    withdrawn: dict[str, set[str]] = field(default_factory=dict)
    _clients: dict[str, MarketClient] = field(default_factory=dict)

    # ---- who is who ----

    @property
    def exchange(self) -> Server:
        """The exchange's process."""
        return self.market.servers["exchange"]

    def node(self, provider: str) -> Server:
        """A node's process."""
        return self.market.servers[provider]

    @property
    def admin(self) -> AdminClient:
        """The administrator."""
        return self._client(AdminClient, ADMIN)

    @property
    def officer(self) -> AdminClient:
        """The compliance officer."""
        return self._client(AdminClient, OFFICER)

    @property
    def bank(self) -> BankClient:
        """The bank's analyst."""
        return self._client(BankClient, ANALYST)

    @property
    def auditor(self) -> RegulatorClient:
        """The regulator's auditor."""
        return self._client(RegulatorClient, AUDITOR)

    def steward(self, provider: str) -> ProviderClient:
        """A provider's steward."""
        return self._client(ProviderClient, _member(provider, "steward"))

    def home(self, identity: Identity) -> Path:
        """A person's home directory."""
        return self.root / "homes" / f"{identity.party}-{identity.member}"

    def new_client(self, kind: type[_Client], identity: Identity) -> _Client:
        """A client with channels of its own; whoever asks closes it."""
        return kind.open(self.home(identity))

    def _client(self, kind: type[_Client], identity: Identity) -> _Client:
        held = self._clients.get(identity.uri)
        if not isinstance(held, kind):
            held = self._clients[identity.uri] = self.new_client(kind, identity)
        return held

    def reconnect(self) -> None:
        """Close every client; those asked for from now on have new channels."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # ---- trading ----

    def publish(
        self,
        provider: str,
        dataset_id: str,
        records: Mapping[str, Record],
        columns: publication_pb2.ColumnSpecification | None = None,
    ) -> dataset_pb2.Dataset:
        """Put records beside the node, have them prepared, listed and approved."""
        file = f"{dataset_id}.csv"
        self.put_file(provider, file, csv_of(records))
        steward = self.steward(provider)
        publication = steward.prepare(
            f"datasets/{dataset_id}", file, columns or specification(provider), sleep=_briefly
        )
        draft = steward.create_dataset(dataset_id, listing(dataset_id), publication)
        steward.submit_dataset(draft.name, etag=draft.etag)
        listed = self.officer.approve_dataset(draft.name, "assessment read")
        self.records[draft.name] = dict(records)
        self.withdrawn[draft.name] = set()
        return listed

    def put_file(self, provider: str, name: str, data: bytes) -> None:
        """Put a file into a node's records directory."""
        (self.root / "nodes" / provider / "records" / name).write_bytes(data)

    def withdraw(self, provider: str, person: str) -> None:
        """Have a steward withdraw a person's consent."""
        dataset = dataset_of(provider)
        self.steward(provider).withdraw_consent(dataset, person)
        self.withdrawn[dataset].add(person)

    def license(self, dataset: str, **terms: int) -> str:
        """Negotiate a license and have all three sign it; its name."""
        provider = self.bank.dataset(dataset).provider.removeprefix("parties/")
        description, _ = self.bank.described(dataset)
        wanted = WantedTerms(**{"max_rows": 1_000_000, "max_openings_per_entity": 10_000, **terms})
        asked = self.bank.request_license(
            dataset,
            SCENARIO,
            wanted.resolved([column.name for column in description.columns], datetime.now(UTC)),
        )
        steward = self.steward(provider)
        offered = steward.offer_license(asked)
        self.bank.accept_license(offered)
        steward.agree_license(asked.name)
        final = self.bank.verify_license(asked.name)
        assert final.state == license_pb2.LICENSE_STATE_ACTIVE
        return final.name

    def license_both(self, **terms: int) -> list[str]:
        """A license on each provider's first dataset."""
        return [self.license(dataset_of(provider), **terms) for provider in ATTRIBUTES]

    def scorecard(self, parts: Mapping[str, Sequence[Attribute]] | None = None) -> Scorecard:
        """The bank's model: its own part, and a part per dataset; without `parts` both providers'."""
        named = parts or {dataset_of(provider): columns for provider, columns in ATTRIBUTES.items()}
        return Scorecard(
            "joint",
            BASE_POINTS,
            ("NA",),
            own_columns(),
            tuple(
                provider_part(self.bank.described(dataset)[0], attributes)
                for dataset, attributes in named.items()
            ),
        )

    def deploy(self, licenses: Sequence[str]) -> Scorecard:
        """Deploy the scorecard under these licenses and return it."""
        card = self.scorecard()
        for name in licenses:
            self.bank.deploy(name, card)
        return card

    # ---- what it must come to ----

    def plain_part(self, dataset: str, attributes: Sequence[Attribute], person: str) -> int:
        """A provider's part of a person's score, from the records themselves."""
        known = person not in self.withdrawn[dataset] and self.records[dataset].get(person)
        record = known or {}
        return sum(attribute.points_of(record.get(attribute.name, "")) for attribute in attributes)

    def plain_scores(self, persons: Sequence[str]) -> tuple[int, ...]:
        """The plaintext scorecard's joint scores."""
        return tuple(
            own_points(person)
            + sum(
                self.plain_part(dataset_of(provider), attributes, person)
                for provider, attributes in ATTRIBUTES.items()
            )
            for person in persons
        )

    # ---- identities ----

    def issue(self, identity: Identity, directory: Path, *, server: bool = False) -> None:
        """Make an identity directory."""
        create_identity(
            self.authority,
            identity,
            directory,
            server=ServerNames() if server else None,
            now=datetime.now(UTC),
            days=2,
            passphrase_file=None,
            replace=False,
        )

    @property
    def ca_pem(self) -> bytes:
        """The authority that everybody trusts."""
        return self.authority.certificate.public_bytes(Encoding.PEM)

    def make_home(self, identity: Identity) -> None:
        """Make a person's identity and home."""
        directory = self.home(identity)
        directory.mkdir(parents=True)
        self.issue(identity, directory / "identity")
        write_home(
            Home(
                directory,
                TRUST_DOMAIN,
                directory / "identity",
                pinned_exchange(
                    address=self.exchange.address,
                    identity=EXCHANGE_IDENTITY,
                    origin=ORIGIN,
                    public_key=self.exchange_key.hex(),
                    trust_domain=TRUST_DOMAIN,
                ),
            )
        )

    def register(
        self,
        party: str,
        kind: party_pb2.PartyKind.ValueType,
        members: Mapping[str, party_pb2.Role.ValueType],
        proofs: Sequence[KeyProof] = (),
        node_address: str = "",
    ) -> None:
        """Have the administrator register a party and its keys."""
        self.admin.create_party(
            party,
            kind,
            party.replace("-", " ").title(),
            [party_pb2.Member(member=name, roles=[role]) for name, role in members.items()],
            node_address=node_address,
        )
        for proof in proofs:
            self.admin.register_key(proof)

    def _proof(self, directory: Path, purpose: party_pb2.KeyPurpose.ValueType) -> KeyProof:
        return prove_possession(Member.open(directory), purpose)

    def found(self, database: str) -> None:
        """Found the exchange, make everybody's identity and home, and register all parties."""
        folder = self.root / "exchange"
        self.issue(Identity.parse(EXCHANGE_IDENTITY), folder / "identity", server=True)
        self.market.add_exchange(database=database)
        founding = _command(
            "exchange",
            "init",
            "--config",
            str(folder / "exchange.toml"),
            "--administrator",
            ADMIN.member,
            "--compliance-officer",
            OFFICER.member,
            "--json",
        )
        self.exchange_key = bytes.fromhex(json.loads(founding)["public_key"])
        for person in (ADMIN, OFFICER, ANALYST, AUDITOR, *(_member(one, "steward") for one in ATTRIBUTES)):
            self.make_home(person)
        with ThreadPoolExecutor() as threads:
            list(threads.map(self._add_node, ATTRIBUTES))
        self.market.start()
        for provider in ATTRIBUTES:
            self._register_provider(provider)
        bank_proof = self._proof(self.home(ANALYST) / "identity", party_pb2.KEY_PURPOSE_BANK)
        self.register(BANK, party_pb2.PARTY_KIND_BANK, {ANALYST.member: party_pb2.ROLE_ANALYST}, [bank_proof])
        self.register(WATCH, party_pb2.PARTY_KIND_REGULATOR, {AUDITOR.member: party_pb2.ROLE_AUDITOR})

    def _add_node(self, provider: str) -> None:
        self.issue(_member(provider, "node"), self.root / "nodes" / provider / "identity", server=True)
        steward_key = describe(self.home(_member(provider, "steward")) / "identity").signing_public_key
        self.market.add_node(provider, steward_key.hex(), self.exchange_key.hex())
        _command("compute", "migrate", "--config", str(self.root / "nodes" / provider / "node.toml"))

    def _register_provider(self, provider: str) -> None:
        self.register(
            provider,
            party_pb2.PARTY_KIND_PROVIDER,
            {"steward": party_pb2.ROLE_STEWARD, "node": party_pb2.ROLE_NODE},
            [
                self._proof(
                    self.home(_member(provider, "steward")) / "identity", party_pb2.KEY_PURPOSE_STEWARD
                ),
                self._proof(self.root / "nodes" / provider / "identity", party_pb2.KEY_PURPOSE_NODE),
            ],
            self.node(provider).address,
        )


@contextmanager
def open_market(root: Path, *, database: str = "sqlite:///exchange.db") -> Iterator[MarketWorld]:
    """A market whose providers have each listed a dataset; all processes end with the block."""
    authority = init_authority(
        root / "pki", TRUST_DOMAIN, now=datetime.now(UTC), days=30, passphrase_file=None
    )
    with running(Market(root)) as market:
        world = MarketWorld(root, market, authority)
        try:
            world.found(database)
            for provider in ATTRIBUTES:
                world.publish(provider, provider, records_of(provider))
            yield world
        finally:
            world.reconnect()


def provider_part(
    description: description_pb2.DatasetDescription, attributes: Sequence[Attribute]
) -> ProviderPart:
    """A provider's part of the scorecard, by the labels that it publishes."""
    columns = []
    for column, attribute in zip(description.columns, attributes, strict=True):
        labels = [one.label for one in column.bins]
        columns.append(ProviderColumn(attribute.name, dict(zip(labels, attribute.points, strict=True))))
    return ProviderPart(description.dataset, None, tuple(columns))


def listing(title: str) -> dataset_pb2.Dataset:
    """What a steward writes of a dataset."""
    return dataset_pb2.Dataset(
        title=title,
        description="Made-up records for tests.",
        subject_kind=dataset_pb2.SUBJECT_KIND_NATURAL_PERSON,
        identifier_scheme="applicant",
        classification_grade=2,
        scenarios=[SCENARIO],
        tags=["credit"],
        evidence=dataset_pb2.ComplianceEvidence(
            legality_undertaking=True, assessment_sha256=bytes(32), assessor="Bright and Daughters"
        ),
    )


def _member(provider: str, member: str) -> Identity:
    return Identity(TRUST_DOMAIN, "provider", provider, member)


def _briefly(_seconds: float) -> None:
    """Wait for a publication as short as these are."""
    time.sleep(0.02)


def _command(*arguments: str) -> str:
    """Run one command of a server to its end; its output."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
