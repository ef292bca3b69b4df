"""Pods: quality of service, graceful deletion, and which subresource may change what.

Enters: the new pod and the stored one.
Leaves: the pod to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/core/pod/strategy.go; kubernetes.io, "Pod Quality of Service Classes").
Next: registry.create, registry.update, registry.delete.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object, metadata_of
from edgekube.api.quantities import parse as parse_quantity
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_QOS_RESOURCES: Final = ("cpu", "memory")
_DEFAULT_GRACE_SECONDS: Final = 30


def _counted(resources: Object | None) -> dict[str, object]:
    """cpu and memory above zero, as numbers that compare."""
    found: dict[str, object] = {}
    for name in _QOS_RESOURCES:
        text = (resources or {}).get(name)
        if text is not None:
            value = parse_quantity(str(text))
            if value > 0:
                found[name] = value
    return found


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort. Requests and limits of the pod itself come first, then its containers'."""
    spec = pod.get("spec") or {}
    own = spec.get("resources") or {}
    parts = [own] if own.get("requests") or own.get("limits") else [
        container.get("resources") or {} for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    ]  # fmt: skip
    any_set = False
    guaranteed = True
    for part in parts:
        requests, limits = _counted(part.get("requests")), _counted(part.get("limits"))
        any_set = any_set or bool(requests or limits)
        if set(limits) != set(_QOS_RESOURCES) or any(requests.get(name, limits[name]) != limits[name] for name in limits):
            guaranteed = False
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


class PodStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        gates = (obj.get("spec") or {}).get("schedulingGates")
        if gates:
            obj["status"]["conditions"] = [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "SchedulingGated",
                    "message": "Scheduling is blocked due to non-empty scheduling gates",
                    "lastProbeTime": None,
                    "lastTransitionTime": metadata_of(obj).get("creationTimestamp"),
                }
            ]

    def first_status(self, obj: Object) -> Object:
        return {"phase": "Pending", "qosClass": qos_class(obj)}

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_status_update(obj, old)
        metadata, old_metadata = metadata_of(obj), metadata_of(old)
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"):
            if key in old_metadata:
                metadata[key] = old_metadata[key]
            else:
                metadata.pop(key, None)
        status = obj.setdefault("status", {})
        if not status.get("qosClass") and (old.get("status") or {}).get("qosClass"):
            status["qosClass"] = old["status"]["qosClass"]

    def prepare_for_ephemeral_containers(self, obj: Object, old: Object) -> None:
        """Everything but spec.ephemeralContainers stays."""
        added = (obj.get("spec") or {}).get("ephemeralContainers")
        self._keep_all_but_metadata(obj, old)
        if added is not None:
            obj["spec"]["ephemeralContainers"] = added

    def prepare_for_resize(self, obj: Object, old: Object) -> None:
        """Everything but the resources and resize policies of containers stays."""
        wanted = {
            (group, container.get("name")): container
            for group in ("containers", "initContainers")
            for container in (obj.get("spec") or {}).get(group) or []
        }
        self._keep_all_but_metadata(obj, old)
        for group in ("containers", "initContainers"):
            containers = obj["spec"].get(group)
            if not containers:
                continue
            merged = []
            for container in containers:
                new = wanted.get((group, container.get("name")))
                container = dict(container)
                if new is not None:
                    for key in ("resources", "resizePolicy"):
                        if key in new:
                            container[key] = new[key]
                merged.append(container)
            obj["spec"][group] = merged

    def _keep_all_but_metadata(self, obj: Object, old: Object) -> None:
        for key in [*obj]:
            if key != "metadata" and key not in old:
                del obj[key]
        for key, value in old.items():
            if key == "spec":
                obj["spec"] = dict(value)
            elif key != "metadata":
                obj[key] = value

    def raise_generation(self, obj: Object, old: Object) -> None:
        generation = int(metadata_of(old).get("generation") or 0)
        changed = (obj.get("spec") or {}) != (old.get("spec") or {})
        metadata_of(obj)["generation"] = generation + 1 if changed else generation

    def grace_period_seconds(self, obj: Object, requested: int | None) -> int | None:
        spec = obj.get("spec") or {}
        period = requested
        if period is None:
            period = spec.get("terminationGracePeriodSeconds")
            period = _DEFAULT_GRACE_SECONDS if period is None else int(period)
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        return 1 if period < 0 else period
