"""Refusals: they fit the wire, say the way out, and cannot be used against who reads them."""

import grpc
import pytest
from bourse.type.v1 import refusal_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.rpc import Clause, Refusal, RefusalError, refusal_from_rpc_error

DOMAIN = "exchange.bourse.test"
TEXTS = st.text(max_size=1500)
REFUSALS = st.builds(
    Refusal,
    st.sampled_from([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]),
    st.from_regex(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]", fullmatch=True),
    TEXTS,
    st.dictionaries(st.from_regex(r"[a-z][a-zA-Z0-9_-]{0,63}", fullmatch=True), TEXTS, max_size=12),
    st.none() | st.builds(Clause, TEXTS, TEXTS, TEXTS, TEXTS),
    st.lists(st.tuples(TEXTS, TEXTS), max_size=40).map(tuple),
)
CLAUSE_REFUSAL = Refusal(
    grpc.StatusCode.FAILED_PRECONDITION,
    "CLAUSE_REFUSED",
    "The license allows no more rows.",
    {"license": "licenses/7"},
    Clause("max_rows", "600, 600 used", "1", "amend the license"),
    (("request.rows", "at most 0 more"),),
)


class Failed(grpc.RpcError):
    """A failed call as a client gets it."""

    def __init__(self, code, details="", trailers=()):
        super().__init__()
        self._told = code, details, trailers

    def code(self):
        return self._told[0]

    def details(self):
        return self._told[1]

    def trailing_metadata(self):
        return self._told[2]


def sent(status: status_pb2.Status, code: grpc.StatusCode) -> Failed:
    trailers = (("other", "x"), ("grpc-status-details-bin", status.SerializeToString()))
    return Failed(code, status.message, trailers)


def test_a_refusal_arrives_as_it_was_made():
    error = sent(CLAUSE_REFUSAL.to_status(DOMAIN), CLAUSE_REFUSAL.code)
    assert refusal_from_rpc_error(error) == CLAUSE_REFUSAL
    assert str(RefusalError(CLAUSE_REFUSAL)) == CLAUSE_REFUSAL.message


def test_a_refusal_is_a_google_status_with_its_details():
    status = CLAUSE_REFUSAL.to_status(DOMAIN)
    info, clause, request = (
        error_details_pb2.ErrorInfo(),
        refusal_pb2.ClauseRefusal(),
        error_details_pb2.BadRequest(),
    )
    for detail, message in zip(status.details, (info, clause, request), strict=True):
        assert detail.Unpack(message)
    assert (status.code, status.message) == (9, CLAUSE_REFUSAL.message)
    assert (info.reason, info.domain, info.metadata["license"]) == ("CLAUSE_REFUSED", DOMAIN, "licenses/7")
    assert (clause.limit, clause.way_out) == ("600, 600 used", "amend the license")
    assert request.field_violations[0].field == "request.rows"


@settings(max_examples=150)
@given(REFUSALS)
def test_every_refusal_fits_into_grpc_s_trailers(refusal):
    status = refusal.to_status("d" * 64)
    percent_encoded = 3 * len(status.message.encode())
    base64_encoded = -(-status.ByteSize() // 3) * 4
    assert percent_encoded + base64_encoded < 8192 - 256
    assert refusal_from_rpc_error(sent(status, refusal.code)).reason == refusal.reason


@pytest.mark.parametrize(
    ("code", "reason", "metadata"),
    [
        (grpc.StatusCode.OK, "FINE", {}),
        (grpc.StatusCode.INTERNAL, "lower", {}),
        (grpc.StatusCode.INTERNAL, "A" * 64, {}),
        (grpc.StatusCode.INTERNAL, "", {}),
        (grpc.StatusCode.INTERNAL, "REASON", {"Key": "value"}),
        (grpc.StatusCode.INTERNAL, "REASON", {"": "value"}),
    ],
)
def test_a_refusal_that_breaks_the_form_cannot_be_made(code, reason, metadata):
    with pytest.raises(ValueError, match=r"must|not OK"):
        Refusal(code, reason, "message", metadata)


def test_a_server_cannot_write_to_the_reader_s_terminal():
    hostile = "\x1b]0;owned\x07\nOK\r"
    status = status_pb2.Status(code=9, message=hostile * 100)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="R_1", metadata={"key": hostile, "K": "dropped"})
    )
    status.details.add().Pack(refusal_pb2.ClauseRefusal(clause=hostile, limit="l" * 5000))
    status.details.add().Pack(
        error_details_pb2.BadRequest(
            field_violations=[error_details_pb2.BadRequest.FieldViolation(field=hostile, description=hostile)]
        )
    )
    refusal = refusal_from_rpc_error(sent(status, grpc.StatusCode.FAILED_PRECONDITION))
    texts = [refusal.message, *refusal.metadata.values(), *refusal.violations[0]]
    texts += [refusal.clause.clause, refusal.clause.limit]
    assert all(text.isprintable() and len(text.encode()) <= 512 for text in texts)
    assert set(refusal.metadata) == {"key"}


