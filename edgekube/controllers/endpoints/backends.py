"""The pods behind a Service, and when a change to a pod matters to it.

Enters: Services and pods.
Leaves: addresses, ports resolved against each pod's containers, and the Services that a pod's change concerns.
Holds: finished pods and pods without an address stand behind nothing; nor do mirror pods, which a node makes by itself: no node
draws a Service's clients by a label that it chose.
Next: endpointslices, legacy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from edgekube.api import podstate, times
from edgekube.api.controller import Change, Key, KeysFor, key_of, looks_alike, sides
from edgekube.api.kinds import POD, SERVICE
from edgekube.api.objects import Object, is_deleting, labels_of, name_of, namespace_of
from edgekube.api.pod_facts import PodFacts
from edgekube.api.selectors.labels import label_selector_of_set
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


def pods_behind(view: View, service: Object) -> list[PodFacts]:
    """By name."""
    selector = label_selector_of_set((service.get("spec") or {}).get("selector"))
    found = view.pod_facts_selected(namespace_of(service), selector)
    return sorted((pod for pod in found if pod.addresses and not pod.finished and not pod.mirror), key=lambda pod: pod.name)


def address_of_family(pod: PodFacts, family: str) -> str | None:
    """``family`` is IPv4 or IPv6."""
    return next((each for each in pod.addresses if (":" in each) == (family == "IPv6")), None)


class Ports:
    """A Service's ports as its pods have them; a named port that a pod lacks is left out. Pods are looked at whole only where a
    port has a name to be looked up."""

    def __init__(self, service: Object, view: View) -> None:
        self._ports: list[Object] = (service.get("spec") or {}).get("ports") or []
        self._view = view
        named = any(isinstance(port.get("targetPort"), str) and port["targetPort"] for port in self._ports)
        self._of_all = None if named else self._resolved({})

    def of(self, pod: PodFacts) -> tuple[list[Object], bytes]:
        """The ports, and what tells them from others. Not to be written into."""
        if self._of_all is not None:
            return self._of_all
        return self._resolved(self._view.get(POD, pod.namespace, pod.name) or {})

    def _resolved(self, pod: Object) -> tuple[list[Object], bytes]:
        ports = []
        for port in self._ports:
            number = _target(port, pod)
            if number is None:
                continue
            found: Object = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol") or "TCP"}
            if port.get("appProtocol"):
                found["appProtocol"] = port["appProtocol"]
            ports.append(found)
        return ports, orjson.dumps(ports)


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


def hostname_in(service: Object, pod: PodFacts) -> str:
    """The name that DNS gives the pod within this Service."""
    return pod.hostname if pod.hostname and pod.subdomain == name_of(service) else ""


def reference_to(pod: PodFacts) -> Object:
    return {"kind": "Pod", "namespace": pod.namespace, "name": pod.name, "uid": pod.uid}


def trigger_time(service: Object, pods: Iterable[PodFacts]) -> str | None:
    """The newest change that can have led here: a pod's readiness, or the Service's creation."""
    created = (service.get("metadata") or {}).get("creationTimestamp")
    changed = max((pod.ready_changed for pod in pods if pod.ready_changed is not None), default=None)
    return max((each for each in (created, None if changed is None else times.rfc3339(changed)) if each), default=None)


def services_of_pod(change: Change, view: View) -> Iterable[Key]:
    """Services whose selector matches the pod, before or after, if anything that endpoints show is different."""
    if looks_alike(change, _shown):
        return ()
    labels = [labels_of(side) for side in sides(change)]
    return [
        key_of(service)
        for service in view.list(SERVICE, change.key.namespace)
        if has_selector(service) and any(_matches(service, each) for each in labels)
    ]


def services_of_slices(manager: str) -> KeysFor:
    """The Services of slices that this controller manages, or managed."""

    def keys(change: Change, view: View) -> Iterable[Key]:
        for side in sides(change):
            labels = labels_of(side)
            if labels.get(MANAGED_BY) == manager and labels.get(SERVICE_NAME):
                yield Key(namespace_of(side), labels[SERVICE_NAME])

    return keys


def _matches(service: Object, labels: dict[str, str]) -> bool:
    return label_selector_of_set(service["spec"]["selector"]).matches(labels)


def _shown(pod: Object) -> tuple[Any, ...]:
    spec = pod.get("spec") or {}
    return (
        labels_of(pod),
        (pod.get("status") or {}).get("podIP"),
        (pod.get("status") or {}).get("podIPs"),
        podstate.ready_since(pod),
        podstate.is_finished(pod),
        is_deleting(pod),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )
