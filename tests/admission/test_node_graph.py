"""What a node may come to know: against a plain statement of the rule, for any history of pods and volumes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.admission.node_graph import NodeGraph, named_by
from edgekube.api.objects import Object

NAMES = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["shop", "lab"])
NODES = st.sampled_from(["", "pi-1", "pi-2", "pi-3"])
RESOURCES = ("secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts", "persistentvolumes")


@st.composite
def pods(draw: Any) -> Object:
    volumes: list[Object] = []
    for source in draw(st.lists(st.sampled_from(["secret", "configMap", "claim"]), max_size=3)):
        name = draw(NAMES)
        volumes.append({
            "secret": {"secret": {"secretName": name}},
            "configMap": {"projected": {"sources": [{"configMap": {"name": name}}]}},
            "claim": {"persistentVolumeClaim": {"claimName": name}},
        }[source])  # fmt: skip
    spec: Object = {"nodeName": draw(NODES), "volumes": volumes, "containers": []}
    if account := draw(st.sampled_from(["", "robot"])):
        spec["serviceAccountName"] = account
    if draw(st.booleans()):
        spec["containers"] = [{"env": [{"valueFrom": {"secretKeyRef": {"name": draw(NAMES)}}}]}]
    metadata: Object = {"name": draw(NAMES), "namespace": draw(NAMESPACES)}
    if draw(st.integers(0, 9)) == 0:
        metadata["annotations"] = {"kubernetes.io/config.mirror": "x"}
    return {"metadata": metadata, "spec": spec}


@st.composite
def volumes(draw: Any) -> Object:
    spec: Object = {"csi": {"nodeStageSecretRef": {"name": draw(NAMES), "namespace": draw(NAMESPACES)}}}
    if draw(st.booleans()):
        spec["claimRef"] = {"namespace": draw(NAMESPACES), "name": draw(NAMES)}
    return {"metadata": {"name": draw(NAMES)}, "spec": spec}


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("pod"), pods()),
        st.tuples(st.just("volume"), volumes()),
        st.tuples(st.just("no pod"), st.tuples(NAMESPACES, NAMES)),
        st.tuples(st.just("no volume"), NAMES),
    ),
    max_size=25,
)


def after(changes: list[tuple[str, Any]]) -> tuple[NodeGraph, dict[Any, Object], dict[str, Object]]:
    """The graph that lived through the changes, and what is there at their end."""
    graph, pods_now, volumes_now = NodeGraph(), {}, {}
    for what, value in changes:
        match what:
            case "pod":
                graph.put_pod(value)
                pods_now[value["metadata"]["namespace"], value["metadata"]["name"]] = value
            case "volume":
                graph.put_volume(value)
                volumes_now[value["metadata"]["name"]] = value
            case "no pod":
                graph.remove_pod(*value)
                pods_now.pop(value, None)
            case "no volume":
                graph.remove_volume(value)
                volumes_now.pop(value, None)
    return graph, pods_now, volumes_now


@given(CHANGES)
@settings(max_examples=100, deadline=None)
def test_a_graph_that_lived_through_changes_equals_one_made_anew(changes: list[tuple[str, Any]]) -> None:
    graph, pods_now, volumes_now = after(changes)
    anew = NodeGraph()
    for pod in pods_now.values():
        anew.put_pod(pod)
    for volume in volumes_now.values():
        anew.put_volume(volume)
    assert graph == anew


def reachable(node: str, pods_now: dict[Any, Object], volumes_now: dict[str, Object]) -> set[tuple[str, str, str]]:
    """The rule as one would say it: what the node's pods name, and what the volumes of their claims bring along."""
    named = {vertex for pod in pods_now.values() if pod["spec"]["nodeName"] == node for vertex in named_by(pod)}
    found = set(named)
    for name, volume in volumes_now.items():
        claim = volume["spec"].get("claimRef")
        if claim and ("persistentvolumeclaims", claim["namespace"], claim["name"]) in named:
            secret = volume["spec"]["csi"]["nodeStageSecretRef"]
            found |= {("persistentvolumes", "", name), ("secrets", secret["namespace"], secret["name"])}
    return found


@given(CHANGES)
@settings(max_examples=100, deadline=None)
def test_a_node_reaches_what_its_pods_name_and_nothing_else(changes: list[tuple[str, Any]]) -> None:
    graph, pods_now, volumes_now = after(changes)
    for node in ("pi-1", "pi-2", "pi-3", "stranger"):
        told = {
            (resource, namespace, name)
            for resource in RESOURCES
            for namespace in ("", "shop", "lab")
            for name in ("a", "b", "c", "robot")
            if graph.reaches(node, resource, namespace, name)
        }
        assert told == reachable(node, pods_now, volumes_now)
        for key, pod in pods_now.items():
            assert graph.runs(node, *key) == (pod["spec"]["nodeName"] == node)


def test_everything_that_a_pod_can_name() -> None:
    spec = {
        "nodeName": "pi-1",
        "serviceAccountName": "robot",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
        "containers": [
            {"env": [{"valueFrom": {"configMapKeyRef": {"name": "env"}}}], "envFrom": [{"configMapRef": {"name": "all"}}]}
        ],
        "ephemeralContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "debug"}}}]}],
        "resourceClaims": [{"name": "camera", "resourceClaimName": "camera"}],
        "volumes": [
            {"configMap": {"name": "files"}},
            {"projected": {"sources": [{"secret": {"name": "part"}}]}},
            {"name": "scratch", "ephemeral": {}},
            {"csi": {"nodePublishSecretRef": {"name": "csi"}}},
            {"iscsi": {"secretRef": {"name": "chap"}}},
            {"azureFile": {"secretName": "share"}},
            {"emptyDir": {}},
        ],
    }
    status = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "web-gpu-x1"}]}
    pod = {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec, "status": status}
    assert sorted((resource, name) for resource, namespace, name in named_by(pod) if namespace == "shop") == [
        ("configmaps", "all"), ("configmaps", "env"), ("configmaps", "files"), ("persistentvolumeclaims", "web-scratch"),
        ("resourceclaims", "camera"), ("resourceclaims", "web-gpu-x1"), ("secrets", "chap"), ("secrets", "csi"),
        ("secrets", "debug"), ("secrets", "init"), ("secrets", "part"), ("secrets", "pull"), ("secrets", "share"),
        ("serviceaccounts", "robot"),
    ]  # fmt: skip


def test_an_attachment_belongs_to_the_node_it_names() -> None:
    graph = NodeGraph()
    graph.put_attachment({"metadata": {"name": "va"}, "spec": {"nodeName": "pi-1"}})
    assert graph.reaches("pi-1", "volumeattachments", "", "va")
    assert not graph.reaches("pi-2", "volumeattachments", "", "va")
    graph.remove_attachment("va")
    assert not graph.reaches("pi-1", "volumeattachments", "", "va")
