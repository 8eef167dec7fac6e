"""What makes two requests the same: caller, request id, method and every byte."""

import hashlib

from google.protobuf.message import Message

from compute.domain.names import check_request_id
from compute.rpc.authority import Caller
from compute.store.idempotency import RequestKey


def request_key(caller: Caller, request_id: str, request: Message) -> RequestKey:
    """Return under what a mutating request's first reply is kept. Raises FieldError for no UUID."""
    check_request_id("request_id", request_id)
    content = request.DESCRIPTOR.full_name.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return RequestKey(caller.uri, request_id, hashlib.sha256(content).digest())
