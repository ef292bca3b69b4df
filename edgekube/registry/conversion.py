"""One stored object, two served versions: events.k8s.io/v1 beside v1 Event, autoscaling/v1 beside v2, PodAddress beside Pod.

Enters: objects in a served version, or stored JSON.
Leaves: the stored version, or the served one; None where they are the same, so that bytes stay bytes.
Holds: converting there and back changes nothing that the served version can express (sources: k8s.io/kubernetes
pkg/apis/events/v1, pkg/apis/autoscaling/v1 conversions).
Next: registry.get, registry.list, registry.watch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from edgekube.api import pod_address
from edgekube.api.defaults.autoscaling import METRICS
from edgekube.api.kinds import EVENT, HORIZONTALPODAUTOSCALER, PODADDRESS, Kind
from edgekube.api.objects import Object, metadata_of

Convert = Callable[[bytes], bytes]

#: events.k8s.io field -> core v1 field.
_EVENT_FIELDS: Final = {
    "note": "message",
    "regarding": "involvedObject",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
_EVENT_FIELDS_BACK: Final = {core: new for new, core in _EVENT_FIELDS.items()}

_CURRENT_METRICS: Final = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS: Final = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR: Final = "autoscaling.alpha.kubernetes.io/behavior"


def _renamed(obj: Object, names: dict[str, str], api_version: str) -> Object:
    converted: Object = {"kind": obj.get("kind", "Event"), "apiVersion": api_version}
    for key, value in obj.items():
        if key not in ("kind", "apiVersion"):
            converted[names.get(key, key)] = value
    return converted


def _event_to_core(obj: Object) -> Object:
    return _renamed(obj, _EVENT_FIELDS, "v1")


def _event_from_core(obj: Object) -> Object:
    return _renamed(obj, _EVENT_FIELDS_BACK, "events.k8s.io/v1")


def _hpa_to_v2(obj: Object) -> Object:
    """targetCPUUtilizationPercentage becomes a cpu metric; everything v1 cannot say sits in annotations."""
    converted = dict(obj)
    converted["apiVersion"] = "autoscaling/v2"
    annotations = dict((obj.get("metadata") or {}).get("annotations") or {})
    kept = {key: annotations.pop(key, None) for key in (METRICS, _CURRENT_METRICS, _CONDITIONS, _BEHAVIOR)}
    metadata = dict(obj.get("metadata") or {})
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    converted["metadata"] = metadata

    spec = dict(obj.get("spec") or {})
    metrics: list[Object] = _json_or(kept[METRICS], [])
    target = spec.pop("targetCPUUtilizationPercentage", None)
    if target is not None:
        metrics.insert(0, {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}},
        })  # fmt: skip
    if metrics:
        spec["metrics"] = metrics
    behavior = _json_or(kept[_BEHAVIOR], None)
    if behavior is not None:
        spec["behavior"] = behavior
    converted["spec"] = spec

    if "status" in obj:
        status = dict(obj["status"] or {})
        current: list[Object] = _json_or(kept[_CURRENT_METRICS], [])
        utilization = status.pop("currentCPUUtilizationPercentage", None)
        if utilization is not None:
            current.insert(0, {
                "type": "Resource",
                "resource": {"name": "cpu", "current": {"averageUtilization": utilization}},
            })  # fmt: skip
        if current:
            status["currentMetrics"] = current
        conditions = _json_or(kept[_CONDITIONS], None)
        if conditions is not None:
            status["conditions"] = conditions
        converted["status"] = status
    return converted


def _hpa_from_v2(obj: Object) -> Object:
    converted = dict(obj)
    converted["apiVersion"] = "autoscaling/v1"
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    spec = dict(obj.get("spec") or {})
    cpu, others = _split_cpu(spec.pop("metrics", None) or [], "target")
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu
    if others:
        annotations[METRICS] = orjson.dumps(others).decode()
    behavior = spec.pop("behavior", None)
    if behavior is not None:
        annotations[_BEHAVIOR] = orjson.dumps(behavior).decode()
    converted["spec"] = spec
    if "status" in obj:
        status = dict(obj["status"] or {})
        cpu, others = _split_cpu(status.pop("currentMetrics", None) or [], "current")
        if cpu is not None:
            status["currentCPUUtilizationPercentage"] = cpu
        if others:
            annotations[_CURRENT_METRICS] = orjson.dumps(others).decode()
        conditions = status.pop("conditions", None)
        if conditions:
            annotations[_CONDITIONS] = orjson.dumps(conditions).decode()
        converted["status"] = {"currentReplicas": 0, "desiredReplicas": 0, **status}  # v1 writes its zeros
    if annotations:
        metadata["annotations"] = annotations
    converted["metadata"] = metadata
    return converted


def _split_cpu(metrics: list[Object], field: str) -> tuple[int | None, list[Object]]:
    """The first cpu utilization and the metrics that v1 has no field for."""
    cpu: int | None = None
    others: list[Object] = []
    for metric in metrics:
        resource = metric.get("resource") or {}
        utilization = (resource.get(field) or {}).get("averageUtilization")
        if cpu is None and metric.get("type") == "Resource" and resource.get("name") == "cpu" and utilization is not None:
            cpu = utilization
        else:
            others.append(metric)
    return cpu, others


def _json_or(text: str | None, default: Any) -> Any:
    if text is None:
        return default
    try:
        decoded = orjson.loads(text)
    except ValueError:
        return default
    return decoded if default is None or isinstance(decoded, type(default)) else default


def storage_kind(kind: Kind) -> Kind:
    """The row whose version is on disk."""
    if kind.group == "events.k8s.io":
        return EVENT
    if kind.group == "autoscaling" and kind.version == "v1":
        return HORIZONTALPODAUTOSCALER
    return kind


def to_storage(kind: Kind, obj: Object) -> Object:
    """The object in the stored version; the same object where nothing differs."""
    if kind.group == "events.k8s.io":
        return _event_to_core(obj)
    if kind.group == "autoscaling" and kind.version == "v1":
        return _hpa_to_v2(obj)
    return obj


def object_from_storage(kind: Kind, obj: Object) -> Object:
    if kind.group == "events.k8s.io":
        return _event_from_core(obj)
    if kind.group == "autoscaling" and kind.version == "v1":
        return _hpa_from_v2(obj)
    return obj


def _event_bytes(raw: bytes) -> bytes:
    return orjson.dumps(_event_from_core(orjson.loads(raw)))


def _hpa_bytes(raw: bytes) -> bytes:
    return orjson.dumps(_hpa_from_v2(orjson.loads(raw)))


def from_storage(kind: Kind) -> Convert | None:
    """The function that turns stored JSON into the served version; None: stored JSON is served as it is."""
    if kind.group == "events.k8s.io":
        return _event_bytes
    if kind.group == "autoscaling" and kind.version == "v1":
        return _hpa_bytes
    if kind is PODADDRESS:
        return pod_address.project
    return None


def stamp(kind: Kind, obj: Object) -> Object:
    """The object with apiVersion, kind and metadata first, as it is stored."""
    metadata = metadata_of(obj)
    stamped: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    for key, value in obj.items():
        if key not in stamped:
            stamped[key] = value
    return stamped
