"""What each built-in signer signs.

Enters: a signer's name, the usages that were asked for, and what the request says.
Leaves: why it is not signed, or nothing; the usages in the words of X.509.
Holds: pure. Stricter than upstream in one thing: no node is given a name of the API server or of another node's agent, whoever
approved it, because servers are known here by their names and by nothing else.
Source: kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests (Kubernetes signers);
k8s.io/kubernetes pkg/apis/certificates/helpers.go, pkg/controller/certificates/signer.
Next: controllers.certificates.signing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.pki.certificates import AGENT_SUFFIX, agent_server_name
from edgekube.pki.requests import Requested

API_CLIENT: Final = "kubernetes.io/kube-apiserver-client"
NODE_CLIENT: Final = "kubernetes.io/kube-apiserver-client-kubelet"
NODE_SERVING: Final = "kubernetes.io/kubelet-serving"
SIGNERS: Final = frozenset({API_CLIENT, NODE_CLIENT, NODE_SERVING})

NODES: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"

_CLIENT: Final = frozenset({"digital signature", "client auth"})
_SERVING: Final = frozenset({"digital signature", "server auth"})
_OPTIONAL: Final = "key encipherment"
_API_CLIENT_USAGES: Final = _CLIENT | {_OPTIONAL}

#: The usages of certificates.k8s.io as names of x509.KeyUsage ...
KEY_USAGES: Final = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
}
#: ... and as object identifiers (RFC 5280, 4.2.1.12).
EXTENDED_USAGES: Final = {"client auth": "1.3.6.1.5.5.7.3.2", "server auth": "1.3.6.1.5.5.7.3.1"}


def refusal(signer: str, usages: Iterable[str], requested: Requested) -> str:
    """Why this signer does not sign the request; "" when it does."""
    asked = frozenset(usages)
    match signer:
        case "kubernetes.io/kube-apiserver-client":
            return _of_api_client(asked)
        case "kubernetes.io/kube-apiserver-client-kubelet":
            return _of_node_client(asked, requested)
        case "kubernetes.io/kubelet-serving":
            return _of_node_serving(asked, requested)
    return f"unknown signer {signer}"


def _of_api_client(asked: frozenset[str]) -> str:
    if not asked <= _API_CLIENT_USAGES or "client auth" not in asked:
        return _usages(_API_CLIENT_USAGES)
    return ""


def _of_node_client(asked: frozenset[str], requested: Requested) -> str:
    if why := _of_node(requested):
        return why
    if requested.dns_names or requested.addresses or requested.emails or requested.uris:
        return "DNS names, IP addresses, emails and URIs are not allowed"
    return "" if asked - {_OPTIONAL} == _CLIENT else _usages(_CLIENT)


def _of_node_serving(asked: frozenset[str], requested: Requested) -> str:
    if why := _of_node(requested):
        return why
    if requested.emails or requested.uris:
        return "email and URI subject alternative names are not allowed"
    if not requested.dns_names and not requested.addresses:
        return "at least one DNS or IP subject alternative name is required"
    own = agent_server_name(requested.common_name.removeprefix(NODE_PREFIX))
    for name in requested.dns_names:
        if name != own and _is_anothers(name.lower().rstrip(".")):
            return f"{name} is not a node's name"
    return "" if asked - {_OPTIONAL} == _SERVING else _usages(_SERVING)


def _of_node(requested: Requested) -> str:
    if requested.organizations != (NODES,):
        return f"organization must be {NODES}"
    if not requested.common_name.startswith(NODE_PREFIX) or requested.common_name == NODE_PREFIX:
        return f"common name must be {NODE_PREFIX}NAME"
    return ""


def _is_anothers(name: str) -> bool:
    """A server's, by which everybody knows it and by nothing else, or another agent's. A wildcard could be either."""
    return "*" in name or name.endswith(AGENT_SUFFIX) or name == "kubernetes" or name.startswith("kubernetes.default")


def _usages(allowed: frozenset[str]) -> str:
    return f"usages did not match {sorted(allowed - {_OPTIONAL})}, {_OPTIONAL!r} being optional"
