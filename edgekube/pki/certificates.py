"""Which certificates a server and its node need, and when they are made anew.

Enters: the authority, the node's names and addresses, the time.
Leaves: certificate and key files, ready for ssl.
Holds: a leaf is renewed at start when a third of its life is left, when a name is missing, or when another authority signed it.
Next: daemon opens the listeners with them.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekube.pki.authority import Authority, Subject
from edgekube.pki.files import PRIVATE, PUBLIC, write_durably

#: The name that API servers are verified by, whatever their address is.
SERVER_NAME: Final = "kubernetes.default.svc"
#: The name that an agent's serving certificate carries besides its node name.
AGENT_SUFFIX: Final = ".node.edgekube.internal"


@dataclass(frozen=True, slots=True)
class KeyPair:
    certificate: Path
    key: Path


def agent_server_name(node_name: str) -> str:
    """What the API server verifies an agent by: its node's name, never its address."""
    return f"{node_name}{AGENT_SUFFIX}"


def server_subject(names: Sequence[str], cluster_domain: str) -> Subject:
    in_cluster = ("kubernetes", "kubernetes.default", SERVER_NAME, f"{SERVER_NAME}.{cluster_domain}", "localhost")
    return Subject("kube-apiserver", (), "server", tuple(dict.fromkeys((*in_cluster, *names))))


def admin_subject() -> Subject:
    return Subject("system:admin", ("system:masters",), "client")


def controllers_subject() -> Subject:
    return Subject("system:kube-controller-manager", (), "client")


def agent_client_subject() -> Subject:
    """What the API server shows to agents (upstream's kubelet client)."""
    return Subject("kube-apiserver-kubelet-client", ("system:masters",), "client")


def node_subject(node_name: str, names: Sequence[str]) -> Subject:
    """An agent's identity, as client of the API and as server of its own port (Node authorization's naming)."""
    return Subject(f"system:node:{node_name}", ("system:nodes",), "both", (agent_server_name(node_name), node_name, *names))


def ensure(authority: Authority, directory: Path, stem: str, subject: Subject, *, now: datetime.datetime) -> KeyPair:
    """``directory/stem.crt`` and ``.key`` for the subject, issued unless good ones are there."""
    pair = KeyPair(directory / f"{stem}.crt", directory / f"{stem}.key")
    if not _still_good(authority, pair, subject, now):
        certificate, key = authority.issue(subject, now=now)
        # Key first: a power cut between the two leaves a pair that does not fit, which is issued anew.
        write_durably(pair.key, key, PRIVATE)
        write_durably(pair.certificate, certificate, PUBLIC)
    return pair


def _still_good(authority: Authority, pair: KeyPair, subject: Subject, now: datetime.datetime) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization

    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), password=None)
        certificate.verify_directly_issued_by(authority.certificate)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return False
    if key.public_key() != certificate.public_key():
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
