"""One provider's node, a bank that seals and opens with `sealed`, an exchange that records: on real ports.

The node runs in this process as `python -m compute serve` would run it, but for its engine: blocks are
evaluated by the plain witness of `sealed.block`, unless a test brings another one. What the processes do
together is tested in tests/e2e.
"""

import asyncio
import hashlib
import logging
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import numpy as np
from bourse.compute.v1 import (
    consent_service_pb2,
    consent_service_pb2_grpc,
    evaluation_pb2,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    publication_pb2,
    publication_service_pb2,
    publication_service_pb2_grpc,
    sealing_pb2,
    sealing_service_pb2,
    sealing_service_pb2_grpc,
)
from bourse.type.v1 import agreement_pb2, description_pb2, query_pb2, signature_pb2, statement_pb2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from clients.pki.authority import Authority, ServerNames, issue_certificate, new_authority
from compute.config import Config, ExchangeConfig
from compute.engine.boundary import BlockResult, BlockTask
from compute.engine.evaluation import hot_columns
from compute.identity import NodeIdentity
from compute.server import RunningNode, start
from compute.store.database import migrate_database
from sealed.block import evaluate, open_rows
from sealed.packing import block_digest, pack, parse_column, parse_released, unpack
from sealed.profiles import SCORE_V1
from sealed.sealing import (
    SealedModel,
    c0_digest,
    column_label,
    commitment,
    context,
    model_digest,
    seal,
)
from tests.recording_exchange import ORIGIN, Recorder, serving
from wire.credentials import Credentials
from wire.envelope import cleartext_private_key_pem
from wire.framing import tagged_hash
from wire.identity import Identity
from wire.rpc import Refusal, aio_secure_channel, channel_credentials, refusal_from_rpc_error
from wire.signing import Purpose, key_id, public_key_of, sign

DOMAIN = "bourse.test"
EXCHANGE = Identity(DOMAIN, "operator", "operator", "exchange")
NODE = Identity(DOMAIN, "provider", "registry", "node")
STEWARD = Identity(DOMAIN, "provider", "registry", "steward")
CLERK = Identity(DOMAIN, "provider", "registry", "clerk")
OTHER_STEWARD = Identity(DOMAIN, "provider", "bureau", "steward")
ANALYST = Identity(DOMAIN, "bank", "harbour", "analyst")
OTHER_ANALYST = Identity(DOMAIN, "bank", "hill", "analyst")
AUDITOR = Identity(DOMAIN, "regulator", "watch", "auditor")
ADMINISTRATOR = Identity(DOMAIN, "operator", "operator", "administrator")

DATASET = "datasets/employment"
LICENSE = "licenses/0f0e0d0c-0000-4000-8000-000000000001"
PASSPHRASE = b"a passphrase of the tests"
SECRET_ID = "PERSON7731"
DROP = 9
ROWS = 50
TIMEOUT = 30.0
JOBS = ("clerk", "smith", "baker", "")


@dataclass(frozen=True)
class Papers:
    """A key and a certificate, as TLS wants them."""

    key_pem: bytes
    certificate_pem: bytes


class WitnessEngine:
    """Evaluates with the plain witness in a thread. `hold` makes it wait, `broken` makes it fail."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.hold.set()
        self.broken = False
        self.tasks: list[BlockTask] = []

    async def start(self) -> None:
        """Nothing to warm up."""

    async def close(self) -> None:
        """Nothing to end."""

    async def evaluate(self, task: BlockTask) -> BlockResult:
        """Return the block that every engine must give."""
        self.tasks.append(task)
        await self.hold.wait()
        if self.broken:
            raise RuntimeError(SECRET_ID)
        return await asyncio.to_thread(_evaluated, task)


def _evaluated(task: BlockTask) -> BlockResult:
    profile = task.ring
    data = task.c0_path.read_bytes()
    width = profile.column_bytes
    columns = [parse_column(profile, data[at : at + width]) for at in range(0, len(data), width)]
    gathered = np.stack([column.astype(np.int64) for column in hot_columns(task)])
    packed = pack(evaluate(profile, columns, task.ctx, gathered, task.seed, task.place).block)
    return BlockResult(packed, block_digest(packed))


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until what other tasks do has made `condition` true."""
    while not condition():  # noqa: ASYNC110 - no event tells of what servers in other tasks have done
        await asyncio.sleep(0.01)


