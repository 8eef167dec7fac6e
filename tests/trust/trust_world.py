"""The real exchange and a real node on real ports, for clients that attack them.

    async with open_market(tmp_path, stock, engine) as world:
        license_ = await world.negotiated(max_rows=10)
        deployed = await world.deployed(license_)

Both servers run in this process as their commands run them, each with its own SQLite file; blocks are
evaluated by SEAL. Between node and exchange stands a relay, which can lose replies or be away. Parties,
keys, dataset and licenses are made by real calls: once for all tests (`make_stock`), then copied.
"""

import asyncio
import logging
import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from bourse.compute.v1 import evaluation_pb2, evaluation_service_pb2, sealing_pb2
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
from bourse.type.v1 import (
    agreement_pb2,
    description_pb2,
    query_pb2,
    record_pb2,
    signature_pb2,
    statement_pb2,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

import exchange.server
from clients.bank import BankClient
from clients.home import Home, pinned_exchange, write_home
from clients.pki.authority import Authority, new_authority
from clients.pki.directories import create_identity
from clients.scorecard import ProviderColumn, ProviderPart, Scorecard
from compute.config import Config, ExchangeConfig
from compute.engine.boundary import BlockResult, BlockTask
from compute.engine.workers import DEFAULT_MODEL_BYTES, WorkerEngine, _evaluate
from compute.node import unlock
from compute.store import evaluations, sealings
from compute.store.database import AsyncDatabase, migrate_database, open_node_database
from compute.vault import Secret, Vault
from durable import migrate, open_database
from exchange.config import Config as ExchangeServerConfig
from exchange.domain.parties import Member, Role
from exchange.rpc.desk import Desk
from exchange.store import MIGRATIONS
from exchange.verbs.acts import Office
from exchange.verbs.parties import found_exchange
from exchange.verbs.sequencing import Sequencer
from sealed.packing import parse_column
from sealed.profiles import SCORE_V1
from sealed.sealing import SealedModel, c0_digest, commitment
from tests.compute_world import (
    ADMINISTRATOR,
    ANALYST,
    AUDITOR,
    DATASET,
    DOMAIN,
    DROP,
    EXCHANGE,
    JOBS,
    NODE,
    ORIGIN,
    PASSPHRASE,
    STEWARD,
    TIMEOUT,
    Deployed,
    Papers,
    World,
    canonical,
    fresh_id,
    node_identity,
    papers_of,
    refusal_of,
    signed_by,
)
from wire.credentials import Credentials, load_credentials, parse_passphrase
from wire.identity import Identity
from wire.rpc import Refusal, aio_secure_channel, channel_credentials
from wire.signing import Purpose, public_key_of, sign

OFFICER = Identity(DOMAIN, "operator", "operator", "officer")
OTHER_NODE = Identity(DOMAIN, "provider", "bureau", "node")
SCENARIO = "consumer-credit-scoring"
ROWS = 50
BITS = SCORE_V1.bits_per_row(DROP)
PERSONS = tuple(f"p{n}" for n in range(ROWS))


# ---- engines ----


class SharedEngine:
    """Worker processes that many nodes use one after another. `hold` keeps blocks from being evaluated."""

    def __init__(self, workers: WorkerEngine) -> None:
        self._workers = workers
        self.hold = asyncio.Event()
        self.hold.set()
        self.asked = 0

    async def start(self) -> None:
        """The workers are warm."""

    async def close(self) -> None:
        """The next node needs them."""

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Evaluate in a worker process."""
        self.asked += 1
        await self.hold.wait()
        return await self._workers.evaluate(task)


class LocalEngine:
    """The same engine inside this process, so that a check inside it can be taken out."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="local-engine")

    async def start(self) -> None:
        """Nothing to spawn."""

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Evaluate in this process's one engine thread, as a worker process would."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _evaluate, task, DEFAULT_MODEL_BYTES
        )


# ---- between node and exchange ----


