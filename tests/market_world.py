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

import csv
import io
import json
import random
import subprocess
import sys
import time
from bisect import bisect_right
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
from clients.rows import Rows
from clients.scorecard import OwnColumn, ProviderColumn, ProviderPart, Scorecard
from clients.terms import WantedTerms
from wire.bins import Bin, Column, IntervalBin, MissingBin
from wire.identity import Identity

SCENARIO = "consumer-credit-scoring"
REGISTRY = "employment-registry"
BUREAU = "payments-bureau"
BANK = "harbour-bank"
WATCH = "market-watch"
DROP = 9
BASE_POINTS = 500

ADMIN = Identity(TRUST_DOMAIN, "operator", OPERATOR, "admin")
OFFICER = Identity(TRUST_DOMAIN, "operator", OPERATOR, "officer")
ANALYST = Identity(TRUST_DOMAIN, "bank", BANK, "analyst")
AUDITOR = Identity(TRUST_DOMAIN, "regulator", WATCH, "auditor")

# Known to both providers, to one of them alone, and to nobody.
KNOWN = tuple(f"applicant-{number:05}" for number in range(3000))
STRANGERS = tuple(f"stranger-{number:05}" for number in range(200))

_Client = TypeVar("_Client", bound=MarketClient)

Record = Mapping[str, str]


@dataclass(frozen=True)
class Attribute:
    """One column: how a steward would have it binned, and the points of its bins in their order.

    Bin 0 is the missing bin; then intervals between `edges`, or the `groups` and the other bin.
    """

    name: str
    points: tuple[int, ...]
    edges: tuple[float, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()

    def rule(self) -> publication_pb2.ColumnRule:
        """The rule as the steward gives it."""
        if self.edges:
            return publication_pb2.ColumnRule(
                name=self.name, edges=publication_pb2.EdgeRule(edges=self.edges)
            )
        groups = [publication_pb2.CategoryGroup(values=group) for group in self.groups]
        return publication_pb2.ColumnRule(
            name=self.name, categories=publication_pb2.CategoryRule(groups=groups)
        )

    def points_of(self, text: str) -> int:
        """What the plaintext scorecard gives to a cell."""
        if self.edges:
            try:
                return self.points[1 + bisect_right(self.edges, float(text))]
            except ValueError:
                return self.points[0]
        if text in {"", "NA"}:
            return self.points[0]
        for place, group in enumerate(self.groups):
            if text in group:
                return self.points[1 + place]
        return self.points[-1]


ATTRIBUTES: Mapping[str, tuple[Attribute, ...]] = {
    REGISTRY: (
        Attribute("years_employed", (-31, -17, 4, 40, 111), edges=(1.0, 4.0, 7.0)),
        Attribute("job", (-7, 58, -12, 23), groups=(("skilled",), ("unskilled", "resident"))),
    ),
    BUREAU: (
        Attribute("late_payments", (-3, 90, -40, -260), edges=(1.0, 3.0)),
        Attribute("housing", (0, 77, -21, -5), groups=(("own",), ("rent",))),
        Attribute("balance", (-1, -200, 13, 205, 403), edges=(-100.5, 0.0, 2500.0)),
    ),
}


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


def records_of(provider: str) -> dict[str, Record]:
    """A provider's records by person: with absent persons, absent cells, and cells that do not parse."""
    draw = random.Random(f"records of {provider}")
    found: dict[str, Record] = {}
    for number, person in enumerate(KNOWN):
        if number % 5 == (0 if provider == REGISTRY else 1):
            continue
        if provider == REGISTRY:
            values = {
                "years_employed": draw.choice(["", "NA", "0.5", "1", "3.99", "4", "6", "7", "31", "many"]),
                "job": draw.choice(["skilled", "unskilled", "resident", "management", "", "NA"]),
            }
        else:
            values = {
                "late_payments": draw.choice(["", "0", "1", "2", "3", "17", "?"]),
                "housing": draw.choice(["own", "rent", "for free", "NA", ""]),
                "balance": draw.choice(["-100.5", "-101", "-0.01", "0", "2499.99", "2500", "1e6", "", "n/k"]),
            }
        found[person] = values
    return found


def csv_of(records: Mapping[str, Record]) -> bytes:
    """The file of these records."""
    text = io.StringIO(newline="")
    names = list(next(iter(records.values())))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["applicant", *names])
    writer.writerows([person, *record.values()] for person, record in records.items())
    return text.getvalue().encode()


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


def rows_of(persons: Sequence[str]) -> Rows:
    """The bank's own rows."""
    return Rows(tuple(persons), {"age": [_age(person) for person in persons]})


def own_columns() -> tuple[OwnColumn, ...]:
    """The bank's own columns with their points."""
    bins: tuple[Bin, ...] = (
        MissingBin("missing"),
        IntervalBin("young", None, 30.0),
        IntervalBin("old", 30.0, None),
    )
    return (OwnColumn(Column("age", "", "year", bins), (-9, 14, 37)),)


def own_points(person: str) -> int:
    """Base points and the bank's own part."""
    age = _age(person)
    return BASE_POINTS + (-9 if age in {"", "NA"} else 14 if int(age) < 30 else 37)


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


def _age(person: str) -> str:
    number = int(person.rpartition("-")[2])
    return ("", "NA", "18", "29", "30", "64")[number % 6]


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
