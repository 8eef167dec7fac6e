"""Where the exchange meets the outside: names, tokens, tables of rights and refusals, configuration."""

import inspect
from dataclasses import fields
from pathlib import Path

import grpc
import pytest
from bourse.exchange.v1 import dataset_service_pb2, party_service_pb2, trade_record_service_pb2
from bourse.type.v1 import error_reason_pb2
from google.protobuf import descriptor_pool

from durable import CommitUnknownError, DatabaseDamagedError, DatabaseUnavailableError
from exchange.config import Config, ConfigError, load_config
from exchange.domain import errors, names
from exchange.domain.callers import Caller
from exchange.domain.errors import FieldInvalidError, PageTokenInvalidError
from exchange.domain.parties import PartyKind, Role
from exchange.rpc.authority import AUTHORITY
from exchange.rpc.paging import next_token, page_size, position_in
from exchange.rpc.refusals import TABLE, refusal_of
from exchange.server import SERVICES
from exchange.verbs.requests import check_etag, check_request_id, etag_of

CALLER = Caller(
    "spiffe://bourse.test/bank/harbour-bank/analyst", "harbour-bank", "analyst", PartyKind.BANK, frozenset()
)
RIVAL = Caller("spiffe://bourse.test/bank/rival/analyst", "rival", "analyst", PartyKind.BANK, frozenset())


CONTRACT = Path(__file__).parent.parent.parent / "proto" / "bourse"


def test_every_method_of_every_service_has_a_rule_and_there_is_no_rule_without_method():
    pool = descriptor_pool.Default()
    methods = {
        f"/{service}/{method.name}"
        for service in SERVICES
        for method in pool.FindServiceByName(service).methods
    }
    assert set(AUTHORITY) == methods
    assert all(roles for roles in AUTHORITY.values())


def test_who_may_call_is_what_the_contract_says():
    """The last sentence of every rpc's comment, in words, against the table."""
    words = {
        "an administrator": {Role.ADMINISTRATOR},
        "any registered member": set(Role),
        "a steward": {Role.STEWARD},
        "a steward of its provider": {Role.STEWARD},
        "a compliance officer": {Role.COMPLIANCE_OFFICER},
        "a compliance officer, or a steward of its provider": {Role.COMPLIANCE_OFFICER, Role.STEWARD},
        "an analyst": {Role.ANALYST},
        "a steward of the provider": {Role.STEWARD},
        "an analyst of the bank": {Role.ANALYST},
        "a steward of the provider or an analyst of the bank": {Role.STEWARD, Role.ANALYST},
        "the node of the license's provider": {Role.NODE},
        "an auditor, or a member of a party that the record concerns": set(Role),
        "an auditor, steward, node, analyst, administrator or compliance officer": set(Role),
    }
    seen = 0
    for path in (CONTRACT / "exchange" / "v1").glob("*_service.proto"):
        said = ""
        for line in path.read_text().splitlines():
            text = line.strip()
            if text.startswith("// The caller is "):
                said = text.removeprefix("// The caller is ").removesuffix(".")
            if text.startswith("rpc "):
                service = "".join(part.title() for part in path.stem.split("_"))
                method = f"/bourse.exchange.v1.{service}/{text.split()[1].split('(')[0]}"
                assert AUTHORITY[method] == words[said], method
                seen += 1
    assert seen == len(AUTHORITY)


def all_errors():
    return [
        one
        for one in vars(errors).values()
        if inspect.isclass(one) and issubclass(one, errors.MarketError) and one is not errors.MarketError
    ]


def test_every_fact_that_refuses_has_a_status_and_a_reason_of_the_contract():
    assert {*all_errors(), DatabaseUnavailableError, CommitUnknownError} == set(TABLE)
    known = set(error_reason_pb2.ErrorReason.keys())
    assert {f"ERROR_REASON_{reason}" for _, reason in TABLE.values()} <= known


def test_reasons_come_with_the_status_that_the_contract_gives_them():
    path = CONTRACT / "type" / "v1" / "error_reason.proto"
    status = {}
    said = ""
    for line in path.read_text().splitlines():
        text = line.strip()
        if text.startswith("//"):
            said = text
        elif text.startswith("ERROR_REASON_"):
            status[text.split()[0].removeprefix("ERROR_REASON_")] = said.rstrip(".").split()[-1]
    for code, reason in TABLE.values():
        assert status[reason] == code.name, reason


