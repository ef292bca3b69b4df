"""EndpointSlices of Services with a selector.

Enters: a Service, the pods that it selects, and the slices there are.
Leaves: slices that show them.
Holds: a terminating pod is not ready unless the Service publishes not-ready addresses; a slice has one port list.
Next: network (service proxy), network.dns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.calls import Call, Delete, Record
from edgekube.api.controller import Change, Controller, Key, Moment, itself, key_of
from edgekube.api.kinds import ENDPOINTSLICE, NODE, POD, SERVICE
from edgekube.api.objects import Object, is_deleting, labels_of, name_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.pod_facts import PodFacts
from edgekube.api.selectors.labels import label_selector_of_set
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.endpoints import topology
from edgekube.controllers.endpoints.backends import (
    HEADLESS,
    MANAGED_BY,
    SERVICE_NAME,
    Ports,
    address_of_family,
    has_selector,
    hostname_in,
    is_headless,
    pods_behind,
    publishes_not_ready,
    reference_to,
    services_of_pod,
    services_of_slices,
    trigger_time,
)
from edgekube.controllers.endpoints.slicing import Family, Wanted, lay_out

MANAGER: Final = "endpointslice-controller.k8s.io"
_NEAR: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    service = view.get(SERVICE, key.namespace, key.name)
    if service is None or not has_selector(service) or is_deleting(service):
        return []
    mine = label_selector_of_set({SERVICE_NAME: key.name, MANAGED_BY: MANAGER})
    existing = list(view.selected(ENDPOINTSLICE, key.namespace, mine))
    pods = pods_behind(view, service)
    zones, ports = _Zones(view), Ports(service, view)
    families = [str(each) for each in (service.get("spec") or {}).get("ipFamilies") or ["IPv4"]]
    left_over = [each for each in existing if each.get("addressType") not in families]
    calls: list[Call] = [
        Delete(ENDPOINTSLICE, key.namespace, name_of(each), DeleteOptions(precondition_uid=uid_of(each))) for each in left_over
    ]
    for address_type in families:
        family = Family(
            owner=service,
            owner_reference=controller_reference(SERVICE, service),
            name=key.name,
            address_type=address_type,
            labels=_labels(service),
            annotations={},
            trigger_time=trigger_time(service, pods),
        )
        wanted = _wanted(service, pods, address_type, zones, ports)
        calls += _hinted(view, service, address_type, existing, [each for group in wanted for each in group.endpoints])
        calls += lay_out(family, existing, wanted)
    return calls


def _labels(service: Object) -> dict[str, str]:
    labels = {key: value for key, value in labels_of(service).items() if key not in (SERVICE_NAME, MANAGED_BY, HEADLESS)}
    if is_headless(service):
        labels[HEADLESS] = ""
    return labels | {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}


def _wanted(service: Object, pods: Iterable[PodFacts], address_type: str, zones: _Zones, ports: Ports) -> list[Wanted]:
    groups: dict[bytes, Wanted] = {}
    for pod in pods:
        address = address_of_family(pod, address_type)
        if address is None:
            continue
        found, text = ports.of(pod)
        group = groups.setdefault(text, Wanted(found))
        group.endpoints.append(_endpoint(service, pod, address, zones))
    return list(groups.values())


def _endpoint(service: Object, pod: PodFacts, address: str, zones: _Zones) -> Object:
    serving, terminating = pod.ready, pod.deleting
    ready = publishes_not_ready(service) or (serving and not terminating)
    endpoint: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": reference_to(pod),
    }
    hostname, node = hostname_in(service, pod), pod.node
    if hostname:
        endpoint["hostname"] = hostname
    if node:
        endpoint["nodeName"] = node
        zone = zones.of(node)
        if zone:
            endpoint["zone"] = zone
    hints = None if topology.is_auto(service) else _hints(service, endpoint)
    if ready and hints:
        endpoint["hints"] = hints
    return endpoint


def _hinted(
    view: View, service: Object, address_type: str, existing: Iterable[Object], endpoints: Iterable[Object]
) -> list[Call]:
    """Hints by the CPU of the zones, written into the endpoints; and an event about them."""
    if not topology.is_auto(service):
        return []
    before = any(
        each.get("hints")
        for shown in existing
        if shown.get("addressType") == address_type
        for each in shown.get("endpoints") or ()
    )
    suffix = f", addressType: {address_type}"
    ready = [each for each in endpoints if each["conditions"]["ready"]]
    try:
        zones = topology.allot([str(each.get("zone") or "") for each in ready], topology.shares(view.list(NODE)))
    except topology.NotPossible as error:
        return [Record(service, "Warning", "TopologyAwareHintsDisabled", f"{error}{suffix}")]
    for each, zone in zip(ready, zones, strict=True):
        each["hints"] = {"forZones": [{"name": zone}]}
    enabled = f"Topology Aware Hints has been enabled{suffix}"
    return [] if before else [Record(service, "Normal", "TopologyAwareHintsEnabled", enabled)]


def _hints(service: Object, endpoint: Object) -> Object:
    """Who should use this endpoint, by the Service's trafficDistribution: its own zone, its own node
    (source: k8s.io/endpointslice trafficdist)."""
    distribution = (service.get("spec") or {}).get("trafficDistribution")
    hints: Object = {}
    if distribution in _NEAR and endpoint.get("zone"):
        hints["forZones"] = [{"name": endpoint["zone"]}]
    if distribution == "PreferSameNode" and endpoint.get("nodeName"):
        hints["forNodes"] = [{"name": endpoint["nodeName"]}]
    return hints


class _Zones:
    """Zones of nodes, each node decoded once a plan."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._known: dict[str, str] = {}

    def of(self, node_name: str) -> str:
        zone = self._known.get(node_name)
        if zone is None:
            node = self._view.get(NODE, "", node_name)
            zone = self._known[node_name] = "" if node is None else labels_of(node).get(topology.ZONE, "")
        return zone


def _when_a_zone_changes(change: Change, view: View) -> Iterable[Key]:
    """Every Service that may have endpoints there: a node's zone is set once, as a rule soon after it joined. Those whose hints
    follow the zones' CPU also when a node's readiness or CPU changes."""
    old, new = (labels_of(side).get(topology.ZONE, "") if side is not None else "" for side in (change.old, change.new))
    if old == new and topology.concern(change.old) == topology.concern(change.new):
        return []
    return [key_of(each) for each in view.list(SERVICE) if has_selector(each) and (old != new or topology.is_auto(each))]


ENDPOINTSLICE_CONTROLLER: Final = Controller(
    name="endpointslice-controller",
    watches=(
        (SERVICE, itself),
        (POD, services_of_pod),
        (ENDPOINTSLICE, services_of_slices(MANAGER)),
        (NODE, _when_a_zone_changes),
    ),
    plan=plan,
)
