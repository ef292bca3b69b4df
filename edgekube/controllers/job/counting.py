"""Count a Job's pods: what there is now, what has ended and is not counted yet, and what the status must say of it.

Enters: a Job and the pods that are its own.
Leaves: a Tally; from it the counters of a status, and the pods whose finalizer may go once that status is stored.
Holds: each pod is counted exactly once, whatever crashes in between. A pod that ended is first named in
status.uncountedTerminatedPods, then loses its finalizer, and is added to the counters when the finalizer is gone; of an Indexed
Job the completed index alone says that a success was counted.
Bound: limits.JOB_UNCOUNTED_PODS_MAX pods named at a time.
Source: KEP-2307 (Job tracking with finalizers); k8s.io/kubernetes pkg/controller/job trackJobStatusAndRemoveFinalizers.
Next: controllers.job.controller.
"""

from __future__ import annotations

from msgspec import Struct, field

from edgekube import limits
from edgekube.api import podstate
from edgekube.api.objects import Object, is_deleting, status_of, uid_of
from edgekube.controllers.job import indexes
from edgekube.controllers.job.facts import (
    completions_of,
    finished_at,
    index_failures_of,
    index_ignored_failures_of,
    index_of,
    is_failed,
    is_indexed,
    is_terminating,
    is_tracked,
    limit_per_index,
    valid_index_of,
)
from edgekube.controllers.job.indexes import Intervals
from edgekube.controllers.job.policies import judge


class Tally(Struct, frozen=True):
    job: Object
    pods: list[Object]
    active: list[Object]
    terminating: int
    #: Including what is not counted yet, and without failures that the policy ignores.
    succeeded: int
    failed: int
    #: Named in the status and waiting for their finalizer to go.
    uncounted_succeeded: tuple[str, ...]
    uncounted_failed: tuple[str, ...]
    #: Of an Indexed Job: what the status says, and with what has ended since.
    completed_before: Intervals = ()
    completed: Intervals = ()
    failed_indexes: Intervals | None = None
    #: The last failed pod of an index whose replacement is still to be made: its annotations carry the count over.
    held: dict[int, Object] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        return sum(map(podstate.is_ready, self.active))


def tally(job: Object, pods: list[Object]) -> Tally:
    status = status_of(job)
    uncounted = status.get("uncountedTerminatedPods") or {}
    named_succeeded, named_failed = tuple(uncounted.get("succeeded") or ()), tuple(uncounted.get("failed") or ())
    active = [pod for pod in pods if podstate.is_active(pod)]
    fresh = [pod for pod in pods if is_tracked(pod) and (not is_indexed(job) or valid_index_of(job, pod) is not None)]
    succeeded = [pod for pod in fresh if podstate.phase_of(pod) == "Succeeded" and uid_of(pod) not in named_succeeded]
    failed = [pod for pod in fresh if is_failed(job, pod) and uid_of(pod) not in named_failed and judge(job, pod).counted]
    before: Intervals = ()
    completed: Intervals = ()
    succeeded_count = int(status.get("succeeded") or 0) + len(succeeded) + len(named_succeeded)
    failed_indexes: Intervals | None = None
    held: dict[int, Object] = {}
    if is_indexed(job):
        completions = completions_of(job) or 0
        before = indexes.parse(status.get("completedIndexes"), completions)
        new = (valid_index_of(job, pod) for pod in fresh if podstate.phase_of(pod) == "Succeeded")
        completed = indexes.union(before, indexes.of(index for index in new if index is not None))
        succeeded_count = indexes.total(completed)
        if limit_per_index(job) is not None:
            lost = (valid_index_of(job, pod) for pod in fresh if _is_index_lost(job, pod))
            failed_before = indexes.parse(status.get("failedIndexes"), completions)
            failed_indexes = indexes.union(failed_before, indexes.of(index for index in lost if index is not None))
            held = _held(job, fresh, active, indexes.union(completed, failed_indexes))
    return Tally(
        job,
        pods,
        active,
        terminating=sum(map(is_terminating, pods)),
        succeeded=succeeded_count,
        failed=int(status.get("failed") or 0) + len(failed) + len(named_failed),
        uncounted_succeeded=named_succeeded,
        uncounted_failed=named_failed,
        completed_before=before,
        completed=completed,
        failed_indexes=failed_indexes,
        held=held,
    )


