"""Who is calling: the one SPIFFE URI of the certificate that TLS verified.

Source: docs/spec/identity.md, "Reading a caller".
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from wire.identity import Identity, IdentityError


class AuthenticatedCall(Protocol):
    """What gRPC knows of a call's peer; both kinds of gRPC servicer context have it."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]: ...


def peer_identity(call: AuthenticatedCall) -> Identity:
    """Return the caller's identity from `peer_spiffe_id` alone.

    gRPC sets that property only when a verified certificate holds exactly one URI name and it is a SPIFFE
    ID. Every other property is open to invention: a DNS name may spell `spiffe://`. Raises IdentityError
    when there is not exactly one, or it is not one of ours.
    """
    found = list(call.auth_context().get("peer_spiffe_id", ()))
    if len(found) != 1:
        raise IdentityError("certificate: must carry exactly one URI name, and it must be a SPIFFE ID")
    try:
        uri = found[0].decode("ascii")
    except UnicodeDecodeError:
        raise IdentityError("certificate: its SPIFFE ID must be ASCII") from None
    return Identity.parse(uri)
