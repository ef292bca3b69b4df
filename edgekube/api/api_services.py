"""APIServices as data: which group versions another API server answers, in which order groups are told, what ours look like.

Enters: APIService objects.
Leaves: who serves a group version; the order of discovery; the objects that stand for what this server answers itself.
Holds: pure. Higher priorities come first; versions of equal priority in the order in which Kubernetes sorts versions.
Source: apiregistration/v1 API reference (groupPriorityMinimum, versionPriority); priorities of built-in groups as kube-apiserver
registers them.
Next: server.aggregation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube.api.custom.versions import priority as version_order
from edgekube.api.objects import Object, labels_of, name_of

#: Group -> groupPriorityMinimum.
_GROUPS: Final = {
    "": 18000,
    "apps": 17800,
    "events.k8s.io": 17750,
    "authentication.k8s.io": 17700,
    "authorization.k8s.io": 17600,
    "autoscaling": 17500,
    "batch": 17400,
    "certificates.k8s.io": 17300,
    "networking.k8s.io": 17200,
    "policy": 17100,
    "rbac.authorization.k8s.io": 17000,
    "storage.k8s.io": 16800,
    "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700,
    "scheduling.k8s.io": 16600,
    "coordination.k8s.io": 16500,
    "node.k8s.io": 16300,
    "discovery.k8s.io": 16200,
    "resource.k8s.io": 16200,
    "flowcontrol.apiserver.k8s.io": 16100,
}
#: (group, version) -> versionPriority, where it is not _VERSION.
_VERSIONS: Final = {
    ("", "v1"): 1,
    ("autoscaling", "v2"): 30,
    ("flowcontrol.apiserver.k8s.io", "v1"): 21,
    ("resource.k8s.io", "v1"): 21,
}
_VERSION: Final = 15
#: Of custom resources, as upstream registers them.
_CUSTOM: Final = (1000, 100)
#: The group that says who serves what needs no APIService of its own.
REGISTRATION: Final = "apiregistration.k8s.io"
_REGISTRATION_PRIORITIES: Final = (20000, 20000)

#: Who made the object: "onstart" is the server for what it serves, "true" for what CustomResourceDefinitions serve.
AUTO_MANAGED: Final = "kube-aggregator.kubernetes.io/automanaged"
ON_START: Final = "onstart"
WITH_DEFINITION: Final = "true"


class Remote(Struct, frozen=True):
    """Another API server, as an APIService names it. What differs in nothing here may share connections."""

    namespace: str
    service: str
    port: int
    authorities: str = ""  # base64 of PEM, as caBundle has it
    insecure: bool = False

    @property
    def server_name(self) -> str:
        return f"{self.service}.{self.namespace}.svc"


def group_version_of(api_service: Object) -> tuple[str, str]:
    spec = api_service.get("spec") or {}
    return str(spec.get("group") or ""), str(spec.get("version") or "")


def remote_of(api_service: Object) -> Remote | None:
    """None: this server answers the group version itself."""
    spec = api_service.get("spec") or {}
    service = spec.get("service")
    if not service:
        return None
    return Remote(
        str(service.get("namespace") or ""),
        str(service.get("name") or ""),
        int(service.get("port") or 443),
        str(spec.get("caBundle") or ""),
        bool(spec.get("insecureSkipTLSVerify")),
    )


def is_available(api_service: Object) -> bool:
    conditions = (api_service.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Available" and each.get("status") == "True" for each in conditions)


def priorities_of(api_service: Object) -> tuple[int, int]:
    spec = api_service.get("spec") or {}
    return int(spec.get("groupPriorityMinimum") or 0), int(spec.get("versionPriority") or 0)


def own_priorities(group: str, version: str) -> tuple[int, int]:
    """(of the group, of the version) of what this server serves itself."""
    if group == REGISTRATION:
        return _REGISTRATION_PRIORITIES
    if group not in _GROUPS:
        return _CUSTOM
    return _GROUPS[group], _VERSIONS.get((group, version), _VERSION)


def own_api_service(group: str, version: str) -> Object:
    """The object for a group version that this server serves."""
    of_group, of_version = own_priorities(group, version)
    managed = WITH_DEFINITION if group not in _GROUPS else ON_START
    spec: Object = {"version": version, "groupPriorityMinimum": of_group, "versionPriority": of_version}
    if group:
        spec["group"] = group
    return {"metadata": {"name": f"{version}.{group}", "labels": {AUTO_MANAGED: managed}}, "spec": spec}


def is_automanaged(api_service: Object) -> bool:
    return labels_of(api_service).get(AUTO_MANAGED) in (ON_START, WITH_DEFINITION)


def sorted_versions(group_versions: Iterable[tuple[str, str]], by_name: dict[str, Object]) -> list[tuple[str, list[str]]]:
    """Groups and their versions in the order of discovery. ``by_name``: the APIServices; what has none there is ours."""
    priorities: dict[tuple[str, str], tuple[int, int]] = {}
    for group, version in group_versions:
        api_service = by_name.get(f"{version}.{group}")
        priorities[group, version] = priorities_of(api_service) if api_service else own_priorities(group, version)
    highest: dict[str, int] = {}
    for (group, _), (of_group, _version) in priorities.items():
        highest[group] = max(highest.get(group, 0), of_group)
    return [
        (group, sorted((v for g, v in priorities if g == group), key=lambda v: (-priorities[group, v][1], version_order(v))))
        for group in sorted(highest, key=lambda group: (-highest[group], group))
    ]


def named(api_services: Iterable[Object]) -> dict[str, Object]:
    return {name_of(each): each for each in api_services}
