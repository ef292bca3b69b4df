"""Pods that no Job will count any more must not be kept by a Job's finalizer.

Enters: pods with the tracking finalizer whose Job is gone or finished.
Leaves: the patch that takes the finalizer off.
Holds: a pod of a Job that is still at work, or that somebody else manages, is left alone.
Source: k8s.io/kubernetes pkg/controller/job syncOrphanPod.
Next: reconcile.loops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgekube.api.calls import Call
from edgekube.api.controller import Change, Controller, Key, Moment, key_of
from edgekube.api.finalizers import without
from edgekube.api.jobstate import is_finished
from edgekube.api.kinds import JOB, POD
from edgekube.api.objects import Object, controller_of, namespace_of, uid_of
from edgekube.api.view import View
from edgekube.controllers.job.facts import TRACKING, is_managed_elsewhere, is_tracked


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    pod = view.get(POD, key.namespace, key.name)
    return without(POD, pod, TRACKING) if pod is not None and _is_orphan(view, pod) else []


def _is_orphan(view: View, pod: Object) -> bool:
    if not is_tracked(pod):
        return False
    owner = controller_of(pod)
    if owner is None:
        return True
    if owner.get("kind") != JOB.kind or owner.get("apiVersion") != JOB.api_version:
        return False
    job = view.get(JOB, namespace_of(pod), str(owner.get("name")))
    if job is None or uid_of(job) != owner.get("uid"):
        return True
    return is_finished(job) and not is_managed_elsewhere(job)


def _orphaned(change: Change, view: View) -> Iterable[Key]:
    return (change.key,) if change.new is not None and _is_orphan(view, change.new) else ()


def _left_behind(change: Change, view: View) -> Iterable[Key]:
    """The pods of a Job that is gone or finished."""
    if change.new is not None and not is_finished(change.new):
        return ()
    job = change.new or change.old
    return [key_of(pod) for pod in view.owned_by(POD, uid_of(job)) if is_tracked(pod)] if job is not None else ()


#: Upstream's job controller does this in a queue of its own; it is switched off together with that.
ORPHAN_CONTROLLER: Final = Controller(
    name="job-controller-orphan-pods", watches=((POD, _orphaned), (JOB, _left_behind)), plan=plan
)
