"""Questions about a pod's spec that several plans ask.

Enters: decoded, defaulted pods.
Leaves: parts of them.
Holds: pure; a missing part reads as the API's default.
Next: agent.plan, agent.status.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgekube.api.objects import Object, spec_of


def containers_of(pod: Object) -> list[Object]:
    return spec_of(pod).get("containers") or []


def init_containers_of(pod: Object) -> list[Object]:
    return spec_of(pod).get("initContainers") or []


def ephemeral_containers_of(pod: Object) -> list[Object]:
    return spec_of(pod).get("ephemeralContainers") or []


def all_containers(pod: Object) -> Iterator[Object]:
    yield from init_containers_of(pod)
    yield from containers_of(pod)
    yield from ephemeral_containers_of(pod)


def container_named(pod: Object, name: str) -> Object | None:
    return next((container for container in all_containers(pod) if container.get("name") == name), None)


def is_sidecar(container: Object) -> bool:
    """A restartable init container (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def restart_policy(pod: Object) -> str:
    return spec_of(pod).get("restartPolicy") or "Always"


def host_network(pod: Object) -> bool:
    return bool(spec_of(pod).get("hostNetwork"))


def grace_period_seconds(pod: Object) -> int:
    """What a deletion asked for, else the spec's; at least 1 (as upstream: 0 leaves no time to tell SIGTERM from SIGKILL)."""
    grace = (pod.get("metadata") or {}).get("deletionGracePeriodSeconds")
    if grace is None:
        grace = spec_of(pod).get("terminationGracePeriodSeconds")
    return max(1, 30 if grace is None else int(grace))


def field_path(pod: Object, name: str) -> str:
    """``spec.containers{web}``: an event's fieldPath."""
    for part in ("containers", "initContainers", "ephemeralContainers"):
        if any(container.get("name") == name for container in spec_of(pod).get(part) or []):
            return f"spec.{part}{{{name}}}"
    return ""