def refusal_of(error: grpc.RpcError) -> Refusal:
    """What a refused call was told."""
    return refusal_from_rpc_error(error)


def signed_by(purpose: Purpose, payload: bytes, *keys: Ed25519PrivateKey) -> signature_pb2.SignedPayload:
    """Exact bytes with one signature of each key, in order."""
    return signature_pb2.SignedPayload(
        payload=payload,
        signatures=[
            signature_pb2.Signature(key_id=key_id(public_key_of(key)), value=sign(key, purpose, payload))
            for key in keys
        ],
    )


def canonical(message) -> bytes:
    """The bytes that are signed."""
    return message.SerializeToString(deterministic=True)


def fresh_id() -> str:
    """A request id that nobody used."""
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Deployed:
    """A model that the node accepted, and what the bank needs to open with it."""

    sealing: sealing_pb2.Sealing
    model: SealedModel
    weights: tuple[int, ...]
    c0_digest: bytes
    statement: signature_pb2.SignedPayload


@dataclass
class World:
    """Everything that one test trades with."""

    folder: Path
    authority: Authority
    recorder: Recorder
    config: Config
    identity: NodeIdentity
    steward_key: Ed25519PrivateKey
    bank_key: Ed25519PrivateKey
    exchange_key: Ed25519PrivateKey
    make_engine: Callable[[], object]
    engine: object = None
    running: RunningNode | None = None
    description: description_pb2.DatasetDescription | None = None
    revision_digest: bytes = b""
    now: Callable[[], datetime] = utc_now
    standing: signature_pb2.SignedPayload | None = None
    _node_stack: AsyncExitStack | None = None
    _channels: dict[Identity, grpc.aio.Channel] = field(default_factory=dict)

    @property
    def ca_pem(self) -> bytes:
        return self.authority.certificate.public_bytes(Encoding.PEM)

    async def start_node(self) -> None:
        """Start the node, as after a stop or for the first time."""
        self.engine = self.make_engine()
        stack = AsyncExitStack()
        try:
            self.running = await start(
                self.config,
                self.identity,
                PASSPHRASE,
                self.engine,
                stack,
                logging.getLogger("compute"),
                now=self.now,
            )
        except BaseException:
            await stack.aclose()
            raise
        self._node_stack = stack

    async def stop_node(self) -> None:
        """Stop the node; its database and files stay."""
        for channel in self._channels.values():
            await channel.close()
        self._channels.clear()
        if self._node_stack is not None:
            await self._node_stack.aclose()
            self._node_stack = None

    def clock_ahead(self, by: timedelta) -> None:
        """Set the clock of nodes started from now on ahead."""
        self.now = lambda: datetime.now(UTC) + by

    def channel(self, identity: Identity) -> grpc.aio.Channel:
        """A channel to the node for one caller."""
        if identity not in self._channels:
            self._channels[identity] = self.new_channel(papers_of(self.authority, identity))
        return self._channels[identity]

    def new_channel(self, papers: Papers) -> grpc.aio.Channel:
        """A channel to the node with given papers."""
        return aio_secure_channel(
            self.running.address,
            NODE,
            channel_credentials(papers.key_pem, papers.certificate_pem, self.ca_pem),
        )

    def publications(self, identity: Identity = STEWARD):
        return publication_service_pb2_grpc.PublicationServiceStub(self.channel(identity))

    def consent(self, identity: Identity = STEWARD):
        return consent_service_pb2_grpc.ConsentServiceStub(self.channel(identity))

    def sealings(self, identity: Identity = ANALYST):
        return sealing_service_pb2_grpc.SealingServiceStub(self.channel(identity))

    def evaluations(self, identity: Identity = ANALYST):
        return evaluation_service_pb2_grpc.EvaluationServiceStub(self.channel(identity))

    # ---- the provider ----

    def write_records(self, name: str = "records.csv", rows: int = ROWS) -> None:
        """Put a file of `rows` persons beside the node: p0, p1, ..."""
        lines = ["applicant,age,job"]
        lines += [f"p{n},{20 + n if n % 7 else ''},{JOBS[n % 4]}" for n in range(rows)]
        (self.config.records / name).write_text("\n".join(lines) + "\n")

    async def publish(self, name: str = "records.csv") -> publication_pb2.Publication:
        """Publish the file over RPC and wait for the outcome."""
        created = await self.publications().CreatePublication(
            publication_service_pb2.CreatePublicationRequest(
                publication=publication(name), request_id=fresh_id()
            ),
            timeout=TIMEOUT,
        )
        outcome = await self.publication_outcome(created.name)
        if outcome.state == publication_pb2.PUBLICATION_STATE_SUCCEEDED:
            payload = outcome.description.payload
            self.description = description_pb2.DatasetDescription.FromString(payload)
            self.revision_digest = tagged_hash("bourse/dataset/v1/revision", payload)
        return outcome

    async def publication_outcome(self, name: str) -> publication_pb2.Publication:
        """Wait until a publication has its outcome."""
        while True:
            found = await self.publications().GetPublication(
                publication_service_pb2.GetPublicationRequest(name=name), timeout=TIMEOUT
            )
            if found.state != publication_pb2.PUBLICATION_STATE_RUNNING:
                return found
            await asyncio.sleep(0.01)

    async def withdraw(self, person: str, request_id: str | None = None) -> int:
        """Withdraw a person's consent; the number of withdrawals."""
        reply = await self.consent().WithdrawConsent(
            consent_service_pb2.WithdrawConsentRequest(
                dataset=DATASET, entity_id=person, request_id=request_id or fresh_id()
            ),
            timeout=TIMEOUT,
        )
        return reply.withdrawals

    # ---- the bank ----

    def agreement(self, **changes) -> agreement_pb2.Agreement:
        """What all three would sign, with fields of agreement or terms changed."""
        now = datetime.now(UTC)
        columns = [
            agreement_pb2.AgreementColumn(name=column.name, bins=len(column.bins))
            for column in self.description.columns
        ]
        terms = agreement_pb2.Terms(
            columns=[column.name for column in columns],
            query_kinds=[query_pb2.QUERY_KIND_NAMED],
            profile="score-v1",
            drop=DROP,
            max_rows=1000,
            max_openings_per_entity=2,
            max_models=3,
            max_bits=11_000,
        )
        terms.valid_from.FromDatetime(now - timedelta(hours=1))
        terms.valid_until.FromDatetime(now + timedelta(hours=1))
        made = agreement_pb2.Agreement(
            version=1,
            license=LICENSE,
            dataset=DATASET,
            revision=self.description.revision,
            revision_digest=self.revision_digest,
            provider=NODE.party_name,
            bank=ANALYST.party_name,
            exchange=ORIGIN,
            scenario="consumer-credit-scoring",
            columns=columns,
            participants=[NODE.party_name],
            steward_key=public_key_of(self.steward_key),
            node_key=public_key_of(self.identity.signing_key),
            bank_key=public_key_of(self.bank_key),
            exchange_key=public_key_of(self.exchange_key),
        )
        for name, value in changes.items():
            of_terms = name in agreement_pb2.Terms.DESCRIPTOR.fields_by_name and name != "columns"
            target = terms if of_terms else made
            if isinstance(value, datetime):
                getattr(target, name).FromDatetime(value)
            elif isinstance(value, list):
                del getattr(target, name)[:]
                getattr(target, name).extend(value)
            else:
                setattr(target, name, value)
        made.terms.CopyFrom(terms)
        return made

    def license(self, made: agreement_pb2.Agreement | None = None, **changes) -> signature_pb2.SignedPayload:
        """The agreement with its three signatures."""
        payload = canonical(made or self.agreement(**changes))
        return signed_by(Purpose.AGREEMENT, payload, self.steward_key, self.bank_key, self.exchange_key)

    async def open_sealing(
        self, signed: signature_pb2.SignedPayload | None = None, request_id: str | None = None, **changes
    ) -> sealing_pb2.Sealing:
        """Open a sealing under a license."""
        return await self.sealings().CreateSealing(
            sealing_service_pb2.CreateSealingRequest(
                sealing=sealing_pb2.Sealing(
                    agreement=signed or self.license(**changes), query_kind=query_pb2.QUERY_KIND_NAMED
                ),
                request_id=request_id or fresh_id(),
            ),
            timeout=TIMEOUT,
        )

    def weights(self) -> tuple[int, ...]:
        """A weight for every bin of every published column."""
        count = sum(len(column.bins) for column in self.description.columns)
        return tuple((-1) ** n * (17 * n + 5) for n in range(count))

    def sealed_for(
        self, sealing: sealing_pb2.Sealing, weights: Sequence[int] | None = None
    ) -> tuple[SealedModel, bytes, signature_pb2.SignedPayload]:
        """Seal a model as the bank does; its columns, their digest, and the bank's statement."""
        weights = tuple(weights or self.weights())
        agreement = agreement_pb2.Agreement.FromString(sealing.agreement.payload)
        ctx = context(
            SCORE_V1,
            kind="named",
            license_digest=hashlib.sha256(sealing.agreement.payload).digest(),
            owner=agreement.provider,
            owner_nonce=sealing.owner_nonce,
            sealing=sealing.sealing_nonce,
            scale=DROP,
            drop=DROP,
            columns=[
                column_label(column.name, n) for column in agreement.columns for n in range(column.bins)
            ],
        )
        assert ctx == sealing.context
        digest, salt = model_digest(repr(weights).encode()), os.urandom(32)
        model = seal(SCORE_V1, weights, digest, salt, ctx, DROP)
        packed = c0_digest(model.packed())
        statement = statement_pb2.SealingStatement(
            version=1,
            sealing=sealing.name,
            context=ctx,
            c0_digest=packed,
            commitment=commitment(digest, salt),
        )
        return model, packed, signed_by(Purpose.SEALING, canonical(statement), self.bank_key)

    async def put_columns(self, sealing: str, columns: Sequence[bytes]) -> None:
        """Send sealed columns."""
        for index, data in enumerate(columns):
            await self.sealings().PutSealedColumn(
                sealing_service_pb2.PutSealedColumnRequest(sealing=sealing, index=index, data=data),
                timeout=TIMEOUT,
            )

    async def accept(self, sealing: str, statement: signature_pb2.SignedPayload) -> sealing_pb2.Sealing:
        """Have a sealed model accepted."""
        return await self.sealings().AcceptSealing(
            sealing_service_pb2.AcceptSealingRequest(name=sealing, statement=statement), timeout=TIMEOUT
        )

    async def deploy(self, **changes) -> Deployed:
        """Have a model sealed, sent and accepted; `changes` are the first license's, which stands."""
        if self.standing is None:
            self.standing = self.license(**changes)
        sealing = await self.open_sealing(self.standing)
        model, digest, statement = self.sealed_for(sealing)
        await self.put_columns(sealing.name, model.packed())
        accepted = await self.accept(sealing.name, statement)
        return Deployed(accepted, model, self.weights(), digest, statement)

    async def ask(
        self, deployed: Deployed, persons: Sequence[str], request_id: str | None = None
    ) -> evaluation_pb2.Evaluation:
        """Start an evaluation."""
        return await self.evaluations().CreateEvaluation(
            evaluation_service_pb2.CreateEvaluationRequest(
                evaluation=evaluation_pb2.Evaluation(
                    sealing=deployed.sealing.name,
                    entity_ids=persons,
                    consent_reference="file 12, form 3",
                ),
                request_id=request_id or fresh_id(),
            ),
            timeout=TIMEOUT,
        )

    async def evaluation_outcome(self, name: str) -> evaluation_pb2.Evaluation:
        """Wait until an evaluation has its outcome."""
        while True:
            found = await self.evaluations().GetEvaluation(
                evaluation_service_pb2.GetEvaluationRequest(name=name), timeout=TIMEOUT
            )
            if found.state != evaluation_pb2.EVALUATION_STATE_RUNNING:
                return found
            await asyncio.sleep(0.01)

    async def block(self, evaluation: str, number: int = 0) -> evaluation_pb2.Block:
        """Get a sealed block."""
        return await self.evaluations().GetBlock(
            evaluation_service_pb2.GetBlockRequest(name=f"{evaluation}/blocks/{number}"), timeout=TIMEOUT
        )

    async def evaluated(self, deployed: Deployed, persons: Sequence[str]) -> evaluation_pb2.Block:
        """Evaluate and get the first block."""
        started = await self.ask(deployed, persons)
        done = await self.evaluation_outcome(started.name)
        assert done.state == evaluation_pb2.EVALUATION_STATE_SUCCEEDED, done.error
        return await self.block(started.name)

    def release_request(
        self,
        deployed: Deployed,
        block: evaluation_pb2.Block,
        rows: Sequence[int],
        /,
        *,
        signer: Ed25519PrivateKey | None = None,
        sent_rows: Sequence[int] | None = None,
        **changes,
    ) -> evaluation_service_pb2.ReleaseBlockRequest:
        """A signed request to open rows of a block, with signed fields changed."""
        salt = os.urandom(32)
        request = statement_pb2.ReleaseRequest(
            version=1,
            block=block.name,
            nonce=os.urandom(32),
            c0_digest=deployed.c0_digest,
            block_digest=block.sha256,
            rows_digest=tagged_hash("bourse/release/v1/rows", salt, np.asarray(rows, dtype="<u4").tobytes()),
            rows=len(rows),
            query_kind=query_pb2.QUERY_KIND_NAMED,
            drop=DROP,
        )
        for name, value in changes.items():
            setattr(request, name, value)
        return evaluation_service_pb2.ReleaseBlockRequest(
            request=signed_by(Purpose.RELEASE_REQUEST, canonical(request), signer or self.bank_key),
            rows=rows if sent_rows is None else sent_rows,
            rows_salt=salt,
        )

    async def release(
        self, request: evaluation_service_pb2.ReleaseBlockRequest, *, within: float = TIMEOUT
    ) -> evaluation_service_pb2.ReleaseBlockResponse:
        """Have rows opened."""
        return await self.evaluations().ReleaseBlock(request, timeout=within)

    async def usage(self, identity: Identity = ANALYST) -> evaluation_service_pb2.LicenseUsage:
        """What the node has charged."""
        return await self.evaluations(identity).GetLicenseUsage(
            evaluation_service_pb2.GetLicenseUsageRequest(license=LICENSE), timeout=TIMEOUT
        )

    def opened(
        self, deployed: Deployed, block: evaluation_pb2.Block, rows: Sequence[int], released: bytes
    ) -> list[int]:
        """The scores that the bank reads."""
        values = parse_released(SCORE_V1, released, len(rows), DROP)
        sealed = unpack(SCORE_V1, block.data)
        return open_rows(SCORE_V1, sealed, deployed.model.secret, values, rows, DROP).tolist()

    def score_in_clear(self, deployed: Deployed, person: str) -> int:
        """The plaintext scorecard's score; absent persons fall into the missing bins."""
        known = person.startswith("p") and person[1:].isdigit() and int(person[1:]) < ROWS
        number = int(person[1:]) if known else -1
        age, job = self.description.columns
        bins = [0, 0]
        if known and number % 7:
            bins[0] = 1 + sum(20 + number >= edge for edge in (30, 45))
        if known and JOBS[number % 4]:
            bins[1] = {"clerk": 1, "smith": 2, "baker": 3}[JOBS[number % 4]]
        assert (len(age.bins), len(job.bins)) == (4, 4)
        return deployed.weights[bins[0]] + deployed.weights[len(age.bins) + bins[1]]


