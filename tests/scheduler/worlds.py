"""Nodes, pods and clusters of the scheduler's tests, in few words."""

from __future__ import annotations

from typing import Any

from edgekube.api.objects import Object
from edgekube.scheduler.cluster import Cluster
from edgekube.scheduler.facts import node_facts, pod_facts
from edgekube.scheduler.place import Placed, place
from edgekube.scheduler.pods import pending_pod
from edgekube.scheduler.profiles import Profile


def node(name: str, cpu: str = "4", memory: str = "8Gi", pods: int = 110, **parts: Any) -> Object:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"kubernetes.io/hostname": name, **parts.pop("labels", {})},
            "annotations": parts.pop("annotations", {}),
        },
        "spec": parts.pop("spec", {}),
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": str(pods), **parts.pop("allocatable", {})},
            **parts,
        },
    }


def container(cpu: str = "", memory: str = "", **more: Any) -> Object:
    requests = {name: value for name, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": more.pop("name", "c"), "image": "app", "resources": {"requests": requests}, **more}


def pod(
    name: str,
    *containers: Object,
    on: str = "",
    owner: str = "",
    labels: dict[str, str] | None = None,
    namespace: str = "default",
    status: Object | None = None,
    **spec: Any,
) -> Object:
    """Without ``labels`` it has a label of its own name."""
    metadata: Object = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    metadata["labels"] = {"pod": name} if labels is None else labels
    if owner:
        metadata["ownerReferences"] = [{"uid": owner, "controller": True}]
    body: Object = {"containers": list(containers) or [container()], **spec}
    if on:
        body["nodeName"] = on
    return {"metadata": metadata, "spec": body, "status": status or {}}


def cluster_of(*objects: Object) -> Cluster:
    cluster = Cluster()
    for each in objects:
        if "containers" in each["spec"]:
            cluster.set_pod(pod_facts(each))
        else:
            cluster.set_node(node_facts(each))
    return cluster


def where(cluster: Cluster, what: Object, profile: Profile | None = None) -> str:
    """The node, or the message."""
    answer = place(pending_pod(what), cluster, profile or Profile())
    return answer.node if isinstance(answer, Placed) else answer.message
