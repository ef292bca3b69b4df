"""Certificate signing requests: made on a node, read on the server.

Enters: a key file that never leaves its machine; PEM that a stranger sent.
Leaves: PKCS#10 as PEM; what a request asks for, once its own signature has been checked.
Holds: a key is ECDSA P-256, made where it is used, written 0600 before anything is asked with it.
Source: RFC 2986; kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests.
Next: pki.authority signs; server.issuing decides.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from edgekube.pki.authority import Subject, distinguished_name, general_names, key_pem
from edgekube.pki.files import PRIVATE, write_durably

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes


class RequestUnreadable(ValueError):
    """Not a certificate signing request, or not signed by the key it names."""


class Requested(Struct, frozen=True):
    """What a request asks for. ``public_key`` is the SHA-256 of the SubjectPublicKeyInfo, in hex."""

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    addresses: tuple[str, ...]
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    public_key: str
    csr: x509.CertificateSigningRequest


def load_or_create_key(path: Path) -> EllipticCurvePrivateKey:
    """The node's key, made at the first call. Raises OSError, or ValueError for a file that is no such key."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        key = ec.generate_private_key(ec.SECP256R1())
        write_durably(path, key_pem(key), PRIVATE)
        return key
    try:
        loaded = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read as a private key: {error}") from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not an ECDSA key")
    return loaded


def request_pem(key: EllipticCurvePrivateKey, subject: Subject) -> str:
    """A request for the subject's name, groups and names. (The purpose is not in it: the API asks for usages.)"""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    builder = x509.CertificateSigningRequestBuilder().subject_name(distinguished_name(subject))
    if subject.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(general_names(subject.names)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def public_key_hash(key: PublicKeyTypes) -> str:
    """SHA-256 of the SubjectPublicKeyInfo's DER, in hex: what a node is known by."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def certificate_key_hash(der: bytes) -> str:
    """public_key_hash of a certificate's key."""
    from cryptography import x509

    return public_key_hash(x509.load_der_x509_certificate(der).public_key())


def parse_request(pem: str) -> Requested:
    """Raises RequestUnreadable."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID

    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        if not csr.is_signature_valid:
            raise RequestUnreadable("the request is not signed by its own key")
        common = [str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if len(common) > 1:
            raise RequestUnreadable("the request has more than one common name")
        groups = tuple(str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
        try:
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            names = x509.SubjectAlternativeName([])
        return Requested(
            common_name=common[0] if common else "",
            organizations=groups,
            dns_names=tuple(names.get_values_for_type(x509.DNSName)),
            addresses=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
            emails=tuple(names.get_values_for_type(x509.RFC822Name)),
            uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
            public_key=public_key_hash(csr.public_key()),
            csr=csr,
        )
    except RequestUnreadable:
        raise
    except (ValueError, InvalidSignature, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise RequestUnreadable(f"unable to parse certificate request: {error}") from error
