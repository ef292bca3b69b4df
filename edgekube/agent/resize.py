"""The resources that a running container has, and how it comes to those that its pod now names.

Enters: a container of the spec, its ContainerStatus, the pod's memory.
Leaves: its resources in force; whether reaching the wanted ones takes a restart.
Holds: pure. What a container was made with is in its annotations, what it was given later in PodMemory: after a restart of
this process a resize is done again, which changes nothing.
Source: Kubernetes documentation, "Resize CPU and Memory Resources assigned to Containers".
Next: agent.plan_containers, agent.status_containers.
"""

from __future__ import annotations

import orjson

from edgekube.agent.names import RESOURCES
from edgekube.agent.state import PodMemory
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus


def resources_text(container: Object) -> str:
    """As an annotation."""
    return orjson.dumps(container.get("resources") or {}, option=orjson.OPT_SORT_KEYS).decode()


def resources_in_force(status: ContainerStatus, memory: PodMemory) -> Object | None:
    """None: made by a version that did not write them down."""
    resized = memory.resized.get(status.id)
    if resized is not None:
        return resized
    text = status.annotations.get(RESOURCES)
    if text is None:
        return None
    found: Object = orjson.loads(text)
    return found


def needs_restart(container: Object, before: Object) -> bool:
    wanted: Object = container.get("resources") or {}
    policies = {item["resourceName"]: item["restartPolicy"] for item in container.get("resizePolicy") or []}
    return any(
        (wanted.get(part) or {}).get(name) != (before.get(part) or {}).get(name)
        for part in ("requests", "limits")
        for name, policy in policies.items()
        if policy == "RestartContainer"
    )
