"""EndpointSlices for Endpoints that people write by hand, behind Services without a selector.

Enters: an Endpoints object, its Service and the slices there are.
Leaves: slices that show the same.
Holds: Endpoints that this project or a leader election writes are not mirrored; nothing is mirrored without a Service.
Next: network (service proxy), network.dns.
"""

from __future__ import annotations

from typing import Final

from edgekube import limits
from edgekube.api.calls import Call, Delete, Record
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import ENDPOINTS, ENDPOINTSLICE, SERVICE
from edgekube.api.objects import Object, annotations_of, is_deleting, labels_of, name_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.selectors.labels import label_selector_of_set
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.endpoints.backends import MANAGED_BY, SERVICE_NAME, TRIGGER_TIME, has_selector, services_of_slices
from edgekube.controllers.endpoints.slicing import Family, Wanted, lay_out

MANAGER: Final = "endpointslicemirroring-controller.k8s.io"
SKIP: Final = "endpointslice.kubernetes.io/skip-mirror"
LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    mine = label_selector_of_set({SERVICE_NAME: key.name, MANAGED_BY: MANAGER})
    existing = list(view.selected(ENDPOINTSLICE, key.namespace, mine))
    endpoints, service = view.get(ENDPOINTS, key.namespace, key.name), view.get(SERVICE, key.namespace, key.name)
    if endpoints is None or service is None or not _wants_mirror(endpoints) or has_selector(service):
        return [
            Delete(ENDPOINTSLICE, key.namespace, name_of(each), DeleteOptions(precondition_uid=uid_of(each)))
            for each in existing
            if not is_deleting(each)
        ]
    calls = _told_of_skipped(endpoints)
    for address_type in ("IPv4", "IPv6"):
        wanted = _wanted(endpoints, address_type)
        here = [each for each in existing if each.get("addressType") == address_type]
        if not wanted and address_type == "IPv6":
            calls += [Delete(ENDPOINTSLICE, key.namespace, name_of(each)) for each in here]
            continue
        calls += lay_out(_family(endpoints, address_type), here, wanted)
    return calls


def _told_of_skipped(endpoints: Object) -> list[Call]:
    most = limits.ENDPOINTS_ADDRESSES_MAX
    listed = [
        len(each.get("addresses") or ()) + len(each.get("notReadyAddresses") or ()) for each in endpoints.get("subsets") or ()
    ]
    skipped = sum(max(0, count - most) for count in listed)
    if not skipped:
        return []
    message = (
        f"A max of {most} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
    )
    return [Record(endpoints, "Warning", "TooManyAddressesToMirror", message)]


def _wants_mirror(endpoints: Object) -> bool:
    return (
        labels_of(endpoints).get(SKIP) != "true"
        and LEADER not in annotations_of(endpoints)
        and not is_deleting(endpoints)
    )  # fmt: skip


def _family(endpoints: Object, address_type: str) -> Family:
    dropped = (_LAST_APPLIED, TRIGGER_TIME)
    reference = controller_reference(ENDPOINTS, endpoints)
    labels = {key: value for key, value in labels_of(endpoints).items() if key != SKIP}
    return Family(
        owner=endpoints,
        owner_reference=reference,
        name=name_of(endpoints),
        address_type=address_type,
        labels=labels | {SERVICE_NAME: name_of(endpoints), MANAGED_BY: MANAGER},
        annotations={key: value for key, value in annotations_of(endpoints).items() if key not in dropped},
        trigger_time=annotations_of(endpoints).get(TRIGGER_TIME),
    )


def _wanted(endpoints: Object, address_type: str) -> list[Wanted]:
    groups = []
    for subset in endpoints.get("subsets") or ():
        group = Wanted([{"name": "", "protocol": "TCP", **port} for port in subset.get("ports") or ()])
        listed = [(each, True) for each in subset.get("addresses") or ()]
        listed += [(each, False) for each in subset.get("notReadyAddresses") or ()]
        for address, ready in listed[: limits.ENDPOINTS_ADDRESSES_MAX]:
            if (":" in address["ip"]) == (address_type == "IPv6"):
                group.endpoints.append(_endpoint(address, ready))
        if group.endpoints:
            groups.append(group)
    return groups


def _endpoint(address: Object, ready: bool) -> Object:
    endpoint: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for key in ("hostname", "nodeName", "targetRef"):
        if address.get(key):
            endpoint[key] = address[key]
    return endpoint


MIRRORING_CONTROLLER: Final = Controller(
    name="endpointslice-mirroring-controller",
    watches=((ENDPOINTS, itself), (SERVICE, itself), (ENDPOINTSLICE, services_of_slices(MANAGER))),
    plan=plan,
)
