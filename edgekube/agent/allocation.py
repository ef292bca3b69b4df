"""The resources that this node has given to a pod, which may lag behind those that its spec names now.

Enters: pods as the API has them; what was given to them before.
Leaves: pods as this node runs them; whether a resize is wanted; who is asked first when several wait.
Holds: pure. An allocation is {"resources": the pod's own, "containers": {name: resources}}, of containers and init containers.
Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers"; KEP-1287.
Next: agent.resizing decides, agent.worker lays it over the spec.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from edgekube.api.objects import Object, spec_of
from edgekube.api.pod_requests import amounts, pod_requests
from edgekube.api.qos import qos_class

_PARTS: Final = ("containers", "initContainers")
_SIDES: Final = ("requests", "limits")


def _resizable(pod: Object) -> Iterator[Object]:
    for part in _PARTS:
        yield from spec_of(pod).get(part) or []


def allocation_of(pod: Object) -> Object:
    return {
        "resources": spec_of(pod).get("resources"),
        "containers": {container["name"]: container.get("resources") or {} for container in _resizable(pod)},
    }


def same_resources(one: Object | None, other: Object | None) -> bool:
    """By amount, however it is written."""
    one, other = one or {}, other or {}
    return all(amounts(one.get(side)) == amounts(other.get(side)) for side in _SIDES)


def wants_resize(pod: Object, allocation: Object) -> bool:
    if not same_resources(spec_of(pod).get("resources"), allocation["resources"]):
        return True
    given = allocation["containers"]
    return any(
        container["name"] in given and not same_resources(container.get("resources"), given[container["name"]])
        for container in _resizable(pod)
    )


def as_allocated(pod: Object, allocation: Object) -> Object:
    """The pod with what it was given in place of what it asks for; it is the caller's own, and changed."""
    spec = spec_of(pod)
    if allocation["resources"] is None:
        spec.pop("resources", None)
    else:
        spec["resources"] = allocation["resources"]
    given = allocation["containers"]
    for container in _resizable(pod):
        if container["name"] in given:
            container["resources"] = given[container["name"]]
    return pod


def asks_for_more(pod: Object, allocated: Object) -> bool:
    wanted, has = pod_requests(pod, held=False), pod_requests(allocated, held=False)
    return any(wanted.get(name, 0) > has.get(name, 0) for name in ("cpu", "memory"))


def turn(pod: Object, allocated: Object, since: float) -> tuple[Any, ...]:
    """Smaller is asked first: who asks for no more, by priority, Guaranteed before others, who has waited longest."""
    priority = int(spec_of(pod).get("priority") or 0)
    return asks_for_more(pod, allocated), -priority, qos_class(pod) != "Guaranteed", since


def event_text(prefix: str, pod: Object, generation: int, error: str = "") -> str:
    """``Pod resize started: {…}``: with the resources of each container, as the kubelet's events have them."""
    summary: Object = {}
    for part in ("initContainers", "containers"):
        named = [{"name": each["name"], "resources": each.get("resources") or {}} for each in spec_of(pod).get(part) or []]
        if named:
            summary[part] = named
    summary["generation"] = generation
    if error:
        summary["error"] = error
    return f"{prefix}: {orjson.dumps(summary).decode()}"
