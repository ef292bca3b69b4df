"""Which templates a DaemonSet had, and which of its revisions is the one of now.

Enters: a DaemonSet and the ControllerRevisions of its namespace.
Leaves: the hash of now's template, the older revisions, and the calls that keep the history true.
Holds: one revision a template; going back to an old template gives its revision the highest number.
Source: k8s.io/kubernetes pkg/controller/daemon/update.go constructHistory, cleanupHistory.
Next: controller.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import Struct, field

from edgekube.api import revisions
from edgekube.api.calls import Call, Create, Patch
from edgekube.api.kinds import CONTROLLERREVISION, DAEMONSET, POD
from edgekube.api.objects import Object, labels_of, name_of, namespace_of, uid_of
from edgekube.api.ownership import claim
from edgekube.api.pod_facts import PodFacts
from edgekube.api.revisions import POD_LABEL
from edgekube.api.selectors.labels import LabelSelector
from edgekube.api.short_hash import short_hash
from edgekube.api.statuses import status_calls
from edgekube.api.view import View
from edgekube.controllers.daemonset.making import template_of


class History(Struct):
    #: "": the name that now's template would get is taken; the calls count the collision, and the next plan tries another.
    digest: str
    old: list[Object]
    calls: list[Call] = field(default_factory=list)


def history_of(view: View, daemon: Object, selector: LabelSelector, pods: Sequence[PodFacts]) -> History:
    candidates = [
        *view.owned_by(CONTROLLERREVISION, uid_of(daemon)),
        *view.owned_by(CONTROLLERREVISION, "", namespace_of(daemon)),
    ]
    found, calls = claim(DAEMONSET, daemon, CONTROLLERREVISION, candidates, selector.matches)
    for each in found:
        if POD_LABEL not in labels_of(each):
            patch: Object = {"metadata": {"uid": uid_of(each), "labels": {POD_LABEL: name_of(each)}}}
            calls.append(Patch(CONTROLLERREVISION, namespace_of(each), name_of(each), patch))
    found = revisions.ordered(found)
    current = [each for each in found if revisions.matches(daemon, each)]
    old = [each for each in found if each not in current]
    number = max(map(revisions.number_of, old), default=0) + 1
    if not current:
        return _first(view, daemon, number, old, calls)
    kept = current[-1]
    digest = _digest(kept)
    if len(current) > 1:
        calls += _one_left(kept, digest, current[:-1], pods)
    if revisions.number_of(kept) < number:
        calls.append(revisions.renumbered(kept, number))
    return History(digest, old, calls)


def _digest(revision: Object) -> str:
    return labels_of(revision).get(POD_LABEL) or name_of(revision)


def _first(view: View, daemon: Object, number: int, old: list[Object], calls: list[Call]) -> History:
    """A template that has no revision yet."""
    status = daemon.get("status") or {}
    collisions = status.get("collisionCount")
    digest = short_hash(template_of(daemon), collisions)
    there = view.get(CONTROLLERREVISION, namespace_of(daemon), revisions.named(daemon, digest))
    if there is not None and not revisions.matches(daemon, there):
        counted = {**status, "collisionCount": int(collisions or 0) + 1}
        return History("", old, calls + status_calls(DAEMONSET, daemon, counted))
    if there is None:
        body = revisions.made(DAEMONSET, daemon, digest, number, POD_LABEL)
        calls.append(Create(CONTROLLERREVISION, namespace_of(daemon), body))
    return History(digest, old, calls)


def _one_left(kept: Object, digest: str, others: Sequence[Object], pods: Sequence[PodFacts]) -> list[Call]:
    """Several revisions of one template: the pods of all become the kept one's."""
    relabelled = [pod for pod in pods if pod.labels.get(POD_LABEL) in {_digest(each) for each in others}]
    patch: Object = {"metadata": {"labels": {POD_LABEL: digest}}}
    calls: list[Call] = [Patch(POD, pod.namespace, pod.name, patch) for pod in relabelled]
    return calls + [revisions.forgotten(each) for each in others]


def cleaned(daemon: Object, old: Sequence[Object], pods: Collection[PodFacts]) -> list[Call]:
    """Delete the oldest revisions above revisionHistoryLimit that no pod is of."""
    limit = (daemon.get("spec") or {}).get("revisionHistoryLimit")
    surplus = len(old) - (10 if limit is None else int(limit))
    live = {pod.labels.get(POD_LABEL) for pod in pods}
    unused = [each for each in revisions.ordered(old) if labels_of(each).get(POD_LABEL) not in live]
    return [revisions.forgotten(each) for each in unused[: max(0, surplus)]]
