"""The plan of a Job: pods made and deleted, then what is known of them written down, then their finalizers taken off.

Enters: a Job and the pods of its namespace.
Leaves: calls in the order that makes counting exact: the status names what it is going to count before a finalizer goes.
Holds: a finished Job, and one that somebody else manages, is left alone; a Job is finished only when every pod is counted and
gone.
Source: k8s.io/kubernetes pkg/controller/job syncJob; texts of conditions and events as upstream's.
Next: controllers.job.orphans.
"""

from __future__ import annotations

import functools
from typing import Any, Final

from edgekube import limits
from edgekube.api import podstate, times
from edgekube.api.adoption import adopters, selector_of
from edgekube.api.calls import Call, Create, Delete, Later, Patch, Record, Report
from edgekube.api.controller import Controller, Key, Moment, controlled_by, itself
from edgekube.api.errors import StatusError
from edgekube.api.finalizers import finalizers_of, without
from edgekube.api.jobstate import is_finished
from edgekube.api.kinds import JOB, POD
from edgekube.api.objects import (
    Object,
    is_deleting,
    metadata_of,
    name_of,
    namespace_of,
    owners_of,
    revision_of,
    spec_of,
    status_of,
    uid_of,
)
from edgekube.api.ownership import claim
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.job import pods as making
from edgekube.controllers.job.backoff import Backoffs
from edgekube.controllers.job.counting import Count, Tally, count, tally
from edgekube.controllers.job.ending import Ending, deadline_in, ending_before_pods_are_managed, ending_by_completions
from edgekube.controllers.job.facts import (
    TRACKING,
    completions_of,
    is_failed,
    is_managed_elsewhere,
    is_suspended,
    limit_per_index,
)

_MODES: Final = (None, "NonIndexed", "Indexed")


def plan(backoffs: Backoffs, view: View, key: Key, now: Moment) -> list[Call]:
    job = view.get(JOB, key.namespace, key.name)
    if job is None or is_managed_elsewhere(job):
        return []
    if is_finished(job):
        backoffs.forget(uid_of(job))
        return []
    if spec_of(job).get("completionMode") not in _MODES:
        message = "Skipped Job sync because completion mode is unknown"
        return [Record(job, "Warning", "UnknownCompletionMode", message)]
    pods, calls = _pods_of(view, job)
    tallied = tally(job, pods)
    return calls + _act(tallied, backoffs, now, view.changed_at(JOB, key.namespace, key.name))


def _pods_of(view: View, job: Object) -> tuple[list[Object], list[Call]]:
    candidates = [*view.owned_by(POD, uid_of(job)), *view.owned_by(POD, "", namespace_of(job))]
    selector = selector_of(job)
    pods, calls = claim(JOB, job, POD, candidates, selector.matches, finalizer=TRACKING)
    for pod in pods:
        if all(owner.get("uid") != uid_of(job) for owner in owners_of(pod)) and TRACKING not in finalizers_of(pod):
            metadata_of(pod)["finalizers"] = [*finalizers_of(pod), TRACKING]
    return pods, calls


def _act(tallied: Tally, backoffs: Backoffs, now: Moment, seen_at: float | None) -> list[Call]:
    job = tallied.job
    remaining_seconds = deadline_in(job, now, seen_at)
    ending = ending_before_pods_are_managed(tallied, remaining_seconds)
    change = making.Change()
    if ending is not None:
        change = making.Change(delete=tallied.active)
    elif not is_deleting(job):
        change = making.change_of(tallied, _pause(tallied, backoffs, now), now.wall_seconds)
    active = len(tallied.active) - len(change.delete) + len(change.create)
    if ending is None:
        ending = ending_by_completions(tallied, active)
    managed = ending is None and not is_deleting(job)

    def told(change: making.Change) -> list[Call]:
        """What is known when ``change`` has been carried out."""
        counted = count(tallied, ended=ending is not None, met=ending is not None and ending.succeeded)
        status, events = _status(tallied, change, counted, ending, now, managed=managed)
        flush = _status_calls(job, status)
        release = [call for pod in counted.release for call in without(POD, pod, TRACKING)]
        # What was released is counted as soon as the view shows it.
        again: list[Call] = [Later(0.0)] if release or counted.more else []
        return [*flush, *events, *release, *again]

    def failed(error: StatusError) -> list[Call]:
        return told(making.Change())

    calls: list[Call] = []
    keeps_finalizers = ending is not None  # counted as failures, or given up by a success policy
    if not keeps_finalizers:
        for pod in change.delete:
            calls += without(POD, pod, TRACKING)
    calls += [_delete(job, pod) for pod in change.delete]
    report = Report(job, "SuccessfulCreate", "Created pod: {name}", "FailedCreate", "Error creating: {error}")
    for index in change.create:
        pod = making.pod_of(tallied, index)
        calls.append(Create(POD, namespace_of(job), pod, report=report, on_failure=failed))
    calls += told(change)
    waits = [change.wait_seconds, remaining_seconds if ending is None else None]
    return calls + [Later(wait) for wait in waits if wait is not None]


