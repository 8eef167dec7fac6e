"""Foreign bytes: one value, one spelling."""

import base64

import pytest
from google.protobuf import any_pb2, descriptor_pb2, struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from wire.strict import StrictParseError, parse_base64, parse_decimal, parse_strict

Status = status_pb2.Status
UNKNOWN_FIELD = bytes([15 << 3 | 0, 1])  # field 15, varint 1: no message here has one


def status() -> Status:
    return Status(code=5, message="none", details=[any_pb2.Any(type_url="t/x", value=b"1")])


def test_a_message_in_canonical_form_is_read():
    data = status().SerializeToString(deterministic=True)
    assert parse_strict(Status, data, len(data)) == status()
    assert parse_strict(Status, b"", 0) == Status()


def test_a_message_over_the_limit_is_refused_with_the_limit():
    data = status().SerializeToString()
    with pytest.raises(StrictParseError, match=f"{len(data)} bytes, at most {len(data) - 1}"):
        parse_strict(Status, data, len(data) - 1)


@pytest.mark.parametrize(
    ("spelling", "data"),
    {
        "not a message": b"\xff\xff",
        "cut": status().SerializeToString()[:-1],
        "an unknown field": status().SerializeToString() + UNKNOWN_FIELD,
        "an unknown field first": UNKNOWN_FIELD + status().SerializeToString(),
        "fields in another order": b"\x12\x04none\x08\x05",
        "a field twice": b"\x08\x04\x08\x05",
        "a default spelled out": b"\x08\x00",
        "a long varint": b"\x08\x85\x00",
        "an unknown field inside": b"\x1a" + bytes([5 + len(UNKNOWN_FIELD)]) + b"\x0a\x03t/x" + UNKNOWN_FIELD,
        "a known field with another wire type": b"\x0d\x05\x00\x00\x00",
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_other_spelling_is_refused(spelling, data):
    with pytest.raises(StrictParseError, match="Status"):
        parse_strict(Status, data, 1000)


def test_unknown_fields_are_found_at_any_depth():
    inner = struct_pb2.Value(number_value=1)
    inner.MergeFromString(UNKNOWN_FIELD)
    nested = struct_pb2.Struct(
        fields={"a": struct_pb2.Value(list_value=struct_pb2.ListValue(values=[inner]))}
    )
    with pytest.raises(StrictParseError, match="does not know"):
        parse_strict(struct_pb2.Struct, nested.SerializeToString(deterministic=True), 1000)
    field = descriptor_pb2.FieldDescriptorProto(name="f")
    field.options.MergeFromString(bytes([0xF8, 0x3F, 1]))
    descriptor = descriptor_pb2.DescriptorProto(name="m", field=[field])
    with pytest.raises(StrictParseError, match="does not know"):
        parse_strict(descriptor_pb2.DescriptorProto, descriptor.SerializeToString(deterministic=True), 1000)


def test_map_keys_come_sorted():
    entries = [error_details_pb2.ErrorInfo(metadata={key: "1"}).SerializeToString() for key in "ab"]
    assert parse_strict(error_details_pb2.ErrorInfo, b"".join(entries), 100).metadata["b"] == "1"
    with pytest.raises(StrictParseError, match="canonical"):
        parse_strict(error_details_pb2.ErrorInfo, b"".join(reversed(entries)), 100)


@given(st.binary(max_size=60))
def test_whatever_is_read_is_spelled_as_it_would_be_written(data):
    try:
        message = parse_strict(struct_pb2.Struct, data, 60)
    except StrictParseError:
        return
    assert message.SerializeToString(deterministic=True) == data


def test_a_refusal_does_not_quote_the_bytes():
    data = timestamp_pb2.Timestamp(seconds=4711).SerializeToString() + b"\x1a\x04quot"
    with pytest.raises(StrictParseError) as refused:
        parse_strict(timestamp_pb2.Timestamp, data, 100)
    assert "quot" not in str(refused.value)
    assert "4711" not in str(refused.value)


@given(st.integers(0, 2**64))
def test_a_decimal_number_is_read(number):
    assert parse_decimal(str(number), max_value=2**64) == number


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "-1", "01", "1_0", "1.0", "1e3", "\u0661", "²", "0x1", "1\n", "101", "1" * 5000],
)
def test_any_other_spelling_of_a_number_is_refused(text):
    with pytest.raises(StrictParseError):
        parse_decimal(text, max_value=100)


@given(st.binary(max_size=50), st.booleans())
def test_base64_is_read(data, urlsafe):
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    assert parse_base64(encode(data).decode(), max_bytes=50, urlsafe=urlsafe) == data


@pytest.mark.parametrize(
    "text", ["QQ", "QQ=", "QR==", "QQ==\n", "Q Q==", "QQ===", "QUI", "-_8=", "====", "Ä===", "QUJDRA=="]
)
def test_any_other_spelling_of_base64_is_refused(text):
    with pytest.raises(StrictParseError):
        parse_base64(text, max_bytes=3)


def test_the_two_alphabets_of_base64_are_not_mixed():
    assert parse_base64("-_8=", max_bytes=2, urlsafe=True) == b"\xfb\xff"
    for text in ("+/8=", "-/8="):
        with pytest.raises(StrictParseError):
            parse_base64(text, max_bytes=2, urlsafe=True)
