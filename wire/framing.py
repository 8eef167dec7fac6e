"""The one hash every party uses: SHA-256 over a tag and length-framed fields.

Tags separate uses, frames separate fields, so no two different inputs share a digest.
"""

import hashlib


def tagged_hash(tag: str, *fields: bytes) -> bytes:
    """Return SHA-256(tag ‖ 00 ‖ Σ(u64be length ‖ field)), 32 bytes.

    `tag` is ASCII and names one use, such as `bourse/seal/v1/ctx`.
    Source: docs/spec/hash.md.
    """
    framed = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    return hashlib.sha256(tag.encode("ascii") + b"\0" + framed).digest()
