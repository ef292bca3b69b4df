"""The pods behind a Service, and when a change to a pod matters to it.

Enters: Services and pods.
Leaves: addresses, ports resolved against each pod's containers, and the Services that a pod's change concerns.
Holds: finished pods and pods without an address stand behind nothing.
Next: endpointslices, legacy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from edgekube.api import podstate
from edgekube.api.controller import Change, Key, key_of, sides
from edgekube.api.kinds import POD, SERVICE
from edgekube.api.objects import Object, is_deleting, labels_of, name_of, namespace_of, uid_of
from edgekube.api.selectors import label_selector_of_set
from edgekube.api.view import View

TRIGGER_TIME: Final = "endpoints.kubernetes.io/last-change-trigger-time"
SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
HEADLESS: Final = "service.kubernetes.io/headless"


def has_selector(service: Object) -> bool:
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("clusterIP") == "None")


def publishes_not_ready(service: Object) -> bool:
    return bool((service.get("spec") or {}).get("publishNotReadyAddresses"))


def pods_behind(view: View, service: Object) -> Iterator[Object]:
    selector = label_selector_of_set((service.get("spec") or {}).get("selector"))
    for pod in view.selected(POD, namespace_of(service), selector):
        if not podstate.is_finished(pod) and addresses_of(pod):
            yield pod


def addresses_of(pod: Object) -> list[str]:
    """Every address; the first is the primary one."""
    status = pod.get("status") or {}
    found = [str(each["ip"]) for each in status.get("podIPs") or () if each.get("ip")]
    primary = status.get("podIP")
    return found if found or not primary else [str(primary)]


def address_of_family(pod: Object, family: str) -> str | None:
    """``family`` is IPv4 or IPv6."""
    return next((each for each in addresses_of(pod) if (":" in each) == (family == "IPv6")), None)


def ports_of(service: Object, pod: Object) -> list[Object]:
    """The Service's ports as this pod has them; a named port that it lacks is left out."""
    ports = []
    for port in (service.get("spec") or {}).get("ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        found: Object = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol") or "TCP"}
        if port.get("appProtocol"):
            found["appProtocol"] = port["appProtocol"]
        ports.append(found)
    return ports


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort")
    if isinstance(target, int):
        return target or int(port["port"])
    if target is None or target == "":
        return int(port["port"])
    spec = pod.get("spec") or {}
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*(spec.get("containers") or ()), *sidecars]:
        for each in container.get("ports") or ():
            if each.get("name") == target and (each.get("protocol") or "TCP") == (port.get("protocol") or "TCP"):
                return int(each["containerPort"])
    return None


def hostname_in(service: Object, pod: Object) -> str | None:
    """The name that DNS gives the pod within this Service."""
    spec = pod.get("spec") or {}
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        return str(spec["hostname"])
    return None


def reference_to(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": uid_of(pod)}


def trigger_time(service: Object, pods: Iterable[Object]) -> str | None:
    """The newest change that can have led here: a pod's readiness, or the Service's creation."""
    times = [(service.get("metadata") or {}).get("creationTimestamp")]
    times += [(podstate.condition_of(pod, "Ready") or {}).get("lastTransitionTime") for pod in pods]
    return max((each for each in times if each), default=None)


def services_of_pod(change: Change, view: View) -> Iterable[Key]:
    """Services whose selector matches the pod, before or after, if anything that endpoints show is different."""
    if change.old is not None and change.new is not None and _shown(change.old) == _shown(change.new):
        return ()
    labels = [labels_of(side) for side in sides(change)]
    return [
        key_of(service)
        for service in view.list(SERVICE, change.key.namespace)
        if has_selector(service) and any(_matches(service, each) for each in labels)
    ]


def _matches(service: Object, labels: dict[str, str]) -> bool:
    return label_selector_of_set(service["spec"]["selector"]).matches(labels)


def _shown(pod: Object) -> tuple[Any, ...]:
    spec = pod.get("spec") or {}
    return (
        labels_of(pod),
        addresses_of(pod),
        podstate.ready_since(pod),
        podstate.is_finished(pod),
        is_deleting(pod),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )
