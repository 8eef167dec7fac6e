"""The exchange as a process: founded once, crash-proof, polite at the end, silent about data."""

import json
import resource
import shutil
import subprocess
import sys

import grpc
import pytest
from bourse.exchange.v1 import (
    dataset_service_pb2,
    license_service_pb2,
    party_pb2,
    party_service_pb2,
    trade_record_service_pb2,
)
from bourse.type.v1 import record_pb2
from databases import postgresql_database, postgresql_server
from exchange_papers import (
    SCENARIO,
    canonical,
    model_statement,
    release_request,
    release_statement,
    request_id,
    sealing_statement,
    signed,
)
from exchange_world import (
    ADMIN,
    BUREAU,
    HARBOUR,
    OFFICER,
    ORIGIN,
    SECONDS,
    SERVER,
    WATCH,
    ExchangeWorld,
    refused,
)
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from wire.envelope import dump_private_key, load_private_key
from wire.signing import Purpose, key_id, verify
from wire.strict import parse_strict

SEALING = "sealings/model-01"
BLOCK = "evaluations/eval-001/blocks/0"


@pytest.fixture
def world(tmp_path):
    world = ExchangeWorld(tmp_path)
    yield world
    if world.process:
        world.kill()


def founded_market(world):
    world.start()
    for party in (BUREAU, HARBOUR, WATCH):
        world.register(party)
    world.listed("loans")
    return world.licensed("loans")


def recorded_model(world, license_, sealing=SEALING):
    """A RecordModelRequest as node and bank sign it."""
    bank, node = world.key(HARBOUR.member("analyst")), world.key(BUREAU.member("node"))
    bank_says = canonical(sealing_statement(sealing))
    node_says = canonical(model_statement(license_.name, license_.agreement.payload, bank_says))
    return trade_record_service_pb2.RecordModelRequest(
        model_statement=signed(node, Purpose.MODEL_STATEMENT, node_says),
        sealing_statement=signed(bank, Purpose.SEALING, bank_says),
        request_id=request_id(),
    )


def recorded_release(world, license_, block=BLOCK, **changes):
    """A RecordReleaseRequest as node and bank sign it."""
    bank, node = world.key(HARBOUR.member("analyst")), world.key(BUREAU.member("node"))
    bank_says = canonical(release_request(block, SEALING))
    node_says = canonical(
        release_statement(license_.name, license_.agreement.payload, SEALING, bank_says, **changes)
    )
    return trade_record_service_pb2.RecordReleaseRequest(
        release_statement=signed(node, Purpose.RELEASE_STATEMENT, node_says),
        release_request=signed(bank, Purpose.RELEASE_REQUEST, bank_says),
        request_id=request_id(),
    )


def test_a_whole_trade_is_recorded_and_every_receipt_holds(world):
    license_ = founded_market(world)
    node = world.as_(BUREAU.member("node")).records
    model = node.RecordModel(recorded_model(world, license_), timeout=SECONDS)
    release = node.RecordRelease(recorded_release(world, license_), timeout=SECONDS)
    records = world.records()
    assert [one.index for one in records] == list(range(len(records)))
    assert [one.name for one in records] == [f"tradeRecords/{n}" for n in range(len(records))]
    assert [records[-2].entry, records[-1].entry] == [model.entry, release.entry]
    assert [records[-2].receipt, records[-1].receipt] == [model.receipt, release.receipt]
    for one in records:
        (signature,) = one.receipt.statement.signatures
        assert signature.key_id == key_id(world.public_key)
        statement = verify(world.public_key, Purpose.RECEIPT, one.receipt.statement.payload, signature.value)
        assert parse_strict(record_pb2.ReceiptStatement, statement, 1000).origin == ORIGIN
    entry = record_pb2.TradeRecordEntry.FromString(release.entry)
    assert (entry.actor, entry.member) == ("parties/bureau", "node")
    assert list(entry.parties) == ["parties/bureau", "parties/harbour-bank"]
    assert (entry.scenario, entry.dataset, entry.license) == (SCENARIO, "datasets/loans", license_.name)
    assert (entry.usage.rows_charged, entry.usage.bits_charged) == (100, 1100)
    usage = (
        world.as_(HARBOUR.member("analyst"))
        .licenses.GetLicense(license_service_pb2.GetLicenseRequest(name=license_.name), timeout=SECONDS)
        .usage
    )
    assert (usage.models, usage.rows, usage.bits) == (1, 100, 1100)


