"""What the metrics APIs answer, as numbers.

Enters: PodMetricsList, MetricValueList, ExternalMetricValueList (metrics.k8s.io, custom.metrics.k8s.io, external.metrics.k8s.io).
Leaves: one Reading a pod, in thousandths; sums.
Holds: a pod of which one container has no figure is left out; an empty answer is a fault, in upstream's words.
Source: k8s.io/metrics API types; k8s.io/kubernetes pkg/controller/podautoscaler/metrics.
Next: controllers.autoscaling.replicas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from edgekube.api import quantities, times
from edgekube.api.objects import Object, name_of

_WINDOW: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
#: Where an answer does not say over which time it was measured.
_WINDOW_SECONDS: Final = 60.0


class MetricError(Exception):
    """A metric cannot be had; str() says why, as conditions and events tell it."""


class Reading(NamedTuple):
    milli: int
    at_seconds: float = 0.0
    window_seconds: float = _WINDOW_SECONDS


def of_resource(answer: Object, resource: str, container: str) -> dict[str, Reading]:
    items = answer.get("items") or ()
    if not items:
        raise MetricError("no metrics returned from resource metrics API")
    result: dict[str, Reading] = {}
    for item in items:
        usages = [each.get("usage") or {} for each in item.get("containers") or () if container in ("", each.get("name"))]
        if usages and all(resource in usage for usage in usages):
            total = sum(quantities.to_milli(usage[resource]) for usage in usages)
            result[name_of(item)] = Reading(total, _time(item), _seconds(item.get("window")))
    return result


def of_pods(answer: Object) -> dict[str, Reading]:
    items = answer.get("items") or ()
    if not items:
        raise MetricError("no metrics returned from custom metrics API")
    result: dict[str, Reading] = {}
    for item in items:
        milli, window = quantities.to_milli(item.get("value") or "0"), float(_window_of(item) or _WINDOW_SECONDS)
        result[str((item.get("describedObject") or {}).get("name") or "")] = Reading(milli, _time(item), window)
    return result


def of_object(answer: Object) -> int:
    items = answer.get("items") or []
    if len(items) != 1:
        raise MetricError(f"the custom metrics API server returned {len(items)} results when we asked for exactly one")
    return quantities.to_milli(items[0].get("value") or "0")


def of_external(answer: Object) -> int:
    items = answer.get("items") or ()
    if not items:
        raise MetricError("no metrics returned from external metrics API")
    return _capped(quantities.to_milli(item.get("value") or "0") for item in items)


def _capped(amounts: Iterable[int]) -> int:
    return min(sum(amounts), 2**63 - 1)


def _window_of(item: Object) -> float | None:
    """windowSeconds of v1beta2, window of v1beta1."""
    return item.get("windowSeconds") if item.get("windowSeconds") is not None else item.get("window")


def _time(item: Object) -> float:
    try:
        return times.parse(item.get("timestamp") or "")
    except ValueError:
        return 0.0


def _seconds(window: str | None) -> float:
    """metav1.Duration: 1m30.5s."""
    match = _WINDOW.fullmatch(window or "")
    if match is None or not window:
        return 0.0
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)
