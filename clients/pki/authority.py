"""A development authority: one ECDSA P-256 root and the certificates that it issues.

For development, tests and demonstrations: production brings its own authority and hands out certificates of
the same shape. Nothing here reads a clock or a file.

Source: docs/spec/identity.md; SPIFFE X509-SVID, sections 2 to 4; RFC 5280.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from wire.identity import Identity, check_trust_domain, server_dns_name

# Clocks of two machines differ; a certificate made now must be accepted now.
_CLOCK_SKEW = timedelta(minutes=5)
MAX_CERTIFICATE_DAYS = 397  # the CA/Browser Forum's bound for server certificates
MAX_AUTHORITY_DAYS = 3653


class AuthorityError(ValueError):
    """The authority cannot do what was asked. The message names the field, its limit and the way out."""


@dataclass(frozen=True)
class Authority:
    """A root certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def trust_domain(self) -> str:
        return trust_domain_of(self.certificate)


@dataclass(frozen=True)
class ServerNames:
    """By what a server may be asked for besides `<party>.<kind>.<trust-domain>`; usually by nothing."""

    dns_names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()


def new_authority(trust_domain: str, *, now: datetime, days: int) -> Authority:
    """Return a fresh authority for `trust_domain`, valid from `now` for 1 to 3653 days.

    Raises IdentityError for a malformed domain and AuthorityError for other days.
    """
    check_trust_domain(trust_domain)
    _check_days(days, MAX_AUTHORITY_DAYS)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bourse development authority")])
    certificate = (
        _builder(name, name, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]),
            critical=False,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue_certificate(
    authority: Authority,
    identity: Identity,
    public_key: ec.EllipticCurvePublicKey,
    *,
    server: ServerNames | None,
    now: datetime,
    days: int,
) -> x509.Certificate:
    """Return a certificate that says `public_key` is `identity`'s, valid from `now` for 1 to 397 days.

    It carries exactly one URI name. With `server`, also the server's DNS name and leave to be one. Raises
    AuthorityError for an identity of another trust domain, for days out of range or beyond the authority's
    own end.
    """
    if identity.trust_domain != authority.trust_domain:
        raise AuthorityError(
            f"trust_domain: this authority issues for {authority.trust_domain} only; make another with "
            "`bourse pki init`"
        )
    _check_days(days, MAX_CERTIFICATE_DAYS)
    end = authority.certificate.not_valid_after_utc
    if now + timedelta(days=days) > end:
        raise AuthorityError(
            f"days: the authority itself ends on {end:%Y-%m-%d}; ask for fewer days or make another"
        )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    if server is not None:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        dns_names = dict.fromkeys((server_dns_name(identity), *server.dns_names))
        names += [x509.DNSName(_checked_dns_name(name)) for name in dns_names]
        names += [x509.IPAddress(address) for address in server.addresses]
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.party),
            x509.NameAttribute(NameOID.COMMON_NAME, identity.member),
        ]
    )
    issuer_key = authority.key.public_key()
    return (
        _builder(subject, authority.certificate.subject, public_key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def server_names_of(certificate: x509.Certificate) -> ServerNames | None:
    """Return the names a server's certificate carries, so that its successor carries them too; None for a
    client's.
    """
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        return None
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return ServerNames(
        tuple(names.get_values_for_type(x509.DNSName)),
        tuple(address for address in addresses if isinstance(address, IPv4Address | IPv6Address)),
    )


def trust_domain_of(certificate: x509.Certificate) -> str:
    """Return the trust domain that a root certificate names. Raises AuthorityError when it names none."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        return check_trust_domain(uri.removeprefix("spiffe://"))
    except (x509.ExtensionNotFound, ValueError):
        raise AuthorityError(
            "ca.crt: names no trust domain; only an authority of `bourse pki init` can issue"
        ) from None


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _check_days(days: int, limit: int) -> None:
    if not 1 <= days <= limit:
        raise AuthorityError(f"days: must be 1 to {limit}")


def _checked_dns_name(name: str) -> str:
    try:
        return check_trust_domain(name)
    except ValueError:
        raise AuthorityError("dns: must be a DNS name in lower case, such as node.bank.example") from None
