"""What a node may ask of the API: upstream's Node authorizer.

Enters: Attributes of a request; the graph of what its pods name.
Leaves: yes, or no opinion with the reason; it never forbids what a role allows.
Holds: pure. Secrets, ConfigMaps, claims, volumes and accounts only when a pod bound to the node names them; pods of other nodes
never; writes of nodes, pods and leases are narrowed further by admission.node_restriction. Unlike upstream a node may read all
Nodes and the addresses of pods: each machine programs routes, services and policies itself, as kube-proxy and CNI plugins do.
Source: kubernetes.io, "Using Node Authorization"; k8s.io/kubernetes plugin/pkg/auth/authorizer/node (AuthorizeNodeWithSelectors).
Next: admission.chain; server.app asks.
"""

from __future__ import annotations

from typing import Final

from edgekube.admission.attributes import Attributes, Decision
from edgekube.admission.node_graph import NodeGraph
from edgekube.admission.rbac import Rule
from edgekube.api.errors import StatusError
from edgekube.api.local_path import NODE_LABEL
from edgekube.api.selectors.label_text import parse_label_selector
from edgekube.api.verbs import UserInfo

NODES_GROUP: Final = "system:nodes"
NODE_PREFIX: Final = "system:node:"
LEASE_NAMESPACE: Final = "kube-node-lease"
#: What every node needs to know of its cluster: addresses of servers and authorities; what its DNS asks elsewhere.
CLUSTER_SETTINGS: Final = (("kube-system", "edgekube-cluster"), ("kube-system", "kube-dns"))

_READ: Final = ("get", "list", "watch")
_OWN_VERBS: Final = ("get", "create", "update", "patch", "delete")
_UNRELATED: Final = "no relationship found between node '{}' and this object"
_YES: Final = Decision(True)
#: No opinion: made once, for it is what everybody else's requests get.
_NONE: Final = Decision(False)


def _rule(verbs: tuple[str, ...], group: str, *resources: str) -> Rule:
    return Rule(frozenset(verbs), frozenset({group}), frozenset(resources), frozenset(), ())


