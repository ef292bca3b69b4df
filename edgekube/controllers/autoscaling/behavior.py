"""How fast the number of replicas may change.

Enters: what the metrics ask for, what there is, an autoscaler's bounds and behaviour, what is remembered of the last minutes.
Leaves: the number to set, and the conditions AbleToScale and ScalingLimited that tell why.
Holds: a window takes the most cautious recommendation in it; a policy bounds the change within its period.
Bound: limits.AUTOSCALERS_REMEMBERED_MAX autoscalers, each an hour of recommendations at most (the API bounds the windows).
Source: kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale (configurable scaling behavior).
Next: controllers.autoscaling.plan.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final, NamedTuple

from msgspec import Struct, field

from edgekube import limits
from edgekube.api.objects import Object

#: Downwards, where the autoscaler says nothing (upstream's --horizontal-pod-autoscaler-downscale-stabilization).
DOWN_WINDOW_SECONDS: Final = 300.0
_UP_FACTOR: Final = 2.0
_UP_LEAST: Final = 4
_MOST: Final = 2**31 - 1


class _Sample(NamedTuple):
    at_seconds: float  # monotonic
    number: int


class Remembered(Struct):
    """Of one autoscaler: recommendations, and by how much it was scaled."""

    recommended: list[_Sample] = field(default_factory=list)
    ups: list[_Sample] = field(default_factory=list)
    downs: list[_Sample] = field(default_factory=list)
    selector: str = ""
    #: When the figures in the status were last written.
    told_at: float = -math.inf

    def scaled(self, before: int, after: int, at_seconds: float, longest: float) -> None:
        samples = self.ups if after > before else self.downs
        samples[:] = [each for each in samples if each.at_seconds >= at_seconds - longest]
        samples.append(_Sample(at_seconds, abs(after - before)))

    def not_scaled(self, before: int, after: int) -> None:
        """The change that was noted last has been refused."""
        (self.ups if after > before else self.downs).pop()


class Memory:
    """A new process remembers nothing: it takes what there is for recommended."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, Remembered] = OrderedDict()

    def of(self, uid: str) -> Remembered:
        found = self._of.setdefault(uid, Remembered())
        self._of.move_to_end(uid)
        while len(self._of) > limits.AUTOSCALERS_REMEMBERED_MAX:
            self._of.popitem(last=False)
        return found

    def known(self, uid: str) -> Remembered | None:
        return self._of.get(uid)


class Condition(NamedTuple):
    status: str
    reason: str
    message: str


class Limited(NamedTuple):
    replicas: int
    able: Condition
    limited: Condition


_READY: Final = Condition("True", "ReadyForNewScale", "recommended size matches current size")
_HIGHER: Final = "recent recommendations were higher than current one, applying the highest recent recommendation"
_LOWER: Final = "recent recommendations were lower than current one, applying the lowest recent recommendation"
_UP_LIMIT: Final = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT: Final = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_TOO_MANY: Final = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW: Final = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")


def limited(spec: Object, remembered: Remembered, current: int, desired: int, least: int, now: float) -> Limited:
    """``now`` is monotonic. The desired number is remembered as a recommendation."""
    if not remembered.recommended:
        remembered.recommended.append(_Sample(now, current))
    behavior = spec.get("behavior")
    most = int(spec.get("maxReplicas") or 0)
    if behavior is None:
        stable = max([desired, *_since(remembered.recommended, now - DOWN_WINDOW_SECONDS)])
        able = _READY if stable == desired else Condition("True", "ScaleDownStabilized", _HIGHER)
        replicas, why = _plain_bounds(current, stable, least, most)
        _remember(remembered, desired, now, DOWN_WINDOW_SECONDS)
    else:
        up, down = behavior.get("scaleUp") or {}, behavior.get("scaleDown") or {}
        up_window, down_window = _window(up, 0.0), _window(down, DOWN_WINDOW_SECONDS)
        lowest = min([desired, *_since(remembered.recommended, now - up_window, within=False)])
        highest = max([desired, *_since(remembered.recommended, now - down_window, within=False)])
        stable = min(max(current, lowest), highest)
        reason, message = ("ScaleUpStabilized", _LOWER) if desired >= current else ("ScaleDownStabilized", _HIGHER)
        able = _READY if stable == desired else Condition("True", reason, message)
        replicas, why = _ruled_bounds(up, down, remembered, current, stable, (least, most), now)
        _remember(remembered, desired, now, max(up_window, down_window))
    return Limited(replicas, able, Condition("False" if replicas == stable else "True", *why))


