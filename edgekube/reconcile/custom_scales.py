"""Disruption budgets over pods of any kind that has a scale, custom ones among them.

Enters: budgets.
Leaves: a controller for reconcile.engine.
Holds: a scale is asked for only where a budget depends on it and no view has it.
Bound: one question for each controller of the budget's pods, one after the other.
Source: k8s.io/kubernetes pkg/controller/disruption (getScaleController; its messages).
Next: controllers.disruption.budgets.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from edgekube.api.controller import Controller, Key, Plan
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import Verbs
from edgekube.api.view import View
from edgekube.controllers.disruption.budgets import DISRUPTION_CONTROLLER, plan, unseen_controllers
from edgekube.controllers.disruption.expected import CannotTell


def controller(verbs: Verbs, kind_of: Callable[[str, str], Kind | None]) -> Controller:
    return replace(DISRUPTION_CONTROLLER, gather=partial(_gather, verbs, kind_of))


async def _gather(verbs: Verbs, kind_of: Callable[[str, str], Kind | None], view: View, key: Key) -> Plan:
    unseen = unseen_controllers(view, key)
    scales = {uid: await _scale(verbs, kind_of, reference, key.namespace) for uid, reference in unseen.items()}
    return partial(plan, scales)


async def _scale(
    verbs: Verbs, kind_of: Callable[[str, str], Kind | None], reference: Object, namespace: str
) -> int | CannotTell | None:
    version, name = str(reference.get("apiVersion")), str(reference.get("kind"))
    kind = kind_of(version, name)  # subresources are those of a version
    if kind is None:
        return CannotTell(f'no matches for kind "{name}" in version "{version}"')
    if "scale" not in kind.subresources:
        return CannotTell(f"{kind.group_resource} does not implement the scale subresource")
    try:
        scale = await verbs.get(kind, namespace, str(reference.get("name")), subresource="scale")
    except StatusError as error:
        return None if error.reason == "NotFound" else CannotTell(error.message)
    if uid_of(scale) != reference.get("uid"):
        return None
    return int((scale.get("spec") or {}).get("replicas") or 0)
