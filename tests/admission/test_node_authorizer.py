"""The Node authorizer, verb by verb."""

from __future__ import annotations

from typing import Final

import pytest

from edgekube.admission.attributes import Attributes, Decision
from edgekube.admission.chain import Chain
from edgekube.admission.node_authorizer import NodeAuthorizer
from edgekube.admission.node_graph import NodeGraph
from edgekube.admission.rbac import RoleIndex
from edgekube.api.verbs import UserInfo

PI: Final = UserInfo("system:node:pi-1", groups=("system:nodes", "system:authenticated"))
UNRELATED: Final = "no relationship found between node 'pi-1' and this object"


def authorizer() -> NodeAuthorizer:
    graph = NodeGraph()
    for name, node in (("mine", "pi-1"), ("other", "pi-2"), ("waiting", "")):
        spec = {
            "nodeName": node,
            "serviceAccountName": f"{name}-account",
            "volumes": [{"secret": {"secretName": f"{name}-secret"}}, {"configMap": {"name": f"{name}-config"}}],
        }
        graph.put_pod({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
    return NodeAuthorizer(graph)


def asked(text: str, user: UserInfo = PI) -> Decision:
    """``verb resource[.group][/subresource] [namespace/]name [field=value]``; a name of "-" is none."""
    verb, resource, place, *fields = text.split()
    resource, _, subresource = resource.partition("/")
    plural, _, group = resource.partition(".")
    namespace, _, name = place.rpartition("/")
    pinned = tuple((field, value) for field, _, value in (part.partition("=") for part in fields))
    name = "" if name == "-" else name
    return authorizer().authorize(Attributes(user, verb, group, "v1", plural, subresource, namespace, name, fields=pinned))


@pytest.mark.parametrize("text", [
    "get secrets shop/mine-secret",
    "list secrets shop/mine-secret",
    "watch configmaps shop/mine-config",
    "get configmaps kube-system/edgekube-cluster",
    "watch configmaps kube-system/edgekube-cluster",
    "watch configmaps kube-system/kube-dns",
    "get serviceaccounts shop/mine-account",
    "create serviceaccounts/token shop/mine-account",
    "get pods shop/mine",
    "list pods - spec.nodeName=pi-1",
    "watch pods - status.phase=Running spec.nodeName=pi-1",
    "patch pods/status shop/mine",
    "create pods/eviction shop/mine",
    "delete pods shop/mine",
    "get nodes pi-1",
    "list nodes -",
    "watch nodes pi-2",
    "patch nodes/status pi-1",
    "create nodes -",
    "get leases.coordination.k8s.io kube-node-lease/pi-1",
    "patch leases.coordination.k8s.io kube-node-lease/pi-1",
    "create leases.coordination.k8s.io kube-node-lease/-",
    "update csinodes.storage.k8s.io pi-1",
    "create events shop/-",
    "patch events.events.k8s.io shop/e",
    "create certificatesigningrequests.certificates.k8s.io -",
    "get certificatesigningrequests.certificates.k8s.io csr-1",
    "create tokenreviews.authentication.k8s.io -",
    "create subjectaccessreviews.authorization.k8s.io -",
    "watch services -",
    "list endpointslices.discovery.k8s.io -",
    "list networkpolicies.networking.k8s.io -",
    "watch namespaces -",
    "get runtimeclasses.node.k8s.io gvisor",
    "list podaddresses.internal.edgekube.io -",
])  # fmt: skip
def test_what_a_node_may(text: str) -> None:
    assert asked(text).allowed


@pytest.mark.parametrize(("text", "reason"), [
    ("get secrets shop/other-secret", UNRELATED),
    ("get secrets shop/waiting-secret", UNRELATED),
    ("get secrets lab/mine-secret", UNRELATED),
    ("get configmaps shop/mine-secret", UNRELATED),
    ("get configmaps shop/edgekube-cluster", UNRELATED),
    ("list secrets shop/-", "No Object name found"),
    ("list secrets mine-secret", "can only read namespaced object of this type"),
    ("update secrets shop/mine-secret", "can only read resources of this type"),
    ("delete configmaps kube-system/edgekube-cluster", "can only read resources of this type"),
    ("list persistentvolumeclaims shop/a", "can only get individual resources of this type"),
    ("get persistentvolumes data", UNRELATED),
    ("create serviceaccounts/token shop/other-account", UNRELATED),
    ("create serviceaccounts shop/-", "can only create tokens for individual service accounts"),
    ("get pods shop/other", UNRELATED),
    ("list pods -", "can only list/watch pods with spec.nodeName field selector"),
    ("watch pods - spec.nodeName=pi-2", "can only list/watch pods with spec.nodeName field selector"),
    ("patch pods shop/mine", "node 'pi-1' cannot patch pods"),
    ("create pods/exec shop/mine", "node 'pi-1' cannot create pods/exec"),
    ("create pods/binding shop/mine", "node 'pi-1' cannot create pods/binding"),
    ("deletecollection pods shop/- spec.nodeName=pi-1", "node 'pi-1' cannot deletecollection pods"),
    ("delete nodes pi-1", "can only create and update Nodes, and their status"),
    ("get nodes/proxy pi-2", "can only create and update Nodes, and their status"),
    ("get leases.coordination.k8s.io kube-node-lease/pi-2",
     "can only access node lease with the same name as the requesting node"),
    ("get leases.coordination.k8s.io kube-system/pi-1", 'can only access leases in the "kube-node-lease" system namespace'),
    ("list leases.coordination.k8s.io kube-node-lease/pi-1", "can only get, create, update, patch, or delete a node lease"),
    ("get csinodes.storage.k8s.io pi-2", "can only access CSINode with the same name as the requesting node"),
    ("list certificatesigningrequests.certificates.k8s.io -", ""),
    ("update certificatesigningrequests.certificates.k8s.io/approval csr-1", ""),
    ("get deployments.apps shop/web", ""),
    ("create clusterrolebindings.rbac.authorization.k8s.io -", ""),
    ("update services shop/web", ""),
])  # fmt: skip
def test_what_a_node_may_not(text: str, reason: str) -> None:
    assert asked(text) == Decision(False, reason)


def test_who_is_a_node() -> None:
    """Name and group both: a name alone is anybody's choice, a group alone is nobody's."""
    text = "get secrets shop/mine-secret"
    assert asked(text, UserInfo("system:node:pi-1", groups=("system:authenticated",))) == Decision(False)
    nameless = UserInfo("robot", groups=("system:nodes",))
    assert asked(text, nameless) == Decision(False, 'unknown node for user "robot"')


def test_roles_add_to_what_nodes_may() -> None:
    roles = RoleIndex()
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}
    roles.put({"kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [rule]})
    chain = Chain(authorizer(), roles)
    wanted = Attributes(PI, "get", "", "v1", "secrets", "", "shop", "other-secret")
    assert chain.authorize(wanted) == Decision(False, UNRELATED)
    reference = {"kind": "ClusterRole", "name": "reader"}
    subject = {"kind": "User", "name": "system:node:pi-1"}
    roles.put({"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "roleRef": reference, "subjects": [subject]})
    assert chain.authorize(wanted).allowed


@pytest.mark.parametrize(("verb", "name", "selector", "allowed"), [
    ("list", "", "local-path.edgekube.io/node=pi-1", True),
    ("watch", "", "a=b,local-path.edgekube.io/node in (pi-1)", True),
    ("list", "", "local-path.edgekube.io/node=pi-2", False),
    ("list", "", "local-path.edgekube.io/node in (pi-1,pi-2)", False),
    ("list", "", "local-path.edgekube.io/node", False),
    ("list", "", "(((", False),
    ("patch", "pvc-1", "", True),
    ("patch", "pvc-2", "", False),
    ("update", "pvc-1", "", False),
    ("delete", "pvc-1", "", False),
])  # fmt: skip
def test_volumes_that_are_directories_of_the_node(verb: str, name: str, selector: str, allowed: bool) -> None:
    graph = NodeGraph()
    for volume, node in (("pvc-1", "pi-1"), ("pvc-2", "pi-2")):
        graph.put_volume({"metadata": {"name": volume, "labels": {"local-path.edgekube.io/node": node}}, "spec": {}})
    asks = Attributes(PI, verb, "", "v1", "persistentvolumes", "", "", name, label_selector=selector)
    assert NodeAuthorizer(graph).authorize(asks).allowed is allowed
