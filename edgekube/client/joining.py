"""Become a node by a token.

Enters: a server's address, the token, the machine's key and the name it would like.
Leaves: Joined: certificates and what there is to know of the cluster.
Holds: the token is sent only to a server whose certificate verifies under the CA that the token itself pins: a network that lies
learns nothing and is believed nothing. The key stays on this machine.
Next: daemon.membership.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from edgekube.api.cluster_facts import ClusterFacts, facts_from
from edgekube.api.errors import unavailable
from edgekube.api.objects import Object
from edgekube.client.doors import call, look_without_trust, trusting
from edgekube.pki.certificates import node_client_subject, node_serving_subject
from edgekube.pki.join_token import JoinToken, pinned
from edgekube.pki.requests import request_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


class NotThisCluster(Exception):
    """Whoever answers there is not the cluster that the token belongs to."""


class Joined(Struct, frozen=True):
    node_name: str
    client_certificate: str
    serving_certificate: str
    facts: ClusterFacts


def what_is_asked(node_name: str, key: EllipticCurvePrivateKey, serial: str) -> Object:
    """The body that every way of joining sends in the end (server.issuing reads it)."""
    return {
        "nodeName": node_name,
        "serial": serial,
        "clientRequest": request_pem(key, node_client_subject(node_name)),
        "servingRequest": request_pem(key, node_serving_subject(node_name)),
    }


def joined_from(node_name: str, body: Any) -> Joined:
    """What every way of joining is answered. StatusError ServiceUnavailable for an answer that makes no sense."""
    try:
        return Joined(node_name, str(body["clientCertificate"]), str(body["servingCertificate"]), facts_from(body["cluster"]))
    except (KeyError, TypeError, ValueError) as error:
        raise unavailable(f"the server's answer is incomplete: {error}") from error


async def join_with_token(
    address: tuple[str, int], token: JoinToken, node_name: str, key: EllipticCurvePrivateKey, serial: str
) -> Joined:
    """Raises NotThisCluster, or StatusError as the server (or its absence) has it."""
    host, port = address
    told = await look_without_trust(address)
    authority = pinned(str(told.get("caBundle") or ""), token.authority_hash)
    if authority is None:
        raise NotThisCluster(f"{host}:{port} is another cluster than the token's (its CA is not the one that the token pins)")
    asked = what_is_asked(node_name, key, serial)
    try:
        body = await call(address, trusting(authority), "POST", "join", asked, {"authorization": f"Bearer {token.credential}"})
    except ssl.SSLError as error:
        raise NotThisCluster(f"{host}:{port} shows the token's CA but cannot prove that it is its server: {error}") from error
    return joined_from(node_name, body)
