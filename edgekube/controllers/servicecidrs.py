"""A ServiceCIDR is Ready: whoever made it may have addresses of it now.

Enters: a ServiceCIDR.
Leaves: its condition Ready.
Holds: the registry gives addresses of a ServiceCIDR from the moment that it is stored (registry.state), so all of them are ready.
Source: k8s.io/kubernetes pkg/controller/servicecidrs (the condition's words).
Next: whoever waits for it.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.calls import Call
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import SERVICECIDR
from edgekube.api.objects import is_deleting
from edgekube.api.statuses import status_calls, with_condition
from edgekube.api.view import View


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    found = view.get(SERVICECIDR, "", key.name)
    if found is None or is_deleting(found):
        return []
    conditions = (found.get("status") or {}).get("conditions") or []
    if any(each.get("type") == "Ready" for each in conditions):
        return []
    message = "Kubernetes Service CIDR is ready"
    return status_calls(
        SERVICECIDR, found, {"conditions": with_condition(conditions, "Ready", "True", "", message, now.wall_seconds)}
    )


SERVICECIDR_CONTROLLER: Final = Controller(name="servicecidr-controller", watches=((SERVICECIDR, itself),), plan=plan)
