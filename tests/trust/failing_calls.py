"""Calls and commands that fail, with secrets in every field that takes text or bytes."""

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from bourse.compute.v1 import (
    consent_service_pb2,
    consent_service_pb2_grpc,
    evaluation_pb2,
    evaluation_service_pb2,
    evaluation_service_pb2_grpc,
    sealing_pb2,
    sealing_service_pb2,
    sealing_service_pb2_grpc,
)
from bourse.exchange.v1 import (
    license_pb2,
    license_service_pb2,
    license_service_pb2_grpc,
    party_pb2,
    party_service_pb2,
    party_service_pb2_grpc,
    trade_record_service_pb2,
    trade_record_service_pb2_grpc,
)
from bourse.type.v1 import query_pb2, signature_pb2
from market_records import REGISTRY
from market_world import ANALYST, MarketWorld

from clients.bank import BankClient
from clients.connection import Connection, Retries, new_request_id
from clients.home import read_home
from clients.member import Member
from clients.rows import Rows
from clients.scorecard import Scorecard
from clients.scoring import ScoringError
from tests.trust.full_trade import (
    CONSENT,
    OWN_COLUMN,
    PERSONS,
    PROVIDERS,
    FullTrade,
    bourse,
    dataset_of,
    own_cells,
    write_rows,
)

SECONDS = 20
PERSON = PERSONS[7]
SECRETS = " ".join([*PERSONS[:5], CONSENT, *own_cells().values()]).encode()
Call = Callable[[], object]


def provoke(
    world: MarketWorld, trade: FullTrade, card: Scorecard, card_file: Path, licenses: list[str]
) -> None:
    """Have everything refused that can be, and a job stopped after its blocks were evaluated."""
    for call in itertools.chain(_at_nodes(world), _at_exchange(world), _garbage(world)):
        try:
            call()
        except grpc.RpcError as error:
            metadata = error.trailing_metadata() or ()
            trade.told += [str(error).encode(), (error.details() or "").encode()]
            trade.told += [value if isinstance(value, bytes) else value.encode() for _, value in metadata]
            trade.refused += 1
    _commands(world, trade, card_file)
    _interrupted(world, trade, card, licenses)


def _at_nodes(world: MarketWorld) -> Iterator[Call]:
    for provider in PROVIDERS:
        channel = world.bank.connection.node(provider, world.node(provider).address).channel
        sealing = next(
            one.opened.name
            for one in world.bank.keystore.deployments()
            if one.dataset == dataset_of(provider) and one.opened is not None
        )
        evaluations = evaluation_service_pb2_grpc.EvaluationServiceStub(channel)
        for changes in (
            {"entity_ids": [PERSON, PERSON]},
            {"entity_ids": [PERSON * 9]},
            {"entity_ids": [*PERSONS, ""]},
            {"sealing": PERSON},
            {"sealing": "sealings/00000000-0000-4000-8000-000000000000"},
            {"consent_reference": CONSENT + "\n"},
            {"consent_reference": CONSENT * 9},
        ):
            asked = {"sealing": sealing, "entity_ids": PERSONS, "consent_reference": CONSENT} | changes
            yield _call(
                evaluations.CreateEvaluation,
                evaluation_service_pb2.CreateEvaluationRequest(
                    evaluation=evaluation_pb2.Evaluation(**asked), request_id=new_request_id()
                ),
            )
        yield _call(
            evaluations.CreateEvaluation,
            evaluation_service_pb2.CreateEvaluationRequest(
                evaluation=evaluation_pb2.Evaluation(
                    sealing=sealing, entity_ids=PERSONS, consent_reference=CONSENT
                ),
                request_id=PERSON,
            ),
        )
        signed = signature_pb2.SignedPayload(
            payload=SECRETS, signatures=[signature_pb2.Signature(key_id=SECRETS[:16], value=SECRETS[:64])]
        )
        yield _call(
            evaluations.ReleaseBlock,
            evaluation_service_pb2.ReleaseBlockRequest(request=signed, rows=[1], rows_salt=SECRETS[:32]),
        )
        yield _call(evaluations.GetBlock, evaluation_service_pb2.GetBlockRequest(name=PERSON))
        yield _call(
            evaluations.GetLicenseUsage, evaluation_service_pb2.GetLicenseUsageRequest(license=PERSON)
        )
        sealings = sealing_service_pb2_grpc.SealingServiceStub(channel)
        yield _call(
            sealings.CreateSealing,
            sealing_service_pb2.CreateSealingRequest(
                sealing=sealing_pb2.Sealing(agreement=signed, query_kind=query_pb2.QUERY_KIND_NAMED),
                request_id=new_request_id(),
            ),
        )
        yield _call(
            sealings.PutSealedColumn,
            sealing_service_pb2.PutSealedColumnRequest(sealing=sealing, index=0, data=SECRETS),
        )
        yield _call(
            sealings.AcceptSealing, sealing_service_pb2.AcceptSealingRequest(name=sealing, statement=signed)
        )
        withdrawal = consent_service_pb2.WithdrawConsentRequest(
            dataset=dataset_of(provider), entity_id=PERSON, request_id=new_request_id()
        )
        yield _call(consent_service_pb2_grpc.ConsentServiceStub(channel).WithdrawConsent, withdrawal)
        steward = world.steward(provider)
        consent = consent_service_pb2_grpc.ConsentServiceStub(steward.node.channel)
        for changes in ({"dataset": "datasets/nobodys"}, {"entity_id": PERSON * 9}, {"request_id": PERSON}):
            changed = consent_service_pb2.WithdrawConsentRequest()
            changed.CopyFrom(withdrawal)
            for name, value in changes.items():
                setattr(changed, name, value)
            yield _call(consent.WithdrawConsent, changed)


