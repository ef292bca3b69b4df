"""What a failed pod means (podFailurePolicy), and when enough has succeeded (successPolicy).

Enters: a Job's policies, a failed pod, the completed indexes.
Leaves: a Verdict on the pod; the message of the success rule that is met.
Holds: the first rule that matches decides; a pod that no rule matches counts.
Source: kubernetes.io/docs/concepts/workloads/controllers/job (pod failure policy, success policy); the messages are upstream's.
Next: controllers.job.counting.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from edgekube.api.objects import Object, name_of, namespace_of, spec_of
from edgekube.controllers.job import indexes
from edgekube.controllers.job.indexes import Intervals


class Verdict(NamedTuple):
    """``counted``: towards backoffLimit. ``message``: why the whole Job fails, of a FailJob rule."""

    counted: bool = True
    action: str = ""
    message: str = ""


_PLAIN: Final = Verdict()


def judge(job: Object, pod: Object) -> Verdict:
    """Of a pod that has failed."""
    for number, rule in enumerate((spec_of(job).get("podFailurePolicy") or {}).get("rules") or ()):
        reason = _matches(rule, pod)
        if reason is None:
            continue
        action = str(rule.get("action") or "")
        if action == "FailJob":
            return Verdict(True, action, f"{reason} matching FailJob rule at index {number}")
        if action in ("Ignore", "FailIndex", "Count"):
            return Verdict(action != "Ignore", action)
    return _PLAIN


def _matches(rule: Object, pod: Object) -> str | None:
    """What of the pod the rule is about, in the words of the message; None when it is not about the pod."""
    status, name = pod.get("status") or {}, f"{namespace_of(pod)}/{name_of(pod)}"
    if rule.get("onExitCodes") is not None:
        for each in (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())):
            code = _exit_code(each, rule["onExitCodes"])
            if code is not None:
                return f"Container {each.get('name')} for pod {name} failed with exit code {code}"
        return None
    patterns = {(each.get("type"), each.get("status")) for each in rule.get("onPodConditions") or ()}
    for condition in status.get("conditions") or ():
        if (condition.get("type"), condition.get("status")) in patterns:
            return f"Pod {name} has condition {condition.get('type')}"
    return None


def _exit_code(container: Object, wanted: Object) -> int | None:
    terminated = (container.get("state") or {}).get("terminated")
    code = int((terminated or {}).get("exitCode") or 0)
    if not code or wanted.get("containerName") not in (None, container.get("name")):
        return None
    listed = code in (wanted.get("values") or ())
    return code if listed is (wanted.get("operator") == "In") and wanted.get("operator") in ("In", "NotIn") else None


def success_message(job: Object, completed: Intervals) -> str | None:
    """Of an Indexed Job whose success policy is met."""
    if not completed:
        return None
    completions = int(spec_of(job).get("completions") or 0)
    for number, rule in enumerate((spec_of(job).get("successPolicy") or {}).get("rules") or ()):
        count = rule.get("succeededCount")
        if rule.get("succeededIndexes") is not None:
            needed = indexes.parse(rule["succeededIndexes"], completions)
            got = indexes.shared(needed, completed)
            met = bool(needed) and (got == indexes.total(needed) or (count is not None and got >= int(count)))
        else:
            met = count is not None and indexes.total(completed) >= int(count)
        if met:
            return f"Matched rules at index {number}"
    return None
