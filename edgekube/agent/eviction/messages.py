"""What is said of an eviction, in the kubelet's words.

Enters: the shortage, the pod, what it uses.
Leaves: messages of status and event.
Holds: pure; each sentence ends with a blank, as upstream's do.
Next: agent.eviction.loop, agent.eviction.local_storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgekube.agent.eviction.judging import Observation
from edgekube.agent.eviction.ranking import PodUse
from edgekube.agent.eviction.thresholds import MEMORY, PIDS, RESOURCE_OF, Threshold
from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.api import quantities
from edgekube.api.objects import Object, name_of, spec_of

REASON = "Evicted"


def attempting(resource: str) -> str:
    return f"Attempting to reclaim {resource}"


def bytes_text(amount: int) -> str:
    return quantities.text_of(amount, "binary")


def _available(signal: str, amount: int) -> str:
    decimal = RESOURCE_OF[signal] in ("inodes", "pids") and signal != MEMORY
    return quantities.text_of(amount) if decimal else bytes_text(amount)


def evicted(
    signal: str,
    pod: Object,
    use: PodUse | None,
    thresholds: Iterable[Threshold],
    observed: Mapping[str, Observation],
) -> str:
    resource = RESOURCE_OF[signal]
    message = f"The node was low on resource: {resource}. "
    for threshold in thresholds:
        seen = observed.get(threshold.signal)
        if RESOURCE_OF[threshold.signal] == resource and seen is not None:
            quantity = bytes_text(threshold.amount.of(seen.capacity))
            if threshold.signal == PIDS and threshold.amount.quantity:
                quantity = quantities.text_of(threshold.amount.quantity)
            message += f"Threshold quantity: {quantity}, available: {_available(threshold.signal, seen.available)}. "
            break
    if use is None:
        return message
    own = (spec_of(pod).get("resources") or {}).get("requests") or {}
    if resource == "memory" and "memory" in own:
        request = quantities.canonical(own["memory"])
        used = bytes_text(use.memory_bytes)
        message += f"Pod {name_of(pod)} was using {used}, request is {request}, has larger consumption of memory. "
    for container in (*containers_of(pod), *init_containers_of(pod)):
        measured = use.containers.get(container["name"])
        if measured is None or resource not in ("memory", "ephemeral-storage"):
            continue
        space = measured.root + measured.logs
        used_bytes = measured.memory_bytes if resource == "memory" else space.used_bytes
        text = ((container.get("resources") or {}).get("requests") or {}).get(resource) or "0"
        if used_bytes > quantities.to_bytes(text):
            message += (
                f"Container {container['name']} was using {bytes_text(used_bytes)}, request is {quantities.canonical(text)}, "
                f"has larger consumption of {resource}. "
            )
    return message


def volume_too_large(volume: str, limit: str) -> str:
    return f'Usage of EmptyDir volume "{volume}" exceeds the limit "{limit}". '


def pod_too_large(limit: str) -> str:
    return f"Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "


def container_too_large(container: str, limit: str) -> str:
    return f'Container {container} exceeded its local ephemeral storage limit "{limit}". '
