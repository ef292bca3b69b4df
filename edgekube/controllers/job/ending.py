"""Is a Job over, and why?

Enters: a Tally, and the time.
Leaves: an Ending, or None while the Job goes on.
Holds: what was decided once stays decided (conditions FailureTarget and SuccessCriteriaMet); a failure goes before a success.
Source: k8s.io/kubernetes pkg/controller/job syncJob; reasons of batch/v1.
Next: controllers.job.controller.
"""

from __future__ import annotations

from typing import NamedTuple

from edgekube.api import podstate, times
from edgekube.api.controller import Moment
from edgekube.api.objects import Object, spec_of, status_of
from edgekube.api.waiting import left_seconds
from edgekube.controllers.job import indexes
from edgekube.controllers.job.counting import Tally
from edgekube.controllers.job.facts import completions_of, is_failed, is_indexed, is_suspended, is_true
from edgekube.controllers.job.policies import judge, success_message


class Ending(NamedTuple):
    """``known``: the status says so already."""

    succeeded: bool
    reason: str
    message: str
    known: bool = False

    @property
    def interim(self) -> str:
        """The condition that stands until every pod is counted and gone."""
        return "SuccessCriteriaMet" if self.succeeded else "FailureTarget"

    @property
    def final(self) -> str:
        return "Complete" if self.succeeded else "Failed"


def ending_before_pods_are_managed(tallied: Tally, remaining_seconds: float | None) -> Ending | None:
    """``remaining_seconds``: as deadline_in() has them."""
    return _known(tallied.job) or _failure(tallied, remaining_seconds) or _success_by_policy(tallied)


def ending_by_completions(tallied: Tally, active: int) -> Ending | None:
    """``active``: pods that run when the plan is carried out."""
    completions = completions_of(tallied.job)
    enough = tallied.succeeded > 0 if completions is None else tallied.succeeded >= completions
    if not enough or active:
        return None
    return Ending(True, "CompletionsReached", "Reached expected number of succeeded pods")


def _known(job: Object) -> Ending | None:
    for succeeded, kind in ((True, "SuccessCriteriaMet"), (False, "FailureTarget")):
        condition = podstate.condition_of(job, kind)
        if condition is not None and is_true(job, kind):
            return Ending(succeeded, str(condition.get("reason") or ""), str(condition.get("message") or ""), known=True)
    return None


def _failure(tallied: Tally, remaining_seconds: float | None) -> Ending | None:
    job, spec = tallied.job, spec_of(tallied.job)
    for pod in tallied.pods if spec.get("podFailurePolicy") is not None else ():
        message = judge(job, pod).message if is_failed(job, pod) else ""
        if message:
            return Ending(False, "PodFailurePolicy", message)
    limit = int(spec.get("backoffLimit") or 0)
    if tallied.failed > limit or _restarted_too_often(tallied, limit):
        return Ending(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if remaining_seconds is not None and remaining_seconds <= 0:
        return Ending(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    if tallied.failed_indexes is not None:
        failed, completed = indexes.total(tallied.failed_indexes), indexes.total(tallied.completed)
        most = spec.get("maxFailedIndexes")
        if most is not None and failed > int(most):
            return Ending(False, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
        if failed and failed + completed >= (completions_of(job) or 0):
            return Ending(False, "FailedIndexes", "Job has failed indexes")
    return None


def _restarted_too_often(tallied: Tally, limit: int) -> bool:
    """Of pods whose containers are started again in place, each restart is a failure."""
    if ((spec_of(tallied.job).get("template") or {}).get("spec") or {}).get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in tallied.pods:
        if podstate.phase_of(pod) in ("Running", "Pending"):
            status = pod.get("status") or {}
            for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
                restarts += int(each.get("restartCount") or 0)
    return restarts > 0 if limit == 0 else restarts >= limit


def deadline_in(job: Object, now: Moment, seen_at: float | None) -> float | None:
    """Seconds until activeDeadlineSeconds have passed; None without one, and while the Job is suspended. ``seen_at``: when the
    Job was last seen to change, for one that began before the clock was set back."""
    seconds, started = spec_of(job).get("activeDeadlineSeconds"), status_of(job).get("startTime")
    if seconds is None or is_suspended(job):
        return None
    return float(seconds) if not started else left_seconds(times.parse(started), float(seconds), now, seen_at)


def _success_by_policy(tallied: Tally) -> Ending | None:
    message = success_message(tallied.job, tallied.completed) if is_indexed(tallied.job) else None
    return None if message is None else Ending(True, "SuccessPolicy", message)
