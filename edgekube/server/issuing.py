"""The one way to a node's certificates, whoever let the node in: a token, a person who compared a code, a list of serials.

Enters: a node's name, its two signing requests, how it was admitted.
Leaves: the Secret that says which key the node is, two CertificateSigningRequests that anybody may look at, and the certificates.
Holds: a name belongs to one key until somebody removes the node; the requests ask for nothing but this node's own names; the
private key is never seen here.
Bound: limits.ISSUE_SECONDS for the signing loop to answer.
Next: controllers.certificates.signing signs; server.joining and the other doors call this.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Final

import orjson
import trio
from msgspec import Struct

from edgekube import limits
from edgekube.api import errors
from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST
from edgekube.api.names import dns1123_subdomain
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.objects import Object, name_of, revision_of
from edgekube.api.verbs import ListOptions, UserInfo, Verbs
from edgekube.controllers.certificates.approving import approval
from edgekube.controllers.certificates.rules import NODE_CLIENT, NODE_PREFIX, NODE_SERVING, NODES, refusal
from edgekube.pki.certificates import agent_server_name
from edgekube.pki.requests import Requested, RequestUnreadable, parse_request
from edgekube.server.node_identities import NodeIdentities

log = logging.getLogger("edgekube.server")

_CLIENT_USAGES: Final = ("digital signature", "client auth")
_SERVING_USAGES: Final = ("digital signature", "server auth")
#: The cause by which a machine sees that it should try another name.
NAME_TAKEN: Final = "NodeNameTaken"


class Asked(Struct, frozen=True):
    """What a machine wants to be, checked for sense: its key is in both requests, and they ask for its own names only."""

    node_name: str
    client: Requested
    client_pem: str
    serving_pem: str
    serial: str = ""

    @property
    def public_key(self) -> str:
        return self.client.public_key


class Issued(Struct, frozen=True):
    client_certificate: str
    serving_certificate: str
    facts: ClusterFacts

    def as_body(self) -> Object:
        """What every door that ends here answers."""
        return {
            "clientCertificate": self.client_certificate,
            "servingCertificate": self.serving_certificate,
            "caBundle": self.facts.authorities,
            "cluster": self.facts.as_data(),
        }


def asked_from(body: Object) -> Asked:
    """What a machine sent: nodeName, serial, clientRequest, servingRequest. StatusError BadRequest with what is wrong."""
    texts = {}
    for key, characters_max in (("nodeName", 253), ("serial", 128), ("clientRequest", 8192), ("servingRequest", 8192)):
        value = body.get(key, "")
        if not isinstance(value, str) or len(value) > characters_max:
            raise errors.bad_request(f"{key} must be a string of at most {characters_max} characters")
        texts[key] = value
    node_name = texts["nodeName"]
    if dns1123_subdomain(node_name) or len(node_name) > limits.NODE_NAME_CHARACTERS_MAX:
        most = limits.NODE_NAME_CHARACTERS_MAX
        raise errors.bad_request(f"nodeName must be lower-case letters, digits, '-' and '.', at most {most} characters")
    if not texts["serial"].isprintable():
        raise errors.bad_request("serial must be printable")
    try:
        client, serving = parse_request(texts["clientRequest"]), parse_request(texts["servingRequest"])
    except RequestUnreadable as error:
        raise errors.bad_request(str(error)) from error
    problem = _problem(node_name, client, serving)
    if problem:
        raise errors.bad_request(problem)
    return Asked(node_name, client, texts["clientRequest"], texts["servingRequest"], texts["serial"])


def _problem(node_name: str, client: Requested, serving: Requested) -> str:
    for name, requested, signer, usages in (
        ("clientRequest", client, NODE_CLIENT, _CLIENT_USAGES),
        ("servingRequest", serving, NODE_SERVING, _SERVING_USAGES),
    ):
        if requested.common_name != f"{NODE_PREFIX}{node_name}":
            return f"{name}: the common name must be {NODE_PREFIX}{node_name}"
        if why := refusal(signer, usages, requested):
            return f"{name}: {why}"
    # Any other name could be that of a server, which agents and people know by nothing else.
    if set(serving.dns_names) != {agent_server_name(node_name)} or serving.addresses:
        return f"servingRequest: the only name must be {agent_server_name(node_name)}"
    if client.public_key != serving.public_key:
        return "both requests must be of one key"
    return ""


class Issuer:
    def __init__(
        self,
        verbs: Verbs,
        verbs_of: Callable[[UserInfo], Verbs],
        identities: NodeIdentities,
        facts: Callable[[], ClusterFacts],
        clock: Callable[[], float],
    ) -> None:
        """``verbs_of``: the API as somebody else, so that a request carries the name of who asked."""
        self._verbs = verbs
        self._verbs_of = verbs_of
        self._identities = identities
        self._facts = facts
        self._clock = clock

    def check_name(self, asked: Asked) -> None:
        """StatusError Conflict when the name is another key's, Forbidden when it was revoked. Nothing is changed."""
        self._taken(asked, self._identities.get(asked.node_name))

    def _taken(self, asked: Asked, identity: NodeIdentity | None) -> None:
        if stolen := self._identities.revoked_key(asked.public_key):
            raise errors.forbidden("", "", "", f"the key of this machine was revoked with node {stolen.node_name}")
        if identity is None:
            if self._identities.count() >= limits.NODES_MAX:
                raise errors.forbidden("", "", "", f"this cluster has {limits.NODES_MAX} nodes, more than it can look after")
            return
        name = asked.node_name
        if identity.revoked:
            again = f"'edgekube node remove {name}' on the server lets the name be used again"
            why = f"node {name} was revoked at {identity.revoked}; {again}"
            raise StatusError("Forbidden", why, causes=[errors.Cause(NAME_TAKEN, why)])
        if not identity.has(asked.public_key):
            why = (
                f"the node name {name} belongs to another machine: give this one another name with --node-name, or, if the other "
                f"is gone for good, run 'edgekube node remove {name}' on the server"
            )
            raise StatusError("Conflict", why, causes=[errors.Cause(NAME_TAKEN, why)])

    async def issue(self, asked: Asked, *, method: str, user: UserInfo) -> Issued:
        """Register the key and have both certificates made. ``user``: whom the client's request is to be attributed to."""

        def register(before: NodeIdentity | None) -> NodeIdentity:
            self._taken(asked, before)
            return before or NodeIdentity(asked.node_name, asked.public_key, method, asked.serial)

        await self._identities.change(asked.node_name, register)
        log.info("node %s is admitted method=%s key=%s", asked.node_name, method, asked.public_key[:16])
        return await self.certify(asked, method=method, user=user)

    async def certify(self, asked: Asked, *, method: str, user: UserInfo) -> Issued:
        """Both certificates for a key that is already the node's."""
        node = UserInfo(f"{NODE_PREFIX}{asked.node_name}", groups=(NODES, "system:authenticated"))
        client = await self._certificate(asked, NODE_CLIENT, asked.client_pem, _CLIENT_USAGES, user, method)
        serving = await self._certificate(asked, NODE_SERVING, asked.serving_pem, _SERVING_USAGES, node, method)
        return Issued(client, serving, self._facts())

    async def _certificate(
        self, asked: Asked, signer: str, pem: str, usages: tuple[str, ...], user: UserInfo, method: str
    ) -> str:
        kind = "client" if signer == NODE_CLIENT else "serving"
        request: Object = {
            "metadata": {"generateName": f"node-{kind}-{asked.node_name}-", "labels": {"edgekube.io/node": asked.node_name[:63]}},
            "spec": {
                "request": base64.b64encode(pem.encode()).decode(),
                "signerName": signer,
                "usages": list(usages),
            },
        }
        created = await self._verbs_of(user).create(CERTIFICATESIGNINGREQUEST, "", request)
        approved = approval(created, "EdgekubeAdmitted", f"The node was admitted by {method}.", self._clock())
        approved_now = await self._verbs.update(CERTIFICATESIGNINGREQUEST, approved.object, subresource="approval")
        with trio.move_on_after(limits.ISSUE_SECONDS):
            return await self._signed(approved_now)
        raise errors.unavailable("the certificate was not signed in time: are the server's controllers running?", 5)

    async def _signed(self, request: Object) -> str:
        only = ListOptions(field_selector=f"metadata.name={name_of(request)}", revision=revision_of(request))
        async with self._verbs.watch(CERTIFICATESIGNINGREQUEST, "", only) as events:
            async for event in events:
                status = (orjson.loads(event.raw)).get("status") or {}
                if status.get("certificate"):
                    return base64.b64decode(status["certificate"]).decode()
                for condition in status.get("conditions") or ():
                    if condition.get("type") in ("Denied", "Failed"):
                        raise errors.forbidden("", "", "", str(condition.get("message") or condition["type"]))
        raise errors.unavailable("the server is shutting down")
