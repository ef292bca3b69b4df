"""Does a container run again, and has a pod come to its end?

Enters: the pod and the last known status of each container.
Leaves: verdicts.
Holds: pure. Source: Kubernetes documentation, "Pod Lifecycle" (restart policy, init and sidecar containers).
Next: agent.plan, agent.status.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar, restart_policy
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.api.objects import Object
from edgekube.api.restarting import RESTART_ALL, action_of, could_restart_all, restarts
from edgekube.containerd.model import ContainerStatus

Outcome: TypeAlias = Literal["Running", "Succeeded", "Failed"]

#: What containers show that were removed for the whole pod to start anew.
RESTARTING_ALL: Final = "RestartingAllContainers"


def last_known(name: str, observed: PodObserved, memory: PodMemory) -> ContainerStatus | None:
    """The newest status of the container in any sandbox; its remembered end when containerd has forgotten it.

    One that was made and never started tells nothing: whoever was to start it died in between.
    """
    found = next((each for each in observed.named(name) if each.status.state != "CREATED"), None)
    return found.status if found else memory.exited.get(name)


def restarts_all(pod: Object, observed: PodObserved) -> bool:
    """A container has ended in a way that starts the whole pod anew, and is still there to tell."""
    if not could_restart_all(pod):
        return False
    for container in (*init_containers_of(pod), *containers_of(pod)):
        found = observed.latest(container["name"])
        if found and found.status.state == "EXITED" and action_of(container, found.status.exit_code) == RESTART_ALL:
            return True
    return False


def comes_back(pod: Object, container: Object, ended: ContainerStatus, memory: PodMemory, *, init: bool = False) -> bool:
    """As runs_again; what was ended or removed here in order to run again does, however it ended."""
    if ended.reason == RESTARTING_ALL or ended.id in memory.restarting:
        return True
    return runs_again(pod, container, ended.exit_code, init=init)


def runs_again(pod: Object, container: Object, exit_code: int, *, init: bool = False) -> bool:
    """After it ended with this code. An init container that succeeded is done whatever the policy, a sidecar never is."""
    if init and is_sidecar(container):
        return True
    if init and exit_code == 0:
        return action_of(container, exit_code) in ("Restart", RESTART_ALL)
    if init and (container.get("restartPolicy") or restart_policy(pod)) != "Never":
        return True
    return restarts(pod, container, exit_code)


def outcome_of(pod: Object, observed: PodObserved, memory: PodMemory) -> Outcome:
    """Where the pod stands by its containers alone; ``memory.failure`` is the caller's to weigh."""
    if restarts_all(pod, observed):
        return "Running"  # whatever its containers were ended with meanwhile
    for container in init_containers_of(pod):
        status = last_known(container["name"], observed, memory)
        if is_sidecar(container) or status is None or status.state != "EXITED" or status.exit_code == 0:
            continue
        if not comes_back(pod, container, status, memory, init=True):
            return "Failed"
    all_zero = True
    for container in containers_of(pod):
        status = last_known(container["name"], observed, memory)
        if status is None or status.state != "EXITED" or comes_back(pod, container, status, memory):
            return "Running"
        all_zero = all_zero and status.exit_code == 0
    return "Succeeded" if all_zero else "Failed"