def _pause(tallied: Tally, backoffs: Backoffs, now: Moment) -> float:
    job = tallied.job
    if limit_per_index(job) is not None:
        return 0.0
    failed = (pod for pod in tallied.pods if is_failed(job, pod))
    backoffs.note(uid_of(job), failed, (pod for pod in tallied.pods if podstate.phase_of(pod) == "Succeeded"))
    return backoffs.remaining_seconds(uid_of(job), now.wall_seconds)


def _delete(job: Object, pod: Object) -> Delete:
    report = Report(job, "SuccessfulDelete", "Deleted pod: {name}", "FailedDelete", "Error deleting: {error}")
    return Delete(POD, namespace_of(pod), name_of(pod), DeleteOptions(precondition_uid=uid_of(pod)), report=report)


def _status(
    tallied: Tally, change: making.Change, counted: Count, ending: Ending | None, now: Moment, *, managed: bool
) -> tuple[Object, list[Call]]:
    """The status, and the events about what is new in it."""
    job = tallied.job
    status: Object = dict(status_of(job))
    stamp = times.rfc3339(now.wall_seconds)
    conditions: list[Object] = list(status.get("conditions") or [])
    events: list[Call] = []
    terminating = tallied.terminating + len(change.delete)
    if not status.get("startTime") and not is_suspended(job):
        status["startTime"] = stamp
    if ending is not None:
        if not ending.known:
            conditions.append(_condition(ending.interim, "True", ending.reason, ending.message, stamp))
        if not (counted.uncounted or counted.release or counted.more or terminating or change.delete):
            conditions.append(_condition(ending.final, "True", ending.reason, ending.message, stamp))
            events += _finished(job, ending, counted)
            if ending.succeeded:
                # A clock that was set back meanwhile must not keep the Job from ending.
                status["completionTime"] = max(stamp, status.get("startTime") or stamp)
    elif managed:
        suspended = is_suspended(job)
        words = ("True", "Suspended") if suspended else ("False", "Resumed")
        message = f"Job {words[1].lower()}"
        conditions, changed = _with_condition(conditions, _condition("Suspended", words[0], f"Job{words[1]}", message, stamp))
        if changed:
            events.append(Record(job, "Normal", words[1], message))
            # The deadline counts only while the Job is not suspended.
            status["startTime"] = None if suspended else stamp
    status |= {
        "active": (len(tallied.active) - len(change.delete) + len(change.create)) or None,
        "ready": tallied.ready - sum(map(podstate.is_ready, change.delete)),
        "terminating": terminating,
        "succeeded": counted.succeeded or None,
        "failed": counted.failed or None,
        "completedIndexes": counted.completed_indexes or None,
        "failedIndexes": counted.failed_indexes,
        "conditions": conditions or None,
        "uncountedTerminatedPods": {
            "succeeded": counted.uncounted_succeeded or None,
            "failed": counted.uncounted_failed or None,
        },
    }
    return status, events


def _condition(kind: str, status: str, reason: str, message: str, stamp: str) -> Object:
    times_of = {"lastProbeTime": stamp, "lastTransitionTime": stamp}
    return {"type": kind, "status": status, **times_of, "reason": reason, "message": message}


def _with_condition(conditions: list[Object], condition: Object) -> tuple[list[Object], bool]:
    """Going from nothing to False is no news."""
    for number, each in enumerate(conditions):
        if each.get("type") == condition["type"]:
            if all(each.get(part) == condition[part] for part in ("status", "reason", "message")):
                return conditions, False
            return [*conditions[:number], condition, *conditions[number + 1 :]], True
    return (conditions, False) if condition["status"] == "False" else ([*conditions, condition], True)


def _finished(job: Object, ending: Ending, counted: Count) -> list[Call]:
    if not ending.succeeded:
        return [Record(job, "Warning", ending.reason, ending.message)]
    completions = completions_of(job)
    calls: list[Call] = []
    if completions is not None and counted.succeeded > completions:
        message = "Too many succeeded pods running after completion count reached"
        calls.append(Record(job, "Warning", "TooManySucceededPods", message))
    return [*calls, Record(job, "Normal", "Completed", "Job completed")]


def _status_calls(job: Object, status: Object) -> list[Call]:
    """A patch of what changed. It names the revision that was looked at: counters from an older state would count twice."""
    before = status_of(job)
    changed: dict[str, Any] = {key: value for key, value in status.items() if _plain(value) != _plain(before.get(key))}
    if "uncountedTerminatedPods" not in before:
        changed["uncountedTerminatedPods"] = status["uncountedTerminatedPods"]
    if not changed:
        return []
    metadata = {"uid": uid_of(job), "resourceVersion": revision_of(job)}
    return [Patch(JOB, namespace_of(job), name_of(job), {"metadata": metadata, "status": changed}, subresource="status")]


def _plain(value: Any) -> Any:
    """Without what is empty: uncountedTerminatedPods is {} when nothing waits, and its parts are left out."""
    return {key: part for key, part in value.items() if part} if isinstance(value, dict) else value


def new_controller() -> Controller:
    """One for each run: it remembers failures."""
    return Controller(
        name="job-controller",
        watches=((JOB, itself), (POD, controlled_by(JOB)), (POD, adopters(JOB))),
        plan=functools.partial(plan, Backoffs()),
        exact=True,
        settle_seconds=limits.JOB_SETTLE_SECONDS,
    )
