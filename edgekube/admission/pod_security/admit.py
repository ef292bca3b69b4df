"""What the standard of its namespace makes of a pod, of an object that will make pods, and of the namespace's own labels.

Enters: the policy, and what is to be written.
Leaves: a Verdict: a refusal, warnings, audit annotations.
Holds: pure; only a pod is ever refused; nobody is warned of what is refused anyway.
Source: k8s.io/pod-security-admission admission; kubernetes.io/docs/concepts/security/pod-security-admission.
Next: registry.pod_security.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from edgekube import limits
from edgekube.admission.pod_security.evaluate import findings, in_detail, in_short
from edgekube.admission.pod_security.levels import PREFIX, PRIVILEGED, Policy, Standard
from edgekube.api.errors import Cause
from edgekube.api.objects import Object, name_of

#: Group resource -> where the pod's template is.
TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "podtemplates": ("template",),
    "replicationcontrollers": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
#: Subresources of a pod that leave what the standards look at alone.
HARMLESS: Final = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status", "token"})


class Verdict(Struct):
    #: Why it is forbidden; "" when it is not.
    refusal: str = ""
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)


def template_of(group_resource: str, obj: Object) -> Object | None:
    found: Object | None = obj
    for key in TEMPLATES[group_resource]:
        found = (found or {}).get(key)
    return found


def matters(new: Object, old: Object) -> bool:
    """Whether a change of a pod is one that the standards look at: other images, or more containers."""
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for group in ("containers", "initContainers"):
        mine, theirs = after.get(group) or [], before.get(group) or []
        if [each.get("image") for each in mine] != [each.get("image") for each in theirs]:
            return True
    known = {each.get("name"): each.get("image") for each in before.get("ephemeralContainers") or ()}
    return any(
        each.get("name") not in known or known[each.get("name")] != each.get("image")
        for each in after.get("ephemeralContainers") or ()
    )


def judge_pod(policy: Policy, causes: Iterable[Cause], metadata: Object, spec: Object, *, enforced: bool) -> Verdict:
    """``causes``: what could not be read of the namespace's labels. ``enforced``: this is a pod, not a template of one."""
    verdict = Verdict()
    unreadable = [f"{cause.field}: {cause.message}" for cause in causes]
    if unreadable:
        text = unreadable[0] if len(unreadable) == 1 else f"[{', '.join(unreadable)}]"
        verdict.annotations[f"{PREFIX}error"] = f"Failed to parse policy: {text}"
    known: dict[Standard, str] = {}

    def violations(standard: Standard) -> str:
        if standard not in known:
            known[standard] = in_detail(findings(standard, metadata, spec))
        return known[standard]

    if enforced:
        verdict.annotations[f"{PREFIX}enforce-policy"] = str(policy.enforce)
        if why := violations(policy.enforce):
            verdict.refusal = f'violates PodSecurity "{policy.enforce}": {why}'
    if why := violations(policy.audit):
        verdict.annotations[f"{PREFIX}audit-violations"] = f'would violate PodSecurity "{policy.audit}": {why}'
    if not verdict.refusal and (why := violations(policy.warn)):
        verdict.warnings.append(f'would violate PodSecurity "{policy.warn}": {why}')
    return verdict


def looks_at_pods(new: Policy, old: Policy) -> bool:
    """Whether a change of a namespace's labels could make pods that run already wrong."""
    before, after = old.enforce, new.enforce
    if after in (before, Standard(PRIVILEGED, after.minor)):
        return False
    return after.minor != before.minor or after.is_stricter_than(before)


class Running:
    """What would not get in any more, of the pods that a namespace has: one line for each reason."""

    def __init__(self, namespace: str, standard: Standard) -> None:
        self._namespace = namespace
        self._standard = standard
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._checked = 0

    def add(self, pod: Object) -> None:
        self._checked += 1
        why = in_short(findings(self._standard, pod.get("metadata") or {}, pod.get("spec") or {}))
        if why:
            self._first[why] = min(self._first.get(why, name_of(pod)), name_of(pod))
            self._counts[why] = self._counts.get(why, 0) + 1

    def warnings(self, total: int) -> list[str]:
        found = []
        if self._checked < total:
            text = f"new PodSecurity enforce level only checked against the first {self._checked} of {total} existing pods"
            found.append(text)
        if self._counts:
            where = f'existing pods in namespace "{self._namespace}"'
            found.append(f'{where} violate the new PodSecurity enforce level "{self._standard}"')
        return [*found, *sorted(f"{self._first[why]}{_others(count - 1)}: {why}" for why, count in self._counts.items())]


def _others(count: int) -> str:
    return f" (and {count} other pod{'s' if count > 1 else ''})" if count else ""


def looked_at(controllers: Iterable[str]) -> list[int]:
    """Which pods are judged, from the uid of each one's controller ("" for none): one of each controller before the rest, as far
    as limits.POD_SECURITY_PODS_MAX reaches."""
    first: list[int] = []
    rest: list[int] = []
    seen: set[str] = set()
    for number, controller in enumerate(controllers):
        if controller and controller in seen:
            rest.append(number)
        else:
            first.append(number)
            seen.add(controller)
    return [*first, *rest][: limits.POD_SECURITY_PODS_MAX]