def publication(name: str = "records.csv", dataset: str = DATASET) -> publication_pb2.Publication:
    """What a steward asks to be published."""
    return publication_pb2.Publication(
        dataset=dataset,
        file=name,
        specification=publication_pb2.ColumnSpecification(
            id_column="applicant",
            columns=[
                publication_pb2.ColumnRule(name="age", edges=publication_pb2.EdgeRule(edges=[30, 45])),
                publication_pb2.ColumnRule(
                    name="job",
                    categories=publication_pb2.CategoryRule(
                        groups=[
                            publication_pb2.CategoryGroup(values=["clerk"]),
                            publication_pb2.CategoryGroup(values=["smith"]),
                        ]
                    ),
                ),
            ],
        ),
        change_note="first",
    )


def papers_of(authority: Authority, identity: Identity) -> Papers:
    """Papers that the authority gives to `identity`; servers' and clients' alike."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue_certificate(
        authority, identity, key.public_key(), server=ServerNames(), now=datetime.now(UTC), days=1
    )
    return Papers(cleartext_private_key_pem(key), certificate.public_bytes(Encoding.PEM))


def node_identity(authority: Authority, signing_key: Ed25519PrivateKey) -> NodeIdentity:
    """The node's papers and keys, in memory."""
    papers = papers_of(authority, NODE)
    credentials = Credentials(
        NODE,
        papers.certificate_pem,
        authority.certificate.public_bytes(Encoding.PEM),
        datetime.now(UTC) + timedelta(days=1),
        papers.key_pem,
        signing_key,
    )
    return NodeIdentity(credentials, signing_key, {public_key_of(signing_key): signing_key})


