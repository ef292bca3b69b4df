"""The files by which an agent is somebody: kept from one start to the next.

Enters: the agent's directory; what joining brought, what the cluster tells later.
Leaves: paths for TLS; the membership that a former start left.
Holds: the key is made here and never read by anything but OpenSSL and the requests it signs; files are whole or absent; a
membership counts only when all its parts are there and fit each other.
Next: daemon.membership, daemon.agent.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.api.cluster_facts import ClusterFacts, facts_from
from edgekube.client.joining import Joined
from edgekube.pki.files import PRIVATE, PUBLIC, sync_directory, write_durably
from edgekube.wire.tls import client_context, fits

log = logging.getLogger("edgekube.agent")

_COMPLETE: Final = "complete"


class Membership(Struct, frozen=True):
    node_name: str
    facts: ClusterFacts


class NodeFiles:
    def __init__(self, directory: Path) -> None:
        """``directory`` is <data>/agent."""
        self.directory = directory
        pki = directory / "pki"
        self.key = pki / "node.key"
        self.client_certificate = pki / "client.crt"
        self.serving_certificate = pki / "serving.crt"
        self.authorities = pki / "ca.crt"
        self._next = pki / "next"
        self.next_key = self._next / "node.key"
        self.cluster = directory / "cluster.json"
        self.servers = directory / "servers.json"

    def prepare(self) -> None:
        self.key.parent.mkdir(parents=True, exist_ok=True)
        self.key.parent.chmod(0o700)
        self._move_next()

    def load(self) -> Membership | None:
        """None when the node has never joined, or what is left of it cannot be used; the log says what."""
        try:
            data = json.loads(self.cluster.read_text())
            membership = Membership(str(data["node-name"]), facts_from(data))
            for certificate in (self.client_certificate, self.serving_certificate):
                client_context(ca_path=self.authorities, cert_path=certificate, key_path=self.key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("%s: what is left of this node's membership cannot be used, joining again: %s", self.directory, error)
            return None
        return membership

    def save(self, joined: Joined) -> None:
        """The file that makes the others count is written last."""
        write_durably(self.authorities, joined.facts.authorities.encode(), PUBLIC)
        write_durably(self.serving_certificate, joined.serving_certificate.encode(), PUBLIC)
        write_durably(self.client_certificate, joined.client_certificate.encode(), PUBLIC)
        self._write_cluster(joined.node_name, joined.facts)

    def save_renewed(self, joined: Joined) -> None:
        """A new key and its certificates in the place of the old ones. They are whole beside them before the first is moved, and
        a power cut while they are moved is made good by the next start: there is no moment at which this node is nobody."""
        write_durably(self._next / "serving.crt", joined.serving_certificate.encode(), PUBLIC)
        write_durably(self._next / "client.crt", joined.client_certificate.encode(), PUBLIC)
        fits(self._next / "client.crt", self.next_key)
        fits(self._next / "serving.crt", self.next_key)
        write_durably(self._next / _COMPLETE, b"", PUBLIC)
        self._move_next()
        self.save_facts(joined.node_name, joined.facts)

    def _move_next(self) -> None:
        if not (self._next / _COMPLETE).exists():
            return
        for target in (self.key, self.serving_certificate, self.client_certificate):
            source = self._next / target.name
            if source.exists():  # else it was moved before the power cut
                source.replace(target)
        sync_directory(self.key.parent)
        (self._next / _COMPLETE).unlink()

    def save_facts(self, node_name: str, facts: ClusterFacts) -> None:
        """What the cluster tells of itself later: trust first, so that addresses are never ahead of it. ValueError when the
        authorities are none."""
        client_context(ca_data=facts.authorities.encode())
        if self.authorities.read_text() != facts.authorities:
            write_durably(self.authorities, facts.authorities.encode(), PUBLIC)
        self._write_cluster(node_name, facts)

    def _write_cluster(self, node_name: str, facts: ClusterFacts) -> None:
        text = json.dumps({"node-name": node_name, **facts.as_data()}, indent=1).encode()
        write_durably(self.cluster, text, PRIVATE)

    def forget(self) -> None:
        """The cluster does not know this node any more; its key stays, so that it can come back as the same."""
        for path in (self.cluster, self.client_certificate, self.serving_certificate):
            path.unlink(missing_ok=True)

    def last_servers(self) -> tuple[str, ...]:
        try:
            found = json.loads(self.servers.read_text())
        except (OSError, ValueError):
            return ()
        return tuple(each for each in found if isinstance(each, str)) if isinstance(found, list) else ()

    def save_servers(self, servers: tuple[str, ...]) -> None:
        """The one that answers comes first."""
        if servers != self.last_servers():
            write_durably(self.servers, json.dumps(list(servers)).encode(), PUBLIC)
