"""How values stand in columns of bytes and integers: written and read here alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from compute.domain.evaluation import ENTITY_KEY_BYTES
from compute.domain.signed import Signature, Signed
from wire.signing import KEY_ID_BYTES, SIGNATURE_BYTES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SIGNATURE_WIDTH = KEY_ID_BYTES + SIGNATURE_BYTES


def micros(time: datetime) -> int:
    """Return a time as microseconds since 1970 UTC."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(value: int) -> datetime:
    """Return the time that `micros` turned into `value`."""
    return _EPOCH + value * _MICROSECOND


def pack_signatures(signed: Signed) -> bytes:
    """Return key ids and signatures, 80 bytes each."""
    return b"".join(one.key_id + one.value for one in signed.signatures)


def signed_of(payload: bytes, signatures: bytes) -> Signed:
    """Return the payload with the signatures that `pack_signatures` packed."""
    return Signed(
        bytes(payload),
        tuple(
            Signature(one[:KEY_ID_BYTES], one[KEY_ID_BYTES:])
            for one in _cut(bytes(signatures), _SIGNATURE_WIDTH)
        ),
    )


def pack_entity_keys(keys: Sequence[bytes]) -> bytes:
    """Return entity keys one after another, 16 bytes each."""
    return b"".join(keys)


def entity_keys_of(data: bytes) -> tuple[bytes, ...]:
    """Return the entity keys that `pack_entity_keys` packed."""
    return tuple(_cut(bytes(data), ENTITY_KEY_BYTES))


def pack_rows(rows: Sequence[int]) -> bytes:
    """Return row numbers as i32le; -1 is absent."""
    return np.asarray(rows, dtype="<i4").tobytes()


def rows_of(data: bytes) -> tuple[int, ...]:
    """Return the row numbers that `pack_rows` packed."""
    return tuple(np.frombuffer(data, dtype="<i4").tolist())


def _cut(data: bytes, width: int) -> list[bytes]:
    return [data[start : start + width] for start in range(0, len(data), width)]
