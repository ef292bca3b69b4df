"""What a Job and its pods say, in the controller's words.

Enters: decoded Jobs and pods.
Leaves: yes or no, numbers, times.
Holds: no clock, no view; what a pod's annotations say wrongly reads as absent.
Source: batch/v1 types (labels, annotations, conditions); k8s.io/kubernetes pkg/controller/job.
Next: controllers.job.counting, controllers.job.controller.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import podstate, times
from edgekube.api.objects import Object, annotations_of, is_deleting, spec_of

#: The pod is not counted yet; while it is there, the pod cannot vanish.
TRACKING: Final = "batch.kubernetes.io/job-tracking"
#: Annotation and label.
COMPLETION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES: Final = "batch.kubernetes.io/job-index-failure-count"
INDEX_IGNORED_FAILURES: Final = "batch.kubernetes.io/job-index-ignored-failure-count"
_OURS: Final = "kubernetes.io/job-controller"
_INT32_MAX: Final = 2**31 - 1
_DIGITS: Final = re.compile(r"\+?\d{1,19}", re.ASCII)


def is_true(job: Object, condition: str) -> bool:
    found = podstate.condition_of(job, condition)
    return found is not None and found.get("status") == "True"


def is_managed_elsewhere(job: Object) -> bool:
    return spec_of(job).get("managedBy") not in (None, _OURS)


def is_suspended(job: Object) -> bool:
    return bool(spec_of(job).get("suspend"))


def is_indexed(job: Object) -> bool:
    return spec_of(job).get("completionMode") == "Indexed"


def limit_per_index(job: Object) -> int | None:
    limit = spec_of(job).get("backoffLimitPerIndex")
    return None if limit is None else int(limit)


def completions_of(job: Object) -> int | None:
    completions = spec_of(job).get("completions")
    return None if completions is None else int(completions)


def replaces_failed_only(job: Object) -> bool:
    """A pod on its way out is replaced only once it has ended."""
    spec = spec_of(job)
    return spec.get("podReplacementPolicy") == "Failed" or spec.get("podFailurePolicy") is not None


def is_tracked(pod: Object) -> bool:
    return TRACKING in ((pod.get("metadata") or {}).get("finalizers") or ())


def is_failed(job: Object, pod: Object) -> bool:
    phase = podstate.phase_of(pod)
    if phase == "Failed":
        return True
    # What is deleted before it ran has no node that would say Failed.
    return not replaces_failed_only(job) and is_deleting(pod) and phase != "Succeeded"


def is_terminating(pod: Object) -> bool:
    return is_deleting(pod) and not podstate.is_finished(pod)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and _DIGITS.fullmatch(text) else None


def index_of(pod: Object) -> int | None:
    return _whole(annotations_of(pod).get(COMPLETION_INDEX))


def valid_index_of(job: Object, pod: Object) -> int | None:
    index = index_of(pod)
    return index if index is not None and index < (completions_of(job) or 0) else None


def _failures(pod: Object, annotation: str) -> int:
    count = _whole(annotations_of(pod).get(annotation))
    return count if count is not None and count <= _INT32_MAX else 0


def index_failures_of(pod: Object) -> int:
    """How often the pod's index had failed when the pod was made."""
    return _failures(pod, INDEX_FAILURES)


def index_ignored_failures_of(pod: Object) -> int:
    return _failures(pod, INDEX_IGNORED_FAILURES)


def finished_at(pod: Object) -> float:
    """Epoch seconds: the last container's end; else since when the pod is not Ready; else when it was deleted; else its birth."""
    return (
        _containers_ended_at(pod)
        or _unready_since(pod)
        or _deleted_at(pod)
        or _time(pod.get("metadata"), "creationTimestamp")
        or 0.0
    )


def _time(part: Object | None, key: str) -> float | None:
    when = (part or {}).get(key)
    return times.parse(when) if when else None


def _containers_ended_at(pod: Object) -> float | None:
    sidecars = {
        each.get("name") for each in (pod.get("spec") or {}).get("initContainers") or () if each.get("restartPolicy") == "Always"
    }
    status = pod.get("status") or {}
    ended = [
        *(status.get("containerStatuses") or ()),
        *(each for each in status.get("initContainerStatuses") or () if each.get("name") in sidecars),
    ]
    found = [_time((each.get("state") or {}).get("terminated"), "finishedAt") for each in ended]
    return max((each for each in found if each), default=None) if all(found) else None


def _unready_since(pod: Object) -> float | None:
    condition = podstate.condition_of(pod, "Ready")
    return _time(condition, "lastTransitionTime") if condition and condition.get("status") == "False" else None


def _deleted_at(pod: Object) -> float | None:
    metadata = pod.get("metadata") or {}
    end = _time(metadata, "deletionTimestamp")
    return None if end is None else end - float(metadata.get("deletionGracePeriodSeconds") or 0)
