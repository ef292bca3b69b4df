"""Which time of a schedule is due, and how long until the next one.

Enters: a CronJob, its schedule and zone, now.
Leaves: the latest time that has come and was not served, whether many were missed, seconds to wait.
Holds: of the times that passed while the machine was off, only the latest is made up for.
Source: k8s.io/kubernetes pkg/controller/cronjob utils.go.
Next: controllers.cronjob.controller.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, NamedTuple

from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.api.schedules import Schedule, ScheduleError

#: A clock that is corrected a little does not wake us before the time.
_AFTER_SECONDS: Final = 0.1
_MANY: Final = 100
_AHEAD_SECONDS: Final = 3600.0


class Missed(NamedTuple):
    """``latest``: the last time that has come since ``since``; ``about`` how many there were."""

    since: float
    latest: float | None
    about: int


def is_of_another_clock(time_seconds: float, now: float) -> bool:
    """A clock that was put back a little repeats nothing; one that was a year ahead must not stop the schedule for a year."""
    return time_seconds > now + _AHEAD_SECONDS


def missed(cron_job: Object, schedule: Schedule, zone: tzinfo, now: float, *, within_deadline: bool) -> Missed:
    """ScheduleError when the schedule has no time."""
    spec, status = cron_job.get("spec") or {}, cron_job.get("status") or {}
    since = times.parse(status.get("lastScheduleTime") or cron_job["metadata"]["creationTimestamp"])
    deadline = spec.get("startingDeadlineSeconds")
    if within_deadline and deadline is not None:
        since = max(since, now - float(deadline))
    first = schedule.after(since, zone)
    second = None if first is None else schedule.after(first, zone)
    if first is None or (second is None and first <= now):
        raise ScheduleError("time difference between two schedules is less than 1 second")
    if now < first:
        return Missed(since, None, 0)
    assert second is not None, "a schedule whose first time has come has a second"
    if now < second:
        return Missed(since, first, 0)
    # A rough count from the first gap; from two gaps back the schedule itself says what was last.
    gap = int(second - first)
    about = int(now - first) // gap + 1
    latest: float | None = None
    candidate = schedule.after(first + (about - 2) * gap, zone)
    while candidate is not None and candidate <= now:
        latest, candidate = candidate, schedule.after(candidate, zone)
    return Missed(since, latest, about)


def are_many(found: Missed) -> bool:
    return found.about > _MANY


def next_in(cron_job: Object, schedule: Schedule, zone: tzinfo, now: float) -> float | None:
    """Seconds until the next time that is not served yet; None when there is none."""
    try:
        found = missed(cron_job, schedule, zone, now, within_deadline=False)
    except ScheduleError:
        start = now
    else:
        start = found.latest if found.latest is not None else found.since if not found.about else now
    following = schedule.after(start, zone)
    return None if following is None else following + _AFTER_SECONDS - now
