"""Who a certificate says its holder is: one SPIFFE URI, read strictly or refused.

`spiffe://<trust-domain>/<kind>/<party>/<member>`: a member is one person or one workload of a party, so
that two operators and a node of the same party are three callers. The certificate says *who*; the
exchange's registry says what they may do. Nothing here reads a certificate: see `wire.credentials` and
`wire.rpc`.

Source: docs/spec/identity.md; SPIFFE-ID specification, sections 2.1 to 2.4.
"""

import re
from dataclasses import dataclass

KINDS = frozenset({"provider", "bank", "regulator", "operator"})

# One DNS label that also obeys AIP-122: it stands in a server's DNS name and in `parties/<party>`.
NAME_PATTERN = r"[a-z][a-z0-9-]{0,61}[a-z0-9]"
_NAME = re.compile(NAME_PATTERN)
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

# SPIFFE-ID, section 2.3: implementations must not exceed 2048 bytes. Bounds the work before any parsing.
MAX_URI_BYTES = 2048
# Leaves room for `<party>.<kind>.` within the 253 characters of a DNS name (RFC 1035, section 2.3.4).
MAX_TRUST_DOMAIN = 253 - len("regulator") - 63 - 2

_SCHEME = "spiffe://"


class IdentityError(ValueError):
    """A URI or a part of it names no member of any party. The message says which rule it broke."""


@dataclass(frozen=True)
class Identity:
    """One member of one party: a person or a workload.

    `trust_domain` is a lower-case DNS name of at most 179 characters, `kind` one of `KINDS`, `party` and
    `member` 2 to 63 characters of a-z, 0-9 and hyphen, opening with a letter and not closing with a hyphen.

    Raises IdentityError when any part breaks its rule, so every `Identity` that exists is well formed.
    """

    trust_domain: str
    kind: str
    party: str
    member: str

    def __post_init__(self) -> None:
        check_trust_domain(self.trust_domain)
        if self.kind not in KINDS:
            raise IdentityError(f"kind: an identity's kind is one of {', '.join(sorted(KINDS))}")
        check_name("party", self.party)
        check_name("member", self.member)

    @classmethod
    def parse(cls, uri: str) -> "Identity":
        """Return the identity that `uri` spells, and no other spelling of it.

        Raises IdentityError on anything but `spiffe://<trust-domain>/<kind>/<party>/<member>`: another
        scheme, a port, user information, a query, a fragment, a percent sign, upper case, a closing slash,
        an empty or dotted segment, more or fewer segments, more than 2048 bytes.
        """
        if len(uri) > MAX_URI_BYTES:
            raise IdentityError(f"uri: longer than {MAX_URI_BYTES} bytes")
        if not uri.startswith(_SCHEME):
            raise IdentityError(f"uri: must open with {_SCHEME}")
        parts = uri[len(_SCHEME) :].split("/")
        if len(parts) != 4:
            raise IdentityError("uri: must have the form spiffe://<trust-domain>/<kind>/<party>/<member>")
        return cls(*parts)

    @property
    def uri(self) -> str:
        return f"{_SCHEME}{self.trust_domain}/{self.kind}/{self.party}/{self.member}"

    @property
    def party_name(self) -> str:
        """The party's resource name at the exchange: `parties/<party>`."""
        return f"parties/{self.party}"

    def __str__(self) -> str:
        return self.uri


def server_dns_name(identity: Identity) -> str:
    """Return the one DNS name a server of this party answers to: `<party>.<kind>.<trust-domain>`.

    gRPC clients cannot match a server's URI, so they ask for this name whatever address they dial.
    """
    return f"{identity.party}.{identity.kind}.{identity.trust_domain}"


def check_name(field: str, name: str) -> str:
    """Return `name` if it may stand for a party or a member, else raise IdentityError naming `field`."""
    if not _NAME.fullmatch(name):
        raise IdentityError(
            f"{field}: 2 to 63 of a-z, 0-9 and hyphen, opening with a letter, not closing with a hyphen"
        )
    return name


def check_trust_domain(domain: str) -> str:
    """Return `domain` if it is a lower-case DNS name of at most 179 characters, else raise IdentityError."""
    if len(domain) > MAX_TRUST_DOMAIN:
        raise IdentityError(f"trust_domain: longer than {MAX_TRUST_DOMAIN} characters")
    if not all(_DOMAIN_LABEL.fullmatch(label) for label in domain.split(".")):
        raise IdentityError("trust_domain: must be a DNS name in lower case, such as bourse.test")
    return domain
