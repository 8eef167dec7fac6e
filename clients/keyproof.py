"""Proofs of possession: what a key's owner hands to the administrator who registers the key.

The owner signs with the key itself, so nobody can register a key that they do not hold.

Source: docs/spec/signing.md; proto/bourse/exchange/v1/party_service.proto, RegisterSigningKeyRequest.
"""

from dataclasses import dataclass

from bourse.exchange.v1 import party_pb2

from clients.errors import InputError
from clients.jsontext import JSONTextError, parse_json
from clients.member import Member
from wire.signing import Purpose, SignatureError, verify

_PREFIX = "KEY_PURPOSE_"
PURPOSES = tuple(
    name.removeprefix(_PREFIX).lower() for name, number in party_pb2.KeyPurpose.items() if number
)


@dataclass(frozen=True)
class KeyProof:
    """A key, what it is to sign, whose it is (`parties/{party}`), and its own signature over that."""

    party: str
    purpose: party_pb2.KeyPurpose.ValueType
    public_key: bytes
    signature: bytes

    def to_json(self) -> dict[str, str]:
        """Return the proof as it is handed over."""
        return {
            "party": self.party,
            "purpose": purpose_name(self.purpose),
            "public_key": self.public_key.hex(),
            "signature": self.signature.hex(),
        }


def prove_possession(member: Member, purpose: party_pb2.KeyPurpose.ValueType) -> KeyProof:
    """Return the proof that `member` holds its signing key, for registration to `purpose`."""
    _, signature = member.sign(Purpose.KEY_POSSESSION, possession_payload(member.party_name, purpose))
    return KeyProof(member.party_name, purpose, member.public_key, signature)


def parse_proof(data: bytes) -> KeyProof:
    """Return a proof from the JSON that `to_json` gives, its signature verified. Raises InputError."""
    try:
        document = parse_json(data)
        if not isinstance(document, dict) or set(document) != {"party", "purpose", "public_key", "signature"}:
            raise InputError(
                "The proof must hold party, purpose, public_key and signature, and nothing else.",
                way_out="Its owner makes it: `bourse provider key-proof`, `bourse bank key-proof`.",
            )
        texts = {key: _text(key, value) for key, value in document.items()}
        proof = KeyProof(
            texts["party"],
            parse_purpose(texts["purpose"]),
            bytes.fromhex(texts["public_key"]),
            bytes.fromhex(texts["signature"]),
        )
        verify(
            proof.public_key,
            Purpose.KEY_POSSESSION,
            possession_payload(proof.party, proof.purpose),
            proof.signature,
        )
    except (JSONTextError, SignatureError) as error:
        raise InputError(f"The proof of possession is not one: {error}.") from None
    except ValueError:
        raise InputError("The proof's public_key and signature must be hexadecimal.") from None
    return proof


def possession_payload(party: str, purpose: party_pb2.KeyPurpose.ValueType) -> bytes:
    """Return what the key signs: the party's name, a zero byte, the purpose's name."""
    return party.encode() + b"\0" + party_pb2.KeyPurpose.Name(purpose).encode()


def parse_purpose(name: str) -> party_pb2.KeyPurpose.ValueType:
    """Return the purpose called `steward`, `node` or `bank`. Raises InputError."""
    if name not in PURPOSES:
        raise InputError(f"A key's purpose is one of {', '.join(PURPOSES)}.")
    return party_pb2.KeyPurpose.Value(_PREFIX + name.upper())


def purpose_name(purpose: party_pb2.KeyPurpose.ValueType) -> str:
    """Return the purpose's short name, such as `bank`."""
    return party_pb2.KeyPurpose.Name(purpose).removeprefix(_PREFIX).lower()


def _text(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"The proof's {key} must be text.")
    return value