#: What is the same for every node. What is not here, and not decided below, is for roles to allow.
RULES: Final = (
    _rule(("create",), "authentication.k8s.io", "tokenreviews"),
    _rule(("create",), "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
    _rule(_READ, "", "services", "namespaces", "nodes"),
    _rule(_READ, "discovery.k8s.io", "endpointslices"),
    _rule(_READ, "networking.k8s.io", "networkpolicies", "servicecidrs"),
    _rule(_READ, "node.k8s.io", "runtimeclasses"),
    _rule(_READ, "storage.k8s.io", "csidrivers"),
    _rule(_READ, "internal.edgekube.io", "podaddresses"),
    _rule(("create", "update", "patch"), "", "events"),
    _rule(("create", "update", "patch"), "events.k8s.io", "events"),
    _rule(("create", "get"), "certificates.k8s.io", "certificatesigningrequests"),
)


def node_name_of(user: UserInfo) -> str | None:
    """The node that the user is, "" for a member of the nodes' group without a node's name, None for anybody else."""
    if NODES_GROUP not in user.groups:
        return None
    return user.name.removeprefix(NODE_PREFIX) if user.name.startswith(NODE_PREFIX) else ""


class NodeAuthorizer:
    """admission.attributes.Authorizer."""

    def __init__(self, graph: NodeGraph) -> None:
        self._graph = graph

    def authorize(self, attributes: Attributes) -> Decision:
        node = node_name_of(attributes.user)
        if node is None:
            return _NONE
        if not node:
            return Decision(False, f'unknown node for user "{attributes.user.name}"')
        match attributes.group, attributes.resource:
            case "", ("secrets" | "configmaps"):
                return self._read(node, attributes)
            case "", "persistentvolumeclaims" if attributes.subresource == "status":
                return self._write_claim_status(node, attributes)
            case "", "persistentvolumes":
                return self._volume(node, attributes)
            case ("", "persistentvolumeclaims") | ("resource.k8s.io", "resourceclaims"):
                return self._get(node, attributes)
            case "storage.k8s.io", "volumeattachments":
                return self._get(node, attributes)
            case "", "serviceaccounts":
                return self._account(node, attributes)
            case "coordination.k8s.io", "leases":
                return _lease(node, attributes)
            case "storage.k8s.io", "csinodes":
                return _csi_node(node, attributes)
            case "", "nodes" if attributes.verb not in _READ or attributes.subresource:
                return _write_node(attributes)
            case "", "pods":
                return self._pod(node, attributes)
        return _YES if any(rule.allows(attributes) for rule in RULES) else _NONE

    def _related(self, node: str, attributes: Attributes) -> Decision:
        if not attributes.name:
            return Decision(False, "No Object name found")
        if self._graph.reaches(node, attributes.resource, attributes.namespace, attributes.name):
            return _YES
        return Decision(False, _UNRELATED.format(node))

    def _read(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in _READ:
            return Decision(False, "can only read resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot read subresource")
        if not attributes.namespace:
            return Decision(False, "can only read namespaced object of this type")
        if attributes.resource == "configmaps" and (attributes.namespace, attributes.name) in CLUSTER_SETTINGS:
            return _YES
        return self._related(node, attributes)

    def _get(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if attributes.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, attributes)

    def _volume(self, node: str, attributes: Attributes) -> Decision:
        """A node follows the volumes that are directories of its own, and lets them go (admission.node_restriction)."""
        if not attributes.subresource:
            if attributes.verb in ("list", "watch") and _selects_own_volumes(node, attributes.label_selector):
                return _YES
            if attributes.verb == "patch" and self._graph.has_local(node, attributes.name):
                return _YES
        return self._get(node, attributes)

    def _write_claim_status(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb not in ("update", "patch"):
            return Decision(False, "can only update status of this type")
        return self._related(node, attributes)

    def _account(self, node: str, attributes: Attributes) -> Decision:
        if attributes.verb == "get" and not attributes.subresource:
            return self._get(node, attributes)
        if attributes.verb != "create" or not attributes.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if attributes.subresource != "token":
            return Decision(False, "can only create token subresource of service account")
        return self._related(node, attributes)

    def _pod(self, node: str, attributes: Attributes) -> Decision:
        match attributes.subresource, attributes.verb:
            case "", "get":
                runs = self._graph.runs(node, attributes.namespace, attributes.name)
                return _YES if runs else Decision(False, _UNRELATED.format(node))
            case "", "list" | "watch":
                own = ("spec.nodeName", node) in attributes.fields
                why = "can only list/watch pods with spec.nodeName field selector"
                return _YES if own else Decision(False, why)
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return _YES  # admission.node_restriction looks at the pod
        what = f"{attributes.verb} pods/{attributes.subresource}" if attributes.subresource else f"{attributes.verb} pods"
        return Decision(False, f"node '{node}' cannot {what}")


def _selects_own_volumes(node: str, label_selector: str) -> bool:
    try:
        return bool(label_selector) and parse_label_selector(label_selector).exact(NODE_LABEL) == node
    except StatusError:
        return False


def _lease(node: str, attributes: Attributes) -> Decision:
    if attributes.verb not in _OWN_VERBS or attributes.subresource:
        return Decision(False, "can only get, create, update, patch, or delete a node lease")
    if attributes.namespace != LEASE_NAMESPACE:
        return Decision(False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if attributes.verb != "create" and attributes.name != node:
        return Decision(False, "can only access node lease with the same name as the requesting node")
    return _YES


def _csi_node(node: str, attributes: Attributes) -> Decision:
    if attributes.subresource:
        return Decision(False, "cannot authorize CSINode subresources")
    if attributes.verb not in _OWN_VERBS:
        return Decision(False, "can only get, create, update, patch, or delete a CSINode")
    if attributes.verb != "create" and attributes.name != node:
        return Decision(False, "can only access CSINode with the same name as the requesting node")
    return _YES


def _write_node(attributes: Attributes) -> Decision:
    """admission.node_restriction says which Node, and what of it."""
    match attributes.subresource, attributes.verb:
        case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
            return _YES
    return Decision(False, "can only create and update Nodes, and their status")
