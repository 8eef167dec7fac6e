"""How two parties talk: mutual TLS, explicit limits, refusals that say the way out, and a safety interceptor.

The only part of `wire` that knows gRPC.
"""

from wire.rpc.channel import (
    DEFAULT_MAX_MESSAGE_BYTES,
    aio_secure_channel,
    channel_credentials,
    channel_options,
    secure_channel,
    server_credentials,
    server_options,
)
from wire.rpc.drain import serve_until_signalled
from wire.rpc.peer import peer_identity
from wire.rpc.refusal import Clause, Refusal, RefusalError, refusal_from_rpc_error
from wire.rpc.safety import Authorize, SafetyInterceptor, Translate, caller_of, identity_of

__all__ = [
    "DEFAULT_MAX_MESSAGE_BYTES",
    "Authorize",
    "Clause",
    "Refusal",
    "RefusalError",
    "SafetyInterceptor",
    "Translate",
    "aio_secure_channel",
    "caller_of",
    "channel_credentials",
    "channel_options",
    "identity_of",
    "peer_identity",
    "refusal_from_rpc_error",
    "secure_channel",
    "serve_until_signalled",
    "server_credentials",
    "server_options",
]
