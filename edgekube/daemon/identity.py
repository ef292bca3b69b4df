"""The files that say who everybody is: made at the first start, renewed at later ones and while the server runs.

Enters: Settings, the machine's addresses, the time.
Leaves: certificates, the token key, kubeconfigs; as paths and values for the listeners and clients.
Holds: private files are 0600; a kubeconfig is written again only when it changed. Next: daemon.server, daemon.certificates.
"""

from __future__ import annotations

import datetime
import socket
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from edgekube.pki import kubeconfig
from edgekube.pki.authorities import Authorities
from edgekube.pki.authority import Authority, load_or_create_authority
from edgekube.pki.certificate_facts import facts_of, name_of
from edgekube.pki.certificates import (
    KeyPair,
    admin_subject,
    agent_client_subject,
    front_proxy_subject,
    node_subject,
    pair_of,
    renew,
    server_subject,
)
from edgekube.pki.files import PRIVATE, write_durably
from edgekube.pki.requests import public_key_hash
from edgekube.pki.token_keys import TokenKeys
from edgekube.settings import Settings


class Identity(Struct, frozen=True):
    """``authorities`` and ``token_keys`` change while the server runs; the files keep their names."""

    authorities: Authorities
    token_keys: TokenKeys
    #: Vouches for nothing but this server as the one that other API servers may believe (server.aggregation).
    front_proxy_authority: Authority

    @property
    def authority(self) -> Authority:
        """That signs now."""
        return self.authorities.signing

    @property
    def authority_path(self) -> Path:
        """All authorities that are trusted."""
        return self.authorities.bundle_path

    @property
    def authority_pem(self) -> bytes:
        return self.authorities.bundle

    @property
    def server(self) -> KeyPair:
        return pair_of(self.authorities.directory, "server")

    @property
    def admin(self) -> KeyPair:
        return pair_of(self.authorities.directory, "admin")

    @property
    def agent_client(self) -> KeyPair:
        return pair_of(self.authorities.directory, "agent-client")

    @property
    def front_proxy(self) -> KeyPair:
        """What this server shows to API servers behind it."""
        return pair_of(self.authorities.directory, "front-proxy-client")

    @property
    def node(self) -> KeyPair:
        return pair_of(self.authorities.directory, "node")


def prepare_identity(settings: Settings, node_ip: str, now: datetime.datetime | None = None) -> Identity:
    """Raises AuthorityDamaged or OSError; both say which file."""
    now = now or datetime.datetime.now(datetime.UTC)
    directory = settings.pki_dir
    for parent in (settings.server_dir, directory):
        parent.mkdir(parents=True, exist_ok=True)
        parent.chmod(0o700)
    front_proxy = load_or_create_authority(directory, now=now, stem="front-proxy-ca")
    identity = Identity(Authorities(directory, now), TokenKeys.load_or_create(directory), front_proxy)
    issue_leaves(settings, identity, node_ip.split(","), now)
    return identity


def issue_leaves(
    settings: Settings, identity: Identity, addresses: Sequence[str], now: datetime.datetime, *, anew: bool = False
) -> bool:
    """Whatever is missing, aged, of other names or of another authority; ``anew``: all of them. Whether there was any."""
    directory, authorities = identity.authorities.directory, identity.authorities
    own = [settings.node_name, socket.gethostname().lower()]
    names = dict.fromkeys([*own, *addresses, "127.0.0.1", "::1", settings.kubernetes_service_ip])
    issued = [
        renew(authority, directory, stem, subject, now=now, anew=anew)
        for stem, authority, subject in (
            ("server", authorities.serving, server_subject(list(names), settings.cluster_domain)),
            ("admin", authorities.signing, admin_subject()),
            ("agent-client", authorities.signing, agent_client_subject()),
            ("front-proxy-client", identity.front_proxy_authority, front_proxy_subject()),
            ("node", authorities.signing, node_subject(settings.node_name, [*addresses, "127.0.0.1"])),
        )
    ]
    text = kubeconfig.render(
        server=f"https://127.0.0.1:{settings.https_port}",
        authority_pem=authorities.bundle,
        certificate_pem=identity.admin.certificate.read_bytes(),
        key_pem=identity.admin.key.read_bytes(),
    )
    for path in (settings.kubeconfig, settings.admin_kubeconfig):
        _write_if_changed(path, text)
    return any(issued)


def _write_if_changed(path: Path, text: bytes) -> None:
    try:
        if path.read_bytes() == text:
            path.chmod(PRIVATE)
            return
    except OSError:
        pass
    write_durably(path, text, PRIVATE)


def own_public_key(pair: KeyPair) -> str:
    """The hash by which a node's key is known."""
    from cryptography import x509

    return public_key_hash(x509.load_pem_x509_certificate(pair.certificate.read_bytes()).public_key())


def is_api_server(peer_certificate: bytes | None) -> bool:
    """Whether the peer of an agent is this cluster's API server: TLS has verified the certificate, the name decides."""
    if peer_certificate is None:
        return False
    wanted = agent_client_subject()
    return facts_of(peer_certificate).subject == name_of(wanted.common_name, wanted.organizations)
