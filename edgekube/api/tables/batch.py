"""Tables of the group batch.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import times
from edgekube.api.objects import Object, is_deleting
from edgekube.api.tables.columns import (
    AGE,
    CONTAINERS,
    IMAGES,
    NAME,
    SELECTOR,
    Table,
    age,
    condition,
    containers,
    flag,
    label_selector,
    listed,
    name,
    section,
    text,
    truth,
    whole,
)


def _completions(job: Object) -> str:
    spec, succeeded = section(job, "spec"), section(job, "status").get("succeeded") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Object, now: float) -> str:
    status = section(job, "status")
    started, completed = status.get("startTime"), status.get("completionTime")
    if not started:
        return ""
    return times.age((times.parse(completed) if completed else now) - times.parse(started))


def _is_true(job: Object, type_: str) -> bool:
    held = condition(job, type_)
    return held is not None and held.get("status") == "True"


def _status(job: Object) -> str:
    for type_, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if _is_true(job, type_):
            return word
    if is_deleting(job):
        return "Terminating"
    for type_, word in (("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")):
        if _is_true(job, type_):
            return word
    return "Running"


def _job(job: Object, now: float) -> list[Any]:
    spec = section(job, "spec")
    return [
        name(job),
        _status(job),
        _completions(job),
        _duration(job, now),
        age(job, now),
        *containers(section(spec, "template")),
        label_selector(spec.get("selector")),
    ]


def _cron_job(cron_job: Object, now: float) -> list[Any]:
    spec, status = section(cron_job, "spec"), section(cron_job, "status")
    job = section(spec, "jobTemplate", "spec")
    last = status.get("lastScheduleTime")
    return [
        name(cron_job),
        spec.get("schedule") or "",
        spec.get("timeZone") or "<none>",
        truth(spec.get("suspend")),
        len(listed(status, "active")),
        times.age_since(last, now) if last else "<none>",
        age(cron_job, now),
        *containers(section(job, "template")),
        label_selector(job.get("selector")),
    ]


TABLES: Final[dict[str, Table]] = {
    "Job": Table(
        (
            NAME,
            text("Status", "Status of the job."),
            text("Completions", "Pods that succeeded, of those wanted."),
            text("Duration", "Time that the job took, or has taken so far."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _job,
    ),
    "CronJob": Table(
        (
            NAME,
            text("Schedule", "When jobs start, as cron writes it."),
            text("Timezone", "Time zone of the schedule."),
            flag("Suspend", "Whether the schedule is suspended."),
            whole("Active", "Jobs that run now."),
            text("Last Schedule", "Time since a job was last started."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ),
        _cron_job,
    ),
}
