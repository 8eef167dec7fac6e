"""A refusal as both ends see it: status, stable reason, and for a license the clause, limit, what was
asked, way out.

On the wire it is a google.rpc.Status with ErrorInfo, BadRequest and bourse.type.v1.ClauseRefusal as
details. What a client receives was written by another party, so it is bounded and stripped of control
characters before anyone prints it.

Source: AIP-193; proto/bourse/type/v1/error_reason.proto, refusal.proto.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

import grpc
from bourse.type.v1 import refusal_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # has no py.typed

_MessageT = TypeVar("_MessageT", bound=Message)

_REASON = re.compile(r"[A-Z][A-Z0-9_]{1,61}[A-Z0-9]")
_METADATA_KEY = re.compile(r"[a-z][a-zA-Z0-9_-]{0,63}")

# gRPC refuses more than 8 KiB of trailers. The message travels twice there, once percent-encoded (three for
# one) and the details once in base64 (four for three): 3 * 512 + 4/3 * 4096 < 8192.
MAX_MESSAGE_BYTES = 512
MAX_DETAILS_BYTES = 4096
_MAX_PART_BYTES = 256
_MAX_METADATA_ENTRIES = 8

_DETAILS_KEY = "grpc-status-details-bin"
_TOO_LARGE = re.compile(r"message larger than max \((\d{1,12}) vs\. (\d{1,12})\)")


@dataclass(frozen=True)
class Clause:
    """The clause of a license that refused, its limit, what was asked and what would satisfy it."""

    clause: str
    limit: str
    asked: str
    way_out: str


@dataclass(frozen=True)
class Refusal:
    """Why a call was not served, fit to be shown to the caller.

    `reason` is a name of bourse.type.v1.ErrorReason without its prefix, `violations` are (field path, what
    is wrong and the way out). Nothing in it quotes records, identifiers, keys, models, weights, masks or
    ciphertexts.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    clause: Clause | None = None
    violations: tuple[tuple[str, str], ...] = ()
    # Who gave the reason of a refusal received: the domain of its ErrorInfo; empty when gRPC itself refused.
    issuer: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.code is grpc.StatusCode.OK:
            raise ValueError("code: a refusal is not OK")
        if not _REASON.fullmatch(self.reason):
            raise ValueError("reason: must be 3 to 63 of A-Z, 0-9 and underscore")
        if not all(_METADATA_KEY.fullmatch(key) for key in self.metadata):
            raise ValueError("metadata: keys must be 1 to 64 of a-z, A-Z, 0-9, hyphen and underscore")

    def to_status(self, domain: str) -> status_pb2.Status:
        """Return the status to send, with `domain` (such as `exchange.bourse.test`) as the reason's issuer.

        Texts are cut so that it always fits into gRPC's trailers: the message at 512 bytes, every other
        text at 256, the details at 4 KiB; violations that do not fit are counted in a last one.
        """
        status = status_pb2.Status(code=self.code.value[0], message=_cut(self.message, MAX_MESSAGE_BYTES))
        metadata = {
            key: _cut(value, _MAX_PART_BYTES)
            for key, value in list(self.metadata.items())[:_MAX_METADATA_ENTRIES]
        }
        _pack(status, error_details_pb2.ErrorInfo(reason=self.reason, domain=domain, metadata=metadata))
        if self.clause is not None:
            texts = (self.clause.clause, self.clause.limit, self.clause.asked, self.clause.way_out)
            clause, limit, asked, way_out = (_cut(text, _MAX_PART_BYTES) for text in texts)
            _pack(status, refusal_pb2.ClauseRefusal(clause=clause, limit=limit, asked=asked, way_out=way_out))
        if self.violations:
            room = MAX_DETAILS_BYTES - status.ByteSize() - 128
            _pack(status, _bad_request(self.violations, room))
        return status


