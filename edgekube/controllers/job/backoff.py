"""How long a Job waits before it replaces failed pods: 10 s, 20 s, 40 s, … ten minutes, anew after each success.

Enters: the failed and succeeded pods that a plan sees; for an index, its last failed pod.
Leaves: seconds to wait.
Holds: a failure is noted once, whatever becomes of its pod; after a restart of ours the pods that are still there tell it again.
Bound: limits.JOB_BACKOFFS_MAX Jobs, limits.JOB_FAILURES_NOTED_MAX failures each.
Source: k8s.io/kubernetes pkg/controller/job backoff_utils.
Next: controllers.job.controller.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

from edgekube import limits
from edgekube.api.objects import Object, uid_of
from edgekube.controllers.job.facts import finished_at, index_failures_of, index_ignored_failures_of

_FIRST_SECONDS: Final = 10.0
_LAST_SECONDS: Final = 600.0


class _Noted(Struct):
    succeeded_at: float = float("-inf")
    failures: dict[str, float] = field(default_factory=dict)  # uid -> when


class Backoffs:
    """The failures of each Job since its last success."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, _Noted] = OrderedDict()

    def note(self, job_uid: str, failed: Iterable[Object], succeeded: Iterable[Object]) -> None:
        noted = self._jobs.setdefault(job_uid, _Noted())
        self._jobs.move_to_end(job_uid)
        noted.succeeded_at = max(noted.succeeded_at, *(finished_at(pod) for pod in succeeded), float("-inf"))
        seen = {**noted.failures, **{uid_of(pod): finished_at(pod) for pod in failed}}
        recent = sorted(((when, uid) for uid, when in seen.items() if when > noted.succeeded_at), reverse=True)
        noted.failures = {uid: when for when, uid in recent[: limits.JOB_FAILURES_NOTED_MAX]}
        while len(self._jobs) > limits.JOB_BACKOFFS_MAX:
            self._jobs.popitem(last=False)

    def forget(self, job_uid: str) -> None:
        self._jobs.pop(job_uid, None)

    def remaining_seconds(self, job_uid: str, wall_seconds: float) -> float:
        noted = self._jobs.get(job_uid)
        if noted is None or not noted.failures:
            return 0.0
        return _remaining(len(noted.failures), max(noted.failures.values()), wall_seconds)


def remaining_of_index(last_failed: Object | None, wall_seconds: float) -> float:
    """Of an index with a limit of its own, whose pods carry the count."""
    if last_failed is None:
        return 0.0
    failures = index_failures_of(last_failed) + index_ignored_failures_of(last_failed) + 1
    return _remaining(failures, finished_at(last_failed), wall_seconds)


def _remaining(failures: int, last_at: float, wall_seconds: float) -> float:
    pause = min(_LAST_SECONDS, _FIRST_SECONDS * 2.0 ** min(failures - 1, 10))
    # A clock that was set back does not make the pause longer than it is.
    return min(pause, max(0.0, last_at + pause - wall_seconds))
