"""What a node may write about itself, its pods and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekube.admission import node_restriction as restriction
from edgekube.api.errors import StatusError
from edgekube.api.kinds import KINDS, LEASE, NODE, POD, SERVICEACCOUNT
from edgekube.api.objects import Object

MIRROR = {"kubernetes.io/config.mirror": "x"}
OWNER = {"apiVersion": "v1", "kind": "Node", "name": "pi-1", "uid": "n-1", "controller": True}


def refusal(check: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(StatusError) as caught:
        check(*arguments)
    assert (caught.value.reason, caught.value.code) == ("Forbidden", 403)
    return caught.value.message.partition(" is forbidden: ")[2]


def pod(node: str = "pi-1", owner: Object | None = None, **spec: Any) -> Object:
    metadata: Object = {"name": "web", "namespace": "shop", "uid": "p-1", "labels": {"app": "web"}}
    if owner is not None:
        metadata |= {"annotations": MIRROR, "ownerReferences": [owner]}
    return {"metadata": metadata, "spec": {"nodeName": node, **spec}}


def node(name: str = "pi-1", labels: dict[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def test_a_mirror_pod_of_its_own() -> None:
    restriction.check_create("pi-1", POD, pod(owner=OWNER), "n-1")


@pytest.mark.parametrize(("made", "why"), [
    (pod(), 'pod does not have "kubernetes.io/config.mirror" annotation, node "pi-1" can only create mirror pods'),
    (pod("pi-2", OWNER), 'node "pi-1" can only create pods with spec.nodeName set to itself'),
    (pod(owner={**OWNER, "name": "pi-2"}), 'node "pi-1" can only create pods with an owner reference set to itself'),
    (pod(owner={**OWNER, "controller": False}),
     'node "pi-1" can only create pods with a controller owner reference set to itself'),
    (pod(owner={**OWNER, "blockOwnerDeletion": True}), 'node "pi-1" must not set blockOwnerDeletion on an owner reference'),
    (pod(owner={**OWNER, "uid": "n-2"}), "node pi-1 UID mismatch: expected n-1 got n-2"),
    (pod(owner=OWNER, serviceAccountName="admin"), 'node "pi-1" can not create pods that reference a service account'),
    (pod(owner=OWNER, volumes=[{"secret": {"secretName": "s"}}]), 'node "pi-1" can not create pods that reference secrets'),
    (pod(owner=OWNER, volumes=[{"configMap": {"name": "c"}}]), 'node "pi-1" can not create pods that reference configmaps'),
])  # fmt: skip
def test_other_pods_are_not_a_nodes_to_make(made: Object, why: str) -> None:
    assert refusal(restriction.check_create, "pi-1", POD, made, "n-1") == why


def test_pod_status() -> None:
    restriction.check_update("pi-1", POD, "status", pod(), pod())
    theirs = pod("pi-2")
    why = 'node "pi-1" can only update pod status for pods with spec.nodeName set to itself'
    assert refusal(restriction.check_update, "pi-1", POD, "status", theirs, theirs) == why
    relabelled = pod()
    relabelled["metadata"] = {**relabelled["metadata"], "labels": {"app": "bank"}}
    why = 'node "pi-1" cannot update labels through pod status'
    assert refusal(restriction.check_update, "pi-1", POD, "status", relabelled, pod()) == why
    assert "cannot update the mirror annotation" in refusal(
        restriction.check_update, "pi-1", POD, "status", pod(owner=OWNER), pod()
    )


def test_pods_are_not_updated_otherwise() -> None:
    why = 'unexpected operation "UPDATE", node "pi-1" can only create and delete mirror pods'
    assert refusal(restriction.check_update, "pi-1", POD, "", pod(), pod()) == why
    why = "unexpected pod subresource \"resize\", only 'status' and 'eviction' are allowed"
    assert refusal(restriction.check_update, "pi-1", POD, "resize", pod(), pod()) == why


def test_pods_end_on_their_own_node_only() -> None:
    restriction.check_delete("pi-1", POD, pod())
    restriction.check_eviction("pi-1", POD, pod())
    why = 'node "pi-1" can only delete pods with spec.nodeName set to itself'
    assert refusal(restriction.check_delete, "pi-1", POD, pod("pi-2")) == why
    why = 'node "pi-1" can only evict pods with spec.nodeName set to itself'
    assert refusal(restriction.check_eviction, "pi-1", POD, pod("pi-2")) == why


def test_a_node_registers_itself() -> None:
    labels = {"kubernetes.io/hostname": "pi-1", "node.kubernetes.io/instance-type": "pi5", "rack": "7", "example.com/x": "y"}
    restriction.check_create("pi-1", NODE, node(labels=labels, taints=[{"key": "new"}]), "")
    assert refusal(restriction.check_create, "pi-1", NODE, node("pi-2"), "") == 'node "pi-1" is not allowed to modify node "pi-2"'
    why = 'node "pi-1" is not allowed to modify spec.podCIDR'
    assert refusal(restriction.check_create, "pi-1", NODE, node(podCIDR="10.42.3.0/24"), "") == why


@pytest.mark.parametrize("label", [
    "node-restriction.kubernetes.io/vault", "team.node-restriction.kubernetes.io/vault", "node-role.kubernetes.io/control-plane",
    "kubernetes.io/role", "storage.k8s.io/x",
])  # fmt: skip
def test_labels_that_draw_pods_are_not_a_nodes_to_give(label: str) -> None:
    why = f'node "pi-1" is not allowed to set the following labels: {label}'
    assert refusal(restriction.check_create, "pi-1", NODE, node(labels={label: "", "rack": "7"}), "") == why
    why = f'node "pi-1" is not allowed to modify labels: {label}'
    for new, old in (({label: "y"}, {}), ({label: "y"}, {label: "x"}), ({}, {label: "x"})):
        assert refusal(restriction.check_update, "pi-1", NODE, "status", node(labels=new), node(labels=old)) == why


def test_what_a_node_may_not_change_of_itself() -> None:
    restriction.check_update("pi-1", NODE, "status", node(podCIDR="10.42.1.0/24"), node(podCIDR="10.42.1.0/24"))
    tainted = node(taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])
    assert refusal(restriction.check_update, "pi-1", NODE, "", node(), tainted) == 'node "pi-1" is not allowed to modify taints'
    owned = node()
    owned["metadata"]["ownerReferences"] = [OWNER]
    why = 'node "pi-1" is not allowed to modify ownerReferences'
    assert refusal(restriction.check_update, "pi-1", NODE, "", owned, node()) == why
    moved = node(podCIDR="10.42.2.0/24")
    why = 'node "pi-1" is not allowed to modify spec.podCIDR'
    assert refusal(restriction.check_update, "pi-1", NODE, "", moved, node(podCIDR="10.42.1.0/24")) == why
    assert refusal(restriction.check_delete, "pi-1", NODE, node()) == 'node "pi-1" is not allowed to delete nodes'


LABELS = st.dictionaries(
    st.sampled_from(["rack", "kubernetes.io/os", "x.node-restriction.kubernetes.io/a", "k8s.io/b"]), st.text(max_size=2)
)


@given(LABELS, LABELS)
def test_only_what_differs_is_judged(new: dict[str, str], old: dict[str, str]) -> None:
    reserved = [key for key in new.keys() | old.keys() if key not in ("rack", "kubernetes.io/os")]
    assert restriction.forbidden_labels(new, old) == sorted(key for key in reserved if new.get(key) != old.get(key))


def test_leases_and_csi_nodes_carry_the_nodes_name() -> None:
    csi_node = KINDS.by_resource("storage.k8s.io", "v1", "csinodes")
    assert csi_node is not None
    own = {"metadata": {"name": "pi-1", "namespace": "kube-node-lease"}}
    restriction.check_create("pi-1", LEASE, own, "")
    restriction.check_update("pi-1", LEASE, "", own, own)
    restriction.check_create("pi-1", csi_node, {"metadata": {"name": "pi-1"}}, "")
    other = {"metadata": {"name": "pi-2", "namespace": "kube-node-lease"}}
    why = "can only access node lease with the same name as the requesting node"
    assert refusal(restriction.check_create, "pi-1", LEASE, other, "") == why
    assert "system namespace" in refusal(
        restriction.check_delete, "pi-1", LEASE, {"metadata": {"name": "pi-1", "namespace": "shop"}}
    )
    assert "CSINode with the same name" in refusal(restriction.check_create, "pi-1", csi_node, other, "")


def request(uid: str = "p-1", name: str = "web", audiences: list[str] | None = None) -> Object:
    return {
        "spec": {"audiences": audiences or [], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}
    }


def test_tokens_only_for_pods_that_run_here() -> None:
    source = {"projected": {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "t"}}]}}
    restriction.check_token("pi-1", SERVICEACCOUNT, "robot", request(audiences=["vault"]), pod(volumes=[source]))

    def why(asked: Object, bound: Object) -> str:
        return refusal(restriction.check_token, "pi-1", SERVICEACCOUNT, "robot", asked, bound)

    assert why({"spec": {}}, pod()) == "node requested token not bound to a pod"
    assert why(request(uid=""), pod()) == "node requested token with a pod binding without a uid"
    assert why(request(uid="p-0"), pod()).startswith("the UID in the bound object reference (p-0) does not match")
    assert why(request(), pod("pi-2")) == "node requested token bound to a pod scheduled on a different node"
    assert why(request(), pod()).startswith('audience "" not found in pod spec volume'), "a pod that wants no token has none"
    assert why(request(), pod(volumes=[source])).startswith('audience "" not found in pod spec volume')
    own = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    restriction.check_token("pi-1", SERVICEACCOUNT, "robot", request(), pod(volumes=[own]))
    assert why(request(audiences=["vault", "vault"]), pod(volumes=[source])) == "node may only request 0 or 1 audiences"
    assert why(request(audiences=["bank"]), pod(volumes=[source])).startswith('audience "bank" not found in pod spec volume')
    restriction.check_token("pi-1", SERVICEACCOUNT, "robot", request(audiences=["bank"]), pod(volumes=[source]), {"bank"})


def test_certificates_only_for_itself() -> None:
    signing = KINDS.by_resource("certificates.k8s.io", "v1", "certificatesigningrequests")
    assert signing is not None
    restriction.check_signing_request("pi-1", signing, "csr", "system:node:pi-1")
    why = "can only create a node CSR with CN=system:node:pi-1"
    assert refusal(restriction.check_signing_request, "pi-1", signing, "csr", "system:node:pi-2") == why


@pytest.mark.parametrize(("change", "fine"), [
    ({"metadata": {"finalizers": ["kubernetes.io/pv-protection"], "resourceVersion": "2"}}, True),
    ({"metadata": {"finalizers": []}}, False),
    ({"metadata": {"finalizers": ["kubernetes.io/pv-protection"], "labels": {}}}, False),
    ({"metadata": {"finalizers": ["kubernetes.io/pv-protection"]}, "spec": {"capacity": {"storage": "9Gi"}}}, False),
    ({"metadata": {"finalizers": ["kubernetes.io/pv-protection"]}, "status": {"phase": "Bound"}}, False),
    ({"metadata": {}}, False),
])  # fmt: skip
@pytest.mark.parametrize(("node_name", "ends"), [("pi-1", True), ("pi-1", False), ("pi-2", True)])
def test_a_volume_of_its_own_that_ends_is_let_go(change: Object, fine: bool, node_name: str, ends: bool) -> None:
    row = KINDS.by_resource("", "v1", "persistentvolumes")
    assert row is not None
    metadata: Object = {
        "name": "pvc-1",
        "resourceVersion": "1",
        "labels": {"local-path.edgekube.io/node": node_name},
        "finalizers": ["local-path.edgekube.io/directory", "kubernetes.io/pv-protection"],
        **({"deletionTimestamp": "2026-01-01T00:00:00Z"} if ends else {}),
    }
    old: Object = {"metadata": metadata, "spec": {"capacity": {"storage": "1Gi"}}, "status": {"phase": "Released"}}
    new = {**old, **change, "metadata": {**metadata, **change["metadata"]}}
    if fine and ends and node_name == "pi-1":
        restriction.check_update("pi-1", row, "", new, old)
    else:
        why = 'node "pi-1" may only take its own finalizer from volumes of its own that are being deleted'
        assert refusal(restriction.check_update, "pi-1", row, "", new, old) == why
