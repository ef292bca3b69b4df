"""An IPAddress for every cluster address of a Service, so that people see what is taken and by whom.

Enters: Services, and the IPAddresses there are.
Leaves: IPAddresses, made and removed.
Holds: who has an address is decided by the registry alone when a Service is written; this shows it, a moment later (ADR 27). What
others made, which lacks our label, is left alone.
Source: k8s.io/kubernetes pkg/registry/core/service/ipallocator (labels, parentRef); KEP-1880.
Next: whoever asks for ipaddresses.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from edgekube.api.calls import Call, Create, Delete
from edgekube.api.controller import Change, Controller, Key, Moment, sides
from edgekube.api.kinds import IPADDRESS, SERVICE
from edgekube.api.objects import Object, labels_of, name_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View

_MANAGED_BY: Final = "ipaddress.kubernetes.io/managed-by"
_MANAGER: Final = "ipallocator.k8s.io"
_FAMILY: Final = "ipaddress.kubernetes.io/ip-family"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    """The key names a Service and an address that it has or had."""
    service_name, address = key.name.split(" ")
    service = view.get(SERVICE, key.namespace, service_name)
    shown = view.get(IPADDRESS, "", address)
    parent = {"group": "", "resource": "services", "namespace": key.namespace, "name": service_name}
    ours = shown is not None and labels_of(shown).get(_MANAGED_BY) == _MANAGER
    if service is not None and address in _addresses_of(service):
        if shown is None:
            return [_creation(address, parent)]
        # The parent cannot be changed.
        return [_removal(shown), _creation(address, parent)] if ours and _parent_of(shown) != parent else []
    return [_removal(shown)] if shown is not None and ours and _parent_of(shown) == parent else []


def _creation(address: str, parent: Object) -> Call:
    labels = {_MANAGED_BY: _MANAGER, _FAMILY: f"IPv{ip_address(address).version}"}
    made: Object = {
        "apiVersion": IPADDRESS.api_version,
        "kind": IPADDRESS.kind,
        "metadata": {"name": address, "labels": labels},
        "spec": {"parentRef": parent},
    }
    return Create(IPADDRESS, "", made)


def _removal(shown: Object) -> Call:
    return Delete(IPADDRESS, "", name_of(shown), DeleteOptions(precondition_uid=uid_of(shown)))


def _parent_of(shown: Object) -> Object:
    parent = (shown.get("spec") or {}).get("parentRef") or {}
    return {"group": "", **parent}


def _addresses_of(service: Object) -> list[str]:
    return [address for address in (service.get("spec") or {}).get("clusterIPs") or () if address != "None"]


def _addresses_that_changed(change: Change, view: View) -> Iterable[Key]:
    before, after = (set(_addresses_of(side)) if side is not None else set() for side in (change.old, change.new))
    return [Key(change.key.namespace, f"{change.key.name} {address}") for address in sorted(before ^ after)]


def _services_named(change: Change, view: View) -> Iterable[Key]:
    """The Service that an IPAddress names: what somebody removed is shown again."""
    for side in sides(change):
        parent = _parent_of(side)
        if parent.get("resource") == "services" and parent.get("namespace") and parent.get("name"):
            yield Key(parent["namespace"], f"{parent['name']} {name_of(side)}")


IPADDRESS_CONTROLLER: Final = Controller(
    name="ipaddress-controller",
    watches=((SERVICE, _addresses_that_changed), (IPADDRESS, _services_named)),
    plan=plan,
)
