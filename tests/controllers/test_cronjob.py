"""A CronJob makes its Jobs in time, once each, and makes up for what was missed as its spec says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.api import times
from edgekube.api.kinds import CRONJOB, JOB
from edgekube.api.objects import Object, annotations_of, controller_of, name_of
from edgekube.controllers.cronjob.controller import SCHEDULED_AT, controller
from tests.controllers.world import World

#: A Friday, 08:00:00 UTC.
START = 1_800_000_000.0


def cron_job(**spec: Any) -> Object:
    limits = {"successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
    fixed = {"schedule": "*/5 * * * *", "concurrencyPolicy": "Allow", **limits}
    template = {"metadata": {"labels": {"app": "tick"}}, "spec": {"template": {"spec": {"containers": []}}}}
    return {
        "metadata": {"name": "tick", "namespace": "default", "creationTimestamp": times.rfc3339(START)},
        "spec": {"jobTemplate": template, **fixed, **spec},
        "status": {},
    }


class Clockwork:
    def __init__(self, **spec: Any) -> None:
        self.world = World(START)
        self.controller = controller(lambda: UTC)
        self.world.put(CRONJOB, cron_job(**spec))

    def settle(self) -> None:
        for _ in range(6):
            if all(type(call).__name__ == "Later" for call in self.world.step(self.controller, "default", "tick")):
                return
        raise AssertionError("the plans do not end")

    def at(self, seconds: float) -> None:
        self.world.now = START + seconds
        self.world.events.clear()
        self.settle()

    @property
    def status(self) -> Object:
        status: Object = (self.world.get(CRONJOB, "default", "tick") or {})["status"]
        return status

    def jobs(self) -> list[str]:
        return sorted(name_of(job) for job in self.world.list(JOB))

    def end(self, name: str, kind: str = "Complete") -> None:
        job = self.world.get(JOB, "default", name)
        assert job is not None, "a Job that ends is there"
        stamp = times.rfc3339(self.world.now)
        job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": stamp}], "startTime": stamp}
        if kind == "Complete":
            job["status"]["completionTime"] = stamp
        self.world.put(JOB, job)


def job_name(seconds: float) -> str:
    return f"tick-{int(START + seconds) // 60}"


def test_a_job_at_each_time_of_the_schedule() -> None:
    clockwork = Clockwork()
    clockwork.settle()
    assert clockwork.jobs() == []
    assert clockwork.world.later == pytest.approx(300.1)
    clockwork.at(300.1)
    assert clockwork.jobs() == [job_name(300)]
    job = next(clockwork.world.list(JOB))
    assert annotations_of(job)[SCHEDULED_AT] == times.rfc3339(START + 300)
    assert (controller_of(job) or {})["kind"] == "CronJob"
    assert job["metadata"]["labels"] == {"app": "tick"}
    assert clockwork.status["lastScheduleTime"] == times.rfc3339(START + 300)
    assert [each["name"] for each in clockwork.status["active"]] == [job_name(300)]
    assert clockwork.world.events == [f"SuccessfulCreate: Created job {job_name(300)}"]
    assert clockwork.world.later == pytest.approx(300.0)
    clockwork.at(310)
    clockwork.end(job_name(300))
    clockwork.settle()
    assert clockwork.status.get("active") is None
    assert clockwork.status["lastSuccessfulTime"] == times.rfc3339(START + 310)
    assert clockwork.world.events == [f"SawCompletedJob: Saw completed job: {job_name(300)}, condition: Complete"]


def test_only_the_last_of_what_was_missed_is_made_up_for() -> None:
    clockwork = Clockwork(schedule="* * * * *")
    clockwork.at(3 * 3600 + 10)
    assert clockwork.jobs() == [job_name(3 * 3600)]
    assert clockwork.world.events[0] == (
        "TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
    )


def test_a_deadline_leaves_out_what_is_too_old() -> None:
    clockwork = Clockwork(schedule="0 * * * *", startingDeadlineSeconds=60)
    clockwork.at(5 * 3600 + 300)
    assert (clockwork.jobs(), clockwork.world.events) == ([], [])
    assert clockwork.world.later == pytest.approx(3300.1)
    clockwork.at(6 * 3600 + 30)
    assert clockwork.jobs() == [job_name(6 * 3600)]


def test_forbid_waits_for_the_one_that_runs() -> None:
    clockwork = Clockwork(concurrencyPolicy="Forbid")
    clockwork.at(301)
    clockwork.world.now = START + 601
    clockwork.world.step(clockwork.controller, "default", "tick")
    assert clockwork.jobs() == [job_name(300)]
    assert clockwork.world.events[-1] == (
        "JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid"
    )
    clockwork.end(job_name(300))
    clockwork.settle()
    assert clockwork.jobs() == [job_name(300), job_name(600)], "it starts late rather than never"


def test_replace_ends_the_one_that_runs() -> None:
    clockwork = Clockwork(concurrencyPolicy="Replace")
    clockwork.at(301)
    clockwork.at(601)
    assert clockwork.jobs() == [job_name(600)]
    assert [each["name"] for each in clockwork.status["active"]] == [job_name(600)]
    assert clockwork.world.events == [
        f"SuccessfulDelete: Deleted job {job_name(300)}",
        f"SuccessfulCreate: Created job {job_name(600)}",
    ]


def test_history_is_kept_within_its_limits() -> None:
    clockwork = Clockwork(successfulJobsHistoryLimit=1, failedJobsHistoryLimit=0)
    for number, kind in enumerate(("Complete", "Failed", "Complete"), 1):
        clockwork.at(300 * number + 1)
        clockwork.end(job_name(300 * number), kind)
        clockwork.settle()
    assert clockwork.jobs() == [job_name(900)]
    assert not any("MissingJob" in each for each in clockwork.world.events)


def test_a_suspended_one_starts_nothing() -> None:
    clockwork = Clockwork(suspend=True)
    clockwork.at(3600)
    assert (clockwork.jobs(), clockwork.world.later) == ([], None)


def test_a_job_whose_creation_was_not_written_down_is_not_made_again() -> None:
    clockwork = Clockwork()
    clockwork.world.now = START + 301
    planned = clockwork.world.plan(clockwork.controller, "default", "tick")
    clockwork.world.carry_out(planned)
    clockwork.end(job_name(300))
    clockwork.settle()
    assert clockwork.jobs() == [job_name(300)]
    assert clockwork.status["lastScheduleTime"] == times.rfc3339(START + 300)


def test_jobs_of_others_are_told_of() -> None:
    clockwork = Clockwork()
    clockwork.at(301)
    stray = next(clockwork.world.list(JOB))
    stray["metadata"] |= {"name": "by-hand", "uid": "another"}
    clockwork.world.put(JOB, stray)
    clockwork.world.gone(JOB, "default", job_name(300))
    clockwork.world.events.clear()
    clockwork.world.step(clockwork.controller, "default", "tick")
    assert clockwork.world.events == [
        "UnexpectedJob: Saw a job that the controller did not create or forgot: by-hand",
        f"MissingJob: Active job went missing: {job_name(300)}",
    ]
    assert clockwork.status.get("active") is None


def test_a_time_zone_of_its_own() -> None:
    clockwork = Clockwork(schedule="30 9 * * *", timeZone="Asia/Kolkata")
    clockwork.settle()
    clockwork.world.now = START + (clockwork.world.later or 0)
    clockwork.settle()
    [job] = clockwork.world.list(JOB)
    assert annotations_of(job)[SCHEDULED_AT].endswith("T09:30:00+05:30")
    assert clockwork.status["lastScheduleTime"].endswith("T04:00:00Z")


def test_what_no_one_can_read_is_told_of() -> None:
    for spec, event in (
        ({"timeZone": "Mars/Olympus"}, 'UnknownTimeZone: invalid timeZone: "Mars/Olympus": unknown time zone Mars/Olympus'),
        ({"schedule": "x"}, 'UnparseableSchedule: unparseable schedule: "x" : expected exactly 5 fields, found 1: [x]'),
        (
            {"schedule": "59 23 31 2 *"},
            "InvalidSchedule: invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second",
        ),
    ):
        clockwork = Clockwork(**spec)
        clockwork.world.step(clockwork.controller, "default", "tick")
        assert (clockwork.world.events, clockwork.jobs()) == ([event], [])


def test_a_clock_that_is_put_back_repeats_nothing() -> None:
    clockwork = Clockwork()
    clockwork.at(601)
    clockwork.at(301)
    assert clockwork.jobs() == [job_name(600)]
    assert clockwork.world.later == pytest.approx(900.1 - 301)


def test_a_clock_that_was_a_year_ahead_does_not_stop_the_schedule_for_a_year() -> None:
    clockwork = Clockwork()
    clockwork.at(365 * 86_400 + 1)
    ahead = clockwork.jobs()
    clockwork.at(3601)
    assert clockwork.jobs() == ahead, "it counts from now on"
    clockwork.at(3901)
    assert job_name(3900) in clockwork.jobs()


@settings(max_examples=60, deadline=None)
@given(
    pauses=st.lists(st.integers(1, 4000), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 3), max_size=12),
    policy=st.sampled_from(["Allow", "Forbid", "Replace"]),
)
def test_no_time_is_served_twice(pauses: list[int], cuts: list[int], policy: str) -> None:
    clockwork = Clockwork(concurrencyPolicy=policy, successfulJobsHistoryLimit=0)
    made: list[str] = []
    for number, pause in enumerate(pauses):
        clockwork.world.now += pause
        for cut in cuts[number : number + 1]:  # a crash in the middle of a plan
            clockwork.world.carry_out(clockwork.world.plan(clockwork.controller, "default", "tick")[:cut])
        clockwork.world.step(clockwork.controller, "default", "tick")
        clockwork.world.step(clockwork.controller, "default", "tick")
        made += [event.rpartition(" ")[2] for event in clockwork.world.events if event.startswith("SuccessfulCreate")]
        clockwork.world.events.clear()
        for name in clockwork.jobs()[:1]:
            clockwork.end(name)
            clockwork.world.step(clockwork.controller, "default", "tick")
            made += [event.rpartition(" ")[2] for event in clockwork.world.events if event.startswith("SuccessfulCreate")]
            clockwork.world.events.clear()
    assert len(made) == len(set(made))
    assert made == sorted(made)


def test_the_zone_of_the_machine_counts_where_none_is_named() -> None:
    world = World(START)
    world.put(CRONJOB, cron_job(schedule="0 12 * * *"))
    berlin = controller(lambda: ZoneInfo("Europe/Berlin"))
    world.step(berlin, "default", "tick")
    noon = datetime.fromtimestamp(START + (world.later or 0), ZoneInfo("Europe/Berlin"))
    assert (noon.hour, noon.minute) == (12, 0)
