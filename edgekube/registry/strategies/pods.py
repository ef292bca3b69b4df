"""Pods: quality of service, graceful deletion, and which subresource may change what.

Enters: the new pod and the stored one.
Leaves: the pod to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/core/pod/strategy.go; kubernetes.io, "Pod Quality of Service Classes").
Next: registry.create, registry.update, registry.delete.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object, metadata_of
from edgekube.api.qos import qos_class
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_DEFAULT_GRACE_SECONDS: Final = 30


def merge_label_keys(pod: Object) -> None:
    """matchLabelKeys and mismatchLabelKeys become requirements of the selector beside them, by the labels the pod has now."""
    spec, labels = pod.get("spec") or {}, metadata_of(pod).get("labels") or {}
    parts: list[Object] = list(spec.get("topologySpreadConstraints") or ())
    for kind in ("podAffinity", "podAntiAffinity"):
        affinity = (spec.get("affinity") or {}).get(kind) or {}
        parts += affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        parts += [each["podAffinityTerm"] for each in preferred if each.get("podAffinityTerm")]
    for part in parts:
        selector = part.get("labelSelector")
        if selector is None:
            continue
        more = [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
            for key in part.get(keys) or ()
            if key in labels
        ]
        if more:
            selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *more]


class PodStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        merge_label_keys(obj)
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
        self._keep_all(obj, old)
        if added:
            obj["spec"]["ephemeralContainers"] = added
        else:  # taken away: for validation to name
            obj["spec"].pop("ephemeralContainers", None)

    def prepare_for_resize(self, obj: Object, old: Object) -> None:
        """Everything but the resources of containers and of the pod, and resize policies, stays."""
        new_spec: Object = obj.get("spec") or {}
        wanted: dict[str, list[Object]] = {group: new_spec.get(group) or [] for group in ("containers", "initContainers")}
        self._keep_all(obj, old)
        for group, containers in wanted.items():
            before = old["spec"].get(group) or []
            if [each.get("name") for each in containers] != [each.get("name") for each in before]:
                obj["spec"] = new_spec  # added, removed or renamed: for validation to name
                return
            if containers:
                obj["spec"][group] = [
                    {**kept, **{key: each[key] for key in ("resources", "resizePolicy") if key in each}}
                    for kept, each in zip(before, containers, strict=True)
                ]
        if new_spec.get("resources") is not None:
            obj["spec"]["resources"] = new_spec["resources"]
        else:
            obj["spec"].pop("resources", None)

    def _keep_all(self, obj: Object, old: Object) -> None:
        """But the bookkeeping in metadata: whose the fields are, and which state was meant."""
        metadata, old_metadata = metadata_of(obj), metadata_of(old)
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if key in old_metadata:
                metadata[key] = old_metadata[key]
            else:
                metadata.pop(key, None)
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
