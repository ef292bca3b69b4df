"""Volumes: which node a pod's claims allow, and what they need there."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import pod_facts
from edgekube.scheduler.place import Placed, Unplaced, place
from edgekube.scheduler.pods import pending_pod
from edgekube.scheduler.preemption import Preemption, preempt
from edgekube.scheduler.profiles import Profile
from edgekube.scheduler.storage import ClaimKey, key_of
from tests.scheduler.worlds import cluster_of, node, pod, where

HOST = "kubernetes.io/hostname"


def claim(
    name: str, *, size: str = "1Gi", modes: tuple[str, ...] = ("ReadWriteOnce",), bound_to: str = "", **more: Any
) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": more.pop("annotations", {})}
    spec: Object = {"accessModes": list(modes), "resources": {"requests": {"storage": size}}, "storageClassName": "local", **more}
    if bound_to:
        spec["volumeName"] = bound_to
        metadata["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Bound" if bound_to else "Pending"}}


def volume(name: str, *, on: str = "", size: str = "1Gi", labels: dict[str, str] | None = None, **more: Any) -> Object:
    spec: Object = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "local", **more}
    if on:
        term = {"matchExpressions": [{"key": HOST, "operator": "In", "values": [on]}]}
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": {"phase": "Available"}}


def storage_class(
    name: str = "local", *, provisioner: str = "kubernetes.io/no-provisioner", late: bool = True, **more: Any
) -> Object:
    mode = "WaitForFirstConsumer" if late else "Immediate"
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **more}


def using(name: str, *claims: str, **more: Any) -> Object:
    volumes = [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": each}} for i, each in enumerate(claims)]
    return pod(name, volumes=volumes, **more)


def world(*objects: Object, classes: tuple[Object, ...] = (storage_class(),)) -> Cluster:
    """Two nodes, and claims and volumes."""
    cluster = cluster_of(node("n1"), node("n2"))
    known = cluster.surroundings.storage
    for each in objects:
        if "capacity" in each["spec"]:
            known.volumes[each["metadata"]["name"]] = each
        else:
            known.claims[key_of(each)] = each
    known.classes |= {each["metadata"]["name"]: each for each in classes}
    return cluster


def placed(cluster: Cluster, wanted: Object) -> Placed:
    answer = place(pending_pod(wanted), cluster, Profile())
    assert isinstance(answer, Placed), answer
    return answer


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([claim("data", storageClassName="fast")], 'storageclass.storage.k8s.io "fast" not found'),
        ([claim("data", storageClassName="")], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim("data", volumeName="v")], "pod has unbound immediate PersistentVolumeClaims"),
        (
            [claim("data", bound_to="v") | {"status": {"phase": "Lost"}}],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "v"',
        ),
        ([claim("data", bound_to="v")], "2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
        ([claim("data")], "2 node(s) didn't find available persistent volumes to bind"),
        ([claim("data", bound_to="v"), volume("v", on="n9")], "2 node(s) didn't match PersistentVolume's node affinity"),
    ],
)
def test_why_no_node_will_do(objects: list[Object], message: str) -> None:
    assert where(world(*objects), using("a", "data")) == f"0/2 nodes are available: {message}."


def test_an_ephemeral_volumes_claim_is_made_by_somebody_else() -> None:
    wanted = pod("a", volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}])
    assert where(world(), wanted) == (
        '0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim "a-scratch".'
    )
    foreign = world(claim("a-scratch"))
    assert "PVC default/a-scratch was not created for pod default/a (pod is not owner)" in where(foreign, wanted)


def test_the_pod_follows_its_bound_volume() -> None:
    cluster = world(claim("data", bound_to="v"), volume("v", on="n2"))
    answer = placed(cluster, using("a", "data"))
    assert answer.node == "n2" and not answer.volumes


def test_a_volume_is_chosen_with_the_node_and_for_one_claim() -> None:
    cluster = world(claim("big", size="2Gi"), claim("small"), volume("v1", on="n2"), volume("v2", on="n2", size="3Gi"))
    answer = placed(cluster, using("a", "big", "small"))
    assert answer.node == "n2"
    assert [(c["metadata"]["name"], v["metadata"]["name"]) for c, v in answer.volumes.bind] == [("small", "v1"), ("big", "v2")]
    cluster.surroundings.storage.assume(answer.volumes)
    cluster.surroundings.storage.claims[ClaimKey("default", "other")] = claim("other")
    assert "didn't find available persistent volumes" in where(cluster, using("b", "other"))
    cluster.surroundings.storage.forget(answer.volumes)
    assert where(cluster, using("b", "other")) == "n2"


def test_a_volume_is_made_where_the_pod_will_be() -> None:
    dynamic = storage_class("local", provisioner="example.com/csi")
    answer = placed(world(claim("data"), classes=(dynamic,)), using("a", "data"))
    assert [each["metadata"]["name"] for each in answer.volumes.provision] == ["data"]
    selected = claim("data", annotations={"volume.kubernetes.io/selected-node": "n2"})
    assert placed(world(selected, classes=(dynamic,)), using("a", "data")).node == "n2"
    terms = [{"matchLabelExpressions": [{"key": HOST, "values": ["n2"]}]}]
    narrow = storage_class("local", provisioner="example.com/csi", allowedTopologies=terms)
    assert placed(world(claim("data"), classes=(narrow,)), using("a", "data")).node == "n2"


def test_drivers_that_count_their_room_are_believed() -> None:
    cluster = world(claim("data", size="5Gi"), classes=(storage_class("local", provisioner="example.com/csi"),))
    known = cluster.surroundings.storage
    known.counting_drivers.add("example.com/csi")
    assert where(cluster, using("a", "data")) == "0/2 nodes are available: 2 node(s) did not have enough free storage."
    known.capacities["1"] = {"storageClassName": "local", "capacity": "10Gi", "nodeTopology": {"matchLabels": {HOST: "n2"}}}
    assert where(cluster, using("a", "data")) == "n2"
    known.capacities["1"]["maximumVolumeSize"] = "4Gi"
    assert "enough free storage" in where(cluster, using("a", "data"))


def test_read_write_once_pod_means_one_pod() -> None:
    cluster = world(claim("data", bound_to="v", modes=("ReadWriteOncePod",)), volume("v"))
    cluster.set_pod(pod_facts(using("holder", "data", on="n1")))
    assert where(cluster, using("a", "data")) == (
        "0/2 nodes are available: 2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode "
        "already in-use by another pod."
    )
    urgent = pending_pod(using("a", "data", priority=1))
    refused = place(urgent, cluster, Profile())
    assert isinstance(refused, Unplaced)
    found = preempt(urgent, refused, cluster, Profile())
    assert isinstance(found, Preemption) and [each.name for each in found.victims] == ["holder"]


def test_a_node_has_so_many_volumes_of_a_driver() -> None:
    csi = {"driver": "example.com/csi"}
    cluster = world(
        claim("one", bound_to="v1"), volume("v1", csi={**csi, "volumeHandle": "1"}),
        claim("two", bound_to="v2"), volume("v2", csi={**csi, "volumeHandle": "2"}),
        claim("three", bound_to="v3"), volume("v3", csi={**csi, "volumeHandle": "3"}),
    )  # fmt: skip
    known = cluster.surroundings.storage
    known.limits |= {"n1": {"example.com/csi": 1}, "n2": {"example.com/csi": 1}}
    cluster.set_pod(pod_facts(using("there", "one", on="n1")))
    assert where(cluster, using("a", "two")) == "n2"
    assert where(cluster, using("b", "one", nodeSelector={HOST: "n1"})) == "n1", "the same volume counts once"
    known.attachments["a"] = ("n2", "example.com/csi", "v3")
    assert where(cluster, using("a", "two")) == "0/2 nodes are available: 2 node(s) exceed max volume count."


def test_zones_of_volumes() -> None:
    cluster = cluster_of(
        node("n1", labels={"topology.kubernetes.io/zone": "a"}), node("n2", labels={"topology.kubernetes.io/zone": "b"})
    )
    known = cluster.surroundings.storage
    known.classes["local"] = storage_class()
    known.claims[ClaimKey("default", "data")] = claim("data", bound_to="v")
    known.volumes["v"] = volume("v", labels={"failure-domain.beta.kubernetes.io/zone": "b__c"})
    assert where(cluster, using("a", "data")) == "n2"
    known.volumes["v"] = volume("v", labels={"topology.kubernetes.io/zone": "c"})
    assert where(cluster, using("a", "data")) == "0/2 nodes are available: 2 node(s) had no available volume zone."


@pytest.mark.parametrize(
    ("mine", "theirs", "fits"),
    [
        ({"iscsi": {"iqn": "x"}}, {"iscsi": {"iqn": "x", "readOnly": True}}, False),
        ({"iscsi": {"iqn": "x", "readOnly": True}}, {"iscsi": {"iqn": "x", "readOnly": True}}, True),
        ({"awsElasticBlockStore": {"volumeID": "x"}}, {"awsElasticBlockStore": {"volumeID": "x"}}, False),
        ({"rbd": {"monitors": ["a"], "image": "i"}}, {"rbd": {"monitors": ["b"], "image": "i"}}, True),
        ({"rbd": {"monitors": ["a"], "image": "i"}}, {"rbd": {"monitors": ["a", "b"], "image": "i"}}, False),
    ],
)
def test_disks_that_cannot_be_shared(mine: Object, theirs: Object, fits: bool) -> None:
    cluster = cluster_of(node("n1"), pod("there", on="n1", volumes=[theirs]))
    found = where(cluster, pod("a", volumes=[mine]))
    assert (found == "n1") is fits
    assert fits or found == "0/1 nodes are available: 1 node(s) had no available disk."


def test_features_that_a_pod_needs() -> None:
    wanted = pod("a", hostNetwork=True, hostUsers=False)
    assert where(cluster_of(node("n1")), wanted) == "0/1 nodes are available: 1 node(s) didn't match Pod's required features."
    able = node("n2", declaredFeatures=["UserNamespacesHostNetworkSupport"])
    assert where(cluster_of(node("n1"), able), wanted) == "n2"


def test_devices_that_nobody_allocates() -> None:
    assert where(cluster_of(node("n1")), pod("a", resourceClaims=[{"name": "gpu"}])) == (
        "0/1 nodes are available: resource claims cannot be allocated: there is no dynamic resource allocation."
    )