class RefusalError(Exception):
    """A call that was or must be refused. A server's handler raises it to refuse; a client's call raises it
    when refused.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refusal_from_rpc_error(error: grpc.RpcError) -> Refusal:
    """Return what the other end refused, or in its own words why the call did not reach it.

    A refusal without ErrorInfo was made by gRPC itself. Its reason is then one of SERVER_UNREACHABLE,
    SERVER_NAME_MISMATCH, SERVER_CERTIFICATE_REFUSED, CONNECTION_CLOSED, DEADLINE_EXCEEDED,
    MESSAGE_TOO_LARGE, SERVER_BUSY, METHOD_UNKNOWN, CALL_CANCELLED or UNEXPLAINED, and its message says what
    to check. Texts are cut and stripped of control characters. Never raises.
    """
    if not callable(getattr(error, "code", None)):
        return Refusal(grpc.StatusCode.UNKNOWN, "UNEXPLAINED", "The call failed before it was sent.")
    call = cast("_FailedCall", error)
    code = call.code() or grpc.StatusCode.UNKNOWN
    if code is grpc.StatusCode.OK:
        code = grpc.StatusCode.UNKNOWN
    details = call.details() or ""
    status = _status_of(call.trailing_metadata() or ())
    info = _unpack(status, error_details_pb2.ErrorInfo) if status else None
    if status is None or info is None or not _REASON.fullmatch(info.reason):
        return _own_words(code, details)
    clause = _unpack(status, refusal_pb2.ClauseRefusal)
    bad_request = _unpack(status, error_details_pb2.BadRequest)
    return Refusal(
        code,
        info.reason,
        _printable(status.message or details, MAX_MESSAGE_BYTES),
        metadata={
            key: _printable(value) for key, value in info.metadata.items() if _METADATA_KEY.fullmatch(key)
        },
        clause=clause
        and Clause(
            _printable(clause.clause),
            _printable(clause.limit),
            _printable(clause.asked),
            _printable(clause.way_out),
        ),
        violations=tuple(
            (_printable(violation.field), _printable(violation.description))
            for violation in (bad_request.field_violations if bad_request else ())
        ),
        issuer=_printable(info.domain),
    )


class _FailedCall(Protocol):
    def code(self) -> grpc.StatusCode | None: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None: ...


def _own_words(code: grpc.StatusCode, details: str) -> Refusal:
    if code is grpc.StatusCode.UNAVAILABLE:
        for text, reason, message in _CONNECTION_FAILURES:
            if text in details:
                return Refusal(code, reason, message)
        return Refusal(code, "SERVER_UNREACHABLE", _UNREACHABLE)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        sizes = _TOO_LARGE.search(details)
        if sizes is None:
            return Refusal(code, "SERVER_BUSY", "The server has too many calls open; try again in a moment.")
        return Refusal(
            code,
            "MESSAGE_TOO_LARGE",
            f"The message has {sizes[1]} bytes and the limit is {sizes[2]}; divide it into smaller ones.",
        )
    reason, message = _STATUS_WORDS.get(
        code, ("UNEXPLAINED", "The server refused the call without a reason of its own")
    )
    return Refusal(code, reason, f"{message} ({code.name}).")


_UNREACHABLE = "No server answers at this address; check that it runs, the host and the port."
_WRONG_NAME = (
    "The server at this address is not the party that was asked for; check the address or the party's name."
)
_BAD_SERVER_CERTIFICATE = (
    "The server's certificate has expired, or comes from another authority than this identity's ca.crt."
)
_CLOSED = (
    "The server closed the connection: it has stopped, or does not accept this identity's certificate, which "
    "must be unexpired and of its authority; see it with `bourse pki show`, renew with `bourse pki rotate`."
)
# gRPC tells these apart in its text alone. They only choose a sentence: no decision hangs on them.
_CONNECTION_FAILURES = (
    ("Hostname Verification Check failed", "SERVER_NAME_MISMATCH", _WRONG_NAME),
    ("handshake failed", "SERVER_CERTIFICATE_REFUSED", _BAD_SERVER_CERTIFICATE),
    ("Socket closed", "CONNECTION_CLOSED", _CLOSED),
    ("onnection reset", "CONNECTION_CLOSED", _CLOSED),
)
_STATUS_WORDS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (
        "DEADLINE_EXCEEDED",
        "The answer did not come in time; repeating the same request is safe, a longer timeout may help",
    ),
    grpc.StatusCode.UNIMPLEMENTED: (
        "METHOD_UNKNOWN",
        "The server does not offer this call; its version, or its kind, is another",
    ),
    grpc.StatusCode.CANCELLED: ("CALL_CANCELLED", "The call was cancelled before it ended"),
}


def _status_of(trailers: Iterable[tuple[str, str | bytes]]) -> status_pb2.Status | None:
    for key, value in trailers:
        if key == _DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None
    return None


def _unpack(status: status_pb2.Status, kind: type[_MessageT]) -> _MessageT | None:
    for detail in status.details:
        if detail.Is(kind.DESCRIPTOR):
            message = kind()
            try:
                detail.Unpack(message)
            except DecodeError:
                return None
            return message
    return None


def _pack(status: status_pb2.Status, detail: Message) -> None:
    status.details.add().Pack(detail)


def _bad_request(violations: tuple[tuple[str, str], ...], room: int) -> error_details_pb2.BadRequest:
    request = error_details_pb2.BadRequest()
    for index, (path, description) in enumerate(violations):
        request.field_violations.add(
            field=_cut(path, _MAX_PART_BYTES), description=_cut(description, _MAX_PART_BYTES)
        )
        if request.ByteSize() > room:
            del request.field_violations[-1]
            request.field_violations.add(field="*", description=f"and {len(violations) - index} more")
            break
    return request


def _cut(text: str, max_bytes: int) -> str:
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()
    return encoded[: max_bytes - 3].decode("utf-8", "ignore") + "…"


def _printable(text: str, max_bytes: int = _MAX_PART_BYTES) -> str:
    return _cut("".join(char if char.isprintable() else " " for char in text), max_bytes)