def _window(rules: Object, otherwise: float) -> float:
    seconds = rules.get("stabilizationWindowSeconds")
    return otherwise if seconds is None else float(seconds)


def _since(samples: list[_Sample], begin: float, *, within: bool = True) -> list[int]:
    return [each.number for each in samples if each.at_seconds > begin or (within and each.at_seconds == begin)]


def _remember(remembered: Remembered, desired: int, now: float, longest: float) -> None:
    kept = [each for each in remembered.recommended if each.at_seconds >= now - longest]
    remembered.recommended = [*kept, _Sample(now, desired)]


def _plain_bounds(current: int, desired: int, least: int, most: int) -> tuple[int, tuple[str, str]]:
    fastest = int(max(_UP_FACTOR * current, _UP_LEAST))
    allowed, why = (fastest, _UP_LIMIT) if most > fastest else (most, _TOO_MANY)
    if desired < least:
        return least, _TOO_FEW
    return (allowed, why) if desired > allowed else (desired, _WITHIN)


def _ruled_bounds(
    up: Object, down: Object, remembered: Remembered, current: int, desired: int, bounds: tuple[int, int], now: float
) -> tuple[int, tuple[str, str]]:
    least, most = bounds
    if desired > current:
        fastest = max(current, _up_limit(up, remembered, current, now))
        allowed, why = (fastest, _UP_LIMIT) if most > fastest else (most, _TOO_MANY)
        return (allowed, why) if desired > allowed else (desired, _WITHIN)
    if desired < current:
        fastest = min(current, _down_limit(down, remembered, current, now))
        allowed, why = (fastest, _DOWN_LIMIT) if least < fastest else (least, _TOO_FEW)
        return (allowed, why) if desired < allowed else (desired, _WITHIN)
    return desired, _WITHIN


def _begin(remembered: Remembered, current: int, policy: Object, now: float) -> int:
    """How many there were when the policy's period began."""
    since = now - float(policy.get("periodSeconds") or 0)
    return current - sum(_since(remembered.ups, since, within=False)) + sum(_since(remembered.downs, since, within=False))


def _up_limit(rules: Object, remembered: Remembered, current: int, now: float) -> int:
    select = rules.get("selectPolicy")
    if select == "Disabled":
        return current
    proposed = []
    for policy in rules.get("policies") or ():
        begin, value = _begin(remembered, current, policy, now), int(policy.get("value") or 0)
        proposed.append(begin + value if policy.get("type") == "Pods" else math.ceil(begin * (1 + value / 100)))
    return min(proposed, default=_MOST) if select == "Min" else max(proposed, default=-_MOST)


def _down_limit(rules: Object, remembered: Remembered, current: int, now: float) -> int:
    select = rules.get("selectPolicy")
    if select == "Disabled":
        return current
    proposed = []
    for policy in rules.get("policies") or ():
        begin, value = _begin(remembered, current, policy, now), int(policy.get("value") or 0)
        proposed.append(begin - value if policy.get("type") == "Pods" else int(begin * (1 - value / 100)))
    return max(proposed, default=-_MOST) if select == "Min" else min(proposed, default=_MOST)


def longest_period(behavior: Object | None, *, up: bool) -> float:
    rules = ((behavior or {}).get("scaleUp" if up else "scaleDown")) or {}
    return max((float(policy.get("periodSeconds") or 0) for policy in rules.get("policies") or ()), default=0.0)
