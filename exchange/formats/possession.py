"""What a key signs to prove its possession: the party's name, a zero byte, and the key purpose's name in the
contract, such as `parties/bank-a`, 00, `KEY_PURPOSE_BANK`.

Source: docs/spec/signing.md.
"""

from bourse.exchange.v1 import party_pb2

from exchange.domain.names import party_name
from exchange.domain.parties import KeyPurpose
from exchange.formats.enums import enum_to_pb


def possession_payload(party: str, purpose: KeyPurpose) -> bytes:
    """Return the bytes that prove, signed, that the party `party` holds a key for `purpose`."""
    name: str = party_pb2.KeyPurpose.Name(enum_to_pb(party_pb2.KeyPurpose, purpose))
    return f"{party_name(party)}\0{name}".encode()