def test_a_refusal_carries_its_fields_or_its_clause():
    refusal = refusal_of(FieldInvalidError(("terms.drop", "must be 7 to 12")))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.violations == (("terms.drop", "must be 7 to 12"),)
    clause = refusal_of(
        errors.ClauseRefusedError(clause="max_rows", limit="5", asked="6", way_out="fewer")
    ).clause
    assert (clause.clause, clause.limit, clause.asked, clause.way_out) == ("max_rows", "5", "6", "fewer")
    assert refusal_of(DatabaseUnavailableError("away")).code is grpc.StatusCode.UNAVAILABLE
    assert refusal_of(CommitUnknownError("away")).reason == "TRY_AGAIN"
    assert refusal_of(DatabaseDamagedError("damaged")) is None
    assert refusal_of(ValueError("secret")) is None


@pytest.mark.parametrize(
    ("parse", "name", "value"),
    [
        (names.party_of, "parties/bureau", "bureau"),
        (names.dataset_of, "datasets/loans", "loans"),
        (names.revision_of, "datasets/loans/revisions/12", ("loans", 12)),
        (names.license_of, "licenses/0f1e2d3c", "0f1e2d3c"),
        (names.trade_record_of, "tradeRecords/0", 0),
        (names.check_sealing_name, "sealings/0f1e2d3c", "sealings/0f1e2d3c"),
        (names.check_block_name, "evaluations/0f1e2d3c/blocks/7", "evaluations/0f1e2d3c/blocks/7"),
    ],
)
def test_a_resource_name_has_one_spelling(parse, name, value):
    assert parse("name", name) == value
    collection = name.split("/", 1)[0]
    for wrong in (
        "",
        name + "/",
        "/" + name,
        name.upper(),
        name + " ",
        name.replace("/", "//", 1),
        collection,
        f"{collection}/",
        f"{collection}/..",
        f"{collection}/-",
        f"{collection}/{'x' * 300}",
        "other/" + name.split("/", 1)[1],
    ):
        with pytest.raises(FieldInvalidError) as refused:
            parse("name", wrong)
        assert refused.value.violations[0][0] == "name"


@pytest.mark.parametrize("number", ["01", "+1", "1_0", " 1", "1.0", "-1", "0x1", "٣", "9" * 30])
def test_numbers_in_names_are_plain_decimals(number):
    for parse, form in (
        (names.trade_record_of, "tradeRecords/{}"),
        (names.revision_of, "datasets/loans/revisions/{}"),
        (names.check_block_name, "evaluations/0f1e2d3c/blocks/{}"),
    ):
        with pytest.raises(FieldInvalidError):
            parse("name", form.format(number))


@pytest.mark.parametrize("slug", ["loans", "a1", "a-", "x" * 63])
def test_a_slug_is_what_the_contract_says(slug):
    assert names.check_slug("dataset_id", slug) == slug


@pytest.mark.parametrize("slug", ["", "a", "1a", "-a", "Loans", "lo_ans", "löans", "loans\n", "x" * 64])
def test_anything_else_is_no_slug(slug):
    with pytest.raises(FieldInvalidError):
        names.check_slug("dataset_id", slug)


@pytest.mark.parametrize("party", ["bureau-", "1bureau", "b", "Bureau", "bureau.x", ""])
def test_a_party_is_spelled_as_its_certificates_spell_it(party):
    with pytest.raises(FieldInvalidError):
        names.check_party_id("party_id", party)


def token(request, caller=CALLER, position="loans"):
    return next_token(request, caller, position)


def test_a_page_token_continues_its_own_list_and_no_other():
    listing = dataset_service_pb2.ListDatasetsRequest(page_size=5, provider="parties/bureau")
    made = token(listing)
    assert position_in(listing, made, CALLER, str) == "loans"
    resized = dataset_service_pb2.ListDatasetsRequest(page_size=7, provider="parties/bureau", page_token=made)
    assert position_in(resized, made, CALLER, str) == "loans"
    for request, caller in (
        (dataset_service_pb2.ListDatasetsRequest(provider="parties/rival"), CALLER),
        (dataset_service_pb2.ListDatasetsRequest(), CALLER),
        (party_service_pb2.ListPartiesRequest(), CALLER),
        (listing, RIVAL),
    ):
        with pytest.raises(PageTokenInvalidError, match="other arguments"):
            position_in(request, made, caller, str)


@pytest.mark.parametrize(
    "damage", ["AAAA", "%%%", "Ā", "=", "A" * 5000, "A" * 24, " ", "bG9hbnM", "bG9hbnM=\n"]
)
def test_a_malformed_page_token_is_refused(damage):
    with pytest.raises(PageTokenInvalidError):
        position_in(dataset_service_pb2.ListDatasetsRequest(), damage, CALLER, str)


def test_a_page_token_whose_position_cannot_be_read_is_refused():
    listing = trade_record_service_pb2.ListTradeRecordsRequest()
    with pytest.raises(PageTokenInvalidError, match="malformed"):
        position_in(listing, token(listing, position="seven"), CALLER, int)


def test_the_first_page_has_no_position():
    assert position_in(party_service_pb2.ListPartiesRequest(), "", CALLER, str) is None


def test_page_sizes_are_coerced_and_never_negative():
    assert [page_size(asked) for asked in (0, 1, 1000, 5000, 2**31 - 1)] == [50, 1, 1000, 1000, 1000]
    with pytest.raises(FieldInvalidError):
        page_size(-1)


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "1",
        "1F0C4E7E-5C11-4F55-9D6E-0D0F3B1C2A01",
        "{1f0c4e7e-5c11-4f55-9d6e-0d0f3b1c2a01}",
        "1f0c4e7e5c114f559d6e0d0f3b1c2a01",
    ],
)
def test_a_request_id_is_a_uuid_in_its_one_spelling(request_id):
    assert check_request_id("1f0c4e7e-5c11-4f55-9d6e-0d0f3b1c2a01")
    with pytest.raises(FieldInvalidError):
        check_request_id(request_id)


def test_an_etag_changes_with_every_version_and_names_one_resource():
    tags = {etag_of(name, version) for name in ("datasets/a", "datasets/b") for version in range(1, 50)}
    assert len(tags) == 98
    check_etag("", "datasets/a", 1)
    check_etag(etag_of("datasets/a", 1), "datasets/a", 1)
    for wrong in (etag_of("datasets/a", 2), etag_of("datasets/b", 1), "1"):
        with pytest.raises(errors.EtagMismatchError):
            check_etag(wrong, "datasets/a", 1)


GOOD = """
origin = "exchange.bourse.test/ledger"
trust_domain = "bourse.test"
listen = "127.0.0.1:0"
database = "sqlite:///exchange.db"
identity = "identity"
passphrase_file = "/run/secrets/passphrase"
"""


def configured(tmp_path, text):
    path = tmp_path / "exchange.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_config(path)


def test_a_configuration_is_read_with_its_paths_beside_it(tmp_path):
    config = configured(tmp_path, GOOD + 'drain_seconds = 2.5\nreflection = true\nport_file = "port"\n')
    assert config.database == f"sqlite:///{tmp_path}/exchange.db"
    assert config.identity == tmp_path / "identity"
    assert str(config.passphrase_file) == "/run/secrets/passphrase"
    assert (config.drain_seconds, config.reflection, config.port_file) == (2.5, True, tmp_path / "port")
    plain = configured(tmp_path, GOOD)
    assert (plain.drain_seconds, plain.reflection, plain.port_file) == (10.0, False, None)
    elsewhere = configured(tmp_path, GOOD.replace("sqlite:///exchange.db", "postgresql://market@db/market"))
    assert elsewhere.database == "postgresql://market@db/market"
    assert {field.name for field in fields(Config)} == set(vars(elsewhere))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (GOOD + "surprise = 1\n", "surprise"),
        (GOOD.replace("origin", "orgin"), "orgin"),
        (GOOD.replace('listen = "127.0.0.1:0"\n', ""), "listen"),
        (GOOD.replace("127.0.0.1:0", "127.0.0.1"), "listen"),
        (GOOD.replace("127.0.0.1:0", "127.0.0.1:00"), "listen"),
        (GOOD.replace("exchange.bourse.test/ledger", "Exchange Ledger"), "origin"),
        (GOOD.replace("exchange.bourse.test/ledger", "exchange+ledger"), "origin"),
        (GOOD.replace('"bourse.test"', '"Bourse.Test"'), "trust_domain"),
        (GOOD.replace('"bourse.test"', "1"), "trust_domain"),
        (GOOD.replace('"identity"', '""'), "identity"),
        (GOOD + "drain_seconds = true\n", "drain_seconds"),
        (GOOD + "drain_seconds = -1\n", "drain_seconds"),
        (GOOD + "drain_seconds = inf\n", "drain_seconds"),
        (GOOD + "drain_seconds = nan\n", "drain_seconds"),
        (GOOD + 'reflection = "yes"\n', "reflection"),
        (GOOD + "port_file = 7\n", "port_file"),
        (GOOD + "origin = 7\n", "TOML"),
        (b"\xff\xfe", "TOML"),
        ("#" * 70_000, "longer"),
    ],
)
def test_a_configuration_with_a_fault_names_it(tmp_path, text, named):
    with pytest.raises(ConfigError, match=named):
        configured(tmp_path, text)


def test_a_missing_configuration_is_said_to_be_missing(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nowhere.toml")