def test_a_killed_exchange_answers_a_repeated_request_as_it_did_before(world):
    license_ = founded_market(world)
    node = BUREAU.member("node")
    requests = [recorded_model(world, license_), recorded_release(world, license_)]
    service = world.as_(node).records
    first = [
        service.RecordModel(requests[0], timeout=SECONDS),
        service.RecordRelease(requests[1], timeout=SECONDS),
    ]
    before = world.records()
    world.kill()
    world.start()
    world.as_(HARBOUR.member("analyst")).licenses.TerminateLicense(
        license_service_pb2.TerminateLicenseRequest(
            name=license_.name, reason="enough", request_id=request_id()
        ),
        timeout=SECONDS,
    )
    service = world.as_(node).records
    assert service.RecordModel(requests[0], timeout=SECONDS) == first[0]
    assert service.RecordRelease(requests[1], timeout=SECONDS) == first[1]
    assert world.records()[: len(before)] == before
    assert len(world.records()) == len(before) + 1
    with refused() as refusals:
        service.RecordRelease(recorded_release(world, license_, block=BLOCK[:-1] + "1"), timeout=SECONDS)
    assert refusals[0].reason == "LICENSE_STATE"


def test_the_same_statement_under_another_request_id_is_the_same_record(world):
    license_ = founded_market(world)
    service = world.as_(BUREAU.member("node")).records
    service.RecordModel(recorded_model(world, license_), timeout=SECONDS)
    request = recorded_release(world, license_)
    first = service.RecordRelease(request, timeout=SECONDS)
    request.request_id = request_id()
    assert service.RecordRelease(request, timeout=SECONDS) == first


def test_a_trade_on_postgresql_is_the_same_trade(tmp_path):
    with postgresql_server() as server, postgresql_database(server) as address:
        world = ExchangeWorld(tmp_path, database=address)
        try:
            license_ = founded_market(world)
            service = world.as_(BUREAU.member("node")).records
            service.RecordModel(recorded_model(world, license_), timeout=SECONDS)
            service.RecordRelease(recorded_release(world, license_), timeout=SECONDS)
            kinds = [record_pb2.TradeRecordEntry.FromString(one.entry).kind for one in world.records()]
            assert kinds[-2:] == [
                record_pb2.RECORD_KIND_MODEL_DEPLOYED,
                record_pb2.RECORD_KIND_RESULT_RELEASED,
            ]
            assert len(kinds) == 16
            assert world.stop() == 0
        finally:
            if world.process:
                world.kill()


def test_a_full_disk_refuses_for_the_time_being_and_keeps_nothing_of_the_call(world):
    world.start()
    world.register(HARBOUR)
    before = world.as_(ADMIN).parties.ListParties(party_service_pb2.ListPartiesRequest(), timeout=SECONDS)
    request = party_service_pb2.CreatePartyRequest(
        party_id="late-bank",
        party=party_pb2.Party(display_name="Late", kind=party_pb2.PARTY_KIND_BANK),
        request_id=request_id(),
    )
    _, hard = resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
    with refused() as refusals:
        world.as_(ADMIN).parties.CreateParty(request, timeout=SECONDS)
    assert (refusals[0].reason, refusals[0].code) == ("TRY_AGAIN", grpc.StatusCode.UNAVAILABLE)
    listed = world.as_(ADMIN).parties.ListParties(party_service_pb2.ListPartiesRequest(), timeout=SECONDS)
    assert listed == before
    resource.prlimit(world.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    world.as_(ADMIN).parties.CreateParty(request, timeout=SECONDS)
    world.register(WATCH)
    indexes = [one.index for one in world.records()]
    assert indexes == list(range(len(indexes)))
    assert len(world.records(party="parties/late-bank")) == 1


def test_health_is_told_and_reflection_is_not(world):
    world.start()
    channel = world.channel(ADMIN)
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "bourse.exchange.v1.LicenseService"):
        reply = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    with pytest.raises(grpc.RpcError) as error:
        list(reflection.ServerReflectionInfo(asked, timeout=SECONDS))
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_can_be_switched_on(world):
    world.config.write_text(world.config.read_text() + "reflection = true\n")
    world.start()
    reflection = reflection_pb2_grpc.ServerReflectionStub(world.channel(ADMIN))
    symbol = "bourse.exchange.v1.LicenseService"
    asked = iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)])
    (reply,) = reflection.ServerReflectionInfo(asked, timeout=SECONDS)
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(one)
        for one in reply.file_descriptor_response.file_descriptor_proto
    ]
    assert "bourse/exchange/v1/license_service.proto" in {one.name for one in files}


def test_a_stop_drains_and_leaves_with_status_zero(world):
    world.start()
    world.register(HARBOUR)
    assert world.stop() == 0
    events = [json.loads(line)["event"] for line in world.log.read_text().splitlines()]
    assert events[0] == "serving"
    assert events[-2:] == ["draining", "stopped"]
    world.start()
    assert world.as_(HARBOUR.member("analyst")).parties.GetExchange(
        party_service_pb2.GetExchangeRequest(), timeout=SECONDS
    )


