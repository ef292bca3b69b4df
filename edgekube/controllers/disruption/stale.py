"""A pod that was said to be disrupted and was not: its condition says so no longer.

Enters: pods with condition DisruptionTarget.
Leaves: the condition set to False.
Holds: two minutes are given for the deletion to come; what a kubelet announced may take as long as it likes.
Source: k8s.io/kubernetes pkg/controller/disruption syncStalePodDisruption.
Next: registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api import podstate, times
from edgekube.api.calls import Call, Later, Patch
from edgekube.api.controller import Change, Controller, Key, Moment
from edgekube.api.kinds import POD
from edgekube.api.objects import Object, is_deleting, uid_of
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH
from edgekube.api.view import View

STALE_SECONDS: Final = 120.0
_TARGET: Final = "DisruptionTarget"


def _announced(pod: Object) -> Object | None:
    condition = podstate.condition_of(pod, _TARGET)
    if condition is None or condition.get("status") != "True" or condition.get("reason") == "TerminationByKubelet":
        return None
    return None if podstate.is_finished(pod) or is_deleting(pod) else condition


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    pod = view.get(POD, key.namespace, key.name)
    condition = _announced(pod) if pod is not None else None
    if pod is None or condition is None:
        return []
    since = condition.get("lastTransitionTime")
    left = (times.parse(since) if since else 0.0) + STALE_SECONDS - now.wall_seconds
    if left > 0:
        return [Later(left)]
    cleared: Object = {
        "type": _TARGET,
        "status": "False",
        "reason": None,
        "message": None,
        "lastTransitionTime": times.rfc3339(now.wall_seconds),
    }
    patch: Object = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [cleared]}}
    return [Patch(POD, key.namespace, key.name, patch, patch_type=STRATEGIC_MERGE_PATCH, subresource="status")]


def _of_pod(change: Change, view: View) -> Iterable[Key]:
    return (change.key,) if change.new is not None and _announced(change.new) is not None else ()


STALE_DISRUPTION_CONTROLLER: Final = Controller(name="stale-disruption-controller", watches=((POD, _of_pod),), plan=plan)
