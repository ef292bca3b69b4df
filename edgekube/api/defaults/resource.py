"""Defaults of resource.k8s.io (dynamic resource allocation).

Enters: a ResourceClaim, a template of one, a ResourceSlice, a DeviceClass.
Leaves: the same, with every field that Kubernetes fills set.
Holds: the time of a device taint needs a clock and is the registry's (timeAdded).
Source: resource/v1 SetDefaults_ExactDeviceRequest, SetDefaults_DeviceSubRequest; DeviceToleration's documentation.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import fill_empty, items, part
from edgekube.api.objects import Object


def _default_request(request: Object) -> None:
    fill_empty(request, {"allocationMode": "ExactCount"})
    if request["allocationMode"] == "ExactCount":
        fill_empty(request, {"count": 1})
    for toleration in items(request, "tolerations"):
        fill_empty(toleration, {"operator": "Equal"})


def _default_claim_spec(spec: Object) -> None:
    for request in items(part(spec, "devices"), "requests"):
        if isinstance(request.get("exactly"), dict):
            _default_request(request["exactly"])
        for alternative in items(request, "firstAvailable"):
            _default_request(alternative)


def default_claim(claim: Object) -> None:
    _default_claim_spec(part(claim, "spec"))
    part(claim, "status")


def default_claim_template(template: Object) -> None:
    spec = part(template, "spec")
    part(spec, "metadata")
    _default_claim_spec(part(spec, "spec"))


def default_device_class(device_class: Object) -> None:
    part(device_class, "spec")


def default_slice(resource_slice: Object) -> None:
    part(part(resource_slice, "spec"), "pool")


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "DeviceClass": default_device_class,
    "ResourceClaim": default_claim,
    "ResourceClaimTemplate": default_claim_template,
    "ResourceSlice": default_slice,
}
