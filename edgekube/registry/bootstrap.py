"""What a new cluster has before anybody asks: namespaces, the kubernetes Service, priority classes, flow schemas, roles.

Enters: a loaded Registry, the API server's addresses and the default RBAC objects.
Leaves: the objects, made where they are missing; what people may change is left as it is.
Holds: running it again changes nothing that is right, and no webhook keeps a server from starting (sources: k8s.io/kubernetes
pkg/controlplane, pkg/registry/rbac reconciliation, flowcontrol bootstrap).
Next: daemon, before the first request is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_network
from typing import Final

import trio

from edgekube.admission.priority import SYSTEM_CLASSES
from edgekube.api.errors import StatusError
from edgekube.api.kinds import ENDPOINTS, ENDPOINTSLICE, NAMESPACE, PRIORITYCLASS, SERVICE, SERVICECIDR, Kind, built_in
from edgekube.api.objects import Object, annotations_of, metadata_of, name_of, namespace_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.flowcontrol import default_flow_objects
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry

log = logging.getLogger("edgekube.registry")

#: How often the kubernetes Service is looked after; upstream's interval.
KEEP_SECONDS: Final = 10.0
NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_SYSTEM: Final = UserInfo("system:apiserver", groups=("system:masters",))
#: false: somebody wants to keep his own version of a default role.
_AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"


async def bootstrap(
    registry: Registry, *, addresses: Sequence[str], port: int, service_cidr: str, rbac: Sequence[Object] = ()
) -> None:
    """``addresses`` and ``port``: where the API server is reached from pods (the endpoints of default/kubernetes).
    ``rbac``: default roles and bindings."""
    verbs = LocalVerbs(registry, _SYSTEM, foundation=True)
    for name in NAMESPACES:
        await _ensure(verbs, NAMESPACE, {"metadata": {"name": name}})
    for name, value, description in SYSTEM_CLASSES:
        row = {"metadata": {"name": name}, "value": value, "description": description}
        await _ensure(verbs, PRIORITYCLASS, row)
    for obj in default_flow_objects():
        await _ensure(verbs, built_in(obj["apiVersion"], obj["kind"]), obj)
    for obj in rbac:
        await _reconcile_role(verbs, built_in(obj["apiVersion"], obj["kind"]), obj)
    await _service_range(verbs, service_cidr)
    await _kubernetes_service(verbs, addresses, port, service_cidr)


async def keep_kubernetes_service(
    registry: Registry,
    *,
    addresses: Callable[[], tuple[str, ...]],
    moved: Callable[[tuple[str, ...]], Awaitable[object]],
    port: int,
    service_cidr: str,
) -> None:
    """Runs until cancelled: default/kubernetes and its endpoints come back when somebody deletes or bends them, as upstream's
    API servers see to every ten seconds; and they follow the server's ``addresses``.

    ``moved`` waits for other addresses than those it is told."""
    verbs = LocalVerbs(registry, _SYSTEM)
    while True:
        with trio.move_on_after(KEEP_SECONDS):
            await moved(addresses())
        try:
            await _kubernetes_service(verbs, addresses(), port, service_cidr)
        except StatusError as error:
            log.warning("the kubernetes service could not be mended, trying again why=%r", error.message)


async def _ensure(verbs: LocalVerbs, kind: Kind, obj: Object) -> Object:
    """The object that exists, or the new one."""
    try:
        return await verbs.get(kind, namespace_of(obj), name_of(obj))
    except StatusError as error:
        if error.reason != "NotFound":
            raise
    return await verbs.create(kind, namespace_of(obj), obj)


async def _reconcile_role(verbs: LocalVerbs, kind: Kind, wanted: Object) -> None:
    """Default roles get back what was taken from them; what was added stays."""
    current = await _ensure(verbs, kind, wanted)
    if annotations_of(current).get(_AUTOUPDATE) == "false":
        return
    if current.get("roleRef") != wanted.get("roleRef"):
        await verbs.delete(kind, namespace_of(wanted), name_of(wanted))  # a binding's role cannot be changed
        await verbs.create(kind, namespace_of(wanted), wanted)
        return
    changed = False
    for key in ("rules", "subjects"):
        present = current.get(key) or []
        missing = [entry for entry in wanted.get(key) or [] if entry not in present]
        if missing and "aggregationRule" not in current:
            current[key] = [*present, *missing]
            changed = True
    for key in ("labels", "annotations"):
        metadata, wanted_metadata = metadata_of(current), metadata_of(wanted)
        merged = {**(metadata.get(key) or {}), **(wanted_metadata.get(key) or {})}
        if merged != (metadata.get(key) or {}):
            metadata[key] = merged
            changed = True
    if changed:
        await verbs.update(kind, current)


async def _service_range(verbs: LocalVerbs, service_cidr: str) -> None:
    cidrs = [str(ip_network(cidr.strip())) for cidr in service_cidr.split(",")]
    current = await _ensure(verbs, SERVICECIDR, {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}})
    if current["spec"]["cidrs"] == cidrs[:1] != cidrs:  # the cluster got a second family; nothing else may change
        current["spec"]["cidrs"] = cidrs
        current = await verbs.update(SERVICECIDR, current)
    if not (current.get("status") or {}).get("conditions"):
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "",
            "message": "Kubernetes Service CIDR is ready",
            "lastTransitionTime": metadata_of(current).get("creationTimestamp"),
        }
        current["status"] = {"conditions": [condition]}
        await verbs.update(SERVICECIDR, current, subresource="status")


async def _kubernetes_service(verbs: LocalVerbs, addresses: Sequence[str], port: int, service_cidr: str) -> None:
    labels = {"component": "apiserver", "provider": "kubernetes"}
    cluster_ip = str(ip_network(service_cidr.split(",")[0].strip())[1])  # of one family, as upstream's
    service: Object = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip,
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
    }
    # Of the Service's family only.
    addresses = [address for address in addresses if ":" not in address]
    current = await _ensure(verbs, SERVICE, service)
    if current["spec"]["ports"][0].get("targetPort") != port:
        current["spec"]["ports"][0]["targetPort"] = port
        await verbs.update(SERVICE, current)
    metadata = {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}
    endpoints: Object = {
        "metadata": metadata,
        "subsets": [
            {
                "addresses": [{"ip": address} for address in addresses],
                "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
            }
        ],
    }
    await _same(verbs, ENDPOINTS, endpoints, ("subsets",))
    slice_: Object = {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    await _same(verbs, ENDPOINTSLICE, slice_, ("endpoints", "ports"))


async def _same(verbs: LocalVerbs, kind: Kind, wanted: Object, keys: tuple[str, ...]) -> None:
    current = await _ensure(verbs, kind, wanted)
    if any(current.get(key) != wanted.get(key) for key in keys):
        for key in keys:
            current[key] = wanted[key]
        await verbs.update(kind, current)