class Relay:
    """A network between node and exchange: forwards, holds replies back, or is away."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._replies = asyncio.Event()
        self._replies.set()
        self._away = False

    async def start(self) -> str:
        """Listen; the address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Close everything."""
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        """Be away: open connections break, new ones break at once."""
        self._away = True
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def restore(self) -> None:
        """Be back."""
        self._away = False
        self._replies.set()

    async def divert(self, target: str) -> None:
        """Lead to somebody else from now on."""
        await self.cut()
        self._target = target
        self.restore()

    def hold_replies(self) -> None:
        """Let nothing come back from the exchange until `restore`."""
        self._replies.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.get_running_loop().create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        await asyncio.gather(link, return_exceptions=True)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            if not self._away:
                host, _, port = self._target.rpartition(":")
                there, back = await asyncio.open_connection(host, int(port))
                writers.append(back)
                pumps = {
                    asyncio.ensure_future(self._pump(reader, back, replies=False)),
                    asyncio.ensure_future(self._pump(there, writer, replies=True)),
                }
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            for one in writers:
                one.transport.abort()
                with suppress(OSError):
                    await one.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, replies: bool
    ) -> None:
        while data := await reader.read(65_536):
            if replies:
                await self._replies.wait()
            writer.write(data)
            await writer.drain()


class LocalExchange:
    """The exchange's services on a free port of this process."""

    def __init__(self, folder: Path, credentials: Credentials) -> None:
        self._url = f"sqlite:///{folder / 'exchange.db'}"
        self._credentials = credentials
        self._office = Office(ORIGIN, EXCHANGE.party, credentials.signing_key, os.urandom)
        self._config = ExchangeServerConfig(
            origin=ORIGIN,
            trust_domain=DOMAIN,
            listen="127.0.0.1:0",
            database=self._url,
            identity=folder,
            passphrase_file=folder / "passphrase",
            drain_seconds=1,
            reflection=False,
            port_file=None,
        )
        self.address = ""

    def found(self) -> None:
        """Make the database with an administrator and a compliance officer."""
        database = open_database(self._url, create=True)
        migrate(database, MIGRATIONS)
        members = (
            Member(ADMINISTRATOR.member, frozenset({Role.ADMINISTRATOR})),
            Member(OFFICER.member, frozenset({Role.COMPLIANCE_OFFICER})),
        )
        database.write(
            lambda tx: found_exchange(
                tx,
                self._office,
                display_name="Operator",
                members=members,
                acting=EXCHANGE.member,
                now=datetime.now(UTC),
            )
        )
        database.close()

    async def start(self) -> None:
        """Serve, as `exchange.server.serve` does until its signal."""
        log = logging.getLogger("exchange")
        self._threads = AsyncDatabase(open_database(self._url))
        sequencer = Sequencer(self._threads, log)
        await sequencer.catch_up()
        self._sequencing = asyncio.get_running_loop().create_task(sequencer.run())
        desk = Desk(office=self._office, database=self._threads, sequencer=sequencer)
        self._server, _ = exchange.server._server(self._config, desk, log)
        self.address = f"127.0.0.1:{exchange.server._bind(self._server, self._config, self._credentials)}"
        await self._server.start()

    async def stop(self) -> None:
        """End at once."""
        await self._server.stop(None)
        self._sequencing.cancel()
        await asyncio.gather(self._sequencing, return_exceptions=True)
        self._threads.close()


# ---- the market ----


@dataclass(frozen=True)
class Stock:
    """A market before its first license, on disk and in keys: `folder` is copied for every test."""

    folder: Path
    authority: Authority
    exchange_papers: Credentials
    node_key: Ed25519PrivateKey
    steward_key: Ed25519PrivateKey
    bank_key: Ed25519PrivateKey
    description: bytes
    revision_digest: bytes
    papers: dict[Identity, Papers] = field(repr=False)

    @property
    def analyst_identity(self) -> Path:
        """The analyst's identity directory, as `bourse pki` makes it."""
        return self.folder / "analyst"


