"""Requests that are over are swept away.

Enters: CertificateSigningRequests and the time.
Leaves: deletions.
Holds: what is answered stays long enough to be fetched and looked at (an hour), what nobody answers for a day.
Source: k8s.io/kubernetes pkg/controller/certificates/cleaner.
Next: registry.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import times
from edgekube.api.calls import Call, Delete, Later
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import CERTIFICATESIGNINGREQUEST
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.api.waiting import left_seconds
from edgekube.controllers.certificates.signing import conditions_of

ANSWERED_SECONDS: Final = 3600.0
PENDING_SECONDS: Final = 24 * 3600.0


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    request = view.get(CERTIFICATESIGNINGREQUEST, "", key.name)
    if request is None:
        return []
    since, period = _since(request, now.wall_seconds)
    wait_seconds = left_seconds(since, period, now, view.changed_at(CERTIFICATESIGNINGREQUEST, "", key.name))
    if wait_seconds > 0:
        return [Later(wait_seconds)]
    return [Delete(CERTIFICATESIGNINGREQUEST, "", key.name, DeleteOptions(precondition_uid=uid_of(request)))]


def _since(request: Object, now: float) -> tuple[float, float]:
    """Since when it waits for its end, and how long."""
    conditions = conditions_of(request)
    if not conditions:
        return _time(request["metadata"].get("creationTimestamp"), now), PENDING_SECONDS
    answered = min(_time(each.get("lastUpdateTime") or each.get("lastTransitionTime"), now) for each in conditions)
    return answered, ANSWERED_SECONDS


def _time(text: object, now: float) -> float:
    try:
        return times.parse(str(text))
    except ValueError:
        return now


CLEANING_CONTROLLER: Final = Controller(
    name="certificatesigningrequest-cleaner-controller",
    watches=((CERTIFICATESIGNINGREQUEST, itself),),
    plan=plan,
)