def _at_exchange(world: MarketWorld) -> Iterator[Call]:
    channel = world.bank.exchange.channel
    licenses = license_service_pb2_grpc.LicenseServiceStub(channel)
    records = trade_record_service_pb2_grpc.TradeRecordServiceStub(channel)
    parties = party_service_pb2_grpc.PartyServiceStub(channel)
    signed = signature_pb2.SignedPayload(payload=SECRETS)
    yield _call(licenses.GetLicense, license_service_pb2.GetLicenseRequest(name=PERSON))
    yield _call(
        licenses.CreateLicense,
        license_service_pb2.CreateLicenseRequest(
            license=license_pb2.License(dataset=dataset_of(REGISTRY), scenario=PERSON),
            note=CONSENT,
            request_id=PERSON,
        ),
    )
    yield _call(
        licenses.VerifyLicense,
        license_service_pb2.VerifyLicenseRequest(name=PERSON, agreement=signed, request_id=PERSON),
    )
    yield _call(records.ListTradeRecords, trade_record_service_pb2.ListTradeRecordsRequest(page_token=PERSON))
    yield _call(records.ListTradeRecords, trade_record_service_pb2.ListTradeRecordsRequest(party=PERSON))
    yield _call(
        records.RecordRelease,
        trade_record_service_pb2.RecordReleaseRequest(release_statement=signed, request_id=PERSON),
    )
    yield _call(
        parties.CreateParty,
        party_service_pb2.CreatePartyRequest(
            party_id=PERSON, party=party_pb2.Party(display_name=PERSON), request_id=PERSON
        ),
    )


def _garbage(world: MarketWorld) -> Iterator[Call]:
    """Bytes that are no message, with secrets in their middle, for methods of every server."""
    draw = random.Random("garbage")
    exchange = world.bank.exchange.channel
    methods = [
        (world.bank.connection.node(provider, world.node(provider).address).channel, f"compute.v1.{method}")
        for provider in PROVIDERS
        for method in (
            "SealingService/CreateSealing",
            "SealingService/GetSealing",
            "EvaluationService/CreateEvaluation",
            "EvaluationService/ReleaseBlock",
        )
    ]
    methods += [
        (exchange, "exchange.v1.LicenseService/CreateLicense"),
        (exchange, "exchange.v1.TradeRecordService/ListTradeRecords"),
        (exchange, "exchange.v1.NoService/NoMethod"),
    ]
    for channel, method in methods:
        for _ in range(4):
            garbage = draw.randbytes(draw.randrange(40)) + SECRETS + draw.randbytes(200)
            yield _call(channel.unary_unary(f"/bourse.{method}"), garbage)


def _call(method: Callable[..., object], request: object) -> Call:
    return lambda: method(request, timeout=SECONDS)


def _commands(world: MarketWorld, trade: FullTrade, card_file: Path) -> None:
    """The bank's mistakes at its terminal."""
    twice, blank, broken, unknown = (
        world.root / name for name in ("twice.csv", "blank.csv", "broken.json", "unknown.json")
    )
    write_rows(twice, [*own_cells().items(), (PERSON, "1")])
    write_rows(blank, [*own_cells().items(), ("", "1")])
    broken.write_text(card_file.read_text()[:-20])
    document = json.loads(card_file.read_text())
    points = document["providers"][0]["columns"][0]["points"]
    points["no such bin"] = points.pop(next(iter(points)))
    unknown.write_text(json.dumps(document))
    out = world.root / "none.csv"
    score = ("bank", "score", "--consent-reference", CONSENT, "--out", out)
    for arguments in (
        (*score, "--scorecard", card_file, "--rows", twice),
        (*score, "--scorecard", card_file, "--rows", blank),
        (*score, "--scorecard", broken, "--rows", twice),
        (*score, "--scorecard", unknown, "--rows", world.root / "rows.csv"),
        (*score, "--resume", "20260131-130500-4f2a1b3c"),
        (
            "bank",
            "deploy",
            "--license",
            "licenses/00000000000000000000000000000000",
            "--scorecard",
            card_file,
        ),
    ):
        for also in ((), ("--json",)):
            assert bourse(world, trade, *arguments, *also) != 0
            trade.refused += 1


def _interrupted(world: MarketWorld, trade: FullTrade, card: Scorecard, licenses: list[str]) -> None:
    """A job whose blocks are evaluated when the exchange goes away: nothing of it is ever opened."""
    rows = Rows(PERSONS, {OWN_COLUMN: list(own_cells().values())})
    asked: list[str] = []

    def stop_the_exchange(dataset: str, step: str, _done: int, _total: int) -> None:
        if step == "asked":
            asked.append(dataset)
            if len(asked) == len(PROVIDERS):
                world.exchange.kill()

    home = read_home(world.home(ANALYST))
    impatient = Connection(home, Member.open(home.identity_directory), retries=Retries(attempts=1))
    with BankClient(impatient) as bank:
        try:
            bank.score(
                card, rows, consent_reference=CONSENT, licenses=licenses, on_progress=stop_the_exchange
            )
        except ScoringError as error:
            trade.told += [str(error).encode(), repr(error).encode(), json.dumps(error.as_dict()).encode()]
            trade.refused += 1
            trade.unreleased = len(PROVIDERS)
    world.exchange.start()
    world.reconnect()
