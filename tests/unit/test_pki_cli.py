"""`bourse pki` as a person types it."""

import json
import subprocess
import sys
from ipaddress import ip_address

import pytest
from cryptography import x509
from typer.testing import CliRunner

from clients.cli.pki import app
from clients.identity import IdentityFiles


@pytest.fixture
def bourse():
    def run(*arguments: object, code: int = 0):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def ca(bourse, tmp_path):
    bourse("init", "--dir", tmp_path / "ca", "--trust-domain", "bourse.test")
    return tmp_path / "ca"


@pytest.fixture
def node(bourse, ca, tmp_path):
    bourse("issue", "--dir", ca, "--kind", "provider", "--party", "tax-office", "--member", "node",
           "--server", "--host", "127.0.0.1", "--out", tmp_path / "node")  # fmt: skip
    return tmp_path / "node"


def test_an_identity_is_made_shown_and_rotated_by_commands(bourse, ca, node):
    made = json.loads((node / "identity.json").read_text())
    assert json.loads(bourse("show", node, "--json").stdout) == {"directory": str(node)} | made
    rotated = json.loads(bourse("rotate", "--identity", node, "--dir", ca, "--json").stdout)
    assert rotated["certificate_sha256"] != made["certificate_sha256"]
    assert (rotated["uri"], rotated["addresses"]) == (made["uri"], ["127.0.0.1"])
    shown = json.loads(bourse("signing-key", "--identity", node, "--json").stdout)
    assert shown["signing_public_key"] == made["signing_public_key"]
    renewed = json.loads(bourse("signing-key", "--identity", node, "--rotate", "--json").stdout)
    assert renewed["signing_public_key"] != made["signing_public_key"]
    assert f"signing-{made['signing_key_id']}.key" in renewed["history"]
    certificate = x509.load_pem_x509_certificate(IdentityFiles.load(node).credentials.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1")]


def test_tables_say_the_same_as_json(bourse, ca, node):
    for arguments in (("show", node), ("show", ca), ("signing-key", "--identity", node)):
        table = "".join(character for character in bourse(*arguments).stdout if character not in "│ \n")
        facts = json.loads(bourse(*arguments, "--json").stdout)
        for value in facts.values():
            words = ", ".join(value) if isinstance(value, list) else str(value)
            assert words.replace(" ", "") in table


def test_keys_are_shown_on_a_line_of_their_own_to_be_copied(bourse, node, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    key = json.loads(bourse("signing-key", "--identity", node, "--json").stdout)["signing_public_key"]
    assert any(line.split()[-1:] == [key] for line in bourse("show", node).stdout.splitlines())


def test_nothing_is_overwritten_unasked(bourse, ca, node):
    issue = ["issue", "--dir", ca, "--kind", "provider", "--party", "tax-office", "--member", "node"]
    refused = bourse(*issue, "--out", node, code=1)
    assert "--replace" in refused.stderr
    assert refused.stdout == ""
    bourse(*issue, "--out", node, "--replace")
    again = bourse("init", "--dir", ca, "--trust-domain", "bourse.test", "--json", code=1)
    said = json.loads(again.stderr)["error"]
    assert (said["reason"], "already" in said["message"]) == ("IDENTITY_REFUSED", True)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--kind", "broker", "--party", "tax-office"), 1, "kind"),
        (("--kind", "bank", "--party", "Harbour"), 1, "party"),
        (("--kind", "bank", "--party", "harbour", "--days", 4000), 1, "days"),
        (("--kind", "bank", "--party", "harbour", "--server", "--host", "nowhere"), 2, "--host"),
        (("--kind", "bank", "--party", "harbour", "--host", "127.0.0.1"), 2, "--server"),
        (("--kind", "bank", "--party", "harbour", "--server", "--dns", "*.bourse.test"), 1, "dns"),
        (
            (
                "--kind",
                "bank",
            ),
            2,
            "--party",
        ),
    ],
)
def test_what_cannot_be_issued_is_refused_by_field(bourse, ca, tmp_path, arguments, code, words):
    result = bourse("issue", "--dir", ca, "--member", "node", "--out", tmp_path / "x", *arguments, code=code)
    assert words in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_directory_that_is_missing_is_named_with_the_way_out(bourse, ca, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert "bourse pki issue" in bourse("show", nowhere, code=1).stderr
    assert "bourse pki issue" in bourse("rotate", "--identity", nowhere, "--dir", ca, code=1).stderr
    assert "bourse pki init" in bourse("rotate", "--identity", nowhere, "--dir", nowhere, code=1).stderr


def test_a_place_that_cannot_be_written_to_is_named(bourse, tmp_path):
    (tmp_path / "file").write_text("")
    refused = bourse("init", "--dir", tmp_path / "file" / "ca", "--trust-domain", "bourse.test", code=1)
    assert str(tmp_path / "file") in refused.stderr


def test_asking_for_help_loads_no_cryptography():
    program = (
        "import sys, clients.cli.pki; "
        "sys.exit(bool({'cryptography', 'grpc', 'google.protobuf', 'rich'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
