"""What one object uses of a quota: a meter for each kind of thing that is counted.

Enters: an object, and the names of resources that a quota limits.
Leaves: amounts, and which of the names the meter counts.
Holds: pure, the time is given; every namespaced kind can be counted as ``count/<resource>.<group>``, a few have older names too.
Source: kubernetes.io/docs/concepts/policy/resource-quotas; k8s.io/kubernetes pkg/quota/v1/evaluator/core;
k8s.io/apiserver pkg/quota/v1/generic.
Next: admission.quota.charge, admission.quota.count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.admission.pod_resources import Amounts, amounts_of, charged, most, plus, speaks_for_itself
from edgekube.admission.quota.scopes import claim_fulfils, is_terminating, pod_fulfils
from edgekube.api import podstate, quantities, times
from edgekube.api.objects import Object, annotations_of

CREATE: Final = "CREATE"
UPDATE: Final = "UPDATE"
#: Asked and answered or told, never counted.
IGNORED_GROUPS: Final = ("authentication.k8s.io", "authorization.k8s.io", "events.k8s.io")
_IGNORED: Final = ("bindings", "componentstatuses", "events")
_OLD_NAMES: Final = ("configmaps", "replicationcontrollers", "resourcequotas", "secrets")
_COMPUTE: Final = ("cpu", "memory")
_OF_PODS: Final = frozenset(
    {
        "count/pods", "pods", "cpu", "memory", "ephemeral-storage",
        *(f"{side}.{name}" for side in ("requests", "limits") for name in (*_COMPUTE, "ephemeral-storage")),
    }
)  # fmt: skip
_MUST_BE_SAID: Final = frozenset({*_COMPUTE, *(f"{side}.{name}" for side in ("requests", "limits") for name in _COMPUTE)})
_HUGE_PAGES: Final = "hugepages-"
_BY_CLASS: Final = ".storageclass.storage.k8s.io/"
_OF_CLAIMS: Final = ("persistentvolumeclaims", "requests.storage")
_BY_DEVICE_CLASS: Final = ".deviceclass.resource.k8s.io/devices"
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
#: What a claim for all devices of a class is counted as (resource.k8s.io AllocationResultsMaxSize).
_DEVICES_MAX: Final = 32


class Meter:
    """Counts objects; the base of the meters that know more."""

    def __init__(self, group_resource: str) -> None:
        self.group_resource = group_resource
        self._names = frozenset({f"count/{group_resource}", *((group_resource,) if group_resource in _OLD_NAMES else ())})

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        """Whether such a write can use more than before."""
        return operation == CREATE and not subresource

    def counts(self, name: str) -> bool:
        return name in self._names

    def fulfils(self, requirement: Object, obj: Object) -> bool:
        return False

    def usage(self, obj: Object, now: float) -> Amounts:
        return dict.fromkeys(self._names, "1")

    def missing(self, names: Iterable[str], obj: Object) -> str:
        """What the object must say so that it can be counted; "" when nothing is missing."""
        return ""


class PodMeter(Meter):
    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        if operation == UPDATE:
            return subresource == "resize" or (not subresource and old is not None and is_terminating(old) != is_terminating(new))
        return operation == CREATE and not subresource

    def counts(self, name: str) -> bool:
        return name in _OF_PODS or name.startswith((_HUGE_PAGES, f"requests.{_HUGE_PAGES}")) or _is_extended_request(name)

    def fulfils(self, requirement: Object, obj: Object) -> bool:
        return pod_fulfils(requirement, obj)

    def usage(self, obj: Object, now: float) -> Amounts:
        used: Amounts = {"count/pods": "1"}
        if podstate.is_finished(obj) or _is_overdue(obj, now):
            return used
        return {**used, **_compute(charged(obj, "requests"), charged(obj, "limits"))}

    def missing(self, names: Iterable[str], obj: Object) -> str:
        if speaks_for_itself(obj):
            return ""
        required = sorted(_MUST_BE_SAID.intersection(names))
        spec = obj.get("spec") or {}
        silent: dict[str, set[str]] = {}
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())) if required else ():
            said = _compute(amounts_of(container, "requests"), amounts_of(container, "limits"))
            for name in required:
                if name not in said:
                    silent.setdefault(name, set()).add(str(container.get("name") or ""))
        texts = [f"{name} for: {','.join(sorted(containers))}" for name, containers in sorted(silent.items())]
        return f"must specify {'; '.join(texts)}" if texts else ""


def _is_extended_request(name: str) -> bool:
    """``requests.nvidia.com/gpu``: a resource that is not Kubernetes' own."""
    return name.startswith("requests.") and "/" in name and ("kubernetes.io/" not in name or "deviceclass." in name)


