"""The files that say who everybody is: made at the first start, renewed at later ones.

Enters: Settings, the node's address, the time.
Leaves: certificates, the token key, kubeconfigs; as paths and values for the listeners and clients.
Holds: private files are 0600; a kubeconfig is written again only when it changed. Next: daemon.server.
"""

from __future__ import annotations

import datetime
import socket
from dataclasses import dataclass
from pathlib import Path

from edgekube.pki import kubeconfig
from edgekube.pki.authority import load_or_create_authority
from edgekube.pki.certificates import (
    KeyPair,
    admin_subject,
    agent_client_subject,
    ensure,
    node_subject,
    server_subject,
    subject_of,
)
from edgekube.pki.files import PRIVATE, write_durably
from edgekube.pki.tokens import TokenKey
from edgekube.settings import Settings


@dataclass(frozen=True, slots=True)
class Identity:
    authority_path: Path
    authority_pem: bytes
    server: KeyPair
    agent_client: KeyPair
    node: KeyPair
    token_key: TokenKey


def prepare_identity(settings: Settings, node_ip: str) -> Identity:
    """Raises AuthorityDamaged or OSError; both say which file."""
    now = datetime.datetime.now(datetime.UTC)
    directory = settings.pki_dir
    for parent in (settings.server_dir, directory):
        parent.mkdir(parents=True, exist_ok=True)
        parent.chmod(0o700)
    authority = load_or_create_authority(directory, now=now)
    names = dict.fromkeys(
        [settings.node_name, socket.gethostname().lower(), node_ip, "127.0.0.1", "::1", settings.kubernetes_service_ip]
    )
    server = ensure(authority, directory, "server", server_subject(list(names), settings.cluster_domain), now=now)
    admin = ensure(authority, directory, "admin", admin_subject(), now=now)
    agent_client = ensure(authority, directory, "agent-client", agent_client_subject(), now=now)
    node = ensure(authority, directory, "node", node_subject(settings.node_name, [node_ip, "127.0.0.1"]), now=now)
    text = kubeconfig.render(
        server=f"https://127.0.0.1:{settings.https_port}",
        authority_pem=authority.certificate_pem,
        certificate_pem=admin.certificate.read_bytes(),
        key_pem=admin.key.read_bytes(),
    )
    for path in (settings.kubeconfig, settings.admin_kubeconfig):
        _write_if_changed(path, text)
    return Identity(
        authority_path=directory / "ca.crt",
        authority_pem=authority.certificate_pem,
        server=server,
        agent_client=agent_client,
        node=node,
        token_key=TokenKey.load_or_create(directory),
    )


def _write_if_changed(path: Path, text: bytes) -> None:
    try:
        if path.read_bytes() == text:
            path.chmod(PRIVATE)
            return
    except OSError:
        pass
    write_durably(path, text, PRIVATE)


def is_api_server(peer_certificate: bytes | None) -> bool:
    """Whether the peer of an agent is this cluster's API server: TLS has verified the certificate, the name decides."""
    from cryptography import x509

    if peer_certificate is None:
        return False
    wanted = agent_client_subject()
    return subject_of(x509.load_der_x509_certificate(peer_certificate)) == (wanted.common_name, wanted.organizations)
