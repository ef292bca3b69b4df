"""What a pod as a whole requests and may use, as limit ranges and quotas count it.

Enters: a pod.
Leaves: amounts by resource name, as canonical text.
Holds: pure; init containers run one after the other, sidecars beside everything that starts after them; what a pod says of
itself goes before what its containers say. api.pod_requests counts in whole numbers, for nodes.
Source: k8s.io/component-helpers resource (PodRequests, PodLimits); kubernetes.io, "Pod-level resources", "Sidecar containers".
Next: admission.limit_ranger, admission.quota.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from edgekube.api import podstate, quantities
from edgekube.api.objects import Object

Amounts: TypeAlias = dict[str, str]

_HUGE_PAGES: Final = "hugepages-"


def plus(left: Mapping[str, str], right: Mapping[str, str]) -> Amounts:
    total = dict(left)
    for name, amount in right.items():
        total[name] = quantities.add(total[name], amount) if name in total else amount
    return total


def most(left: Mapping[str, str], right: Mapping[str, str]) -> Amounts:
    larger = dict(left)
    for name, amount in right.items():
        if name not in larger or quantities.compare(amount, larger[name]) > 0:
            larger[name] = amount
    return larger


def amounts_of(part: Object, key: str) -> Amounts:
    """``resources.requests`` or ``resources.limits`` of a pod's spec or a container."""
    listed = (part.get("resources") or {}).get(key) or {}
    return {name: quantities.canonical(amount) for name, amount in listed.items()}


def speaks_for_itself(pod: Object) -> bool:
    """Whether requests or limits of the pod as a whole are set."""
    spec = pod.get("spec") or {}
    return any(_of_pod(spec, key) for key in ("requests", "limits"))


def _of_pod(spec: Object, key: str) -> Amounts:
    return {
        name: amount
        for name, amount in amounts_of(spec, key).items()
        if name in ("cpu", "memory") or name.startswith(_HUGE_PAGES)
    }


def _aggregate(spec: Object, of: Callable[[Object], Amounts]) -> Amounts:
    total: Amounts = {}
    for container in spec.get("containers") or ():
        total = plus(total, of(container))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            total = plus(total, of(container))
            sidecars = plus(sidecars, of(container))
            starting = most(starting, sidecars)
        else:
            starting = most(starting, plus(of(container), sidecars))
    return most(total, starting)


def asked(pod: Object, key: str) -> Amounts:
    """As the spec says, without overhead: what a LimitRange looks at. ``key``: requests or limits."""
    spec = pod.get("spec") or {}
    return {**_aggregate(spec, lambda container: amounts_of(container, key)), **_of_pod(spec, key)}


def charged(pod: Object, key: str) -> Amounts:
    """With overhead, and while a resize is under way the larger of what was and what shall be: what a quota counts."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    statuses = {
        each.get("name"): each
        for group in ("containerStatuses", "initContainerStatuses")
        for each in status.get(group) or ()
        if each.get("resources") is not None
    }
    pending = podstate.condition_of(pod, "PodResizePending") or {}
    infeasible = pending.get("reason") == "Infeasible"

    def of(container: Object) -> Amounts:
        wanted = amounts_of(container, key)
        known = statuses.get(container.get("name"))
        if known is None:
            return wanted
        held = amounts_of(known, key)
        if key == "requests":
            held = most(held, {n: quantities.canonical(a) for n, a in (known.get("allocatedResources") or {}).items()})
        return held if infeasible else most(wanted, held)

    total = {**_aggregate(spec, of), **_of_pod(spec, key)}
    overhead = {name: quantities.canonical(amount) for name, amount in (spec.get("overhead") or {}).items()}
    if key == "limits":  # nothing is limited by its overhead alone
        overhead = {name: amount for name, amount in overhead.items() if not quantities.is_zero(total.get(name, "0"))}
    return plus(total, overhead)
