"""What a pod asks for, and what a node has: amounts by resource name.

Enters: resource lists of pods and nodes.
Leaves: whole numbers: millicores for cpu, base units (bytes, pieces) for everything else.
Holds: requests are rounded up; a pod's amount is what must be free for it at its most hungry moment, init containers and
sidecars included.
Source: kubernetes.io/docs/concepts/workloads/pods/init-containers (resource sharing), sidecar-containers, pod-overhead;
component-helpers resource.PodRequests.
Next: scheduler.facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from edgekube.api import quantities
from edgekube.api.objects import Object

Amounts: TypeAlias = dict[str, int]

CPU: Final = "cpu"
MEMORY: Final = "memory"
PODS: Final = "pods"
#: What a container without requests counts as when nodes are scored (not when they are filtered).
NONZERO: Final[Amounts] = {CPU: 100, MEMORY: 200 * 1024 * 1024}


def amounts(resources: Object | None) -> Amounts:
    return {
        name: quantities.to_milli(quantity) if name == CPU else quantities.to_bytes(quantity)
        for name, quantity in (resources or {}).items()
    }


def _add(total: Amounts, more: Amounts) -> Amounts:
    return {name: total.get(name, 0) + more.get(name, 0) for name in total.keys() | more.keys()}


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


def pod_requests(pod: Object, defaults: Amounts | None = None) -> Amounts:
    """What the scheduler must find free. ``defaults`` stand in where a container names no request."""
    spec: Object = pod.get("spec") or {}
    status: Object = pod.get("status") or {}
    held = _held(status.get("containerStatuses")) | _held(status.get("initContainerStatuses"))

    def of(container: Object) -> Amounts:
        asked = amounts((container.get("resources") or {}).get("requests"))
        # While a resize is under way the node holds the larger of what was given and what is asked.
        return {**(defaults or {}), **_most(asked, held.get(container.get("name") or "", {}))}

    running: Amounts = {}
    for container in spec.get("containers") or ():
        running = _add(running, of(container))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            running = _add(running, of(container))
            sidecars = _add(sidecars, of(container))
            starting = _most(starting, sidecars)
        else:
            starting = _most(starting, _add(sidecars, of(container)))
    total = _most(running, starting)
    # Requests of the pod as a whole take the place of its containers' (PodLevelResources).
    total |= amounts((spec.get("resources") or {}).get("requests"))
    return _add(total, amounts(spec.get("overhead")))


def _held(statuses: Iterable[Object] | None) -> dict[str, Amounts]:
    return {
        str(status.get("name")): amounts(status["allocatedResources"])
        for status in statuses or ()
        if status.get("allocatedResources")
    }


def lacking(requests: Amounts, allocatable: Amounts, used: Amounts) -> list[str]:
    """The resources of which not enough is free; something that is not asked for is never short."""
    return [name for name, amount in requests.items() if amount and amount > allocatable.get(name, 0) - used.get(name, 0)]