def test_the_log_is_json_and_holds_no_data(world):
    license_ = founded_market(world)
    with refused():
        world.as_(OFFICER).datasets.RejectDataset(
            dataset_service_pb2.RejectDatasetRequest(
                name="datasets/loans", reason="applicant 4711", request_id=request_id()
            ),
            timeout=SECONDS,
        )
    world.stop()
    text = world.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["event"] for line in lines} == {"serving", "call", "draining", "stopped"}
    assert [line["reason"] for line in lines if line.get("code") == "FAILED_PRECONDITION"] == [
        "DATASET_STATE"
    ]
    for secret in ("4711", "Loans of a town", "duration", license_.agreement.payload.hex(), "PRIVATE KEY"):
        assert secret not in text


def test_an_exchange_is_founded_once(world):
    again = world.run("init", "--administrator", "someone-else")
    assert again.returncode == 1
    assert "exchange already" in again.stderr
    world.start()
    party = world.as_(ADMIN).parties.GetParty(
        party_service_pb2.GetPartyRequest(name="parties/square"), timeout=SECONDS
    )
    assert [member.member for member in party.members] == ["admin", "officer"]
    assert party.kind == party_pb2.PARTY_KIND_OPERATOR


def test_founding_makes_a_signing_key_when_there_is_none(tmp_path):
    world = ExchangeWorld(tmp_path)
    directory = world.identity_directory(SERVER)
    (directory / "signing.key").unlink()
    (tmp_path / "exchange.db").unlink()
    founded = world.run("init", "--administrator", "admin")
    assert founded.returncode == 0, founded.stderr
    assert f"origin: {ORIGIN}" in founded.stdout
    assert (directory / "signing.key").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (directory / "signing.key").read_bytes()
    assert f"public_key: {world.public_key.hex()}" not in founded.stdout
    world.start()
    world.kill()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("origin", "belongs to an exchange of another origin"),
        ("signing key", "belongs to an exchange of another origin, operator or signing key"),
        ("no signing key", "signing.key"),
        ("passphrase", "does not open"),
        ("no passphrase", "passphrase_file: "),
        ("database", "no file"),
        ("empty database", "migrate"),
        ("damaged database", "damaged"),
        ("trust domain", "of kind operator"),
        ("port", "cannot be bound"),
    ],
)
def test_an_exchange_that_could_not_keep_its_promises_does_not_start(world, fault, says):
    config, directory = world.config.read_text(), world.identity_directory(SERVER)
    database = world.root / "exchange.db"
    match fault:
        case "origin":
            config = config.replace(ORIGIN, "other.bourse.test")
        case "signing key":
            other = world.identity_directory(WATCH.member("auditor"))
            shutil.copy(other / "signing.key", directory / "signing.key")
            shutil.copy(other / "tls.key", directory / "other.key")
            _give_passphrase_of(other, directory)
        case "no signing key":
            (directory / "signing.key").unlink()
        case "passphrase":
            (directory / "passphrase").chmod(0o600)
            (directory / "passphrase").write_text("not the passphrase at all")
        case "no passphrase":
            (directory / "passphrase").unlink()
        case "database":
            database.unlink()
        case "empty database":
            database.unlink()
            database.touch()
        case "damaged database":
            database.write_bytes(b"this is no database" * 500)
        case "trust domain":
            config = config.replace('"bourse.test"', '"other.test"')
        case _:
            config = config.replace("127.0.0.1:0", "203.0.113.7:7400")
    world.config.write_text(config)
    done = world.run("serve")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.splitlines()[-1].startswith("exchange: ")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def _give_passphrase_of(other, directory):
    """Encrypt the other's signing key with this directory's passphrase."""
    key = load_private_key((other / "signing.key").read_bytes(), (other / "passphrase").read_bytes().strip())
    pem = dump_private_key(key, (directory / "passphrase").read_bytes().strip())
    (directory / "signing.key").write_bytes(pem)


def test_a_file_for_each_command_line_fault(tmp_path):
    for arguments in ([], ["serve"], ["dance", "--config", "x"], ["init", "--config", "x"]):
        done = subprocess.run(
            [sys.executable, "-m", "exchange", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert "usage" in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "exchange", "serve", "--config", str(tmp_path / "nowhere.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be read" in done.stderr


def test_migrating_again_changes_nothing(world):
    for _ in range(2):
        assert world.run("migrate").returncode == 0
    world.start()