@asynccontextmanager
async def open_world(
    folder: Path,
    *,
    database: str | None = None,
    make_engine: Callable[[], object] = WitnessEngine,
) -> AsyncIterator[World]:
    """A node that serves, with a file beside it that is not yet published."""
    authority = new_authority(DOMAIN, now=datetime.now(UTC), days=2)
    steward_key, bank_key, exchange_key, signing_key = (Ed25519PrivateKey.generate() for _ in range(4))
    recorder = Recorder(exchange_key, public_key_of(signing_key), public_key_of(bank_key))
    ca_pem = authority.certificate.public_bytes(Encoding.PEM)
    records = folder / "records"
    records.mkdir()
    async with serving(recorder, papers_of(authority, EXCHANGE), ca_pem) as address:
        config = Config(
            listen="127.0.0.1:0",
            port_file=None,
            database=database or f"sqlite:///{folder / 'node.db'}",
            identity=folder / "identity",
            passphrase_file=folder / "passphrase",
            records=records,
            state=folder / "state",
            trust_domain=DOMAIN,
            provider="registry",
            stewards=(STEWARD.uri,),
            steward_keys=frozenset({public_key_of(steward_key)}),
            workers=2,
            drain_seconds=1,
            exchange=ExchangeConfig(address, EXCHANGE, public_key_of(exchange_key), ORIGIN),
        )
        migrate_database(config.database)
        identity = node_identity(authority, signing_key)
        world = World(
            folder,
            authority,
            recorder,
            config,
            identity,
            steward_key,
            bank_key,
            exchange_key,
            make_engine,
        )
        world.write_records()
        await world.start_node()
        try:
            yield world
        finally:
            await world.stop_node()
