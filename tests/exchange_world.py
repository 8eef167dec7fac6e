"""A real exchange for tests: `python -m exchange serve` on a free port, and parties with real certificates.

    world = ExchangeWorld(tmp_path)            # founds an exchange; `database` may name a PostgreSQL
    world.start()
    world.register(BUREAU), world.register(HARBOUR)
    license_ = world.licensed("loans", BUREAU, HARBOUR)
    world.stop()

Other processes join with `world.identity_directory(identity)` and `world.address`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from bourse.exchange.v1 import (
    dataset_pb2,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    license_pb2,
    license_service_pb2,
    license_service_pb2_grpc,
    party_pb2,
    party_service_pb2,
    party_service_pb2_grpc,
    trade_record_service_pb2,
    trade_record_service_pb2_grpc,
)
from bourse.type.v1 import agreement_pb2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from exchange_papers import SCENARIO, canonical, description, listing, request_id, signed, terms

from clients.pki.authority import ServerNames
from clients.pki.directories import create_identity, init_authority
from wire.credentials import Credentials, load_credentials, parse_passphrase
from wire.identity import Identity
from wire.rpc import Refusal, channel_credentials, refusal_from_rpc_error, secure_channel
from wire.signing import Purpose, public_key_of, sign

TRUST_DOMAIN = "bourse.test"
ORIGIN = "exchange.bourse.test/ledger"
OPERATOR = "square"
SECONDS = 20


@dataclass(frozen=True)
class PartyOfTests:
    """A party and what its members are called."""

    party: str
    kind: str
    members: tuple[tuple[str, tuple[str, ...]], ...]
    keys: tuple[tuple[str, str], ...] = ()  # (purpose, member who holds the key)
    node_address: str = ""

    def member(self, member: str) -> Identity:
        return Identity(TRUST_DOMAIN, self.kind, self.party, member)


BUREAU = PartyOfTests(
    "bureau",
    "provider",
    (("steward", ("STEWARD",)), ("node", ("NODE",))),
    (("STEWARD", "steward"), ("NODE", "node")),
    "127.0.0.1:7500",
)
HARBOUR = PartyOfTests("harbour-bank", "bank", (("analyst", ("ANALYST",)),), (("BANK", "analyst"),))
WATCH = PartyOfTests("watch", "regulator", (("auditor", ("AUDITOR",)),))
SERVER = Identity(TRUST_DOMAIN, "operator", OPERATOR, "exchange")
ADMIN = Identity(TRUST_DOMAIN, "operator", OPERATOR, "admin")
OFFICER = Identity(TRUST_DOMAIN, "operator", OPERATOR, "officer")


@dataclass(frozen=True)
class Stubs:
    """The exchange's services, as one caller reaches them."""

    parties: party_service_pb2_grpc.PartyServiceStub
    datasets: dataset_service_pb2_grpc.DatasetServiceStub
    licenses: license_service_pb2_grpc.LicenseServiceStub
    records: trade_record_service_pb2_grpc.TradeRecordServiceStub


