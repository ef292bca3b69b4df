"""What a pod asks for, and what a node has: amounts by resource name.

Enters: resource lists of pods and nodes.
Leaves: whole numbers: millicores for cpu, base units (bytes, pieces) for everything else.
Holds: requests are rounded up; a pod's amount is what must be free for it at its most hungry moment, init containers and
sidecars included.
Source: kubernetes.io/docs/concepts/workloads/pods/init-containers (resource sharing), sidecar-containers, pod-overhead;
component-helpers resource.PodRequests.
Next: scheduler.facts, agent.admission.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from edgekube.api import podstate, quantities
from edgekube.api.objects import Object

Amounts: TypeAlias = dict[str, int]

CPU: Final = "cpu"
MEMORY: Final = "memory"
PODS: Final = "pods"
_HUGE_PAGES: Final = "hugepages-"
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


def pod_requests(pod: Object, defaults: Amounts | None = None, *, held: bool = True) -> Amounts:
    """What the scheduler must find free. ``defaults`` stand in where a container names no request; ``held``: count also what the
    node has given it already, as while a resize is under way."""
    spec: Object = pod.get("spec") or {}
    status: Object = pod.get("status") or {}
    states: dict[str, Object] = {}
    infeasible = False
    if held:
        for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
            states[str(each.get("name"))] = each
        infeasible = (podstate.condition_of(pod, "PodResizePending") or {}).get("reason") == "Infeasible"

    def of(container: Object, counts: bool = True) -> Amounts:
        asked = amounts((container.get("resources") or {}).get("requests"))
        state = states.get(container.get("name") or "") if counts else None
        if state is not None:
            asked = _effective(asked, state.get("resources"), state.get("allocatedResources"), infeasible)
        return {**defaults, **asked} if defaults else asked

    total = _hungriest(spec, of)
    # Requests of the pod as a whole take the place of its containers' (PodLevelResources).
    whole = amounts((spec.get("resources") or {}).get("requests"))
    if whole:
        if held and status.get("resources"):
            effective = _effective(whole, status["resources"], status.get("allocatedResources"), infeasible)
            whole = {name: effective.get(name, 0) for name in whole}
        total |= {name: amount for name, amount in whole.items() if name in (CPU, MEMORY) or name.startswith(_HUGE_PAGES)}
    return _add(total, amounts(spec.get("overhead")))


def pod_limits(pod: Object) -> Amounts:
    """The limits of its containers together, or of the pod as a whole where it names them."""
    spec: Object = pod.get("spec") or {}

    def of(container: Object, counts: bool = True) -> Amounts:
        return amounts((container.get("resources") or {}).get("limits"))

    whole = amounts((spec.get("resources") or {}).get("limits"))
    total = _hungriest(spec, of) | whole
    overhead = amounts(spec.get("overhead"))
    return {name: amount + overhead.get(name, 0) if amount else amount for name, amount in total.items()}


def _hungriest(spec: Object, of: Callable[[Object, bool], Amounts]) -> Amounts:
    """At the most hungry moment: while everything runs, or while one of the init containers does, sidecars beside it."""
    running: Amounts = {}
    for container in spec.get("containers") or ():
        running = _add(running, of(container, True))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            mine = of(container, True)
            running = _add(running, mine)
            sidecars = _add(sidecars, mine)
            starting = _most(starting, sidecars)
        else:
            starting = _most(starting, _add(sidecars, of(container, False)))
    return _most(running, starting)


def _effective(asked: Amounts, actual: Object | None, allocated: Object | None, infeasible: bool) -> Amounts:
    """The larger of what is asked, what was promised and what is in force; a wish that can never be met does not count."""
    if actual is None and not allocated:
        return asked
    given = _most(amounts((actual or {}).get("requests")), amounts(allocated))
    return given if infeasible else _most(asked, given)


def lacking(requests: Amounts, allocatable: Amounts, used: Amounts) -> list[str]:
    """The resources of which not enough is free; something that is not asked for is never short."""
    return [name for name, amount in requests.items() if amount and amount > allocatable.get(name, 0) - used.get(name, 0)]
