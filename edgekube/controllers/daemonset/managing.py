"""Where a pod of a DaemonSet is missing, and which pods are too many.

Enters: the nodes, and the pods by node.
Leaves: names of nodes that need a pod, pods that must go, events about failed ones, and when to look again.
Holds: at most one pod a node; two while an update surges, one old and one new.
Source: k8s.io/kubernetes pkg/controller/daemon podsShouldBeOnNode, manage.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from edgekube.api.calls import Call, Later, Record
from edgekube.api.controller import Moment
from edgekube.api.node_facts import NodeFacts
from edgekube.api.objects import Object
from edgekube.api.pod_facts import PodFacts
from edgekube.api.revisions import POD_LABEL
from edgekube.controllers.daemonset.backoff import Backoff
from edgekube.controllers.daemonset.placing import Placing


class Changes(Struct):
    create: list[str] = field(default_factory=list)
    delete: list[PodFacts] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


def oldest_first(pods: Iterable[PodFacts]) -> list[PodFacts]:
    """Those with a node first, then by age and name."""
    return sorted(pods, key=lambda pod: (not pod.node, pod.created, pod.name))


def managed(
    daemon: Object,
    nodes: Sequence[NodeFacts],
    by_node: Mapping[str, Sequence[PodFacts]],
    placing: Placing,
    *,
    surging: bool,
    digest: str,
    min_ready_seconds: int,
    backoff: Backoff,
    now: Moment,
) -> Changes:
    changes = Changes()
    for node in nodes:
        name = node.name
        pods = by_node.get(name)
        wanted = placing.on(node)
        if wanted.run and pods is None:
            changes.create.append(name)
        elif wanted.stay:
            running = _running(daemon, name, pods or (), backoff, now, changes)
            if not surging:
                changes.delete += oldest_first(running)[1:]
            else:
                changes.delete += _beyond_surge(running, digest, min_ready_seconds, now.wall_seconds)
        else:
            changes.delete += [pod for pod in pods or () if not pod.deleting]
    there = {node.name for node in nodes}
    for name, pods in by_node.items():
        if name not in there:
            # Never bound, and the node is gone: nobody else would end them.
            changes.delete += [pod for pod in pods if not pod.node and not pod.deleting]
    return changes


def _running(
    daemon: Object, node_name: str, pods: Iterable[PodFacts], backoff: Backoff, now: Moment, changes: Changes
) -> list[PodFacts]:
    """The pods that count; those that ended go, failed ones not too fast."""
    running: list[PodFacts] = []
    for pod in pods:
        if pod.deleting:
            continue
        phase, of = pod.phase, f"daemon pod {pod.namespace}/{pod.name} on node {node_name}"
        if phase == "Failed":
            left = backoff.left_seconds(daemon, node_name, now.monotonic_seconds)
            if left > 0:
                changes.calls.append(Later(left))
                continue
            backoff.failed(daemon, node_name, now.monotonic_seconds)
            message = f"Found failed {of}, will try to kill it"
            changes.calls.append(Record(daemon, "Warning", "FailedDaemonPod", message))
            changes.delete.append(pod)
        elif phase == "Succeeded":
            message = f"Found succeeded {of}, will try to delete it"
            changes.calls.append(Record(daemon, "Normal", "SucceededDaemonPod", message))
            changes.delete.append(pod)
        else:
            running.append(pod)
    return running


def _beyond_surge(running: Iterable[PodFacts], digest: str, min_ready_seconds: int, wall_seconds: float) -> list[PodFacts]:
    """One old and one new may run together while the old one is ready and the new one is not available yet."""
    new: PodFacts | None = None
    old: PodFacts | None = None
    surplus: list[PodFacts] = []
    for pod in oldest_first(running):
        is_new = pod.labels.get(POD_LABEL) == digest
        if is_new and new is None:
            new = pod
        elif not is_new and old is None:
            old = pod
        else:
            surplus.append(pod)
    if new is not None and old is not None:
        replaced = new.available_in(min_ready_seconds, wall_seconds) == 0.0
        if replaced or not old.ready:
            surplus.append(old)
    return surplus
