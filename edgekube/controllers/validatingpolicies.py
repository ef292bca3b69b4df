"""A ValidatingAdmissionPolicy is told in its status where its expressions do not fit the types that it is about.

Enters: a policy.
Leaves: status.typeChecking and status.observedGeneration.
Holds: each generation is checked once. A policy is in force before and whatever comes of it.
Source: k8s.io/kubernetes pkg/controller/validatingadmissionpolicystatus.
Next: registry.policies.type_checking checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from edgekube.api.calls import Call
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.kinds import VALIDATINGADMISSIONPOLICY
from edgekube.api.objects import Object, is_deleting
from edgekube.api.statuses import status_calls
from edgekube.api.view import View

NAME: Final = "validatingadmissionpolicy-status-controller"
Check = Callable[[Object], list[Object]]


def plan(check: Check, view: View, key: Key, now: Moment) -> list[Call]:
    policy = view.get(VALIDATINGADMISSIONPOLICY, "", key.name)
    if policy is None or is_deleting(policy):
        return []
    generation = int(policy["metadata"].get("generation") or 0)
    status = policy.get("status") or {}
    if generation <= int(status.get("observedGeneration") or 0):
        return []
    checked: Object = {"expressionWarnings": check(policy) or None}  # None takes away what an older generation was told
    return status_calls(VALIDATINGADMISSIONPOLICY, policy, {**status, "observedGeneration": generation, "typeChecking": checked})


def controller(check: Check) -> Controller:
    return Controller(name=NAME, watches=((VALIDATINGADMISSIONPOLICY, itself),), plan=partial(plan, check))
