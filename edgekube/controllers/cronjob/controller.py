"""The plan of a CronJob: make the Job that is due, take old ones away, and wait for the next time.

Enters: a CronJob and its Jobs.
Leaves: calls; a Job's name holds its time, so that it cannot be made twice.
Holds: a Job is made first and entered into the status by the next plan, which finds it by its name; at rest there is one timer.
Source: k8s.io/kubernetes pkg/controller/cronjob; events as upstream's.
Next: controllers.job.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from typing import Final

import orjson

from edgekube.api import times
from edgekube.api.calls import Call, Create, Delete, Later, Record, Report
from edgekube.api.controller import Controller, Key, Moment, controlled_by, itself
from edgekube.api.jobstate import ended_by, has_succeeded, is_finished
from edgekube.api.kinds import CRONJOB, JOB
from edgekube.api.objects import Object, annotations_of, controller_of, is_deleting, name_of, namespace_of, revision_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.schedules import Schedule, ScheduleError, parse
from edgekube.api.statuses import status_calls
from edgekube.api.time_zones import zone_of
from edgekube.api.verbs import DeleteOptions
from edgekube.api.view import View
from edgekube.controllers.cronjob.timing import are_many, is_of_another_clock, missed, next_in

SCHEDULED_AT: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def plan(local_zone: Callable[[], tzinfo], view: View, key: Key, now: Moment) -> list[Call]:
    cron_job = view.get(CRONJOB, key.namespace, key.name)
    if cron_job is None:
        return []
    jobs = [job for job in view.owned_by(JOB, uid_of(cron_job)) if (controller_of(job) or {}).get("uid") == uid_of(cron_job)]
    cleaning = _old_jobs(cron_job, jobs)
    gone = {uid_of(job) for job in cleaning}
    status, news = _with_jobs(cron_job, jobs, gone, now.wall_seconds)
    deletions: list[Call] = [_delete(cron_job, job) for job in cleaning]
    if is_deleting(cron_job):
        return [*deletions, *status_calls(CRONJOB, cron_job, status), *news]
    start = _due(view, cron_job, jobs, status, local_zone, now)
    return [*deletions, *start.before, *status_calls(CRONJOB, cron_job, status), *news, *start.after]


def _old_jobs(cron_job: Object, jobs: list[Object]) -> list[Object]:
    """Finished ones beyond the limits, the oldest first."""
    spec = cron_job.get("spec") or {}
    result: list[Object] = []
    for limit, succeeded in ((spec.get("successfulJobsHistoryLimit"), True), (spec.get("failedJobsHistoryLimit"), False)):
        if limit is None:
            continue
        ended = [job for job in jobs if is_finished(job) and has_succeeded(job) is succeeded and not is_deleting(job)]
        ended.sort(key=_age)
        result += ended[: max(0, len(ended) - int(limit))]
    return result


def _age(job: Object) -> tuple[bool, str, str]:
    started = (job.get("status") or {}).get("startTime")
    return (started is None, started or "", name_of(job))


def _with_jobs(cron_job: Object, jobs: list[Object], cleaned: set[str], wall_seconds: float) -> tuple[Object, list[Call]]:
    """The status with what has become of the Jobs, and events about it."""
    status: Object = dict(cron_job.get("status") or {})
    active: list[Object] = [each for each in status.get("active") or () if each.get("uid") not in cleaned]
    events: list[Call] = []
    counted_from = status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"]
    if is_of_another_clock(times.parse(counted_from), wall_seconds):
        status["lastScheduleTime"] = times.rfc3339(wall_seconds)
    by_uid = {uid_of(job): job for job in jobs}
    for job in jobs:
        known = any(each.get("uid") == uid_of(job) for each in active)
        ended = ended_by(job)
        scheduled = _scheduled_at(cron_job, job)
        if scheduled is not None and not is_of_another_clock(scheduled, wall_seconds):
            before = status.get("lastScheduleTime")
            status["lastScheduleTime"] = before if before and times.parse(before) >= scheduled else times.rfc3339(scheduled)
        if ended is None:
            if known or is_deleting(job):
                continue
            if scheduled is not None:
                active.append(_reference(job))
            else:
                message = f"Saw a job that the controller did not create or forgot: {name_of(job)}"
                events.append(Record(cron_job, "Warning", "UnexpectedJob", message))
            continue
        if known:
            active = [each for each in active if each.get("uid") != uid_of(job)]
            message = f"Saw completed job: {name_of(job)}, condition: {ended['type']}"
            events.append(Record(cron_job, "Normal", "SawCompletedJob", message))
        completed, last = (job.get("status") or {}).get("completionTime"), status.get("lastSuccessfulTime")
        if has_succeeded(job) and completed and (not last or times.parse(completed) > times.parse(last)):
            status["lastSuccessfulTime"] = completed
    missing = [each for each in active if each.get("uid") not in by_uid]
    events += [Record(cron_job, "Normal", "MissingJob", f"Active job went missing: {each.get('name')}") for each in missing]
    status["active"] = [each for each in active if each.get("uid") in by_uid] or None
    return status, events


def _scheduled_at(cron_job: Object, job: Object) -> float | None:
    """When a Job was due that this controller made; None for one that somebody else made."""
    annotation = annotations_of(job).get(SCHEDULED_AT)
    try:
        scheduled = times.parse(annotation) if annotation else None
    except ValueError:
        return None
    return scheduled if scheduled is not None and name_of(job) == _name(cron_job, scheduled) else None


def _name(cron_job: Object, scheduled: float) -> str:
    return f"{name_of(cron_job)}-{int(scheduled) // 60}"


def _reference(job: Object) -> Object:
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "name": name_of(job),
        "namespace": namespace_of(job),
        "resourceVersion": revision_of(job),
        "uid": uid_of(job),
    }


class _Start:
    """Calls before and after the status is written."""

    def __init__(self, *after: Call) -> None:
        self.before: list[Call] = []
        self.after: list[Call] = list(after)


def _due(
    view: View, cron_job: Object, jobs: list[Object], status: Object, local_zone: Callable[[], tzinfo], now: Moment
) -> _Start:
    spec = cron_job.get("spec") or {}
    if spec.get("timeZone") is not None and zone_of(spec["timeZone"]) is None:
        message = f'invalid timeZone: "{spec["timeZone"]}": unknown time zone {spec["timeZone"]}'
        return _Start(Record(cron_job, "Warning", "UnknownTimeZone", message))
    if spec.get("suspend"):
        return _Start()
    text = str(spec.get("schedule") or "")
    start = _Start()
    if "TZ" in text:
        message = (
            f'CRON_TZ or TZ used in schedule "{text}" is not officially supported, see '
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )
        start.after.append(Record(cron_job, "Warning", "UnsupportedSchedule", message))
    try:
        schedule = parse(text)
        zone = _zone(spec, schedule, local_zone)
    except ScheduleError as error:
        message = f'unparseable schedule: "{text}" : {error}'
        return _Start(*start.after, Record(cron_job, "Warning", "UnparseableSchedule", message))
    current = {**cron_job, "status": status}
    try:
        found = missed(current, schedule, zone, now.wall_seconds, within_deadline=True)
    except ScheduleError as error:
        message = f"invalid schedule: {text} : {error}"
        return _Start(*start.after, Record(cron_job, "Warning", "InvalidSchedule", message))
    scheduled = found.latest
    if scheduled is not None:
        if are_many(found):
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            start.after.append(Record(cron_job, "Warning", "TooManyMissedTimes", message))
        if view.get(JOB, namespace_of(cron_job), _name(cron_job, scheduled)) is None:
            _serve(start, current, jobs, scheduled, now)
    wait = next_in(current, schedule, zone, now.wall_seconds)
    if wait is not None:
        start.after.append(Later(wait))
    return start


def _zone(spec: Object, schedule: Schedule, local_zone: Callable[[], tzinfo]) -> tzinfo:
    named = schedule.zone or spec.get("timeZone")
    zone = zone_of(named) if named else local_zone()
    if zone is None:
        raise ScheduleError(f"provided bad location {named}: unknown time zone {named}")
    return zone


def _serve(start: _Start, cron_job: Object, jobs: list[Object], scheduled: float, now: Moment) -> None:
    """What is to be done about a time that has come."""
    spec, status = cron_job.get("spec") or {}, cron_job["status"]
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None and scheduled + float(deadline) < now.wall_seconds:
        stamp = f"{datetime.fromtimestamp(scheduled, UTC):%a, %d %b %Y %H:%M:%S} +0000"
        start.after.append(Record(cron_job, "Warning", "MissSchedule", f"Missed scheduled time to start a job: {stamp}"))
        return
    active: list[Object] = status.get("active") or []
    name = _name(cron_job, scheduled)
    if status.get("lastScheduleTime") == times.rfc3339(scheduled) or any(each.get("name") == name for each in active):
        return
    policy = spec.get("concurrencyPolicy")
    if policy == "Forbid" and active:
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        start.after.append(Record(cron_job, "Normal", "JobAlreadyActive", message))
        return
    if policy == "Replace" and active:
        uids = {each.get("uid") for each in active}
        start.before += [_delete(cron_job, job) for job in jobs if uid_of(job) in uids]
        status["active"] = None
    report = Report(cron_job, "SuccessfulCreate", "Created job {name}", "FailedCreate", "Error creating job: {error}")
    start.after.append(Create(JOB, namespace_of(cron_job), _job(cron_job, name, scheduled), report=report))


def _delete(cron_job: Object, job: Object) -> Call:
    report = Report(cron_job, "SuccessfulDelete", "Deleted job {name}", "FailedDelete", "Deleted job: {error}")
    options = DeleteOptions(propagation_policy="Background", precondition_uid=uid_of(job))
    return Delete(JOB, namespace_of(job), name_of(job), options, report=report)


def _job(cron_job: Object, name: str, scheduled: float) -> Object:
    template: Object = orjson.loads(orjson.dumps((cron_job.get("spec") or {}).get("jobTemplate") or {}))
    of_template = template.get("metadata") or {}
    zone = zone_of((cron_job.get("spec") or {}).get("timeZone") or "")
    when = datetime.fromtimestamp(int(scheduled), zone).isoformat().replace("+00:00", "Z")
    metadata: Object = {
        "name": name,
        "namespace": namespace_of(cron_job),
        "annotations": {**(of_template.get("annotations") or {}), SCHEDULED_AT: when},
        "ownerReferences": [controller_reference(CRONJOB, cron_job)],
    }
    if of_template.get("labels"):
        metadata["labels"] = of_template["labels"]
    return {"apiVersion": JOB.api_version, "kind": JOB.kind, "metadata": metadata, "spec": template.get("spec") or {}}


def controller(local_zone: Callable[[], tzinfo]) -> Controller:
    """``local_zone``: this machine's, for schedules that name none."""
    return Controller(
        name="cronjob-controller",
        watches=((CRONJOB, itself), (JOB, controlled_by(CRONJOB))),
        plan=functools.partial(plan, local_zone),
    )