def _is_index_lost(job: Object, pod: Object) -> bool:
    """The pod's failure is the last that its index may have."""
    if not is_failed(job, pod):
        return False
    verdict = judge(job, pod)
    limit = limit_per_index(job)
    return verdict.action == "FailIndex" or (verdict.counted and limit is not None and index_failures_of(pod) >= limit)


def _held(job: Object, fresh: list[Object], active: list[Object], settled: Intervals) -> dict[int, Object]:
    running = {index_of(pod) for pod in active}
    result: dict[int, Object] = {}
    for pod in fresh:
        index = valid_index_of(job, pod)
        if index is None or not is_failed(job, pod) or index in running or indexes.contains(settled, index):
            continue
        other = result.get(index)
        if other is None or _failed_later(pod, other):
            result[index] = pod
    return result


def _failed_later(pod: Object, other: Object) -> bool:
    def failures(each: Object) -> int:
        return index_failures_of(each) + index_ignored_failures_of(each)

    return failures(other) <= failures(pod) and finished_at(other) <= finished_at(pod)


class Count(Struct, frozen=True):
    """The counters that the status gets, and whose finalizers go after that."""

    succeeded: int
    failed: int
    uncounted_succeeded: list[str]
    uncounted_failed: list[str]
    completed_indexes: str
    failed_indexes: str | None
    release: list[Object]
    #: Some pods wait for the next plan.
    more: bool

    @property
    def uncounted(self) -> int:
        return len(self.uncounted_succeeded) + len(self.uncounted_failed)


def count(tallied: Tally, *, ended: bool, met: bool) -> Count:
    """``ended``: the Job is over, what still runs is given up; ``met``: because it has succeeded."""
    job = tallied.job
    status = status_of(job)
    indexed = is_indexed(job)
    tracked = {uid_of(pod) for pod in tallied.pods if is_tracked(pod)}
    succeeded = int(status.get("succeeded") or 0) + sum(uid not in tracked for uid in tallied.uncounted_succeeded)
    failed = int(status.get("failed") or 0) + sum(uid not in tracked for uid in tallied.uncounted_failed)
    waiting_succeeded = [uid for uid in tallied.uncounted_succeeded if uid in tracked]
    waiting_failed = [uid for uid in tallied.uncounted_failed if uid in tracked]
    completed: list[int] = []
    release: list[Object] = []
    more = False
    for pod in sorted(tallied.pods, key=lambda pod: -1 if (index := index_of(pod)) is None else index):
        if not is_tracked(pod) or not _may_go(tallied, pod, ended):
            continue
        if len(completed) + len(waiting_succeeded) + len(waiting_failed) >= limits.JOB_UNCOUNTED_PODS_MAX:
            more = True
            break
        release.append(pod)
        uid, index = uid_of(pod), valid_index_of(job, pod)
        if podstate.phase_of(pod) == "Succeeded" and uid not in waiting_failed:
            if indexed and index is not None and not indexes.contains(tallied.completed_before, index):
                completed.append(index)
            elif not indexed and uid not in waiting_succeeded:
                waiting_succeeded.append(uid)
        elif (
            (is_failed(job, pod) or (ended and not met))
            and uid not in waiting_failed
            and (not indexed or index is not None)
            and judge(job, pod).counted
        ):
            waiting_failed.append(uid)
    completed_indexes = indexes.union(tallied.completed_before, indexes.of(completed))
    return Count(
        succeeded=indexes.total(completed_indexes) if indexed else succeeded,
        failed=failed,
        uncounted_succeeded=waiting_succeeded,
        uncounted_failed=waiting_failed,
        completed_indexes=indexes.text_of(completed_indexes),
        failed_indexes=None if tallied.failed_indexes is None else indexes.text_of(tallied.failed_indexes),
        release=release,
        more=more,
    )


def _may_go(tallied: Tally, pod: Object, ended: bool) -> bool:
    """Nothing more is to be learnt from the pod."""
    job = tallied.job
    if is_deleting(job) or ended or podstate.phase_of(pod) == "Succeeded":
        return True
    if not is_failed(job, pod):
        return False
    index = index_of(pod)
    return index is None or tallied.held.get(index) is not pod
