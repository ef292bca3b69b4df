"""The metrics of an autoscaler's spec: where each is asked for, and what its answer means.

Enters: entries of spec.metrics; answers of the metrics APIs, or why there is none.
Leaves: the path of a question; a Measured: replicas, a name for events, an entry for status.currentMetrics.
Holds: pure; the words of failures, conditions and events are upstream's.
Source: autoscaling/v2 MetricSpec; k8s.io/metrics clients (paths); pkg/controller/podautoscaler horizontal.go.
Next: controllers.autoscaling.plan.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from msgspec import Struct

from edgekube.api import quantities
from edgekube.api.objects import Object
from edgekube.api.selectors.labels import label_selector_of
from edgekube.controllers.autoscaling import readings, replicas
from edgekube.controllers.autoscaling.readings import MetricError
from edgekube.controllers.autoscaling.replicas import Proposal, Tolerance

RESOURCE_METRICS: Final = "/apis/metrics.k8s.io/v1beta1"
CUSTOM_METRICS: Final = "custom.metrics.k8s.io"
EXTERNAL_METRICS: Final = "/apis/external.metrics.k8s.io/v1beta1"

#: apiVersion and kind of an object -> its resource, such as services or deployments.apps.
ResourceOf = Callable[[str, str], str]


class Question(Struct, frozen=True):
    """``path``: below /apis; of custom metrics below /apis/custom.metrics.k8s.io/VERSION. ``asked``: what a 404 is about."""

    path: str
    asked: str
    custom: bool = False


class Measured(NamedTuple):
    replicas: int
    name: str
    status: Object


class Failed(NamedTuple):
    """``reason``: of event and condition."""

    reason: str
    why: str
    #: What the sum of all metrics says of it.
    summary: str


class Situation(Struct, frozen=True):
    """What all metrics of one autoscaler share."""

    namespace: str
    selector: str
    current: int  # what is asked for now
    there: int  # what there is
    pods: list[Object]
    tolerance: Tolerance
    wall_seconds: float


_SOURCES: Final = {
    "Resource": ("resource", "FailedGetResourceMetric"),
    "ContainerResource": ("containerResource", "FailedGetContainerResourceMetric"),
    "Pods": ("pods", "FailedGetPodsMetric"),
    "Object": ("object", "FailedGetObjectMetric"),
    "External": ("external", "FailedGetExternalMetric"),
}


def source_of(metric: Object) -> Object:
    found: Object = metric.get(_SOURCES[metric["type"]][0]) or {}
    return found


def question_of(metric: Object, namespace: str, selector: str, resource_of: ResourceOf) -> Question:
    """MetricError when its selector cannot be read."""
    kind, source = metric["type"], source_of(metric)
    place = f"namespaces/{quote(namespace)}"
    if kind in ("Resource", "ContainerResource"):
        return Question(f"{RESOURCE_METRICS}/{place}/pods?{urlencode({'labelSelector': selector})}", "pods.metrics.k8s.io")
    identifier = source.get("metric") or {}
    name, labels = str(identifier.get("name") or ""), _selector_text(identifier.get("selector"))
    if kind == "External":
        query = f"?{urlencode({'labelSelector': labels})}" if labels else ""
        return Question(f"{EXTERNAL_METRICS}/{place}/{quote(name)}{query}", f"{name}.external.metrics.k8s.io")
    query_parts = {"labelSelector": selector} if kind == "Pods" else {}
    if labels:
        query_parts["metricLabelSelector"] = labels
    query = f"?{urlencode(query_parts)}" if query_parts else ""
    if kind == "Pods":
        return Question(f"{place}/pods/%2A/{quote(name)}{query}", f"pods.{CUSTOM_METRICS}", custom=True)
    described = source.get("describedObject") or {}
    resource = resource_of(str(described.get("apiVersion") or ""), str(described.get("kind") or ""))
    if resource == "namespaces":
        return Question(f"{place}/metrics/{quote(name)}{query}", f"namespaces.{CUSTOM_METRICS}", custom=True)
    path = f"{place}/{quote(resource)}/{quote(str(described.get('name') or ''))}/{quote(name)}{query}"
    return Question(path, f"{resource}.{CUSTOM_METRICS}", custom=True)


def _selector_text(selector: Object | None) -> str:
    try:
        return "" if selector is None else str(label_selector_of(selector))
    except ValueError as error:
        raise MetricError(str(error)) from None


def measure(metric: Object, answer: Object | MetricError, situation: Situation) -> Measured | Failed:
    kind = metric.get("type")
    if kind not in _SOURCES:
        why = f'unknown metric source type "{kind}"'
        return Failed("InvalidMetricSourceType", why, why)
    reason = _SOURCES[kind][1]
    try:
        return _MEASURES[kind](source_of(metric), answer, situation)
    except MetricError as error:
        return Failed(reason, str(error), f"failed to get {_summary(metric)}: {error}")


def _summary(metric: Object) -> str:
    kind, source = metric["type"], source_of(metric)
    match kind:
        case "Resource":
            return f"{source.get('name')} resource metric value"
        case "ContainerResource":
            return f"{source.get('container')} container metric value"
        case "External":
            return f"{(source.get('metric') or {}).get('name')} external metric value"
        case _:
            return f"{kind.lower()} metric value"


def _resource(source: Object, answer: Object | MetricError, situation: Situation) -> Measured:
    name, container, target = str(source.get("name")), str(source.get("container") or ""), source.get("target") or {}
    average = target.get("averageValue")
    percent = target.get("averageUtilization")
    if average is None and percent is None:
        what = "neither an average utilization target nor an average value (usage) target was set"
        raise MetricError(f"invalid resource metric source: {what}")
    kind = "usage" if average is not None else "utilization"
    try:
        found = readings.of_resource(_fetched(answer, "resource"), name, container)
    except MetricError as error:
        why = f"unable to get metrics for resource {name}: {error}"
        raise MetricError(f"failed to get {name} {kind}: {why}") from None
    try:
        if average is not None:
            goal = quantities.to_milli(average)
            proposal = replicas.by_average(
                situation.current, goal, found, situation.pods, name, situation.tolerance, situation.wall_seconds
            )
            label = f"{name} resource"
        else:
            requests = replicas.requests_of(situation.pods, container, name)
            proposal = replicas.by_utilization(
                situation.current,
                int(percent or 0),
                found,
                situation.pods,
                requests,
                name,
                situation.tolerance,
                situation.wall_seconds,
            )
            label = f"{name} {'container ' if container else ''}resource utilization (percentage of request)"
    except MetricError as error:
        raise MetricError(f"failed to get {name} {kind}: {error}") from None
    current: Object = {"averageValue": _quantity(proposal.amount, "binary" if name == "memory" else "decimal")}
    if proposal.percent is not None:
        current["averageUtilization"] = proposal.percent
    if container:
        body = {"name": name, "container": container, "current": current}
        return Measured(proposal.replicas, label, {"type": "ContainerResource", "containerResource": body})
    return Measured(proposal.replicas, label, {"type": "Resource", "resource": {"name": name, "current": current}})


def _of_pods(source: Object, answer: Object | MetricError, situation: Situation) -> Measured:
    identifier, target = source.get("metric") or {}, source.get("target") or {}
    name = identifier.get("name")
    try:
        found = readings.of_pods(_fetched(answer, "custom"))
    except MetricError as error:
        raise MetricError(f"unable to get metric {name}: {error}") from None
    goal = quantities.to_milli(target.get("averageValue") or "0")
    proposal = replicas.by_average(
        situation.current, goal, found, situation.pods, "", situation.tolerance, situation.wall_seconds
    )
    body = {"metric": identifier, "current": {"averageValue": _quantity(proposal.amount)}}
    return Measured(proposal.replicas, f"pods metric {name}", {"type": "Pods", "pods": body})


def _of_object(source: Object, answer: Object | MetricError, situation: Situation) -> Measured:
    identifier, target, described = source.get("metric") or {}, source.get("target") or {}, source.get("describedObject") or {}
    name = identifier.get("name")
    per_pod = target.get("type") == "AverageValue" and target.get("averageValue") is not None
    if not per_pod and not (target.get("type") == "Value" and target.get("value") is not None):
        raise MetricError("invalid object metric source: neither a value target nor an average value target was set")
    try:
        usage = readings.of_object(_fetched(answer, "custom"))
    except MetricError as error:
        about = f"{described.get('kind')} {situation.namespace}/{described.get('name')}"
        why = f"unable to get metric {name}: {error} on {about}"
        raise MetricError(f"failed to get {name} object metric: {why}" if per_pod else why) from None
    body: Object = {"describedObject": described, "metric": identifier}
    if per_pod:
        goal = quantities.to_milli(target["averageValue"])
        proposal = replicas.by_value_per_pod(situation.there, usage, goal, situation.tolerance)
        body["current"] = {"averageValue": _quantity(proposal.amount)}
        # The name is upstream's, who took it over from external metrics.
        return Measured(proposal.replicas, f"external metric {name}({_go_text(identifier)})", {"type": "Object", "object": body})
    goal = quantities.to_milli(target["value"])
    proposal = replicas.by_value(situation.current, usage, goal, situation.pods, situation.tolerance)
    body["current"] = {"value": _quantity(proposal.amount)}
    return Measured(proposal.replicas, f"{described.get('kind')} metric {name}", {"type": "Object", "object": body})


def _external(source: Object, answer: Object | MetricError, situation: Situation) -> Measured:
    identifier, target = source.get("metric") or {}, source.get("target") or {}
    name = identifier.get("name")
    per_pod = target.get("averageValue") is not None
    if not per_pod and target.get("value") is None:
        raise MetricError("invalid external metric source: neither a value target nor an average value target was set")
    try:
        usage = readings.of_external(_fetched(answer, "external"))
    except MetricError as error:
        why = f"unable to get external metric {situation.namespace}/{name}/{_go_text(identifier)}: {error}"
        what = f"{name} external metric" if per_pod else f"external metric {name}"
        raise MetricError(f"failed to get {what}: {why}") from None
    proposal: Proposal
    if per_pod:
        goal = quantities.to_milli(target["averageValue"])
        proposal = replicas.by_value_per_pod(situation.there, usage, goal, situation.tolerance)
        current = {"averageValue": _quantity(proposal.amount)}
    else:
        goal = quantities.to_milli(target["value"])
        proposal = replicas.by_value(situation.current, usage, goal, situation.pods, situation.tolerance)
        current = {"value": _quantity(proposal.amount)}
    label = f"external metric {name}({_go_text(identifier)})"
    return Measured(proposal.replicas, label, {"type": "External", "external": {"metric": identifier, "current": current}})


_MEASURES: Final[dict[str, Callable[[Object, Object | MetricError, Situation], Measured]]] = {
    "Resource": _resource,
    "ContainerResource": _resource,
    "Pods": _of_pods,
    "Object": _of_object,
    "External": _external,
}


def _fetched(answer: Object | MetricError, which: str) -> Object:
    if isinstance(answer, MetricError):
        raise MetricError(f"unable to fetch metrics from {which} metrics API: {answer}")
    return answer


def _quantity(milli: int, family: str = "decimal") -> str:
    return quantities.text_of(Decimal(milli) / 1000, family)


def _go_text(identifier: Object) -> str:
    """A selector as Go prints it, for upstream's messages have it so."""
    selector = identifier.get("selector")
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    expressions = "".join(
        "LabelSelectorRequirement{Key:" + f"{each.get('key')},Operator:{each.get('operator')},"
        f"Values:[{' '.join(each.get('values') or ())}]," + "},"
        for each in selector.get("matchExpressions") or ()
    )
    return (
        "&LabelSelector{MatchLabels:map[string]string{" + labels + "},"
        "MatchExpressions:[]LabelSelectorRequirement{" + expressions + "},}"
    )
