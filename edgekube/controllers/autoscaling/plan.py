"""The plan of an autoscaler, from its target's scale and the answers about its metrics.

Enters: Facts that reconcile.autoscaling has gathered, the pods of the target, what is remembered of the last minutes.
Leaves: the new scale, the status, events, and when to look again.
Holds: nobody is scaled down while a metric is unknown; a target that was set to zero by hand is left alone.
Source: k8s.io/kubernetes pkg/controller/podautoscaler reconcileAutoscaler.
Next: reconcile.autoscaling.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct, field

from edgekube import limits
from edgekube.api import quantities, times
from edgekube.api.calls import Call, Later, Patch, Record, Report
from edgekube.api.controller import Moment
from edgekube.api.errors import StatusError
from edgekube.api.kinds import HORIZONTALPODAUTOSCALER, POD, Kind
from edgekube.api.objects import Object, labels_of, name_of, namespace_of, uid_of
from edgekube.api.selectors.label_text import parse_label_selector
from edgekube.api.selectors.labels import LabelSelector
from edgekube.api.statuses import status_calls
from edgekube.api.view import View
from edgekube.controllers.autoscaling.behavior import Condition, Limited, Memory, Remembered, limited, longest_period
from edgekube.controllers.autoscaling.metrics import Failed, Measured, Situation, measure
from edgekube.controllers.autoscaling.readings import MetricError
from edgekube.controllers.autoscaling.replicas import Tolerance


class Facts(Struct, frozen=True):
    """``scale``: an autoscaling/v1 Scale; ``fault``: why there is none. ``answers``: one for each entry of spec.metrics."""

    target: Kind | None = None
    scale: Object | None = None
    fault: str = ""
    answers: list[Object | MetricError] = field(default_factory=list)


def wants_metrics(autoscaler: Object, scale: Object) -> bool:
    """Whether metrics decide, and not the bounds alone."""
    spec = autoscaler.get("spec") or {}
    current = _replicas(scale)
    return bool(current) and _least(spec) <= current <= int(spec.get("maxReplicas") or 0)


def _replicas(scale: Object) -> int:
    return int((scale.get("spec") or {}).get("replicas") or 0)


def _least(spec: Object) -> int:
    return 1 if spec.get("minReplicas") is None else int(spec["minReplicas"])


class _Draft:
    """A status in the making, and the events about it."""

    def __init__(self, autoscaler: Object, now: Moment) -> None:
        self.autoscaler = autoscaler
        self.status: Object = autoscaler.get("status") or {}
        self.conditions: list[Object] = [dict(each) for each in self.status.get("conditions") or ()]
        self.events: list[Call] = []
        self.metrics: list[Object] | None = None
        self._stamp = times.rfc3339(now.wall_seconds)

    def tell(self, type_: str, reason: str, message: str) -> None:
        self.events.append(Record(self.autoscaler, type_, reason, message))

    def set(self, type_: str, condition: Condition) -> None:
        status, reason, message = condition
        for each in self.conditions:
            if each.get("type") == type_:
                if each.get("status") != status:
                    each["lastTransitionTime"] = self._stamp
                each |= {"status": status, "reason": reason, "message": message}
                return
        fresh = {"type": type_, "status": status, "lastTransitionTime": self._stamp, "reason": reason, "message": message}
        self.conditions.append(fresh)

    def written(self, current: int | None, desired: int | None, *, rescaled: bool) -> Object:
        """None: as it was."""
        status = dict(self.status)
        status["conditions"] = [dict(each) for each in self.conditions]
        if current is not None:
            status["currentReplicas"] = current
            status["currentMetrics"] = self.metrics
        if desired is not None:
            status["desiredReplicas"] = desired
        if rescaled:
            status["lastScaleTime"] = self._stamp
        return status


def plan(memory: Memory, facts: Facts, view: View, autoscaler: Object, now: Moment) -> list[Call]:
    remembered = memory.of(uid_of(autoscaler))
    draft = _Draft(autoscaler, now)
    again: list[Call] = [Later(limits.AUTOSCALER_SYNC_SECONDS)]
    if facts.scale is None or facts.target is None:
        message = f"the HPA controller was unable to get the target's current scale: {facts.fault}"
        draft.tell("Warning", "FailedGetScale", facts.fault)
        draft.set("AbleToScale", Condition("False", "FailedGetScale", message))
        return [*_status(draft, None, None, remembered, now), *draft.events, *again]
    message = "the HPA controller was able to get the target's current scale"
    draft.set("AbleToScale", Condition("True", "SucceededGetScale", message))
    spec, current = autoscaler.get("spec") or {}, _replicas(facts.scale)
    least, most = _least(spec), int(spec.get("maxReplicas") or 0)
    reason, metric = "", ""
    if not current:
        message = "scaling is disabled since the replica count of the target is zero"
        draft.set("ScalingActive", Condition("False", "ScalingDisabled", message))
        desired = 0
    elif current > most:
        reason, desired = "Current number of replicas above Spec.MaxReplicas", most
    elif current < least:
        reason, desired = "Current number of replicas below Spec.MinReplicas", least
    else:
        wanted, metric, fault = _wanted(memory, draft, facts, view, now)
        if wanted is None:
            draft.tell("Warning", "FailedComputeMetricsReplicas", fault)
            return [*_status(draft, current, None, remembered, now), *draft.events, *again]
        if wanted > current:
            reason = f"{metric} above target"
        elif wanted < current:
            reason = "All metrics below target"
        found: Limited = limited(spec, remembered, current, wanted, least, now.monotonic_seconds)
        draft.set("AbleToScale", found.able)
        draft.set("ScalingLimited", found.limited)
        desired = found.replicas
    if desired == current:
        return [*_status(draft, current, current, remembered, now), *draft.events, *again]
    return [*_rescale(draft, facts, remembered, current, desired, reason, now), *again]


def _wanted(memory: Memory, draft: _Draft, facts: Facts, view: View, now: Moment) -> tuple[int | None, str, str]:
    """(replicas, name of the metric, fault); None: it cannot be said."""
    autoscaler, scale = draft.autoscaler, facts.scale or {}
    spec = autoscaler.get("spec") or {}
    text = str((scale.get("status") or {}).get("selector") or "")
    selector, fault = _selector(memory, draft, view, text)
    if selector is None:
        return None, "", fault
    current = _replicas(scale)
    pods = list(view.selected(POD, namespace_of(autoscaler), selector))
    there = int((scale.get("status") or {}).get("replicas") or 0)
    situation = Situation(namespace_of(autoscaler), text, current, there, pods, _tolerance(spec), now.wall_seconds)
    entries = spec.get("metrics") or []
    measured = [measure(entry, answer, situation) for entry, answer in zip(entries, facts.answers, strict=True)]
    good = [each for each in measured if isinstance(each, Measured)]
    bad = [each for each in measured if isinstance(each, Failed)]
    # An entry without a figure keeps its place, as upstream has it.
    draft.metrics = [each.status if isinstance(each, Measured) else {"type": ""} for each in measured] or None
    for failed in bad:
        draft.tell("Warning", failed.reason, failed.why)
    best: Measured | None = None
    for found in good:
        if best is None or not best.replicas or found.replicas > best.replicas:
            best = found
    fault = f"invalid metrics ({len(bad)} invalid out of {len(entries)}), first error is: {bad[0].summary}" if bad else ""
    if best is None or (bad and best.replicas < current):
        message = f"the HPA was unable to compute the replica count: {bad[0].why}" if bad else ""
        draft.set("ScalingActive", Condition("False", bad[0].reason if bad else "", message))
        return None, "", fault
    message = f"the HPA was able to successfully calculate a replica count from {best.name}"
    draft.set("ScalingActive", Condition("True", "ValidMetricFound", message))
    return best.replicas, best.name, fault


def _selector(memory: Memory, draft: _Draft, view: View, text: str) -> tuple[LabelSelector | None, str]:
    autoscaler = draft.autoscaler
    if not text:
        draft.tell("Warning", "SelectorRequired", "selector is required")
        message = "the HPA target's scale is missing a selector"
        draft.set("ScalingActive", Condition("False", "InvalidSelector", message))
        return None, "selector is required"
    try:
        selector = parse_label_selector(text)
    except StatusError as error:
        message = f"couldn't convert selector into a corresponding internal selector object: {error.message}"
        draft.tell("Warning", "InvalidSelector", message)
        draft.set("ScalingActive", Condition("False", "InvalidSelector", message))
        return None, message
    memory.of(uid_of(autoscaler)).selector = text
    labels = [labels_of(pod) for pod in view.selected(POD, namespace_of(autoscaler), selector)]
    rivals = [name_of(each) for each in _rivals(memory, view, autoscaler, labels)]
    if rivals:
        names = " ".join(f"{{{name} {namespace_of(autoscaler)}}}" for name in sorted([name_of(autoscaler), *rivals]))
        message = f"pods by selector {text} are controlled by multiple HPAs: [{names}]"
        draft.tell("Warning", "AmbiguousSelector", message)
        draft.set("ScalingActive", Condition("False", "AmbiguousSelector", message))
        return None, message
    return selector, ""


def _rivals(memory: Memory, view: View, autoscaler: Object, labels: list[dict[str, str]]) -> Iterable[Object]:
    """Other autoscalers whose target selects one of these pods."""
    for other in view.list(HORIZONTALPODAUTOSCALER, namespace_of(autoscaler)):
        known = memory.known(uid_of(other))
        if uid_of(other) != uid_of(autoscaler) and known is not None and known.selector:
            selector = parse_label_selector(known.selector)
            if any(map(selector.matches, labels)):
                yield other


def _tolerance(spec: Object) -> Tolerance:
    behavior = spec.get("behavior") or {}
    given: dict[str, Any] = {
        name: float(quantities.parse(rules["tolerance"]))
        for name, rules in (("down", behavior.get("scaleDown") or {}), ("up", behavior.get("scaleUp") or {}))
        if rules.get("tolerance") is not None
    }
    return Tolerance(**given)


def _rescale(
    draft: _Draft, facts: Facts, remembered: Remembered, current: int, desired: int, reason: str, now: Moment
) -> list[Call]:
    autoscaler, target = draft.autoscaler, facts.target
    assert target is not None, "what is scaled has a kind"
    behavior = (autoscaler.get("spec") or {}).get("behavior")
    longest = longest_period(behavior, up=desired > current)
    remembered.scaled(current, desired, now.monotonic_seconds, longest)
    events = draft.events

    def refused(error: StatusError) -> list[Call]:
        remembered.not_scaled(current, desired)
        message = f"the HPA controller was unable to update the target scale: {error.message}"
        draft.set("AbleToScale", Condition("False", "FailedUpdateScale", message))
        return [*_status(draft, current, None, remembered, now), *events]

    size = f"New size: {desired}; reason: {reason}"
    report = Report(autoscaler, "SuccessfulRescale", size, "FailedRescale", f"{size}; error: {{error}}")
    scale = Patch(
        target,
        namespace_of(autoscaler),
        str(((autoscaler.get("spec") or {}).get("scaleTargetRef") or {}).get("name") or ""),
        {"spec": {"replicas": desired}},
        subresource="scale",
        report=report,
        on_failure=refused,
    )
    succeeded = _Draft(autoscaler, now)
    succeeded.conditions, succeeded.metrics = [dict(each) for each in draft.conditions], draft.metrics
    message = f"the HPA controller was able to update the target scale to {desired}"
    succeeded.set("AbleToScale", Condition("True", "SucceededRescale", message))
    return [scale, *_status(succeeded, current, desired, remembered, now, rescaled=True), *events]


def _status(
    draft: _Draft, current: int | None, desired: int | None, remembered: Remembered, now: Moment, *, rescaled: bool = False
) -> list[Call]:
    """Figures alone are written now and then: they change all the time, and each write wears the card."""
    status = draft.written(current, desired, rescaled=rescaled)
    calls = status_calls(HORIZONTALPODAUTOSCALER, draft.autoscaler, status)
    if not calls:
        return []
    before = draft.status
    same = all(status.get(key) == before.get(key) for key in status.keys() | before.keys() if key != "currentMetrics")
    recent = now.monotonic_seconds - remembered.told_at < limits.AUTOSCALER_FIGURES_SECONDS
    if same and recent and _alike(status.get("currentMetrics"), before.get("currentMetrics")):
        return []
    remembered.told_at = now.monotonic_seconds
    return calls


def _alike(new: list[Object] | None, old: list[Object] | None) -> bool:
    """Both know the same metrics, and no figure is a tenth off."""
    if not new or not old or len(new) != len(old):
        return not new and not old
    return all(_near(one, other) for one, other in zip(new, old, strict=True))


def _near(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_near(one[key], other[key]) for key in one)
    if one == other:
        return True
    try:
        a, b = float(quantities.parse(one)), float(quantities.parse(other))
    except (ValueError, TypeError):
        return False
    return abs(a - b) <= limits.AUTOSCALER_FIGURES_RATIO_MAX * max(abs(a), abs(b))
