"""Does a container run again after it has ended? The rules of pod and container, as API and node read them.

Enters: a pod, one of its containers, its exit code.
Leaves: verdicts.
Holds: pure. The first rule whose exit codes match counts, then the container's own policy, then the pod's.
Source: Kubernetes documentation, "Pod Lifecycle" (container restart policy and rules); KEP-5307, KEP-5532.
Next: api.validation.pods, agent.outcome.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object

#: The action of a rule by which the whole pod starts anew.
RESTART_ALL: Final = "RestartAllContainers"


def action_of(container: Object, exit_code: int) -> str:
    """What the first rule that matches says; "" when none does."""
    for rule in container.get("restartPolicyRules") or []:
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or [])
        if listed == (codes.get("operator") == "In"):
            return str(rule.get("action") or "")
    return ""


def could_restart_all(pod: Object) -> bool:
    spec: Object = pod.get("spec") or {}
    return any(
        rule.get("action") == RESTART_ALL
        for part in ("initContainers", "containers")
        for container in spec.get(part) or []
        for rule in container.get("restartPolicyRules") or []
    )


def restarts(pod: Object, container: Object, exit_code: int) -> bool:
    if action_of(container, exit_code) in ("Restart", RESTART_ALL):
        return True
    policy = container.get("restartPolicy") or (pod.get("spec") or {}).get("restartPolicy") or "Always"
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