def _is_overdue(pod: Object, now: float) -> bool:
    """Its grace has passed twice over: whoever should have taken it away is gone."""
    metadata = pod.get("metadata") or {}
    due, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    return due is not None and grace is not None and now > times.parse(due) + grace


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    used: Amounts = {"pods": "1"}
    for name in (*_COMPUTE, "ephemeral-storage"):
        if name in requests:
            used[name] = used[f"requests.{name}"] = requests[name]
        if name in limits:
            used[f"limits.{name}"] = limits[name]
    for name, amount in requests.items():
        if name.startswith(_HUGE_PAGES):
            used[name] = used[f"requests.{name}"] = amount
        elif _is_extended_request(f"requests.{name}"):
            used[f"requests.{name}"] = amount
    return used


class ServiceMeter(Meter):
    _NAMES: Final = frozenset({"count/services", "services", "services.nodeports", "services.loadbalancers"})

    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        return not subresource and operation in (CREATE, UPDATE)

    def counts(self, name: str) -> bool:
        return name in self._NAMES

    def usage(self, obj: Object, now: float) -> Amounts:
        spec = obj.get("spec") or {}
        ports = spec.get("ports") or ()
        balanced = spec.get("type") == "LoadBalancer"
        node_ports = len(ports) if balanced or spec.get("type") == "NodePort" else 0
        if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
            node_ports = sum(1 for port in ports if port.get("nodePort"))
        return {
            "count/services": "1",
            "services": "1",
            "services.loadbalancers": str(int(balanced)),
            "services.nodeports": str(node_ports),
        }


class ClaimMeter(Meter):
    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        if subresource == "status":
            return operation == UPDATE
        return not subresource and operation in (CREATE, UPDATE)

    def counts(self, name: str) -> bool:
        return name in (*_OF_CLAIMS, "count/persistentvolumeclaims") or any(
            name.endswith(f"{_BY_CLASS}{of}") for of in _OF_CLAIMS
        )

    def fulfils(self, requirement: Object, obj: Object) -> bool:
        return claim_fulfils(requirement, obj)

    def usage(self, obj: Object, now: float) -> Amounts:
        used: Amounts = {"count/persistentvolumeclaims": "1", "persistentvolumeclaims": "1"}
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        storage = amounts_of(spec, "requests").get("storage")
        if storage is not None:
            given = (status.get("allocatedResources") or {}).get("storage")
            largest = most({"storage": storage}, {} if given is None else {"storage": quantities.canonical(given)})["storage"]
            used["requests.storage"] = quantities.text_of(quantities.to_bytes(largest), quantities.family_of(largest))
        storage_class = annotations_of(obj).get(_CLASS_ANNOTATION) or spec.get("storageClassName")
        if storage_class:
            used |= {f"{storage_class}{_BY_CLASS}{of}": used[of] for of in _OF_CLAIMS if of in used}
        return used


class DeviceClaimMeter(Meter):
    def handles(self, operation: str, subresource: str, new: Object, old: Object | None) -> bool:
        return not subresource and operation in (CREATE, UPDATE)

    def counts(self, name: str) -> bool:
        return super().counts(name) or name.endswith(_BY_DEVICE_CLASS)

    def usage(self, obj: Object, now: float) -> Amounts:
        used = super().usage(obj, now)
        for request in ((obj.get("spec") or {}).get("devices") or {}).get("requests") or ():
            worst: Amounts = {}
            for choice in request.get("firstAvailable") or (request.get("exactly") or {},):
                name = f"{choice.get('deviceClassName') or ''}{_BY_DEVICE_CLASS}"
                worst = most(worst, {name: str(_devices(choice))})
            used = plus(used, worst)
        return used


def _devices(choice: Object) -> int:
    if choice.get("allocationMode") == "All":
        return _DEVICES_MAX
    return int(choice.get("count") or 0) if choice.get("allocationMode") == "ExactCount" else 0


_SPECIAL: Final[dict[str, type[Meter]]] = {
    "pods": PodMeter,
    "services": ServiceMeter,
    "persistentvolumeclaims": ClaimMeter,
    "resourceclaims.resource.k8s.io": DeviceClaimMeter,
}
_METERS: Final = {name: meter(name) for name, meter in _SPECIAL.items()}


def meter_of(group_resource: str) -> Meter | None:
    """None: what is not counted."""
    special = _METERS.get(group_resource)
    if special is not None:
        return special
    if group_resource in _IGNORED or group_resource.partition(".")[2] in IGNORED_GROUPS:
        return None
    return Meter(group_resource)


def counted_kinds(names: Iterable[str]) -> list[str]:
    """The group resources of which something is counted under these names."""
    names = set(names)
    found = {name for name, meter in _METERS.items() if any(meter.counts(each) for each in names)}
    found |= {name.removeprefix("count/") for name in names if name.startswith("count/")}
    found |= names.intersection(_OLD_NAMES)
    return sorted(found)


def changes_with_time(group_resource: str) -> bool:
    """Whether an object of the kind can come to use more or less while it exists."""
    return group_resource in _SPECIAL
