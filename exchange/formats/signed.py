"""Signed payloads at the border."""

from typing import Final

from bourse.type.v1 import signature_pb2

from exchange.domain.errors import FieldInvalidError
from exchange.domain.signed import Signature, SignedBytes
from wire.signing import KEY_ID_BYTES, SIGNATURE_BYTES

MAX_SIGNATURES: Final = 8


def signed_to_pb(signed: SignedBytes) -> signature_pb2.SignedPayload:
    """Return the message of a payload and its signatures."""
    return signature_pb2.SignedPayload(
        payload=signed.payload,
        signatures=[signature_pb2.Signature(key_id=one.key_id, value=one.value) for one in signed.signatures],
    )


def signed_from_pb(field: str, message: signature_pb2.SignedPayload, max_bytes: int) -> SignedBytes:
    """Return payload and signatures, or raise FieldInvalidError when empty, too long or misshapen."""
    if not message.payload:
        raise FieldInvalidError((f"{field}.payload", "is missing"))
    if len(message.payload) > max_bytes:
        raise FieldInvalidError((f"{field}.payload", f"at most {max_bytes} bytes are accepted"))
    if not 1 <= len(message.signatures) <= MAX_SIGNATURES:
        raise FieldInvalidError((f"{field}.signatures", f"must be 1 to {MAX_SIGNATURES}"))
    for place, one in enumerate(message.signatures):
        if len(one.key_id) != KEY_ID_BYTES or len(one.value) != SIGNATURE_BYTES:
            raise FieldInvalidError(
                (
                    f"{field}.signatures[{place}]",
                    f"key_id must be {KEY_ID_BYTES} bytes and value {SIGNATURE_BYTES}",
                )
            )
    return SignedBytes(message.payload, tuple(Signature(one.key_id, one.value) for one in message.signatures))
