"""Which run of a container a log request means.

Enters: the pod, a container's name, what containerd shows and what is remembered.
Leaves: the attempt whose log file to read; StatusError BadRequest in upstream's words when there is none.
Holds: pure.
Next: agent.server.
"""

from __future__ import annotations

from edgekube.agent.podspec import container_named
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.api import errors
from edgekube.api.objects import Object, name_of

_PULL_WORDS = {
    "ErrImagePull": "image can't be pulled",
    "ImagePullBackOff": "trying and failing to pull image",
}


def log_of(pod: Object, container: str, observed: PodObserved, memory: PodMemory, *, previous: bool) -> int:
    name = name_of(pod)
    if container_named(pod, container) is None:
        raise errors.bad_request(f"container {container} is not valid for pod {name}")
    attempts = {item.status.attempt: item.status.state for item in observed.named(container)}
    ended = memory.exited.get(container)
    if ended is not None:
        attempts.setdefault(ended.attempt, "EXITED")
    attempts = {attempt: state for attempt, state in attempts.items() if state != "CREATED"}
    if not attempts:
        waiting = memory.waiting.get(container)
        reason = waiting.reason if waiting else "PodInitializing" if pod["spec"].get("initContainers") else "ContainerCreating"
        if previous:
            raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        words = _PULL_WORDS.get(reason, reason)
        raise errors.bad_request(f'container "{container}" in pod "{name}" is waiting to start: {words}')
    newest = max(attempts)
    if not previous:
        return newest
    # While it waits for its next start, the run that ended last is the previous one.
    older = [attempt for attempt in attempts if attempt < newest]
    backing_off = attempts[newest] == "EXITED" and memory.backoff.delay_seconds(container) > 0
    if older and not backing_off:
        return max(older)
    if backing_off:
        return newest
    raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
