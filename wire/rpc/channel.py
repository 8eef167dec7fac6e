"""Channels and servers: mutual TLS and every limit spelled out, the same on both ends.

Compression is refused in both directions: it makes calls twenty times slower and sizes speak of contents.

Source: docs/spec/identity.md, "Connections"; gRPC core, `grpc_types.h` for the options.
"""

import grpc

from wire.identity import Identity, server_dns_name

# One sealed column is 128 KiB and one block 240 KiB; a batch of them stays far below, and so does a
# server's memory.
DEFAULT_MAX_MESSAGE_BYTES = 16 * 2**20

Options = list[tuple[str, str | int]]

_IDENTITY_ENCODING_ONLY = 1  # the bit set of grpc_compression_algorithm: bit 0 is "none"


# Longer than any deadline that a server of ours accepts, so that no honest call is cut off.
CONNECTION_SECONDS = 30 * 60.0
CONNECTION_GRACE_SECONDS = 15 * 60.0


def server_options(
    *,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    connection_seconds: float = CONNECTION_SECONDS,
    grace_seconds: float = CONNECTION_GRACE_SECONDS,
) -> Options:
    """Return the options of a server: message limits in bytes, no shared port, no compression, kept-alive
    peers.

    A connection takes no new calls after half an hour, so that an expired or replaced certificate has to be
    shown anew, and a quarter of an hour later it is cut: a peer that never finishes sending a request, whose
    deadline nobody has seen yet, holds no place for ever.
    """
    return [
        *_limits(max_message_bytes),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", 256),
        # Otherwise the window of each stream grows until whole requests wait in memory for their turn.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_connection_age_ms", int(connection_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(grace_seconds * 1000)),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 20_000),
    ]


def channel_options(
    server: Identity, *, max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES, use_proxy: bool = False
) -> Options:
    """Return the options of a channel that accepts no server but `server`, whatever address is dialed.

    The environment's HTTP proxy is ignored unless `use_proxy`.
    """
    return [
        *_limits(max_message_bytes),
        ("grpc.ssl_target_name_override", server_dns_name(server)),
        ("grpc.enable_http_proxy", int(use_proxy)),
        # gRPC's own pauses grow to two minutes: too long to notice that a restarted server is back.
        ("grpc.initial_reconnect_backoff_ms", 250),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]


def server_credentials(key_pem: bytes, certificate_pem: bytes, ca_pem: bytes) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate issued under `ca_pem`. `key_pem` is in clear, in
    memory.
    """
    return grpc.ssl_server_credentials(
        [(key_pem, certificate_pem)], root_certificates=ca_pem, require_client_auth=True
    )


def channel_credentials(key_pem: bytes, certificate_pem: bytes, ca_pem: bytes) -> grpc.ChannelCredentials:
    """Return credentials that show `certificate_pem` and trust `ca_pem` alone. `key_pem` is in clear, in
    memory.
    """
    return grpc.ssl_channel_credentials(
        root_certificates=ca_pem, private_key=key_pem, certificate_chain=certificate_pem
    )


def secure_channel(
    address: str,
    server: Identity,
    credentials: grpc.ChannelCredentials,
    *,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    use_proxy: bool = False,
) -> grpc.Channel:
    """Return a channel to `address` (host:port) that accepts no server but `server`. Connects at the first
    call.
    """
    return grpc.secure_channel(
        address,
        credentials,
        options=channel_options(server, max_message_bytes=max_message_bytes, use_proxy=use_proxy),
        compression=grpc.Compression.NoCompression,
    )


def aio_secure_channel(
    address: str,
    server: Identity,
    credentials: grpc.ChannelCredentials,
    *,
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    use_proxy: bool = False,
) -> grpc.aio.Channel:
    """Return what `secure_channel` returns, for asyncio."""
    return grpc.aio.secure_channel(
        address,
        credentials,
        options=channel_options(server, max_message_bytes=max_message_bytes, use_proxy=use_proxy),
        compression=grpc.Compression.NoCompression,
    )


def _limits(max_message_bytes: int) -> Options:
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.default_compression_algorithm", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_ENCODING_ONLY),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]
