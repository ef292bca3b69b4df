"""EndpointSlices of Services with a selector.

Enters: a Service, the pods that it selects, and the slices there are.
Leaves: slices that show them.
Holds: a terminating pod is not ready unless the Service publishes not-ready addresses; a slice has one port list.
Next: network (service proxy), network.dns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from edgekube.api import podstate
from edgekube.api.calls import Call
from edgekube.api.controller import Change, Controller, Key, Moment, itself, sides
from edgekube.api.kinds import ENDPOINTSLICE, NODE, POD, SERVICE
from edgekube.api.objects import Object, is_deleting, labels_of, name_of, namespace_of
from edgekube.api.ownership import controller_reference
from edgekube.api.selectors import label_selector_of_set
from edgekube.api.view import View
from edgekube.controllers.endpoints.backends import (
    HEADLESS,
    MANAGED_BY,
    SERVICE_NAME,
    address_of_family,
    has_selector,
    hostname_in,
    is_headless,
    pods_behind,
    ports_of,
    publishes_not_ready,
    reference_to,
    services_of_pod,
    trigger_time,
)
from edgekube.controllers.endpoints.slicing import Family, Wanted, lay_out

MANAGER: Final = "endpointslice-controller.k8s.io"
_ZONE: Final = "topology.kubernetes.io/zone"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    service = view.get(SERVICE, key.namespace, key.name)
    if service is None or not has_selector(service) or is_deleting(service):
        return []
    mine = label_selector_of_set({SERVICE_NAME: key.name, MANAGED_BY: MANAGER})
    existing = list(view.selected(ENDPOINTSLICE, key.namespace, mine))
    pods = sorted(pods_behind(view, service), key=name_of)
    zones = _Zones(view)
    calls: list[Call] = []
    for address_type in (service.get("spec") or {}).get("ipFamilies") or ["IPv4"]:
        family = Family(
            owner=service,
            owner_reference=controller_reference(SERVICE, service),
            name=key.name,
            address_type=str(address_type),
            labels=_labels(service),
            annotations={},
            trigger_time=trigger_time(service, pods),
        )
        calls += lay_out(family, existing, _wanted(service, pods, str(address_type), zones))
    return calls


def _labels(service: Object) -> dict[str, str]:
    labels = {key: value for key, value in labels_of(service).items() if key not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    if is_headless(service):
        labels[HEADLESS] = ""
    return labels | {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}


def _wanted(service: Object, pods: Iterable[Object], address_type: str, zones: _Zones) -> list[Wanted]:
    groups: dict[bytes, Wanted] = {}
    for pod in pods:
        address = address_of_family(pod, address_type)
        if address is None:
            continue
        ports = ports_of(service, pod)
        group = groups.setdefault(orjson.dumps(ports), Wanted(ports))
        group.endpoints.append(_endpoint(service, pod, address, zones))
    return list(groups.values())


def _endpoint(service: Object, pod: Object, address: str, zones: _Zones) -> Object:
    serving, terminating = podstate.is_ready(pod), is_deleting(pod)
    ready = publishes_not_ready(service) or (serving and not terminating)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": reference_to(pod),
    }
    hostname, node = hostname_in(service, pod), podstate.node_of(pod)
    if hostname:
        endpoint["hostname"] = hostname
    if node:
        endpoint["nodeName"] = node
        zone = zones.of(node)
        if zone:
            endpoint["zone"] = zone
    return endpoint


class _Zones:
    """Zones of nodes, each node decoded once a plan."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[str, str] = {}

    def of(self, node_name: str) -> str:
        zone = self._known.get(node_name)
        if zone is None:
            node = self._view.get(NODE, "", node_name)
            zone = self._known[node_name] = "" if node is None else labels_of(node).get(_ZONE, "")
        return zone


def _service_of_slice(change: Change, view: View) -> Iterable[Key]:
    for side in sides(change):
        labels = labels_of(side)
        if labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
            yield Key(namespace_of(side), labels[SERVICE_NAME])


ENDPOINTSLICE_CONTROLLER: Final = Controller(
    name="endpointslice-controller",
    watches=((SERVICE, itself), (POD, services_of_pod), (ENDPOINTSLICE, _service_of_slice)),
    plan=plan,
    reads=(NODE,),
)
