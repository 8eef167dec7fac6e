"""A node's secrets, keys, tables and small readers."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bourse.compute.v1 import publication_pb2
from bourse.type.v1 import agreement_pb2, error_reason_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from clients.pki.authority import ServerNames
from clients.pki.directories import create_identity, init_authority, rotate_signing_key
from compute.config import Config, ExchangeConfig
from compute.domain import errors
from compute.domain.errors import FieldError, LicenseRefusedError, NodeError, PageTokenError, ReceiptError
from compute.domain.license import QueryKind
from compute.domain.names import check_dataset, check_license, check_request_id, split_block, uid_from
from compute.files import write_whole
from compute.formats.payloads import (
    agreement_from_payload,
    kind_from_pb,
    release_request_from_payload,
    time_from_pb,
    time_to_pb,
)
from compute.identity import unlock_identity
from compute.rpc.pages import page_size, place_of, token_of
from compute.rpc.refusals import TABLE, translate
from compute.vault import Secret, new_vault, vault_of
from wire.credentials import CredentialsError
from wire.envelope import EnvelopeError
from wire.identity import Identity
from wire.signing import public_key_of

NOW = datetime.now(UTC)
NODE = Identity("bourse.test", "provider", "registry", "node")
VAULT = new_vault(b"a passphrase", os.urandom)


def test_a_secret_opens_only_as_what_it_is_and_where_it_belongs():
    envelope = VAULT.close(Secret.BLOCK_SEED, "evaluations/e/blocks/0", b"seed")
    assert VAULT.open(Secret.BLOCK_SEED, "evaluations/e/blocks/0", envelope) == b"seed"
    assert b"seed" not in envelope
    for what, where in (
        (Secret.GATHERED_SALT, "evaluations/e/blocks/0"),
        (Secret.BLOCK_SEED, "evaluations/e/blocks/1"),
    ):
        with pytest.raises(EnvelopeError):
            VAULT.open(what, where, envelope)


def test_a_vault_is_found_again_by_passphrase_and_not_without():
    envelope = VAULT.close(Secret.ENTITY_KEY, "1", b"secret")
    assert vault_of(b"a passphrase", envelope).open(Secret.ENTITY_KEY, "1", envelope) == b"secret"
    with pytest.raises(EnvelopeError):
        vault_of(b"another", envelope).open(Secret.ENTITY_KEY, "1", envelope)


def test_a_vault_shows_no_key():
    assert VAULT.key.key.hex() not in repr(VAULT)
    assert repr(VAULT.key.key) not in repr(VAULT)


@pytest.fixture
def directory(tmp_path):
    authority = init_authority(tmp_path / "pki", "bourse.test", now=NOW, days=2, passphrase_file=None)

    def make(identity: Identity) -> Path:
        folder = tmp_path / identity.kind / identity.party / identity.member
        folder.parent.mkdir(parents=True)
        create_identity(
            authority,
            identity,
            folder,
            server=ServerNames(),
            now=NOW,
            days=1,
            passphrase_file=None,
            replace=False,
        )
        return folder

    return make


def config_with(folder: Path) -> Config:
    return Config(
        listen="127.0.0.1:0",
        port_file=None,
        database="sqlite:///node.db",
        identity=folder,
        passphrase_file=folder / "passphrase",
        records=folder,
        state=folder,
        trust_domain="bourse.test",
        provider="registry",
        stewards=(),
        steward_keys=frozenset(),
        workers=1,
        drain_seconds=1,
        exchange=ExchangeConfig("127.0.0.1:1", NODE, bytes(32), "exchange"),
    )


def unlocked(folder: Path):
    passphrase = (folder / "passphrase").read_bytes().strip()
    return unlock_identity(config_with(folder), passphrase, now=datetime.now(UTC) + timedelta(seconds=1))


def test_a_node_keeps_the_keys_that_old_licenses_pin(directory):
    folder = directory(NODE)
    first = unlocked(folder)
    assert list(first.signing_keys) == [public_key_of(first.signing_key)]
    rotate_signing_key(folder, passphrase_file=None)
    second = unlocked(folder)
    assert public_key_of(second.signing_key) not in first.signing_keys
    assert set(second.signing_keys) == {public_key_of(first.signing_key), public_key_of(second.signing_key)}


@pytest.mark.parametrize(
    "identity",
    [
        Identity("bourse.test", "provider", "bureau", "node"),
        Identity("bourse.test", "bank", "registry", "node"),
    ],
)
def test_a_node_does_not_run_as_somebody_else(directory, identity):
    with pytest.raises(CredentialsError, match="registry"):
        unlocked(directory(identity))


def test_a_node_needs_a_signing_key(directory):
    folder = directory(NODE)
    (folder / "signing.key").unlink()
    with pytest.raises(CredentialsError, match=r"signing\.key"):
        unlocked(folder)


def test_every_refusal_of_the_node_has_a_status_and_a_reason_of_the_contract():
    reasons = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.keys()  # noqa: SIM118 - an enum wrapper is no mapping
    }
    assert {reason for _, reason in TABLE.values()} <= reasons
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, NodeError)}
    spoken_of = set(TABLE) | {NodeError, errors.ExchangeRefusedError, errors.ReceiptError}
    assert kinds <= spoken_of


def test_what_is_in_no_table_is_translated_to_nothing():
    assert translate(ValueError("SECRET")) is None
    assert translate(ReceiptError("never reaches a caller")) is None


def test_an_exchanges_refusal_keeps_its_reason_and_clause():
    clause = errors.ClauseRefusedError("max_rows", "10", "11", "fewer")
    refusal = translate(
        errors.ExchangeRefusedError(
            "FAILED_PRECONDITION", "CLAUSE_REFUSED", "too many", final=True, clause=clause
        )
    )
    assert (refusal.code.name, refusal.reason) == ("FAILED_PRECONDITION", "CLAUSE_REFUSED")
    assert refusal.clause.limit == "10"
    suspended = translate(
        errors.ExchangeRefusedError("PERMISSION_DENIED", "PARTY_SUSPENDED", "no", final=False, clause=None)
    )
    assert (suspended.code.name, suspended.reason) == ("FAILED_PRECONDITION", "PARTY_SUSPENDED")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "evaluations/x/blocks/0",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000/blocks/",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000/blocks/00",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000/blocks/-1",
        "evaluations/A7B4C1D2-0000-4000-8000-000000000000/blocks/0",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000/blocks/0\n",
        "evaluations/a7b4c1d2-0000-4000-8000-000000000000/blocks/٣",
    ],
)
def test_a_block_has_one_spelling(name):
    good = "evaluations/a7b4c1d2-0000-4000-8000-000000000000"
    assert split_block("request.block", f"{good}/blocks/7") == (good, 7)
    with pytest.raises(FieldError):
        split_block("request.block", name)


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (check_dataset, "datasets/A"),
        (check_dataset, "datasets/a"),
        (check_dataset, "datasets/ab/"),
        (check_license, "licenses/short"),
        (check_license, "license/0123456789"),
        (check_request_id, "a7b4c1d2-0000-4000-8000-00000000000"),
        (check_request_id, "a7b4c1d2000040008000000000000000"),
    ],
)
def test_a_name_in_another_spelling_is_refused(check, name):
    with pytest.raises(FieldError):
        check("name", name)


def test_names_given_here_are_version_four_uuids():
    assert uid_from(bytes(16)) == "00000000-0000-4000-8000-000000000000"
    assert check_request_id("id", uid_from(b"\xff" * 16))


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1000), (0, 10**9), (0, 1)]
)
def test_a_time_outside_its_range_or_finer_than_microseconds_is_refused(seconds, nanos):
    with pytest.raises(FieldError):
        time_from_pb("time", Timestamp(seconds=seconds, nanos=nanos))


@pytest.mark.parametrize(
    "time",
    [
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 5, tzinfo=UTC),
        NOW,
    ],
)
def test_times_come_back_as_they_went(time):
    assert time_from_pb("time", time_to_pb(time)) == time


def test_a_kind_of_query_that_is_not_known_is_refused():
    assert kind_from_pb("kind", 1) is QueryKind.NAMED
    for number in (0, 2, -1):
        with pytest.raises(FieldError):
            kind_from_pb("kind", number)


def test_agreements_and_requests_are_read_strictly():
    with pytest.raises(LicenseRefusedError):
        agreement_from_payload(b"\xff")
    with pytest.raises(LicenseRefusedError):
        agreement_from_payload(agreement_pb2.Agreement(license="x" * 70_000).SerializeToString())
    with pytest.raises(FieldError):
        release_request_from_payload(b"\xff")
    with pytest.raises(FieldError):
        release_request_from_payload(publication_pb2.Publication(rows=3).SerializeToString())


def test_page_tokens_lead_back_to_their_place():
    assert place_of("") is None
    assert token_of(None) == ""
    for place in (1, 77, 2**40):
        assert place_of(token_of(place)) == place
    for token in ("x", token_of(5)[:-4], token_of(5) + "AAAA", token_of(5)[:-1] + "*"):
        with pytest.raises(PageTokenError):
            place_of(token)


def test_page_sizes_are_coerced():
    assert [page_size(asked) for asked in (0, 1, 1000, 5000)] == [50, 1, 1000, 1000]
    with pytest.raises(FieldError):
        page_size(-1)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_whole(path, [b"one", b"two"])
    assert path.read_bytes() == b"onetwo"

    def broken():
        yield b"new"
        raise InterruptedError

    with pytest.raises(InterruptedError):
        write_whole(path, broken())
    assert path.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [path]
