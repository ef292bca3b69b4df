"""The cluster's certificate authority: made at the first start, and what it signs.

Enters: a directory, names and addresses, the time.
Leaves: PEM files; ``ca.crt`` is what clients pin.
Holds: keys are private (0600) and ECDSA P-256, but for RSA 2048 where a subject asks for it; an authority that exists is never
replaced; a directory that holds half of one is refused.
Validity is back-dated, because a board without a clock chip may be behind its peers.
Next: pki.certificates decides which leaves a server needs.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from edgekube.pki.files import PRIVATE, PUBLIC, write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

AUTHORITY_DAYS: Final = 3650
LEAF_DAYS: Final = 365
#: How far back a certificate is valid: a peer's clock may be behind by this much.
BACKDATE: Final = datetime.timedelta(days=1)
#: What is wanted for a short time (less than SHORT) is not valid for much longer, looking back.
SHORT: Final = datetime.timedelta(days=7)
BACKDATE_OF_SHORT: Final = datetime.timedelta(minutes=5)

Purpose = Literal["server", "client", "both"]
KeyType = Literal["EC", "RSA"]


class AuthorityDamaged(Exception):
    """The directory holds part of an authority, or two parts that do not fit. Never mended by guessing."""


class Subject(Struct, frozen=True):
    """Who a certificate speaks for: CN is the user name, O are its groups (Kubernetes' X.509 authentication)."""

    common_name: str
    organizations: tuple[str, ...] = ()
    purpose: Purpose = "client"
    #: DNS names and IP addresses, for the server purpose.
    names: tuple[str, ...] = ()
    key_type: KeyType = "EC"


class Authority(Struct, frozen=True):
    certificate: Certificate
    certificate_pem: bytes
    _key: EllipticCurvePrivateKey

    def issue(self, subject: Subject, *, now: datetime.datetime, days: int = LEAF_DAYS) -> tuple[bytes, bytes]:
        """A new key and its certificate, as PEM: (certificate, key). The key exists nowhere else."""
        key = _new_key(subject.key_type)
        certificate = self._sign(subject, key.public_key(), now, days)
        return certificate, key_pem(key)

    def _sign(
        self, subject: Subject, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, now: datetime.datetime, days: int
    ) -> bytes:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        usages = {
            "server": [ExtendedKeyUsageOID.SERVER_AUTH],
            "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
            "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        }[subject.purpose]
        not_after = min(now + datetime.timedelta(days=days), self.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(distinguished_name(subject))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if subject.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(general_names(subject.names)), critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def sign_request(
        self,
        request: x509.CertificateSigningRequest,
        *,
        key_usages: frozenset[str],
        extended_usages: Sequence[x509.ObjectIdentifier],
        now: datetime.datetime,
        lifetime: datetime.timedelta,
    ) -> bytes:
        """The certificate that a request asks for: its subject, key and names as they are, everything else as told.
        ``key_usages`` are names of x509.KeyUsage. The caller has decided that it may be had."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - (BACKDATE_OF_SHORT if lifetime < SHORT else BACKDATE))
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False, more=key_usages), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if extended_usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended_usages), critical=False)
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=names.critical)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def load_or_create_authority(directory: Path, *, now: datetime.datetime, stem: str = "ca") -> Authority:
    """The authority in ``directory`` (``ca.crt``, ``ca.key``), made when neither file is there. Raises AuthorityDamaged."""
    certificate_path, key_path = directory / f"{stem}.crt", directory / f"{stem}.key"
    if not certificate_path.exists():
        # The certificate is written last: a key alone is what a power cut during the first start leaves.
        _create(certificate_path, key_path, now)
    if not key_path.exists():
        raise AuthorityDamaged(f"{certificate_path} is there but {key_path} is not: restore the key from a backup")
    return _load(certificate_path, key_path)


def _create(certificate_path: Path, key_path: Path, now: datetime.datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # The serial in the name keeps the authorities of two clusters apart in a client's store.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"edgekube-ca-{serial & 0xFFFFFFFF:08x}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_durably(key_path, key_pem(key), PRIVATE)
    write_durably(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), PUBLIC)


def _load(certificate_path: Path, key_path: Path) -> Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    pem = certificate_path.read_bytes()
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except ValueError as error:
        raise AuthorityDamaged(f"{certificate_path.parent} cannot be read as a certificate and its key: {error}") from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise AuthorityDamaged(f"{key_path} is not an ECDSA key")
    if key.public_key() != certificate.public_key():
        raise AuthorityDamaged(f"{key_path} is not the key of {certificate_path}: restore both from the same backup")
    return Authority(certificate, pem, key)


def _new_key(key_type: KeyType) -> EllipticCurvePrivateKey | RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    return ec.generate_private_key(ec.SECP256R1()) if key_type == "EC" else rsa.generate_private_key(65537, 2048)


def key_pem(key: EllipticCurvePrivateKey | RSAPrivateKey) -> bytes:
    """PKCS#8, or PKCS#1 for RSA: the forms in which every client reads them."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    formats = serialization.PrivateFormat
    private = formats.TraditionalOpenSSL if isinstance(key, RSAPrivateKey) else formats.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())


def distinguished_name(subject: Subject) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in subject.organizations]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name))
    return x509.Name(attributes)


def general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    result: list[x509.GeneralName] = []
    for name in names:
        try:
            result.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            result.append(x509.DNSName(name))
    return result


def _key_usage(*, authority: bool, more: frozenset[str] = frozenset()) -> x509.KeyUsage:
    """``more`` may only name what cannot make an authority of a leaf."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment="content_commitment" in more,
        key_encipherment="key_encipherment" in more,
        data_encipherment="data_encipherment" in more,
        key_agreement="key_agreement" in more,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
