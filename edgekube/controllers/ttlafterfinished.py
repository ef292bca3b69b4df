"""Jobs that said how long they want to stay after their end (ttlSecondsAfterFinished) go when that time is over.

Enters: finished Jobs.
Leaves: their deletion, with their pods first.
Holds: only the Job that was looked at is deleted: one whose time was changed meanwhile is looked at again.
Source: kubernetes.io/docs/concepts/workloads/controllers/ttlafterfinished.
Next: controllers.garbagecollector.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import times
from edgekube.api.calls import Call, Delete, Later
from edgekube.api.controller import Controller, Key, Moment, itself
from edgekube.api.jobstate import ended_by
from edgekube.api.kinds import JOB
from edgekube.api.objects import is_deleting, revision_of, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.api.waiting import left_seconds


def plan(view: View, key: Key, now: Moment) -> list[Call]:
    job = view.get(JOB, key.namespace, key.name)
    if job is None or is_deleting(job):
        return []
    seconds = (job.get("spec") or {}).get("ttlSecondsAfterFinished")
    ended_at = (ended_by(job) or {}).get("lastTransitionTime")
    if seconds is None or not ended_at:
        return []
    left = left_seconds(times.parse(ended_at), float(seconds), now, view.changed_at(JOB, key.namespace, key.name))
    if left > 0:
        return [Later(left)]
    looked_at = DeleteOptions(
        propagation_policy="Foreground", precondition_uid=uid_of(job), precondition_revision=revision_of(job)
    )
    return [Delete(JOB, key.namespace, key.name, looked_at)]


TTL_CONTROLLER: Final = Controller(name="ttl-after-finished-controller", watches=((JOB, itself),), plan=plan)
