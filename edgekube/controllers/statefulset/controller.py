"""The plan for a StatefulSet: its history, its pods and claims, and its status.

Enters: a StatefulSet, its pods, revisions and claims.
Leaves: revisions; claims and pods made; pods deleted, adopted and released; status; events.
Holds: a plan goes as far as the order allows; what it does wakes the next one.
Next: scheduler; controllers.volumes binds the claims.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from edgekube.api import podstate
from edgekube.api.adoption import adopters, selector_of
from edgekube.api.calls import Call, Later
from edgekube.api.controller import Change, Controller, Key, Moment, controlled_by, itself, key_of, lost_by
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONTROLLERREVISION, PERSISTENTVOLUMECLAIM, POD, STATEFULSET
from edgekube.api.objects import is_deleting, name_of, spec_of, uid_of
from edgekube.api.ownership import claim
from edgekube.api.statuses import status_calls
from edgekube.api.view import View
from edgekube.controllers.statefulset import identity
from edgekube.controllers.statefulset.history import cleaned, history_of
from edgekube.controllers.statefulset.status import status_for
from edgekube.controllers.statefulset.stepping import Step


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    stateful = view.get(STATEFULSET, key.namespace, key.name)
    if stateful is None:
        return []
    selector = selector_of(stateful)
    candidates = [
        pod
        for pod in (*view.owned_by(POD, uid_of(stateful)), *view.owned_by(POD, "", key.namespace))
        if identity.is_member(stateful, pod)
    ]
    pods, calls = claim(STATEFULSET, stateful, POD, candidates, selector.matches)
    history = history_of(view, stateful, selector)

    def failed(error: StatusError) -> Sequence[Call]:
        return status_calls(STATEFULSET, stateful, status_for(stateful, history, step.there(), 0, now.wall_seconds))

    step = Step(view, stateful, pods, history, now, failed)
    if not is_deleting(stateful):
        calls += history.calls
        step.run()
        calls += [*step.calls.in_order(), *cleaned(stateful, history, pods)]
    there = step.there()
    calls += status_calls(STATEFULSET, stateful, status_for(stateful, history, there, step.replaced, now.wall_seconds))
    min_ready = int(spec_of(stateful).get("minReadySeconds") or 0)
    waits = [podstate.available_in(pod, min_ready, now.wall_seconds) for pod in there]
    return calls + [Later(wait) for wait in waits if wait]


def _of_gone_namesake(change: Change, view: View) -> Iterable[Key]:
    """A pod that had the name of one of ours is gone."""
    if change.new is not None:
        return ()
    parent, _ = identity.parent_and_ordinal(change.key.name)
    found = view.get(STATEFULSET, change.key.namespace, parent) if parent else None
    return () if found is None else (key_of(found),)


def _of_gone_claim(change: Change, view: View) -> Iterable[Key]:
    """A claim that a pod has to wait for is gone."""
    if change.new is not None:
        return
    for stateful in view.list(STATEFULSET, change.key.namespace):
        names = [re.escape(name_of(each)) for each in spec_of(stateful).get("volumeClaimTemplates") or ()]
        if names and re.fullmatch(f"(?:{'|'.join(names)})-{re.escape(name_of(stateful))}-[0-9]+", change.key.name):
            yield key_of(stateful)


STATEFULSET_CONTROLLER: Final = Controller(
    name="statefulset-controller",
    watches=(
        (STATEFULSET, itself),
        (POD, controlled_by(STATEFULSET)),
        (POD, adopters(STATEFULSET)),
        (POD, _of_gone_namesake),
        (PERSISTENTVOLUMECLAIM, _of_gone_claim),
        (CONTROLLERREVISION, lost_by(STATEFULSET)),
        (CONTROLLERREVISION, adopters(STATEFULSET)),
    ),
    plan=plan,
)
