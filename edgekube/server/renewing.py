"""POST /edgekube/v1/renew: a node gets new certificates for a new key, by the key it is known by.

Enters: the node's certificate in TLS, in date or not; what it wants to be, as in joining.
Leaves: new certificates, and what there is to know of the cluster.
Holds: the only thing that an expired certificate is good for. A key that is not the node's (any more), of a node that was removed
or revoked, gets nothing. The key that asked stays good until the new one has been used: an answer that is lost locks nobody out.
Bound: server.doors.
Next: server.issuing.
"""

from __future__ import annotations

import logging

from msgspec.structs import replace

from edgekube.api import errors
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.verbs import UserInfo
from edgekube.pki.requests import certificate_key_hash
from edgekube.server.doors import answer, body_of
from edgekube.server.identity import NODE_PREFIX, NODES, user_of_certificate
from edgekube.server.issuing import Issuer, asked_from
from edgekube.server.node_identities import NodeIdentities
from edgekube.wire.protocol import Request, Responder

log = logging.getLogger("edgekube.server")


class Renewing:
    def __init__(self, issuer: Issuer, nodes: NodeIdentities) -> None:
        self._issuer = issuer
        self._nodes = nodes

    async def serve(self, request: Request, responder: Responder) -> None:
        certificate = request.peer_certificate or request.expired_certificate
        if certificate is None:
            raise errors.unauthorized("Unauthorized: a node's certificate of this cluster is needed, in date or not")
        user = user_of_certificate(certificate)
        if NODES not in user.groups or not user.name.startswith(NODE_PREFIX):
            raise errors.forbidden("", "", "", "only nodes renew their certificates here")
        name, key = user.name.removeprefix(NODE_PREFIX), certificate_key_hash(certificate)
        self._check(name, key)
        asked = asked_from(await body_of(request))
        if asked.node_name != name:
            log.warning("node %s asked for certificates of node %s", name, asked.node_name)
            raise errors.forbidden("", "nodes", asked.node_name, f"the certificate shown is that of node {name}")

        def with_new_key(before: NodeIdentity | None) -> NodeIdentity:
            self._check(name, key)
            if before is None or before.revoked or not before.has(key):
                raise errors.unauthorized(f"Unauthorized: this is not the key that node {name} is known by")
            return replace(before, public_key=asked.public_key, previous_public_key=key)

        await self._nodes.change(name, with_new_key)
        node = UserInfo(user.name, groups=(NODES, "system:authenticated"))
        issued = await self._issuer.certify(asked, method="renewal", user=node)
        late = "" if request.peer_certificate else " (the old one had expired)"
        log.info("node %s has a new certificate key=%s%s", name, asked.public_key[:16], late)
        await answer(request, responder, issued.as_body())

    def _check(self, name: str, key: str) -> None:
        why = self._nodes.objection(name, key)
        if why:
            raise errors.unauthorized(f"Unauthorized: {why}")