@dataclass
class TrustWorld(World):
    """One market that a client attacks. The inherited verbs are those of an honest bank and steward."""

    exchange: LocalExchange | None = None
    relay: Relay | None = None
    stock: Stock | None = None

    # ---- the exchange ----

    def channel(self, identity: Identity) -> grpc.aio.Channel:
        """A channel to the node."""
        if identity not in self._channels:
            self._channels[identity] = self.new_channel(self.papers(identity))
        return self._channels[identity]

    def papers(self, identity: Identity) -> Papers:
        """Key and certificate of a caller, issued by the market's authority."""
        if identity not in self.stock.papers:
            self.stock.papers[identity] = papers_of(self.authority, identity)
        return self.stock.papers[identity]

    def _to_exchange(self, identity: Identity) -> grpc.aio.Channel:
        if identity not in self._exchange_channels:
            papers = self.papers(identity)
            self._exchange_channels[identity] = aio_secure_channel(
                self.exchange.address,
                EXCHANGE,
                channel_credentials(papers.key_pem, papers.certificate_pem, self.ca_pem),
            )
        return self._exchange_channels[identity]

    _exchange_channels: dict[Identity, grpc.aio.Channel] = field(default_factory=dict)

    def parties(self, identity: Identity = ADMINISTRATOR):
        return party_service_pb2_grpc.PartyServiceStub(self._to_exchange(identity))

    def datasets(self, identity: Identity = STEWARD):
        return dataset_service_pb2_grpc.DatasetServiceStub(self._to_exchange(identity))

    def licenses(self, identity: Identity = ANALYST):
        return license_service_pb2_grpc.LicenseServiceStub(self._to_exchange(identity))

    def trade_records(self, identity: Identity = AUDITOR):
        return trade_record_service_pb2_grpc.TradeRecordServiceStub(self._to_exchange(identity))

    async def register(
        self, party: str, kind: str, members: Mapping[str, str], keys: Mapping[str, Ed25519PrivateKey]
    ) -> None:
        """Have the administrator register a party; `keys` by purpose."""
        await self.parties().CreateParty(
            party_service_pb2.CreatePartyRequest(
                party_id=party,
                party=party_pb2.Party(
                    display_name=party.title(),
                    kind=f"PARTY_KIND_{kind.upper()}",
                    members=[
                        party_pb2.Member(member=member, roles=[f"ROLE_{role}"])
                        for member, role in members.items()
                    ],
                ),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )
        for purpose, key in keys.items():
            await self.register_key(party, purpose, key)

    async def register_key(self, party: str, purpose: str, key: Ed25519PrivateKey) -> None:
        """Have the administrator put a key into use."""
        possession = f"parties/{party}\0KEY_PURPOSE_{purpose}".encode()
        await self.parties().RegisterSigningKey(
            party_service_pb2.RegisterSigningKeyRequest(
                name=f"parties/{party}",
                purpose=f"KEY_PURPOSE_{purpose}",
                public_key=public_key_of(key),
                possession_signature=sign(key, Purpose.KEY_POSSESSION, possession),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )

    async def listed(self, steward: Identity, dataset: str, description: signature_pb2.SignedPayload) -> None:
        """List a dataset and have the officer approve it."""
        drafted = dataset_pb2.Dataset(
            title="Employment",
            description="Who works as what.",
            subject_kind=dataset_pb2.SUBJECT_KIND_NATURAL_PERSON,
            identifier_scheme="applicant",
            classification_grade=3,
            scenarios=[SCENARIO],
            evidence=dataset_pb2.ComplianceEvidence(
                legality_undertaking=True, assessment_sha256=bytes(32), assessor="Examiner & Sons"
            ),
        )
        drafted.latest_revision.description.CopyFrom(description)
        await self.datasets(steward).CreateDataset(
            dataset_service_pb2.CreateDatasetRequest(
                dataset_id=dataset.removeprefix("datasets/"), dataset=drafted, request_id=fresh_id()
            ),
            timeout=TIMEOUT,
        )
        await self.datasets(steward).SubmitDataset(
            dataset_service_pb2.SubmitDatasetRequest(name=dataset, request_id=fresh_id()), timeout=TIMEOUT
        )
        await self.datasets(OFFICER).ApproveDataset(
            dataset_service_pb2.ApproveDatasetRequest(
                name=dataset, comment="evidence read", request_id=fresh_id()
            ),
            timeout=TIMEOUT,
        )

    async def revised(self, records: str) -> None:
        """Publish other records as the dataset's next revision, at the node and at the exchange."""
        (self.config.records / "next.csv").write_text(records)
        outcome = await self.publish("next.csv")
        await self.datasets().CreateDatasetRevision(
            dataset_service_pb2.CreateDatasetRevisionRequest(
                parent=DATASET,
                revision=dataset_pb2.DatasetRevision(description=outcome.description),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )

    async def negotiated(
        self,
        *,
        dataset: str = DATASET,
        steward: Identity = STEWARD,
        steward_key: Ed25519PrivateKey | None = None,
        **changes: int,
    ) -> signature_pb2.SignedPayload:
        """A license in force: requested, offered, accepted, and signed by all three."""
        now = datetime.now(UTC)
        found = await self.datasets().GetDataset(
            dataset_service_pb2.GetDatasetRequest(name=dataset), timeout=TIMEOUT
        )
        columns = [column.name for column in self.description.columns]
        terms = agreement_pb2.Terms(
            **{
                "columns": columns,
                "query_kinds": [query_pb2.QUERY_KIND_NAMED],
                "profile": SCORE_V1.name,
                "drop": DROP,
                "max_rows": 1000,
                "max_openings_per_entity": 100,
                "max_models": 10,
                "max_bits": 100_000,
                **changes,
            }
        )
        terms.valid_from.FromDatetime(now - timedelta(hours=1))
        terms.valid_until.FromDatetime(now + timedelta(hours=1))
        asked = await self.licenses().CreateLicense(
            license_service_pb2.CreateLicenseRequest(
                license=license_pb2.License(dataset=found.name, scenario=SCENARIO, terms=terms),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )
        offered = await self.licenses(steward).OfferLicense(
            license_service_pb2.OfferLicenseRequest(name=asked.name, request_id=fresh_id()), timeout=TIMEOUT
        )
        accepted = await self.licenses().AcceptLicense(
            license_service_pb2.AcceptLicenseRequest(
                name=asked.name, etag=offered.etag, request_id=fresh_id()
            ),
            timeout=TIMEOUT,
        )
        payload = accepted.agreement.payload
        await self.licenses(steward).AgreeLicense(
            license_service_pb2.AgreeLicenseRequest(
                name=asked.name,
                agreement=signed_by(Purpose.AGREEMENT, payload, steward_key or self.steward_key),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )
        final = await self.licenses().VerifyLicense(
            license_service_pb2.VerifyLicenseRequest(
                name=asked.name,
                agreement=signed_by(Purpose.AGREEMENT, payload, self.bank_key),
                request_id=fresh_id(),
            ),
            timeout=TIMEOUT,
        )
        return final.agreement

    async def recorded(self, kind: str) -> list[record_pb2.TradeRecordEntry]:
        """The ledger's entries of one kind, in order, as the regulator reads them."""
        page = await self.trade_records().ListTradeRecords(
            trade_record_service_pb2.ListTradeRecordsRequest(kinds=[f"RECORD_KIND_{kind}"], page_size=1000),
            timeout=TIMEOUT,
        )
        return [record_pb2.TradeRecordEntry.FromString(one.entry) for one in page.trade_records]

    async def until_recorded(self, kind: str, count: int) -> None:
        """Wait until the ledger has so many entries of one kind."""
        while True:
            if len(await self.recorded(kind)) >= count:
                return
            await asyncio.sleep(0.01)

    async def charged(self, license_: signature_pb2.SignedPayload) -> tuple[tuple[int, int], tuple[int, int]]:
        """(rows, bits) that a license was charged: at the node, at the exchange."""
        name = agreed(license_).license
        node = await self.evaluations().GetLicenseUsage(
            evaluation_service_pb2.GetLicenseUsageRequest(license=name), timeout=TIMEOUT
        )
        there = await self.licenses().GetLicense(
            license_service_pb2.GetLicenseRequest(name=name), timeout=TIMEOUT
        )
        return (node.rows, node.bits), (there.usage.rows, there.usage.bits)

    # ---- the bank ----

    async def deployed(
        self, license_: signature_pb2.SignedPayload, weights: Sequence[int] | None = None
    ) -> Deployed:
        """Seal honestly, send and have accepted."""
        sealing = await self.open_sealing(license_)
        model, digest, statement = self.sealed_for(sealing, weights)
        await self.put_columns(sealing.name, model.packed())
        accepted = await self.accept(sealing.name, statement)
        return self.deployment(accepted, model, digest, statement, weights)

    def deployment(
        self,
        accepted: sealing_pb2.Sealing,
        model: SealedModel,
        digest: bytes,
        statement: signature_pb2.SignedPayload,
        weights: Sequence[int] | None = None,
    ) -> Deployed:
        """What the bank keeps of a model that was accepted."""
        return Deployed(accepted, model, tuple(weights or self.weights()), digest, statement)

    async def deployed_as(
        self, license_: signature_pb2.SignedPayload, craft: Callable[[SealedModel], SealedModel]
    ) -> Deployed:
        """Seal zeros, craft the columns into whatever a malicious bank likes, and have them accepted."""
        sealing = await self.open_sealing(license_)
        zeros = (0,) * len(self.weights())
        honest, _, _ = self.sealed_for(sealing, zeros)
        model = craft(honest)
        statement = self.sealing_statement(sealing, model.packed())
        await self.put_columns(sealing.name, model.packed())
        accepted = await self.accept(sealing.name, statement)
        return Deployed(accepted, model, zeros, c0_digest(model.packed()), statement)

    def sealing_statement(
        self, sealing: sealing_pb2.Sealing, columns: Sequence[bytes], **changes: object
    ) -> signature_pb2.SignedPayload:
        """What the bank signs of these columns, with fields changed."""
        statement = statement_pb2.SealingStatement(
            version=1,
            sealing=sealing.name,
            context=sealing.context,
            c0_digest=c0_digest(columns),
            commitment=commitment(os.urandom(32), os.urandom(32)),
        )
        for name, value in changes.items():
            setattr(statement, name, value)
        return signed_by(Purpose.SEALING, canonical(statement), self.bank_key)

    @contextmanager
    def bank_client(self) -> Iterator[BankClient]:
        """The bank's SDK, with its home and identity on disk. Its calls wait: use it in a thread."""
        directory = self.folder / "bank"
        if not directory.exists():
            write_home(
                Home(
                    directory,
                    DOMAIN,
                    self.stock.analyst_identity,
                    pinned_exchange(
                        address=self.exchange.address,
                        identity=EXCHANGE.uri,
                        origin=ORIGIN,
                        public_key=public_key_of(self.exchange_key).hex(),
                        trust_domain=DOMAIN,
                    ),
                    nodes={NODE.party: self.running.address},
                )
            )
        with BankClient.open(directory) as client:
            yield client

    def scorecard(self, age: Sequence[int], job: Sequence[int]) -> Scorecard:
        """A scorecard with these points for the published bins, in their order."""
        columns = [
            ProviderColumn(column.name, dict(zip((bin_.label for bin_ in column.bins), points, strict=True)))
            for column, points in zip(self.description.columns, (age, job), strict=True)
        ]
        part = ProviderPart(DATASET, None, tuple(columns))
        return Scorecard("joint", 0, (), (), (part,))

    async def read(
        self, deployed: Deployed, block: evaluation_pb2.Block, rows: Sequence[int], **changes: object
    ) -> list[int]:
        """Have rows of a block released, and open them."""
        reply = await self.release(self.release_request(deployed, block, rows, **changes))
        return self.opened(deployed, block, rows, reply.released)

    # ---- what only the node's owner can look at ----

    async def columns_at_node(self, sealing: str) -> list[bytes]:
        """The sealed columns as the node keeps them."""
        async with self.inside_node() as (database, _):
            return await database.read(lambda connection: list(sealings.columns(connection, sealing)))

    @asynccontextmanager
    async def inside_node(self) -> AsyncIterator[tuple[AsyncDatabase, Vault]]:
        """The node's own database and vault."""
        database = AsyncDatabase(open_node_database(self.config.database))
        try:
            vault, _ = await unlock(database, PASSPHRASE, os.urandom)
            yield database, vault
        finally:
            database.close()

    async def preparation(self, block: str) -> tuple[evaluations.PreparedRow, bytes]:
        """What a block was made of, and its seed."""
        evaluation, _, number = block.rpartition("/blocks/")
        async with self.inside_node() as (database, vault):
            row = await database.read(
                lambda connection: evaluations.prepared(connection, evaluation, int(number))
            )
        return row, vault.open(Secret.BLOCK_SEED, block, row.seed)

    def bins_in_clear(self, person: str) -> tuple[int, int]:
        """The bins of age and job of a person of the stock's records."""
        number = int(person[1:])
        age = 1 + sum(20 + number >= edge for edge in (30, 45)) if number % 7 else 0
        return age, {"clerk": 1, "smith": 2, "baker": 3, "": 0}[JOBS[number % 4]]


def agreed(license_: signature_pb2.SignedPayload) -> agreement_pb2.Agreement:
    """What a license's bytes say."""
    return agreement_pb2.Agreement.FromString(license_.payload)


def parsed(columns: Sequence[bytes]) -> list[np.ndarray]:
    """The residues of packed columns."""
    return [parse_column(SCORE_V1, column) for column in columns]


async def refused(call) -> Refusal:
    """What a call that must be refused was told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can be written beyond its first byte: the kernel refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def make_stock(folder: Path, engine: WorkerEngine) -> Stock:
    """Register everybody, publish and list the dataset, and lay it all down in `folder`."""
    authority = new_authority(DOMAIN, now=datetime.now(UTC), days=2)
    node_key, steward_key, exchange_key = (Ed25519PrivateKey.generate() for _ in range(3))
    create_identity(
        authority,
        ANALYST,
        folder / "analyst",
        server=None,
        now=datetime.now(UTC),
        days=1,
        passphrase_file=None,
        replace=False,
    )
    analyst = load_credentials(
        lambda name: (folder / "analyst" / name).read_bytes(),
        parse_passphrase((folder / "analyst" / "passphrase").read_bytes()),
        now=datetime.now(UTC),
    )
    papers = papers_of(authority, EXCHANGE)
    exchange_papers = Credentials(
        EXCHANGE,
        papers.certificate_pem,
        authority.certificate.public_bytes(Encoding.PEM),
        datetime.now(UTC) + timedelta(days=1),
        papers.key_pem,
        exchange_key,
    )
    stock = Stock(
        folder, authority, exchange_papers, node_key, steward_key, analyst.signing_key, b"", b"", {}
    )
    (folder / "records").mkdir()
    LocalExchange(folder, exchange_papers).found()
    migrate_database(f"sqlite:///{folder / 'node.db'}")
    async with _serving(folder, stock, lambda: SharedEngine(engine)) as world:
        await world.register(
            NODE.party,
            "provider",
            {STEWARD.member: "STEWARD", NODE.member: "NODE"},
            {"STEWARD": steward_key, "NODE": node_key},
        )
        await world.register(ANALYST.party, "bank", {ANALYST.member: "ANALYST"}, {"BANK": stock.bank_key})
        await world.register(AUDITOR.party, "regulator", {AUDITOR.member: "AUDITOR"}, {})
        world.write_records(rows=ROWS)
        outcome = await world.publish()
        await world.listed(STEWARD, DATASET, outcome.description)
        return replace(stock, description=outcome.description.payload, revision_digest=world.revision_digest)


@asynccontextmanager
async def open_market(
    folder: Path, stock: Stock, make_engine: Callable[[], object]
) -> AsyncIterator[TrustWorld]:
    """A copy of the stock, serving."""
    for name in ("exchange.db", "node.db"):
        shutil.copy(stock.folder / name, folder / name)
    shutil.copytree(stock.folder / "records", folder / "records")
    async with _serving(folder, stock, make_engine) as world:
        yield world


@asynccontextmanager
async def _serving(
    folder: Path, stock: Stock, make_engine: Callable[[], object]
) -> AsyncIterator[TrustWorld]:
    served = LocalExchange(folder, stock.exchange_papers)
    await served.start()
    relay = Relay(served.address)
    config = Config(
        listen="127.0.0.1:0",
        port_file=None,
        database=f"sqlite:///{folder / 'node.db'}",
        identity=folder / "identity",
        passphrase_file=folder / "passphrase",
        records=folder / "records",
        state=folder / "state",
        trust_domain=DOMAIN,
        provider=NODE.party,
        stewards=(STEWARD.uri,),
        steward_keys=frozenset({public_key_of(stock.steward_key)}),
        workers=2,
        drain_seconds=0,
        exchange=ExchangeConfig(
            await relay.start(), EXCHANGE, public_key_of(stock.exchange_papers.signing_key), ORIGIN
        ),
    )
    world = TrustWorld(
        folder=folder,
        authority=stock.authority,
        recorder=None,
        config=config,
        identity=node_identity(stock.authority, stock.node_key),
        steward_key=stock.steward_key,
        bank_key=stock.bank_key,
        exchange_key=stock.exchange_papers.signing_key,
        make_engine=make_engine,
        exchange=served,
        relay=relay,
        stock=stock,
        revision_digest=stock.revision_digest,
    )
    if stock.description:
        world.description = description_pb2.DatasetDescription.FromString(stock.description)
    await world.start_node()
    try:
        yield world
    finally:
        for channel in world._exchange_channels.values():
            await channel.close()
        await world.stop_node()
        await relay.stop()
        await served.stop()
