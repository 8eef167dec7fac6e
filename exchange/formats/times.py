"""Times at the border: whole microseconds of UTC, which every part of the exchange can hold exactly."""

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from exchange.domain.errors import FieldInvalidError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MIN: Final = datetime(1, 1, 1, tzinfo=UTC)
_MAX: Final = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def time_to_pb(time: datetime) -> Timestamp:
    """Return the message of an aware time in whole microseconds."""
    seconds, micros = divmod((time - _EPOCH) // _MICROSECOND, 1_000_000)
    return Timestamp(seconds=seconds, nanos=micros * 1000)


def time_from_pb(field: str, message: Timestamp) -> datetime:
    """Return the time in UTC, or raise FieldInvalidError for one that is no whole number of microseconds."""
    lowest, highest = (_MIN - _EPOCH) // timedelta(seconds=1), (_MAX - _EPOCH) // timedelta(seconds=1)
    if not lowest <= message.seconds <= highest or not 0 <= message.nanos <= 999_999_999:
        raise FieldInvalidError((field, "must be a time of the years 1 to 9999"))
    if message.nanos % 1000:
        raise FieldInvalidError((field, "must be whole microseconds"))
    return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
