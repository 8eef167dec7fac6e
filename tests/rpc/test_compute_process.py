"""`python -m compute` as an operator runs it: one line when it serves, one sentence when it cannot."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.pki.authority import ServerNames
from clients.pki.directories import create_identity, init_authority
from wire.credentials import load_credentials
from wire.identity import Identity
from wire.rpc import channel_credentials, secure_channel
from wire.signing import public_key_of

NODE = Identity("bourse.test", "provider", "registry", "node")
STEWARD = Identity("bourse.test", "provider", "registry", "steward")
KEY = public_key_of(Ed25519PrivateKey.generate()).hex()
CONFIG = f"""
listen = "127.0.0.1:0"
port_file = "node.port"
identity = "node"
passphrase_file = "node/passphrase"
records = "records"
state = "state"
trust_domain = "bourse.test"
provider = "registry"
stewards = ["{STEWARD.uri}"]
steward_keys = ["{KEY}"]
workers = 1

[exchange]
address = "127.0.0.1:1"
identity = "spiffe://bourse.test/operator/operator/exchange"
public_key = "{KEY}"
origin = "exchange.bourse.test"
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    now = datetime.now(UTC)
    authority = init_authority(tmp_path / "pki", "bourse.test", now=now, days=2, passphrase_file=None)
    for identity in (NODE, STEWARD):
        create_identity(
            authority,
            identity,
            tmp_path / identity.member,
            server=ServerNames(),
            now=now,
            days=1,
            passphrase_file=None,
            replace=False,
        )
    (tmp_path / "records").mkdir()
    (tmp_path / "node.toml").write_text(CONFIG)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "compute", *arguments, "--config", str(folder / "node.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_node_serves_when_it_says_so_and_leaves_politely(folder):
    assert run(folder, "migrate").returncode == 0
    log = folder / "node.log"
    with (
        log.open("w") as lines,
        subprocess.Popen(
            [sys.executable, "-m", "compute", "serve", "--config", str(folder / "node.toml")],
            stdout=subprocess.PIPE,
            stderr=lines,
            text=True,
        ) as process,
    ):
        line = process.stdout.readline().split()
        assert line[0] == "SERVING", log.read_text()
        assert line[1] == f"127.0.0.1:{(folder / 'node.port').read_text().strip()}"
        mine = load_credentials(
            lambda name: (folder / "steward" / name).read_bytes(),
            (folder / "steward" / "passphrase").read_bytes().strip(),
            now=datetime.now(UTC),
        )
        papers = channel_credentials(mine.key_pem, mine.certificate_pem, mine.ca_pem)
        with secure_channel(line[1], NODE, papers) as channel:
            told = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert told.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        assert process.stdout.read() == ""
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert "serving" in events
    assert events[-2:] == ["draining", "stopped"]


def test_a_node_speaks_to_no_wrong_name(folder):
    assert run(folder, "migrate").returncode == 0
    with subprocess.Popen(
        [sys.executable, "-m", "compute", "serve", "--config", str(folder / "node.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        address = process.stdout.readline().split()[1]
        mine = load_credentials(
            lambda name: (folder / "steward" / name).read_bytes(),
            (folder / "steward" / "passphrase").read_bytes().strip(),
            now=datetime.now(UTC),
        )
        papers = channel_credentials(mine.key_pem, mine.certificate_pem, mine.ca_pem)
        other = Identity("bourse.test", "provider", "bureau", "node")
        with secure_channel(address, other, papers) as channel, pytest.raises(grpc.RpcError) as caught:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0


def refused(folder: Path, *arguments: str) -> str:
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    sentences = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(sentences) == 1, done.stderr
    return sentences[0]


def test_a_node_that_cannot_run_says_why_in_one_sentence(folder):
    assert "create it first" in refused(folder, "serve")
    assert run(folder, "migrate").returncode == 0
    config = (folder / "node.toml").read_text()
    (folder / "node.toml").write_text(config.replace('provider = "registry"', 'provider = "bureau"'))
    assert "stewards[0]" in refused(folder, "serve")
    (folder / "node.toml").write_text(config.replace('identity = "node"', 'identity = "steward"', 1))
    assert "tls.key" in refused(folder, "serve")
    (folder / "node.toml").write_text(config.replace('"node/passphrase"', '"node/nothing"'))
    assert "passphrase_file: " in refused(folder, "serve")
    (folder / "node.toml").write_text(config)
    (folder / "node" / "passphrase").write_text("another passphrase than before\n")
    assert "tls.key" in refused(folder, "serve")
    (folder / "node.toml").unlink()
    assert "cannot be read" in refused(folder, "migrate")


def test_a_node_does_not_start_under_another_passphrase_than_the_first(folder):
    assert run(folder, "migrate").returncode == 0
    started = subprocess.Popen(
        [sys.executable, "-m", "compute", "serve", "--config", str(folder / "node.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with started as process:
        assert process.stdout.readline().startswith("SERVING")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
    for name in ("tls.crt", "tls.key", "signing.key", "passphrase"):
        (folder / "node" / name).unlink()
    now = datetime.now(UTC)
    authority = init_authority(folder / "pki2", "bourse.test", now=now, days=2, passphrase_file=None)
    (folder / "node").rename(folder / "old")
    create_identity(
        authority,
        NODE,
        folder / "node",
        server=ServerNames(),
        now=now,
        days=1,
        passphrase_file=None,
        replace=False,
    )
    assert "does not open" in refused(folder, "serve")
