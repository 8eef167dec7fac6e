"""What a bank must keep secret lies on disk encrypted, whole, and bound to its place."""

import resource
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from clients.errors import KeystoreError
from clients.jobs import BLOCK_ROWS, CHUNK_ROWS, ChunkRows, Job, OpenedBlock, Plan, ProviderPlan, draw_chunks
from clients.keystore import AcceptedSealing, Deployment, Keystore, OpenedSealing
from clients.secretstore import SecretStore
from wire.envelope import DataKey

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MODEL = b'{"columns":[],"dataset":"datasets/bureau"}'
PASSPHRASES = {"right": b"right passphrase", "wrong": b"wrong passphrase"}
_derived = {}


def data_key(who="right"):
    """Derive keys as a member does; a salt is stretched once in these tests."""

    def derive(salt):
        if (who, salt) not in _derived:
            _derived[who, salt] = DataKey.derive(PASSPHRASES[who], salt)
        return _derived[who, salt]

    return derive


def keystore(directory, who="right", party="parties/harbour"):
    return Keystore(directory, party=party, data_key=data_key(who))


DEPLOYMENT = Deployment(
    name="0123456789abcdef",
    license="licenses/one",
    dataset="datasets/bureau",
    agreement=b"\x00\xff",
    model=MODEL,
    weights=(3, -4, 0),
    salt=bytes(32),
    request_id="b3f1c1d8-9f55-4a0e-8a59-5b1c5b6f0f11",
    create_time=NOW,
)


def test_every_stage_of_a_deployment_is_read_as_it_was_written(tmp_path):
    store = keystore(tmp_path / "keystore")
    opened = replace(DEPLOYMENT, opened=OpenedSealing("sealings/x", bytes(32), b"\1" * 32, b"\2" * 32))
    accepted = replace(opened, accepted=AcceptedSealing(b"\3" * 32, b"s", b"e", b"r"))
    for stage in (DEPLOYMENT, opened, accepted):
        store.save(stage)
        assert keystore(tmp_path / "keystore").deployments() == [stage]
    assert store.find("licenses/one", MODEL) == accepted
    assert store.find("licenses/two", MODEL) is None
    assert store.find("licenses/one", MODEL + b" ") is None


def test_nothing_of_a_deployment_is_in_clear_on_disk_or_in_its_name(tmp_path):
    directory = tmp_path / "keystore"
    keystore(directory).save(DEPLOYMENT)
    (path,) = directory.glob("*.sealed")
    data = path.read_bytes()
    assert not any(part in data for part in (b"bureau", b"licenses", b"weights", MODEL[:8]))
    assert path.stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert "salt" not in repr(DEPLOYMENT)
    assert "weights" not in repr(DEPLOYMENT)


