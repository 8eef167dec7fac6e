"""Everybody's calls at the exchange: registering, listing, negotiating, reading the ledger."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import grpc
from bourse.compute.v1 import evaluation_service_pb2
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
    query_pb2,
    record_pb2,
    signature_pb2,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealed.profiles import SCORE_V1
from tests.compute_world import (
    ADMINISTRATOR,
    ANALYST,
    AUDITOR,
    DATASET,
    DROP,
    EXCHANGE,
    STEWARD,
    TIMEOUT,
    Papers,
    fresh_id,
    papers_of,
    signed_by,
)
from tests.trust.local_servers import OFFICER
from wire.identity import Identity
from wire.rpc import aio_secure_channel, channel_credentials
from wire.signing import Purpose, public_key_of, sign

SCENARIO = "consumer-credit-scoring"


class AtExchange:
    """The part of a TrustWorld that calls the exchange."""

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


def agreed(license_: signature_pb2.SignedPayload) -> agreement_pb2.Agreement:
    """What a license's bytes say."""
    return agreement_pb2.Agreement.FromString(license_.payload)
