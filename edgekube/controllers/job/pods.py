"""Which pods a Job makes and which it takes away.

Enters: a Tally, and how long failures make it wait.
Leaves: a Change: the pods to delete, or the indexes (None: without one) to make pods for, or seconds to wait.
Holds: a plan either makes pods or deletes some, never both; nothing is made while a failure's pause lasts.
Bound: limits.BURST_REPLICAS a plan.
Source: k8s.io/kubernetes pkg/controller/job manageJob, indexed_job_utils.
Next: controllers.job.controller.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import orjson
from msgspec import Struct, field

from edgekube import limits
from edgekube.api.kinds import JOB
from edgekube.api.objects import Object, name_of, namespace_of, spec_of, uid_of
from edgekube.api.ownership import controller_reference
from edgekube.api.pod_facts import pod_facts_of
from edgekube.api.pod_ranking import ranked_for_deletion
from edgekube.controllers.job import indexes
from edgekube.controllers.job.backoff import remaining_of_index
from edgekube.controllers.job.counting import Tally
from edgekube.controllers.job.facts import (
    COMPLETION_INDEX,
    INDEX_FAILURES,
    INDEX_IGNORED_FAILURES,
    TRACKING,
    completions_of,
    index_failures_of,
    index_ignored_failures_of,
    index_of,
    is_indexed,
    is_suspended,
    is_terminating,
    limit_per_index,
    replaces_failed_only,
    valid_index_of,
)
from edgekube.controllers.job.policies import judge

_INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"
#: A generated name is cut there before its five random characters come.
_GENERATE_NAME_CHARACTERS_MAX: Final = 58
_PAUSE_SECONDS_MIN: Final = 1.0


class Change(Struct, frozen=True):
    delete: list[Object] = field(default_factory=list)
    create: list[int | None] = field(default_factory=list)
    wait_seconds: float | None = None


def change_of(tallied: Tally, pause_seconds: float, wall_seconds: float) -> Change:
    """``pause_seconds``: of the Job as a whole; its indexes wait by themselves where they have a limit of their own."""
    job, active = tallied.job, len(tallied.active)
    if is_suspended(job):
        return Change(delete=_surplus(tallied, active, wall_seconds))
    wanted = _wanted(tallied)
    surplus = _surplus(tallied, max(0, active - wanted), wall_seconds)[: limits.BURST_REPLICAS]
    if surplus:
        return Change(delete=surplus)
    missing = wanted - active - (tallied.terminating if replaces_failed_only(job) else 0)
    if missing <= 0:
        return Change()
    if limit_per_index(job) is None and pause_seconds > 0:
        return Change(wait_seconds=max(_PAUSE_SECONDS_MIN, pause_seconds))
    missing = min(missing, limits.BURST_REPLICAS)
    if not is_indexed(job):
        return Change(create=[None] * missing)
    pending = _pending_indexes(tallied, missing)
    waits = {index: remaining_of_index(tallied.held.get(index), wall_seconds) for index in pending}
    ready = [index for index in pending if not waits[index]]
    later = min((wait for wait in waits.values() if wait), default=None)
    return Change(create=[*ready], wait_seconds=None if later is None else max(_PAUSE_SECONDS_MIN, later))


def _wanted(tallied: Tally) -> int:
    parallelism = int(spec_of(tallied.job).get("parallelism") or 0)
    completions = completions_of(tallied.job)
    if completions is None:
        # The first success says that the work is done: whoever runs may finish, nobody is added.
        return len(tallied.active) if tallied.succeeded else parallelism
    return max(0, min(parallelism, completions - tallied.succeeded))


def _surplus(tallied: Tally, least: int, wall_seconds: float) -> list[Object]:
    job = tallied.job
    remove: list[Object] = []
    keep: list[Object] = tallied.active
    if is_indexed(job):
        of_index: dict[int, list[Object]] = {}
        for pod in tallied.active:
            index = valid_index_of(job, pod)
            if index is None:
                remove.append(pod)
            else:
                of_index.setdefault(index, []).append(pod)
        keep = []
        for index in sorted(of_index):
            ranked = _ranked(of_index[index], wall_seconds)
            remove += ranked[:-1]
            keep.append(ranked[-1])
    if len(remove) < least:
        remove += _ranked(keep, wall_seconds)[: least - len(remove)]
    return remove


def _ranked(pods: list[Object], wall_seconds: float) -> list[Object]:
    of_uid = {uid_of(pod): pod for pod in pods}
    return [of_uid[facts.uid] for facts in ranked_for_deletion(map(pod_facts_of, pods), Counter(), wall_seconds)]


def _pending_indexes(tallied: Tally, count: int) -> list[int]:
    taken = [index for pod in tallied.active if (index := index_of(pod)) is not None]
    if replaces_failed_only(tallied.job):
        taken += [index for pod in tallied.pods if is_terminating(pod) and (index := index_of(pod)) is not None]
    settled = indexes.union(tallied.completed, tallied.failed_indexes or (), indexes.of(taken))
    return indexes.first_missing(settled, completions_of(tallied.job) or 0, count)


def pod_of(tallied: Tally, index: int | None) -> Object:
    """The next pod; of an Indexed Job with its index in annotation, label, hostname and environment."""
    job = tallied.job
    template: Object = orjson.loads(orjson.dumps(spec_of(job).get("template") or {}))
    of_template, spec = template.get("metadata") or {}, template.get("spec") or {}
    labels, annotations = of_template.get("labels") or {}, of_template.get("annotations") or {}
    finalizers = of_template.get("finalizers") or []
    prefix = f"{name_of(job)}-"
    if index is not None:
        labels = {**labels, COMPLETION_INDEX: str(index)}
        annotations = {**annotations, COMPLETION_INDEX: str(index)}
        if limit_per_index(job) is not None:
            annotations |= _failure_counts(job, tallied.held.get(index))
        suffix = f"-{index}-"
        prefix = name_of(job)[: _GENERATE_NAME_CHARACTERS_MAX - len(suffix)] + suffix
        spec["hostname"] = f"{name_of(job)}-{index}"
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            _tell_index(container)
    metadata: Object = {
        "generateName": prefix,
        "namespace": namespace_of(job),
        "labels": labels,
        "finalizers": [*finalizers, *([] if TRACKING in finalizers else [TRACKING])],
        "ownerReferences": [controller_reference(JOB, job)],
    }
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _failure_counts(job: Object, replaced: Object | None) -> dict[str, str]:
    if replaced is None:
        return {INDEX_FAILURES: "0"}
    counted = judge(job, replaced).counted
    ignored = index_ignored_failures_of(replaced) + (not counted)
    counts = {INDEX_FAILURES: str(index_failures_of(replaced) + counted)}
    if ignored:
        counts[INDEX_IGNORED_FAILURES] = str(ignored)
    return counts


def _tell_index(container: Object) -> None:
    variables = container.setdefault("env", [])
    if all(each.get("name") != _INDEX_VARIABLE for each in variables):
        path = f"metadata.labels['{COMPLETION_INDEX}']"
        variables.append({"name": _INDEX_VARIABLE, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
