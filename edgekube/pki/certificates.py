"""Which certificates a server and its node need, and when they are made anew.

Enters: the authority, the node's names and addresses, the time.
Leaves: certificate and key files, ready for ssl.
Holds: a leaf is renewed when a third of its life is left, when a name is missing, or when another authority signed it.
Next: daemon opens the listeners with them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.pki.authority import Authority, Subject
from edgekube.pki.files import PRIVATE, PUBLIC, write_durably

#: The name that API servers are verified by, whatever their address is.
SERVER_NAME: Final = "kubernetes.default.svc"
#: The name by which API servers behind this one know it (requestheader-allowed-names).
FRONT_PROXY_NAME: Final = "front-proxy-client"
#: The name that an agent's serving certificate carries besides its node name.
AGENT_SUFFIX: Final = ".node.edgekube.internal"


class KeyPair(Struct, frozen=True):
    certificate: Path
    key: Path


def agent_server_name(node_name: str) -> str:
    """What the API server verifies an agent by: its node's name, never its address."""
    return f"{node_name}{AGENT_SUFFIX}"


def server_subject(names: Sequence[str], cluster_domain: str) -> Subject:
    in_cluster = ("kubernetes", "kubernetes.default", SERVER_NAME, f"{SERVER_NAME}.{cluster_domain}", "localhost")
    return Subject("kube-apiserver", (), "server", tuple(dict.fromkeys((*in_cluster, *names))))


def admin_subject() -> Subject:
    """Its key is RSA, as kubeadm's: Java clients (fabric8) read no other from a kubeconfig without a library of their own."""
    return Subject("system:admin", ("system:masters",), "client", key_type="RSA")


def controllers_subject() -> Subject:
    return Subject("system:kube-controller-manager", (), "client")


def agent_client_subject() -> Subject:
    """What the API server shows to agents (upstream's kubelet client)."""
    return Subject("kube-apiserver-kubelet-client", ("system:masters",), "client")


def front_proxy_subject() -> Subject:
    """What the API server shows to API servers behind it, which take a user's name from its headers."""
    return Subject(FRONT_PROXY_NAME, (), "client")


def node_subject(node_name: str, names: Sequence[str]) -> Subject:
    """An agent's identity, as client of the API and as server of its own port (Node authorization's naming)."""
    return Subject(f"system:node:{node_name}", ("system:nodes",), "both", (agent_server_name(node_name), node_name, *names))


def node_client_subject(node_name: str) -> Subject:
    """An agent as client of the API."""
    return Subject(f"system:node:{node_name}", ("system:nodes",), "client")


def node_serving_subject(node_name: str) -> Subject:
    """An agent's own port: known by its name, wherever it is. Never by the bare name: who may choose one could call himself
    kubernetes.default.svc, and be a server to every other node."""
    return Subject(f"system:node:{node_name}", ("system:nodes",), "server", (agent_server_name(node_name),))


def pair_of(directory: Path, stem: str) -> KeyPair:
    return KeyPair(directory / f"{stem}.crt", directory / f"{stem}.key")


def ensure(authority: Authority, directory: Path, stem: str, subject: Subject, *, now: datetime.datetime) -> KeyPair:
    """``directory/stem.crt`` and ``.key`` for the subject, issued unless good ones are there."""
    renew(authority, directory, stem, subject, now=now)
    return pair_of(directory, stem)


def renew(
    authority: Authority, directory: Path, stem: str, subject: Subject, *, now: datetime.datetime, anew: bool = False
) -> bool:
    """As ``ensure``; ``anew``: even when good ones are there. Whether they were issued."""
    pair = pair_of(directory, stem)
    if not anew and _still_good(authority, pair, subject, now):
        return False
    certificate, key = authority.issue(subject, now=now)
    # Key first: a power cut between the two leaves a pair that does not fit, which is issued anew.
    write_durably(pair.key, key, PRIVATE)
    write_durably(pair.certificate, certificate, PUBLIC)
    return True


def _still_good(authority: Authority, pair: KeyPair, subject: Subject, now: datetime.datetime) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        certificate.verify_directly_issued_by(authority.certificate)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    if key.public_key() != certificate.public_key() or isinstance(key, RSAPrivateKey) != (subject.key_type == "RSA"):
        return False
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if certificate.not_valid_after_utc - now < life / 3 or now < certificate.not_valid_before_utc:
        return False
    return subject_of(certificate) == (subject.common_name, subject.organizations) and _has_names(certificate, subject)


def subject_of(certificate: object) -> tuple[str, tuple[str, ...]]:
    """(common name, organizations) of a cryptography.x509.Certificate."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    assert isinstance(certificate, x509.Certificate)
    names = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    return (names[0] if names else "", groups)


def _has_names(certificate: object, subject: Subject) -> bool:
    from cryptography import x509

    assert isinstance(certificate, x509.Certificate)
    if not subject.names:
        return True
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    held = {str(name) for name in extension.get_values_for_type(x509.DNSName)}
    held |= {str(address) for address in extension.get_values_for_type(x509.IPAddress)}
    return set(subject.names) <= held
