"""Tables of the core group.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of
from edgekube.api.tables.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    SELECTOR,
    Table,
    age,
    condition,
    containers,
    first_few,
    joined,
    labels,
    listed,
    name,
    part,
    section,
    text,
    whole,
    wide,
)
from edgekube.api.tables.events import EVENT
from edgekube.api.tables.pods import POD

_ACCESS_MODES: Final = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
_ROLE_PREFIX: Final = "node-role.kubernetes.io/"


# --- services and endpoints ----------------------------------------------------------------------------------------------


def load_balancer_addresses(obj: Object) -> str:
    """Addresses in status.loadBalancer (Service and Ingress)."""
    ingress = listed(obj, "status", "loadBalancer", "ingress")
    return ",".join(sorted({point.get("ip") or point.get("hostname") or "" for point in ingress} - {""}))


def _external_ip(service: Object) -> str:
    spec = section(service, "spec")
    external = listed(spec, "externalIPs")
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return joined(external)
        case "LoadBalancer":
            addresses = load_balancer_addresses(service)
            return joined([*([addresses] if addresses else []), *external], "<pending>")
        case "ExternalName":
            return spec.get("externalName") or ""
    return "<unknown>"


def _port(port: Object) -> str:
    node_port = port.get("nodePort")
    return f"{port.get('port') or 0}{f':{node_port}' if node_port else ''}/{port.get('protocol') or 'TCP'}"


def _service(service: Object, now: float) -> list[Any]:
    spec = section(service, "spec")
    cluster_ips = listed(spec, "clusterIPs")
    return [
        name(service),
        spec.get("type") or "",
        (cluster_ips[0] if cluster_ips else spec.get("clusterIP")) or "<none>",
        _external_ip(service),
        joined([_port(port) for port in listed(spec, "ports")]),
        age(service, now),
        labels(spec.get("selector")),
    ]


def _host_port(ip: str, port: int) -> str:
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _endpoints(endpoints: Object, now: float) -> list[Any]:
    addresses: list[str] = []
    for subset in listed(endpoints, "subsets"):
        ips = [address.get("ip") or "" for address in listed(subset, "addresses")]
        ports = listed(subset, "ports")
        addresses += [_host_port(ip, port.get("port") or 0) for port in ports for ip in ips] if ports else ips
    shown = first_few(addresses) if listed(endpoints, "subsets") else "<none>"
    return [name(endpoints), shown, age(endpoints, now)]


# --- nodes ---------------------------------------------------------------------------------------------------------------


def _address(node: Object, type_: str) -> str:
    addresses = listed(node, "status", "addresses")
    return next((held.get("address") or "" for held in addresses if held.get("type") == type_), "<none>")


def _roles(node: Object) -> str:
    roles = set()
    for key, value in labels_of(node).items():
        if key.startswith(_ROLE_PREFIX):
            roles.add(key.removeprefix(_ROLE_PREFIX))
        elif key == "kubernetes.io/role":
            roles.add(value)
    return joined(sorted(roles - {""}))


def _node(node: Object, now: float) -> list[Any]:
    ready = condition(node, "Ready")
    status = "Unknown" if ready is None else ("Ready" if ready.get("status") == "True" else "NotReady")
    if part(node, "spec", "unschedulable"):
        status += ",SchedulingDisabled"
    info = section(node, "status", "nodeInfo")
    return [
        name(node),
        status,
        _roles(node),
        age(node, now),
        info.get("kubeletVersion") or "",
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


# --- volumes -------------------------------------------------------------------------------------------------------------


def _access_modes(modes: list[str]) -> str:
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in modes)


def _storage_class(obj: Object) -> str:
    annotations = annotations_of(obj)
    if _CLASS_ANNOTATION in annotations:
        return annotations[_CLASS_ANNOTATION]
    return part(obj, "spec", "storageClassName") or ""


def _optional(value: str | None) -> str:
    return "<unset>" if value is None else value


def _persistent_volume(volume: Object, now: float) -> list[Any]:
    spec = section(volume, "spec")
    claim = spec.get("claimRef")
    return [
        name(volume),
        part(spec, "capacity", "storage") or "0",
        _access_modes(listed(spec, "accessModes")),
        spec.get("persistentVolumeReclaimPolicy") or "",
        "Terminating" if is_deleting(volume) else part(volume, "status", "phase") or "",
        f"{claim.get('namespace') or ''}/{claim.get('name') or ''}" if claim else "",
        _storage_class(volume),
        _optional(spec.get("volumeAttributesClassName")),
        part(volume, "status", "reason") or "",
        age(volume, now),
        _optional(spec.get("volumeMode")),
    ]


def _persistent_volume_claim(claim: Object, now: float) -> list[Any]:
    spec, status = section(claim, "spec"), section(claim, "status")
    bound = bool(spec.get("volumeName"))
    return [
        name(claim),
        "Terminating" if is_deleting(claim) else status.get("phase") or "",
        spec.get("volumeName") or "",
        (part(status, "capacity", "storage") or "0") if bound else "",
        _access_modes(listed(status, "accessModes")) if bound else "",
        _storage_class(claim),
        _optional(spec.get("volumeAttributesClassName")),
        age(claim, now),
        _optional(spec.get("volumeMode")),
    ]


# --- the small ones ------------------------------------------------------------------------------------------------------


def _config_map(config: Object, now: float) -> list[Any]:
    return [name(config), len(section(config, "data")) + len(section(config, "binaryData")), age(config, now)]


def _secret(secret: Object, now: float) -> list[Any]:
    return [name(secret), secret.get("type") or "", len(section(secret, "data")), age(secret, now)]


def _namespace(namespace: Object, now: float) -> list[Any]:
    return [name(namespace), part(namespace, "status", "phase") or "", age(namespace, now)]


def _service_account(account: Object, now: float) -> list[Any]:
    return [name(account), age(account, now)]


def _component_status(component: Object, now: float) -> list[Any]:
    healthy = next((held for held in listed(component, "conditions") if held.get("type") == "Healthy"), None)
    if healthy is None:
        return [name(component), "Unknown", "", ""]
    status = "Healthy" if healthy.get("status") == "True" else "Unhealthy"
    return [name(component), status, healthy.get("message") or "", healthy.get("error") or ""]


def _pod_template(template: Object, now: float) -> list[Any]:
    pod = section(template, "template")
    return [name(template), *containers(pod), labels(part(pod, "metadata", "labels"))]


def _replication_controller(controller: Object, now: float) -> list[Any]:
    spec, status = section(controller, "spec"), section(controller, "status")
    return [
        name(controller),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age(controller, now),
        *containers(section(spec, "template")),
        labels(spec.get("selector")),
    ]


def _resource_quota(quota: Object, now: float) -> list[Any]:
    hard, used = section(quota, "status", "hard"), section(quota, "status", "used")
    limits = [key for key in sorted(hard) if key.startswith("limits.")]
    requests = [key for key in sorted(hard) if not key.startswith("limits.")]

    def shown(keys: list[str]) -> str:
        return ", ".join(f"{key}: {used.get(key) or '0'}/{hard[key]}" for key in keys)

    return [name(quota), shown(requests), shown(limits), age(quota, now)]


TABLES: Final[dict[str, Table]] = {
    "Pod": POD,
    "Event": EVENT,
    "Service": Table(
        (
            NAME,
            text("Type", "How the service is exposed."),
            text("Cluster-IP", "The address inside the cluster."),
            text("External-IP", "Addresses from outside."),
            text("Port(s)", "Ports, with the node port after a colon."),
            AGE,
            SELECTOR,
        ),
        _service,
    ),
    "Endpoints": Table((NAME, text("Endpoints", "Addresses and ports behind the service."), AGE), _endpoints),
    "Node": Table(
        (
            NAME,
            text("Status", "Whether the node is ready, and takes new pods."),
            text("Roles", "Roles, from the node's labels."),
            AGE,
            text("Version", "Version that the node's agent reports."),
            wide("Internal-IP", "Address inside the cluster's network."),
            wide("External-IP", "Address from outside."),
            wide("OS-Image", "Operating system."),
            wide("Kernel-Version", "Kernel release."),
            wide("Container-Runtime", "Container runtime and its version."),
        ),
        _node,
    ),
    "PersistentVolume": Table(
        (
            NAME,
            text("Capacity", "Size of the volume."),
            text("Access Modes", "Ways in which it can be mounted."),
            text("Reclaim Policy", "What happens when its claim goes."),
            text("Status", "Phase of the volume."),
            text("Claim", "The claim that it is bound to."),
            text("StorageClass", "Its storage class."),
            text("VolumeAttributesClass", "Its volume attributes class."),
            text("Reason", "Why it failed, if it did."),
            AGE,
            wide("VolumeMode", "Filesystem or block."),
        ),
        _persistent_volume,
    ),
    "PersistentVolumeClaim": Table(
        (
            NAME,
            text("Status", "Phase of the claim."),
            text("Volume", "The volume that it is bound to."),
            text("Capacity", "Size of that volume."),
            text("Access Modes", "Ways in which it can be mounted."),
            text("StorageClass", "Its storage class."),
            text("VolumeAttributesClass", "Its volume attributes class."),
            AGE,
            wide("VolumeMode", "Filesystem or block."),
        ),
        _persistent_volume_claim,
    ),
    "ConfigMap": Table((NAME, text("Data", "Number of keys."), AGE), _config_map),
    "Secret": Table((NAME, text("Type", "What the secret is for."), text("Data", "Number of keys."), AGE), _secret),
    "Namespace": Table((NAME, text("Status", "Active or Terminating."), AGE), _namespace),
    "ServiceAccount": Table((NAME, AGE), _service_account),
    "ComponentStatus": Table(
        (NAME, text("Status", "Healthy or not."), text("Message", "What the check said."), text("Error", "What went wrong.")),
        _component_status,
    ),
    "PodTemplate": Table(
        (
            NAME,
            text("Containers", "Names of the containers in the template."),
            text("Images", "Images of the containers in the template."),
            text("Pod Labels", "Labels of the template."),
        ),
        _pod_template,
    ),
    "ReplicationController": Table(
        (
            NAME,
            whole("Desired", "Pods wanted."),
            whole("Current", "Pods that exist."),
            whole("Ready", "Pods that are ready."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _replication_controller,
    ),
    "ResourceQuota": Table(
        (NAME, text("Request", "Requests and counts: used of hard."), text("Limit", "Limits: used of hard."), AGE),
        _resource_quota,
    ),
}