@pytest.mark.parametrize(
    ("code", "details", "reason", "way_out"),
    [
        (
            "UNAVAILABLE",
            "last error: Failed to connect to remote host: Connection refused",
            "SERVER_UNREACHABLE",
            "port",
        ),
        (
            "UNAVAILABLE",
            "last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed",
            "CONNECTION_CLOSED",
            "pki rotate",
        ),
        ("UNAVAILABLE", "recvmsg:Connection reset by peer", "CONNECTION_CLOSED", "pki show"),
        (
            "UNAVAILABLE",
            "Tls handshake failed (TSI_PROTOCOL_FAILURE)",
            "SERVER_CERTIFICATE_REFUSED",
            "ca.crt",
        ),
        (
            "UNAVAILABLE",
            "UNAUTHENTICATED: Hostname Verification Check failed.",
            "SERVER_NAME_MISMATCH",
            "address",
        ),
        ("UNAVAILABLE", "", "SERVER_UNREACHABLE", "port"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "DEADLINE_EXCEEDED", "longer timeout"),
        (
            "RESOURCE_EXHAUSTED",
            "CLIENT: Sent message larger than max (10 vs. 5)",
            "MESSAGE_TOO_LARGE",
            "limit is 5",
        ),
        ("RESOURCE_EXHAUSTED", "Concurrent RPC limit exceeded!", "SERVER_BUSY", "try again"),
        ("UNIMPLEMENTED", "Method not found!", "METHOD_UNKNOWN", "version"),
        ("CANCELLED", "", "CALL_CANCELLED", "cancelled"),
        ("UNKNOWN", "Unexpected text", "UNEXPLAINED", "UNKNOWN"),
    ],
)  # fmt: skip  - one case, one line
def test_what_grpc_itself_refuses_is_said_in_plain_words(code, details, reason, way_out):
    refusal = refusal_from_rpc_error(Failed(grpc.StatusCode[code], details, None))
    assert (refusal.code.name, refusal.reason) == (code, reason)
    assert way_out in refusal.message
    assert details not in refusal.message or not details


@pytest.mark.parametrize(
    "trailer",
    [
        b"\xff",
        b"",
        status_pb2.Status(code=9, message="no details").SerializeToString(),
        status_pb2.Status(
            details=[any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]
        ).SerializeToString(),
        status_pb2.Status(
            details=[any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\x0a\x01x")]
        ).SerializeToString(),
    ],
)
def test_malformed_details_never_break_the_reader(trailer):
    error = Failed(grpc.StatusCode.INTERNAL, "x", (("grpc-status-details-bin", trailer),))
    assert refusal_from_rpc_error(error).reason == "UNEXPLAINED"


def test_an_error_without_a_status_is_a_refusal_too():
    assert refusal_from_rpc_error(grpc.RpcError()).reason == "UNEXPLAINED"
    assert refusal_from_rpc_error(Failed(None, None, None)).code is grpc.StatusCode.UNKNOWN
