"""The revisions of a StatefulSet: the one it is at, and the one it goes to.

Enters: a StatefulSet and the ControllerRevisions of its namespace.
Leaves: current and update revision, and the calls that keep the history true.
Holds: one revision a template; going back to an old template gives its revision the highest number; what pods are of stays.
Source: k8s.io/kubernetes pkg/controller/statefulset getStatefulSetRevisions, truncateHistory.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from edgekube.api import revisions
from edgekube.api.calls import Call, Create
from edgekube.api.kinds import CONTROLLERREVISION, STATEFULSET
from edgekube.api.objects import Object, name_of, namespace_of, spec_of, uid_of
from edgekube.api.ownership import claim
from edgekube.api.selectors.labels import LabelSelector
from edgekube.api.short_hash import short_hash
from edgekube.api.view import View
from edgekube.controllers.statefulset.identity import revision_of_pod

HASH_LABEL: Final = "controller.kubernetes.io/hash"


class History(Struct):
    current: Object
    update: Object
    every: list[Object]  # lowest number first, without one that is being made
    collisions: int
    calls: list[Call]

    @property
    def current_name(self) -> str:
        return name_of(self.current)

    @property
    def update_name(self) -> str:
        return name_of(self.update)


def history_of(view: View, stateful: Object, selector: LabelSelector) -> History:
    candidates = [
        *view.owned_by(CONTROLLERREVISION, uid_of(stateful)),
        *view.owned_by(CONTROLLERREVISION, "", namespace_of(stateful)),
    ]
    found, calls = claim(STATEFULSET, stateful, CONTROLLERREVISION, candidates, selector.matches)
    every = revisions.ordered(found)
    collisions = int((stateful.get("status") or {}).get("collisionCount") or 0)
    number = revisions.number_of(every[-1]) + 1 if every else 1
    equal = [each for each in every if revisions.matches(stateful, each)]
    if equal:
        update = equal[-1]
        if update is not every[-1]:
            calls.append(revisions.renumbered(update, number))
    else:
        update, collisions, made = _made(view, stateful, number, collisions)
        calls += made
    at = (stateful.get("status") or {}).get("currentRevision")
    current = next((each for each in every if name_of(each) == at), update)
    return History(current, update, every, collisions, calls)


def _made(view: View, stateful: Object, number: int, collisions: int) -> tuple[Object, int, list[Call]]:
    """The revision of a template that has none yet; names that are taken count as collisions."""
    namespace = namespace_of(stateful)
    while True:
        digest = short_hash(revisions.snapshot(stateful), collisions)
        there = view.get(CONTROLLERREVISION, namespace, revisions.named(stateful, digest))
        if there is None:
            body = revisions.made(STATEFULSET, stateful, digest, number, HASH_LABEL)
            return body, collisions, [Create(CONTROLLERREVISION, namespace, body)]
        if revisions.matches(stateful, there):
            return there, collisions, []
        collisions += 1


def cleaned(stateful: Object, history: History, pods: Iterable[Object]) -> list[Call]:
    """Delete the oldest revisions above revisionHistoryLimit that nobody is of."""
    limit = spec_of(stateful).get("revisionHistoryLimit")
    kept = 10 if limit is None else int(limit)
    live = {history.current_name, history.update_name, *map(revision_of_pod, pods)}
    unused = [each for each in history.every if name_of(each) not in live]
    return [revisions.forgotten(each) for each in unused[: max(0, len(unused) - kept)]] if kept >= 0 else []
