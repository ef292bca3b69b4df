"""Pods that use more of the disk than they were given.

Enters: a pod and what it uses.
Leaves: why it must go, or "".
Holds: pure. Asked in the kubelet's order: an emptyDir beyond its sizeLimit, the pod beyond its containers' limits together, a
container beyond its own.
Source: Kubernetes documentation, "Local ephemeral storage".
Next: agent.eviction.loop.
"""

from __future__ import annotations

from edgekube.agent.eviction.messages import container_too_large, pod_too_large, volume_too_large
from edgekube.agent.eviction.ranking import PodUse, Space
from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar
from edgekube.api import quantities
from edgekube.api.objects import Object, spec_of

_STORAGE = "ephemeral-storage"


def has_limits(pod: Object) -> bool:
    """Nothing has to be measured of a pod that has none."""
    return bool(limited_volumes(pod)) or any(_limit(c) for c in (*containers_of(pod), *init_containers_of(pod)))


def limited_volumes(pod: Object) -> dict[str, str]:
    """emptyDir volumes -> sizeLimit."""
    found = {}
    for volume in spec_of(pod).get("volumes") or []:
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and not quantities.is_zero(limit) and not quantities.is_negative(limit):
            found[volume["name"]] = quantities.canonical(limit)
    return found


def _limit(container: Object) -> str:
    return ((container.get("resources") or {}).get("limits") or {}).get(_STORAGE) or ""


def _pod_limit(pod: Object) -> str:
    """What its containers may use together; "" when none has a limit."""
    running = [_limit(c) for c in (*containers_of(pod), *(c for c in init_containers_of(pod) if is_sidecar(c))) if _limit(c)]
    single = [_limit(c) for c in init_containers_of(pod) if not is_sidecar(c) and _limit(c)]
    total = ""
    for limit in running:
        total = quantities.add(total, limit) if total else quantities.canonical(limit)
    for limit in single:
        if not total or quantities.compare(limit, total) > 0:
            total = quantities.canonical(limit)
    return total


def why_too_large(pod: Object, use: PodUse, *, image_disk: bool) -> str:
    for name, limit in limited_volumes(pod).items():
        if use.volumes.get(name, Space()).used_bytes > quantities.to_bytes(limit):
            return volume_too_large(name, limit)
    total = _pod_limit(pod)
    if total and use.disk(root=True, rest=True).used_bytes > quantities.to_bytes(total):
        return pod_too_large(total)
    for container in containers_of(pod):
        limit = _limit(container)
        measured = use.containers.get(container["name"])
        if not limit or measured is None or quantities.is_zero(limit):
            continue
        space = measured.logs if image_disk else measured.logs + measured.root
        if space.used_bytes > quantities.to_bytes(limit):
            return container_too_large(container["name"], quantities.canonical(limit))
    return ""
