"""Defaults of the core group.

Enters: an object of the core group.
Leaves: the same, with every field that Kubernetes fills set.
Holds: addresses, node ports and ipFamilies of a Service are allocated by the registry, not filled here.
Source: core/v1 SetDefaults_*.
Next: api.defaults.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, items, part
from edgekube.api.defaults.podspec import default_claim_spec, default_pod, default_template
from edgekube.api.objects import Object

_TCP: Final[Scalars] = {"protocol": "TCP"}
_EXTERNAL_TYPES: Final = ("NodePort", "LoadBalancer")
_CLUSTER_TYPES: Final = ("ClusterIP", "NodePort", "LoadBalancer")
#: Three hours: core/v1 DefaultClientIPServiceAffinitySeconds.
_AFFINITY_SECONDS: Final = 10800
_NODE_INFO: Final = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


def default_pod_object(pod: Object) -> None:
    default_pod(pod)
    status = part(pod, "status")
    address, addresses = status.get("podIP"), status.get("podIPs")
    if address and (not addresses or addresses[0].get("ip") != address):  # who knows of one address only has the say
        status["podIPs"] = [{"ip": address}]


def default_service(service: Object) -> None:
    spec = part(service, "spec")
    fill_empty(spec, {"type": "ClusterIP", "sessionAffinity": "None"})
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client_ip.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
    for port in items(spec, "ports"):
        fill_empty(port, _TCP)
        if not port.get("targetPort") and port.get("port"):
            port["targetPort"] = port["port"]
    kind = spec["type"]
    if kind in _EXTERNAL_TYPES or (kind == "ClusterIP" and spec.get("externalIPs")):
        fill_empty(spec, {"externalTrafficPolicy": "Cluster"})
    if kind in _CLUSTER_TYPES:
        fill_missing(spec, {"internalTrafficPolicy": "Cluster"})
    balancer = part(part(service, "status"), "loadBalancer")
    if kind == "LoadBalancer":
        fill_missing(spec, {"allocateLoadBalancerNodePorts": True})
        for ingress in items(balancer, "ingress"):
            if ingress.get("ip"):
                fill_missing(ingress, {"ipMode": "VIP"})


def default_endpoints(endpoints: Object) -> None:
    for subset in items(endpoints, "subsets"):
        for port in items(subset, "ports"):
            fill_empty(port, _TCP)


def default_namespace(namespace: Object) -> None:
    metadata = part(namespace, "metadata")
    if metadata.get("name"):
        part(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]
    part(namespace, "spec")
    fill_empty(part(namespace, "status"), {"phase": "Active"})


def default_node(node: Object) -> None:
    _default_pod_ranges(part(node, "spec"))
    status = part(node, "status")
    if status.get("allocatable") is None and status.get("capacity") is not None:
        status["allocatable"] = dict(status["capacity"])
    fill_missing(part(part(status, "daemonEndpoints"), "kubeletEndpoint"), {"Port": 0})
    fill_missing(part(status, "nodeInfo"), dict.fromkeys(_NODE_INFO, ""))


def _default_pod_ranges(spec: Object) -> None:
    """podCIDR and podCIDRs say the same. Where they differ, podCIDR is meant: clients of old know that one alone."""
    one, many = spec.get("podCIDR"), spec.get("podCIDRs")
    if one:
        if not many or many[0] != one:
            spec["podCIDRs"] = [one]
    elif many and many[0]:
        spec["podCIDR"] = many[0]


def default_pod_template(template: Object) -> None:
    part(template, "template")
    default_template(template)


def default_claim(claim: Object) -> None:
    default_claim_spec(part(claim, "spec"))
    fill_empty(part(claim, "status"), {"phase": "Pending"})


def default_volume(volume: Object) -> None:
    spec = part(volume, "spec")
    fill_empty(spec, {"persistentVolumeReclaimPolicy": "Retain"})
    fill_missing(spec, {"volumeMode": "Filesystem"})
    if isinstance(spec.get("hostPath"), dict):
        fill_missing(spec["hostPath"], {"type": ""})
    fill_empty(part(volume, "status"), {"phase": "Pending"})


def default_secret(secret: Object) -> None:
    """stringData is a way to write data, never stored itself (Convert_v1_Secret_To_core_Secret)."""
    fill_empty(secret, {"type": "Opaque"})
    plain = secret.pop("stringData", None)
    if plain:
        data = part(secret, "data")
        for key, text in plain.items():
            data[key] = b64encode(text.encode()).decode()


def default_limit_range(limits: Object) -> None:
    for item in items(part(limits, "spec"), "limits"):
        if item.get("type") != "Container":
            continue
        default, request = part(item, "default"), part(item, "defaultRequest")
        for name, quantity in (item.get("max") or {}).items():
            default.setdefault(name, quantity)
        for name, quantity in (*default.items(), *(item.get("min") or {}).items()):
            request.setdefault(name, quantity)
        for key in ("default", "defaultRequest"):
            if not item[key]:
                del item[key]


def default_quota(quota: Object) -> None:
    part(quota, "spec")
    part(quota, "status")


def default_replication_controller(controller: Object) -> None:
    spec = part(controller, "spec")
    fill_missing(spec, {"replicas": 1})
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = part(controller, "metadata")
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)
    default_template(spec)
    fill_missing(part(controller, "status"), {"replicas": 0})


def default_event(event: Object) -> None:
    """Structs that core/v1 Event always carries."""
    part(event, "source")
    fill_missing(event, {"reportingComponent": "", "reportingInstance": ""})


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "Endpoints": default_endpoints,
    "Event": default_event,
    "LimitRange": default_limit_range,
    "Namespace": default_namespace,
    "Node": default_node,
    "PersistentVolume": default_volume,
    "PersistentVolumeClaim": default_claim,
    "Pod": default_pod_object,
    "PodTemplate": default_pod_template,
    "ReplicationController": default_replication_controller,
    "ResourceQuota": default_quota,
    "Secret": default_secret,
    "Service": default_service,
}
