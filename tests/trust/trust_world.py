"""The real exchange and a real node on real ports, for clients that attack them.

    async with open_market(tmp_path, stock, engine) as world:
        license_ = await world.negotiated(max_rows=10)
        deployed = await world.deployed(license_)

Both servers run in this process as their commands run them, each with its own SQLite file; blocks are
evaluated by SEAL. Between node and exchange stands a relay, which can lose replies or be away. Parties,
keys, dataset and licenses are made by real calls: once for all tests (`make_stock`), then copied.
"""

import os
import resource
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
import pytest
from bourse.compute.v1 import evaluation_pb2, sealing_pb2
from bourse.type.v1 import (
    description_pb2,
    signature_pb2,
    statement_pb2,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from clients.bank import BankClient
from clients.home import Home, pinned_exchange, write_home
from clients.pki.authority import Authority, new_authority
from clients.pki.directories import create_identity
from clients.scorecard import ProviderColumn, ProviderPart, Scorecard
from compute.config import Config, ExchangeConfig
from compute.engine.workers import WorkerEngine
from compute.store import evaluations, sealings
from compute.store.database import AsyncDatabase, migrate_database, open_node_database
from compute.vault import Secret, Vault
from compute.verbs.node import unlock
from sealed.packing import parse_column
from sealed.profiles import SCORE_V1
from sealed.sealing import SealedModel, c0_digest, commitment
from tests.compute_world import (
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
    Deployed,
    Papers,
    World,
    canonical,
    node_identity,
    papers_of,
    refusal_of,
    signed_by,
)
from tests.trust.at_exchange import AtExchange
from tests.trust.local_servers import LocalExchange, Relay, SharedEngine
from wire.credentials import Credentials, load_credentials, parse_passphrase
from wire.identity import Identity
from wire.rpc import Refusal
from wire.signing import Purpose, public_key_of

OTHER_NODE = Identity(DOMAIN, "provider", "bureau", "node")
ROWS = 50
BITS = SCORE_V1.bits_per_row(DROP)
PERSONS = tuple(f"p{n}" for n in range(ROWS))


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
class TrustWorld(AtExchange, World):
    """One market that a client attacks. The inherited verbs are those of an honest bank and steward."""

    exchange: LocalExchange | None = None
    relay: Relay | None = None
    stock: Stock | None = None
    _exchange_channels: dict[Identity, grpc.aio.Channel] = field(default_factory=dict)

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
