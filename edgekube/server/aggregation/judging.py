"""Whether another API server is available: what the condition Available of its APIService says.

Enters: the APIService, the Service and EndpointSlices that it names, and what a look at the server itself brought.
Leaves: the condition, or the need to look; the status to write, None where nothing changed.
Holds: pure; reasons and messages are upstream's, because dashboards and tests read them.
Source: k8s.io/kube-aggregator, remote available controller.
Next: server.aggregation.checking.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.api_services import Remote
from edgekube.api.objects import Object

_TYPE: Final = "Available"


def _condition(status: str, reason: str, message: str) -> Object:
    return {"type": _TYPE, "status": status, "reason": reason, "message": message}


PASSED: Final = _condition("True", "Passed", "all checks passed")


def failed_look(why: str) -> Object:
    return _condition("False", "FailedDiscoveryCheck", why)


def before_looking(remote: Remote, service: Object | None, slices: Iterable[Object]) -> Object | None:
    """The condition that says why nobody can be there; None: look."""
    shown = f'service/{remote.service} in "{remote.namespace}"'
    if service is None:
        return _condition("False", "ServiceNotFound", f"{shown} is not present")
    spec = service.get("spec") or {}
    if (spec.get("type") or "ClusterIP") != "ClusterIP":
        return None
    port = next((each for each in spec.get("ports") or [] if each.get("port") == remote.port), None)
    if port is None:
        return _condition("False", "ServicePortError", f"{shown} is not listening on port {remote.port}")
    held = list(slices)
    if not held:
        return _condition("False", "EndpointsNotFound", f"cannot find endpointslices for {shown}")
    name = str(port.get("name") or "")
    if not any(_reaches(each, name) for each in held):
        why = f'endpointslices for {shown} have no addresses with port name "{name}"'
        return _condition("False", "MissingEndpoints", why)
    return None


def _reaches(slice_: Object, port_name: str) -> bool:
    ready = any((each.get("conditions") or {}).get("ready") is not False for each in slice_.get("endpoints") or [])
    ports = slice_.get("ports") or []
    return ready and any(str(port.get("name") or "") == port_name and port.get("port") for port in ports)


def changed_status(api_service: Object, condition: Object, now: str) -> Object | None:
    """The status with the condition in it; its transition time moves with its status alone."""
    conditions = list((api_service.get("status") or {}).get("conditions") or [])
    before = next((each for each in conditions if each.get("type") == _TYPE), None)
    if before is not None and all(before.get(key) == value for key, value in condition.items()):
        return None
    since = before["lastTransitionTime"] if before and before.get("status") == condition["status"] else now
    kept = [each for each in conditions if each.get("type") != _TYPE]
    return {"conditions": [*kept, {**condition, "lastTransitionTime": since}]}
