"""What makes two requests the same: caller, request id, method and every byte.

Of the bytes only a keyed digest is kept. A request may name one person and otherwise hold nothing that is
hard to guess, so a plain digest of it would tell whoever reads the database who was asked for, or withdrew.
"""

import hmac

from google.protobuf.message import Message

from compute.domain.names import check_request_id
from compute.rpc.authority import Caller
from compute.store.idempotency import RequestKey
from compute.verbs.node import Node
from wire.framing import tagged_hash


def request_key(node: Node, caller: Caller, request_id: str, request: Message) -> RequestKey:
    """Return under what a mutating request's first reply is kept. Raises FieldError for no UUID."""
    check_request_id("request_id", request_id)
    content = tagged_hash(
        "bourse/node/v1/request",
        request.DESCRIPTOR.full_name.encode(),
        request.SerializeToString(deterministic=True),
    )
    return RequestKey(caller.uri, request_id, hmac.digest(node.entity_secret, content, "sha256"))
