"""A pod's quality of service: how well it has said what it needs, and so who goes first when a node runs short.

Enters: pods.
Leaves: Guaranteed, Burstable or BestEffort.
Holds: pure. Requests and limits of the pod itself come first, then those of every container.
Source: Kubernetes documentation, "Pod Quality of Service Classes".
Next: registry.strategies.pods, api.validation.pod_resize, agent.resources, admission of pods.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from edgekube.api import quantities
from edgekube.api.objects import Object

QosClass: TypeAlias = Literal["Guaranteed", "Burstable", "BestEffort"]

_COUNTED: Final = ("cpu", "memory")


def qos_class(pod: Object) -> QosClass:
    spec: Object = pod.get("spec") or {}
    own: Object = spec.get("resources") or {}
    holders = [own]
    if not own.get("requests") and not own.get("limits"):
        holders = [each.get("resources") or {} for part in ("containers", "initContainers") for each in spec.get(part) or []]
    any_set, guaranteed = False, True
    for holder in holders:
        requests: dict[str, str] = holder.get("requests") or {}
        limits: dict[str, str] = holder.get("limits") or {}
        for name in _COUNTED:
            limit, request = limits.get(name, "0"), requests.get(name, limits.get(name, "0"))
            any_set = any_set or not quantities.is_zero(limit) or not quantities.is_zero(request)
            guaranteed = guaranteed and not quantities.is_zero(limit) and quantities.equal(limit, request)
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"
