"""Does a container run again, and has a pod come to its end?

Enters: the pod and the last known status of each container.
Leaves: verdicts.
Holds: pure. Source: Kubernetes documentation, "Pod Lifecycle" (restart policy, init and sidecar containers).
Next: agent.plan, agent.status.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from edgekube.agent.podspec import containers_of, init_containers_of, is_sidecar, restart_policy
from edgekube.agent.state import PodMemory, PodObserved
from edgekube.api.objects import Object
from edgekube.containerd.model import ContainerStatus

Outcome: TypeAlias = Literal["Running", "Succeeded", "Failed"]


def last_known(name: str, observed: PodObserved, memory: PodMemory) -> ContainerStatus | None:
    """The newest status of the container in any sandbox; its remembered end when containerd has forgotten it."""
    found = observed.latest(name)
    return found.status if found else memory.exited.get(name)


def _rule_says_restart(container: Object, exit_code: int) -> bool:
    """restartPolicyRules (KEP-5307): the first rule whose exit codes match; only the action Restart exists for containers."""
    for rule in container.get("restartPolicyRules") or []:
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or [])
        if listed == (codes.get("operator") == "In"):
            return bool(rule.get("action") == "Restart")
    return False


def runs_again(pod: Object, container: Object, exit_code: int, *, init: bool = False) -> bool:
    """After it ended with this code. An init container that succeeded is done whatever the policy, a sidecar never is."""
    if init and is_sidecar(container):
        return True
    if _rule_says_restart(container, exit_code):
        return True
    policy = container.get("restartPolicy") or restart_policy(pod)
    if init:
        return exit_code != 0 and policy != "Never"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def outcome_of(pod: Object, observed: PodObserved, memory: PodMemory) -> Outcome:
    """Where the pod stands by its containers alone; ``memory.failure`` is the caller's to weigh."""
    for container in init_containers_of(pod):
        status = last_known(container["name"], observed, memory)
        if is_sidecar(container) or status is None or status.state != "EXITED" or status.exit_code == 0:
            continue
        if not runs_again(pod, container, status.exit_code, init=True):
            return "Failed"
    all_zero = True
    for container in containers_of(pod):
        status = last_known(container["name"], observed, memory)
        if status is None or status.state != "EXITED" or runs_again(pod, container, status.exit_code):
            return "Running"
        all_zero = all_zero and status.exit_code == 0
    return "Succeeded" if all_zero else "Failed"