class ExchangeWorld:
    """An authority, identities as they are asked for, and an exchange founded in `root`."""

    def __init__(self, root: Path, *, database: str = "sqlite:///exchange.db") -> None:
        self.root = root
        self.config = root / "exchange.toml"
        self.log = root / "exchange.log"
        self.process: subprocess.Popen[str] | None = None
        self.address = ""
        self._authority = init_authority(
            root / "authority", TRUST_DOMAIN, now=datetime.now(UTC), days=2, passphrase_file=None
        )
        self._credentials: dict[Identity, Credentials] = {}
        self._channels: dict[Identity, grpc.Channel] = {}
        directory = self.identity_directory(SERVER, server=ServerNames())
        values = {
            "origin": ORIGIN,
            "trust_domain": TRUST_DOMAIN,
            "listen": "127.0.0.1:0",
            "database": database,
            "identity": str(directory),
            "passphrase_file": str(directory / "passphrase"),
            "port_file": "exchange.port",
            "drain_seconds": 5,
        }
        self.config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        founded = self.run("init", "--administrator", "admin", "--compliance-officer", "officer", "--json")
        assert founded.returncode == 0, founded.stderr
        self.founding = json.loads(founded.stdout)

    @property
    def public_key(self) -> bytes:
        """The exchange's Ed25519 key, 32 bytes."""
        return bytes.fromhex(self.founding["public_key"])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command of the exchange to its end."""
        command, *rest = arguments
        return subprocess.run(
            [sys.executable, "-m", "exchange", command, "--config", str(self.config), *rest],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> None:
        """Serve; returns once calls are answered."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "exchange", "serve", "--config", str(self.config)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        line = self.process.stdout.readline()
        assert line.startswith("SERVING "), self.log.read_text()
        self.address = line.split()[1]
        assert self.address.endswith(":" + (self.root / "exchange.port").read_text().strip())

    def stop(self) -> int:
        """Drain and return the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process = None
        return status

    def identity_directory(self, identity: Identity, *, server: ServerNames | None = None) -> Path:
        """The identity directory of a caller or server, made when first asked for."""
        directory = self.root / "identities" / identity.kind / identity.party / identity.member
        if not directory.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
            create_identity(
                self._authority,
                identity,
                directory,
                server=server,
                now=datetime.now(UTC),
                days=1,
                passphrase_file=None,
                replace=False,
            )
        return directory

    def credentials(self, identity: Identity) -> Credentials:
        """Certificate, keys and authority of a caller."""
        if identity not in self._credentials:
            directory = self.identity_directory(identity)
            self._credentials[identity] = load_credentials(
                lambda name: (directory / name).read_bytes(),
                parse_passphrase((directory / "passphrase").read_bytes()),
                now=datetime.now(UTC),
            )
        return self._credentials[identity]

    def key(self, identity: Identity) -> Ed25519PrivateKey:
        """A caller's signing key."""
        return self.credentials(identity).signing_key

    def channel(self, identity: Identity) -> grpc.Channel:
        """A channel as this caller; closed when the exchange ends."""
        if identity not in self._channels:
            mine = self.credentials(identity)
            self._channels[identity] = secure_channel(
                self.address, SERVER, channel_credentials(mine.key_pem, mine.certificate_pem, mine.ca_pem)
            )
        return self._channels[identity]

    def as_(self, identity: Identity) -> Stubs:
        """The services as this caller reaches them."""
        channel = self.channel(identity)
        return Stubs(
            party_service_pb2_grpc.PartyServiceStub(channel),
            dataset_service_pb2_grpc.DatasetServiceStub(channel),
            license_service_pb2_grpc.LicenseServiceStub(channel),
            trade_record_service_pb2_grpc.TradeRecordServiceStub(channel),
        )

    def register(self, party: PartyOfTests) -> party_pb2.Party:
        """Have the administrator register a party with its members and keys."""
        registered = self.as_(ADMIN).parties.CreateParty(
            party_service_pb2.CreatePartyRequest(
                party_id=party.party,
                party=party_pb2.Party(
                    display_name=party.party.title(),
                    kind=f"PARTY_KIND_{party.kind.upper()}",
                    members=[
                        party_pb2.Member(member=name, roles=[f"ROLE_{role}" for role in roles])
                        for name, roles in party.members
                    ],
                    node_address=party.node_address,
                ),
                request_id=request_id(),
            ),
            timeout=SECONDS,
        )
        for purpose, member in party.keys:
            registered = self.register_key(party, purpose, self.key(party.member(member)))
        return registered

    def register_key(self, party: PartyOfTests, purpose: str, key: Ed25519PrivateKey) -> party_pb2.Party:
        """Have the administrator put a key into use."""
        return self.as_(ADMIN).parties.RegisterSigningKey(
            key_registration(party.party, purpose, key), timeout=SECONDS
        )

    def drafted(self, dataset: str, provider: PartyOfTests = BUREAU, **changes) -> dataset_pb2.Dataset:
        """A draft of `datasets/{dataset}` with its first revision."""
        draft = listing(**changes)
        payload = canonical(description(dataset, provider.party))
        node = self.key(provider.member("node"))
        draft.latest_revision.description.CopyFrom(signed(node, Purpose.DATASET_DESCRIPTION, payload))
        return self.as_(provider.member("steward")).datasets.CreateDataset(
            dataset_service_pb2.CreateDatasetRequest(
                dataset_id=dataset, dataset=draft, request_id=request_id()
            ),
            timeout=SECONDS,
        )

    def listed(self, dataset: str, provider: PartyOfTests = BUREAU, **changes) -> dataset_pb2.Dataset:
        """A dataset that has passed review."""
        name = self.drafted(dataset, provider, **changes).name
        self.as_(provider.member("steward")).datasets.SubmitDataset(
            dataset_service_pb2.SubmitDatasetRequest(name=name, request_id=request_id()), timeout=SECONDS
        )
        return self.as_(OFFICER).datasets.ApproveDataset(
            dataset_service_pb2.ApproveDatasetRequest(
                name=name, comment="evidence read", request_id=request_id()
            ),
            timeout=SECONDS,
        )

    def requested(
        self, dataset: str, bank: PartyOfTests = HARBOUR, wanted: agreement_pb2.Terms | None = None
    ) -> license_pb2.License:
        """A license that a bank asked for."""
        return self.as_(bank.member("analyst")).licenses.CreateLicense(
            license_service_pb2.CreateLicenseRequest(
                license=license_pb2.License(
                    dataset=f"datasets/{dataset}", scenario=SCENARIO, terms=wanted or terms()
                ),
                request_id=request_id(),
            ),
            timeout=SECONDS,
        )

    def accepted(
        self,
        dataset: str,
        provider: PartyOfTests = BUREAU,
        bank: PartyOfTests = HARBOUR,
        wanted: agreement_pb2.Terms | None = None,
    ) -> license_pb2.License:
        """A license whose agreement waits for signatures."""
        license_ = self.requested(dataset, bank, wanted)
        license_ = self.as_(provider.member("steward")).licenses.OfferLicense(
            license_service_pb2.OfferLicenseRequest(name=license_.name, request_id=request_id()),
            timeout=SECONDS,
        )
        return self.as_(bank.member("analyst")).licenses.AcceptLicense(
            license_service_pb2.AcceptLicenseRequest(
                name=license_.name, etag=license_.etag, request_id=request_id()
            ),
            timeout=SECONDS,
        )

    def licensed(
        self,
        dataset: str,
        provider: PartyOfTests = BUREAU,
        bank: PartyOfTests = HARBOUR,
        wanted: agreement_pb2.Terms | None = None,
    ) -> license_pb2.License:
        """A license in force on a listed dataset, signed by all three."""
        license_ = self.accepted(dataset, provider, bank, wanted)
        steward, analyst = provider.member("steward"), bank.member("analyst")
        self.as_(steward).licenses.AgreeLicense(
            license_service_pb2.AgreeLicenseRequest(
                name=license_.name,
                agreement=signed(self.key(steward), Purpose.AGREEMENT, license_.agreement.payload),
                request_id=request_id(),
            ),
            timeout=SECONDS,
        )
        return self.as_(analyst).licenses.VerifyLicense(
            license_service_pb2.VerifyLicenseRequest(
                name=license_.name,
                agreement=signed(self.key(analyst), Purpose.AGREEMENT, license_.agreement.payload),
                request_id=request_id(),
            ),
            timeout=SECONDS,
        )

    def records(self, **filters) -> list:
        """All trade records that the auditor finds, a page at a time."""
        found, token = [], ""
        while True:
            page = self.as_(WATCH.member("auditor")).records.ListTradeRecords(
                trade_record_service_pb2.ListTradeRecordsRequest(page_token=token, **filters), timeout=SECONDS
            )
            found += page.trade_records
            token = page.next_page_token
            if not token:
                return found


def key_registration(
    party: str, purpose: str, key: Ed25519PrivateKey
) -> party_service_pb2.RegisterSigningKeyRequest:
    """The registration of a key for a party, with its proof of possession."""
    payload = f"parties/{party}\0KEY_PURPOSE_{purpose}".encode()
    return party_service_pb2.RegisterSigningKeyRequest(
        name=f"parties/{party}",
        purpose=f"KEY_PURPOSE_{purpose}",
        public_key=public_key_of(key),
        possession_signature=sign(key, Purpose.KEY_POSSESSION, payload),
        request_id=request_id(),
    )


@contextmanager
def refused() -> Iterator[list[Refusal]]:
    """What is called inside must be refused; the list then holds the refusal."""
    caught: list[Refusal] = []
    with pytest.raises(grpc.RpcError) as error:
        yield caught
    caught.append(refusal_from_rpc_error(error.value))
