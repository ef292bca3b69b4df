"""Tables of the group apps.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object, controller_of
from edgekube.api.tables.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    SELECTOR,
    Table,
    age,
    containers,
    label_selector,
    labels,
    name,
    part,
    section,
    text,
    whole,
)


def _workload(obj: Object) -> tuple[str, str, str]:
    """What every workload shows when asked for more: containers, images, selector."""
    spec = section(obj, "spec")
    return (*containers(section(spec, "template")), label_selector(spec.get("selector")))


def _deployment(deployment: Object, now: float) -> list[Any]:
    status = section(deployment, "status")
    return [
        name(deployment),
        f"{status.get('readyReplicas') or 0}/{part(deployment, 'spec', 'replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age(deployment, now),
        *_workload(deployment),
    ]


def _replica_set(replica_set: Object, now: float) -> list[Any]:
    status = section(replica_set, "status")
    return [
        name(replica_set),
        part(replica_set, "spec", "replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(replica_set, now),
        *_workload(replica_set),
    ]


def _stateful_set(stateful_set: Object, now: float) -> list[Any]:
    ready = part(stateful_set, "status", "readyReplicas") or 0
    wanted = part(stateful_set, "spec", "replicas") or 0
    return [name(stateful_set), f"{ready}/{wanted}", age(stateful_set, now), *_workload(stateful_set)[:2]]


def _daemon_set(daemon_set: Object, now: float) -> list[Any]:
    status = section(daemon_set, "status")
    counts = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable")
    return [
        name(daemon_set),
        *(status.get(count) or 0 for count in counts),
        labels(part(daemon_set, "spec", "template", "spec", "nodeSelector")),
        age(daemon_set, now),
        *_workload(daemon_set),
    ]


def _controller_revision(revision: Object, now: float) -> list[Any]:
    owner = controller_of(revision)
    controller = "<none>"
    if owner is not None:
        group = str(owner.get("apiVersion") or "").rpartition("/")[0]
        kind = str(owner.get("kind") or "").lower()
        controller = f"{kind}{f'.{group}' if group else ''}/{owner.get('name') or ''}"
    return [name(revision), controller, revision.get("revision") or 0, age(revision, now)]


TABLES: Final[dict[str, Table]] = {
    "Deployment": Table(
        (
            NAME,
            text("Ready", "Pods that are ready, of those wanted."),
            text("Up-to-date", "Pods made from the current template."),
            text("Available", "Pods that have been ready long enough."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _deployment,
    ),
    "ReplicaSet": Table(
        (
            NAME,
            whole("Desired", "Pods wanted."),
            whole("Current", "Pods that exist."),
            whole("Ready", "Pods that are ready."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _replica_set,
    ),
    "StatefulSet": Table((NAME, text("Ready", "Pods that are ready, of those wanted."), AGE, CONTAINERS, IMAGES), _stateful_set),
    "DaemonSet": Table(
        (
            NAME,
            whole("Desired", "Nodes that should run the pod."),
            whole("Current", "Nodes that run the pod."),
            whole("Ready", "Nodes where the pod is ready."),
            whole("Up-to-date", "Nodes that run the current template."),
            whole("Available", "Nodes where the pod has been ready long enough."),
            text("Node Selector", "Labels that a node must have."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _daemon_set,
    ),
    "ControllerRevision": Table(
        (NAME, text("Controller", "What the revision belongs to."), text("Revision", "Its number."), AGE), _controller_revision
    ),
}