def test_one_changed_byte_anywhere_closes_the_file(tmp_path):
    directory = tmp_path / "keystore"
    keystore(directory).save(DEPLOYMENT)
    (path,) = directory.glob("*.sealed")
    data = path.read_bytes()
    for place in [*range(0, 60, 7), len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(KeystoreError) as error:
            keystore(directory).deployments()
        assert "does not open" in error.value.message
    path.write_bytes(data[:-1])
    with pytest.raises(KeystoreError):
        keystore(directory).deployments()


@pytest.mark.parametrize("other", [{"who": "wrong"}, {"party": "parties/other"}])
def test_another_passphrase_or_party_opens_nothing(tmp_path, other):
    keystore(tmp_path / "keystore").save(DEPLOYMENT)
    with pytest.raises(KeystoreError, match="does not open"):
        keystore(tmp_path / "keystore", **other).deployments()


def test_a_file_does_not_open_under_another_name_or_in_another_directory(tmp_path):
    directory = tmp_path / "keystore"
    keystore(directory).save(DEPLOYMENT)
    (path,) = directory.glob("*.sealed")
    shutil.copy(path, directory / "fedcba9876543210.sealed")
    with pytest.raises(KeystoreError, match="fedcba9876543210"):
        keystore(directory).deployments()
    one = SecretStore(tmp_path / "one", purpose="bourse/test", place="one", data_key=data_key())
    two = SecretStore(tmp_path / "two", purpose="bourse/test", place="two", data_key=data_key())
    one.put("name", b"secret")
    two.put("other", b"x")
    shutil.copy(tmp_path / "one/name.sealed", tmp_path / "two/name.sealed")
    with pytest.raises(KeystoreError):
        two.get("name")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    directory = tmp_path / "keystore"
    store = keystore(directory)
    store.save(DEPLOYMENT)
    before = next(directory.glob("*.sealed")).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(KeystoreError, match="cannot be written"):
            store.save(replace(DEPLOYMENT, dataset="datasets/other"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(list(directory.iterdir())) == 1
    assert next(directory.glob("*.sealed")).read_bytes() == before
    assert keystore(directory).deployments() == [DEPLOYMENT]


def test_two_processes_never_work_in_one_directory_at_once(tmp_path):
    store = keystore(tmp_path / "keystore")
    with (
        store.locked(),
        pytest.raises(KeystoreError, match="another process"),
        keystore(tmp_path / "keystore").locked(),
    ):
        pass
    with keystore(tmp_path / "keystore").locked():
        pass


def test_names_of_secrets_are_no_paths(tmp_path):
    store = SecretStore(tmp_path / "one", purpose="bourse/test", place="one", data_key=data_key())
    for name in ("../x", "a/b", "", ".hidden", "A"):
        with pytest.raises(KeystoreError):
            store.put(name, b"")


@pytest.mark.parametrize(
    ("rows", "blocks"),
    [
        (1, [1]),
        (BLOCK_ROWS, [1]),
        (BLOCK_ROWS + 1, [2]),
        (CHUNK_ROWS, [8]),
        (CHUNK_ROWS + 1, [8, 1]),
        (3 * CHUNK_ROWS, [8, 8, 8]),
    ],
)
def test_a_job_draws_once_for_every_block_of_every_chunk(rows, blocks):
    ids = iter(range(100))
    chunks = draw_chunks(rows, lambda: str(next(ids)))
    assert [len(chunk.blocks) for chunk in chunks] == blocks
    draws = [value for chunk in chunks for draw in chunk.blocks for value in (draw.nonce, draw.rows_salt)]
    assert len(set(draws)) == len(draws)
    assert {len(value) for value in draws} == {32}


def test_a_job_is_read_as_it_was_written_and_only_by_its_bank(tmp_path):
    job = Job(tmp_path / "20260102-030405-aa", party="parties/harbour", data_key=data_key())
    assert not job.started()
    chunks = draw_chunks(3, lambda: "b3f1c1d8-9f55-4a0e-8a59-5b1c5b6f0f11")
    plan = Plan("card", "form 3", 3, (ProviderPlan("0123", "datasets/bureau", chunks),), NOW)
    rows = ChunkRows(("p-1", "p-2", "p-3"), (7, -8, 9))
    job.start(plan, [rows])
    assert job.plan() == plan
    assert job.rows(0) == rows
    assert job.evaluation(0, 0) is None
    job.save_evaluation(0, 0, "evaluations/x")
    assert job.evaluation(0, 0) == "evaluations/x"
    assert job.block(0, 0, 0) is None
    opened = OpenedBlock((1, -1023, 0), b"s", b"e", b"r")
    job.save_block(0, 0, 0, opened)
    assert job.block(0, 0, 0) == opened
    assert job.progress()["blocks_opened"] == job.progress()["blocks"] == 1
    assert b"p-1" not in b"".join(path.read_bytes() for path in job.directory.iterdir())
    stranger = Job(job.directory, party="parties/other", data_key=data_key())
    with pytest.raises(KeystoreError, match="does not open"):
        stranger.plan()
    moved = tmp_path / "20260102-030405-bb"
    shutil.copytree(job.directory, moved)
    with pytest.raises(KeystoreError):
        Job(moved, party="parties/harbour", data_key=data_key()).plan()
