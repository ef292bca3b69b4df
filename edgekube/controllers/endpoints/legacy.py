"""Endpoints, the older form: one object per Service, addresses grouped by ports.

Enters: a Service with a selector and the pods that it selects.
Leaves: the Endpoints object of the same name.
Holds: an address appears once per port list, under addresses or notReadyAddresses; the order depends only on the content. All are
of the Service's first family: this form has room for one.
Bound: limits.ENDPOINTS_ADDRESSES_MAX addresses; then the over-capacity annotation says "truncated".
Next: controllers.endpoints.mirroring leaves these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from edgekube import limits
from edgekube.api.calls import Call, Create, Delete, Update
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import ENDPOINTS, POD, SERVICE
from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, namespace_of, uid_of
from edgekube.api.pod_facts import PodFacts
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.endpoints.backends import (
    HEADLESS,
    TRIGGER_TIME,
    Ports,
    address_of_family,
    has_selector,
    hostname_in,
    is_headless,
    pods_behind,
    publishes_not_ready,
    reference_to,
    services_of_pod,
    trigger_time,
)

OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
MANAGER: Final = "endpoint-controller"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    service = view.get(SERVICE, key.namespace, key.name)
    endpoints = view.get(ENDPOINTS, key.namespace, key.name)
    if service is None:
        # Endpoints have no owner, so ours go here. Hand-written ones may be there before their Service.
        if endpoints is None or is_deleting(endpoints) or labels_of(endpoints).get(MANAGED_BY) != MANAGER:
            return []
        return [Delete(ENDPOINTS, key.namespace, key.name, DeleteOptions(precondition_uid=uid_of(endpoints)))]
    if not has_selector(service) or is_deleting(service):
        return []
    unready = publishes_not_ready(service)
    family = str(next(iter((service.get("spec") or {}).get("ipFamilies") or ()), "IPv4"))
    behind = (pod for pod in pods_behind(view, service) if address_of_family(pod, family))
    pods = [pod for pod in behind if unready or not pod.deleting]
    subsets, truncated = _subsets(service, pods, family, unready, Ports(service, view))
    return _calls(service, endpoints, subsets, truncated, trigger_time(service, pods))


def _subsets(service: Object, pods: Sequence[PodFacts], family: str, unready: bool, ports_of: Ports) -> tuple[list[Object], bool]:
    groups: dict[bytes, tuple[list[Object], list[Object], list[Object]]] = {}  # ports, ready, not ready
    # Ready addresses are the last to be cut.
    order = sorted(pods, key=lambda pod: not (unready or pod.ready))
    for pod in order[: limits.ENDPOINTS_ADDRESSES_MAX]:
        ports = [_port(each) for each in ports_of.of(pod)[0]]
        if not ports and not is_headless(service):
            continue
        ports.sort(key=orjson.dumps)
        group = groups.setdefault(orjson.dumps(ports), (ports, [], []))
        group[1 if unready or pod.ready else 2].append(_address(service, pod, family))
    subsets = []
    for _, (ports, ready, not_ready) in sorted(groups.items()):
        subset: Object = {}
        if ready:
            subset["addresses"] = sorted(ready, key=_address_order)
        if not_ready:
            subset["notReadyAddresses"] = sorted(not_ready, key=_address_order)
        if ports:
            subset["ports"] = ports
        subsets.append(subset)
    return subsets, len(order) > limits.ENDPOINTS_ADDRESSES_MAX


def _port(port: Object) -> Object:
    return {key: value for key, value in port.items() if value != ""}


def _address(service: Object, pod: PodFacts, family: str) -> Object:
    address: Object = {"ip": address_of_family(pod, family), "targetRef": reference_to(pod)}
    hostname, node = hostname_in(service, pod), pod.node
    if hostname:
        address["hostname"] = hostname
    if node:
        address["nodeName"] = node
    return address


def _address_order(address: Object) -> tuple[str, str]:
    return (str(address["ip"]), str(address["targetRef"]["uid"]))


def _calls(
    service: Object, endpoints: Object | None, subsets: list[Object], truncated: bool, triggered: str | None
) -> list[Call]:
    labels = dict(labels_of(service)) | {MANAGED_BY: MANAGER}
    labels.pop(HEADLESS, None)
    if is_headless(service):
        labels[HEADLESS] = ""
    annotations: dict[str, str] = dict(annotations_of(endpoints)) if endpoints is not None else {}
    annotations.pop(OVER_CAPACITY, None)
    if truncated:
        annotations[OVER_CAPACITY] = "truncated"
    if endpoints is not None:
        unchanged = (
            _comparable(endpoints.get("subsets") or []) == _comparable(subsets)
            and labels_of(endpoints) == labels
            and annotations_of(endpoints).get(OVER_CAPACITY) == annotations.get(OVER_CAPACITY)
        )
        if unchanged or is_deleting(endpoints):
            return []
    if triggered:
        annotations[TRIGGER_TIME] = triggered
    if endpoints is not None:
        metadata = {**endpoints["metadata"], "labels": labels, "annotations": annotations}
        return [Update(ENDPOINTS, {**endpoints, "metadata": metadata, "subsets": subsets})]
    body = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": name_of(service),
            "namespace": namespace_of(service),
            "labels": labels,
            "annotations": annotations,
        },
        "subsets": subsets,
    }
    return [Create(ENDPOINTS, namespace_of(service), body)]


def _comparable(subsets: list[Object]) -> list[dict[str, Any]]:
    return [{key: value for key, value in subset.items() if value} for subset in subsets]


ENDPOINTS_CONTROLLER: Final = Controller(
    name="endpoints-controller",
    watches=((SERVICE, itself), (POD, services_of_pod), (ENDPOINTS, itself)),
    plan=plan,
)
