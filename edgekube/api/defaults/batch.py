"""Defaults of the batch group.

Enters: an object of batch/v1.
Leaves: the same, with every field that Kubernetes fills set.
Holds: a Job's selector and its labels with the uid are the registry's, for the uid is.
Source: batch/v1 SetDefaults_Job, SetDefaults_CronJob, SetDefaults_PodFailurePolicyOnPodConditionsPattern.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, items, part
from edgekube.api.defaults.podspec import default_template
from edgekube.api.objects import Object

_CRON_JOB: Final[Scalars] = {"suspend": False, "successfulJobsHistoryLimit": 3, "failedJobsHistoryLimit": 1}
_INT32_MAX: Final = 2**31 - 1


def default_job(job: Object) -> None:
    spec = part(job, "spec")
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    fill_missing(
        spec,
        {
            "parallelism": 1,
            # With a limit per index the limit of the whole job is no limit.
            "backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else _INT32_MAX,
            "completionMode": "NonIndexed",
            "suspend": False,
            "podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
            "manualSelector": False,
        },
    )
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        metadata = part(job, "metadata")
        if not metadata.get("labels"):
            metadata["labels"] = labels  # the same map: see registry.strategies.workloads
    _default_nested(spec)
    part(job, "status")


def _default_nested(spec: Object) -> None:
    for rule in items(spec.get("podFailurePolicy") or {}, "rules"):
        for pattern in items(rule, "onPodConditions"):
            fill_empty(pattern, {"status": "True"})
    part(spec, "template")
    default_template(spec)


def default_cron_job(cron_job: Object) -> None:
    spec = part(cron_job, "spec")
    fill_empty(spec, {"concurrencyPolicy": "Allow"})
    fill_missing(spec, _CRON_JOB)
    template = part(spec, "jobTemplate")
    part(template, "metadata")
    # Only what is nested is filled: the Job's own defaults come when the Job is made.
    _default_nested(part(template, "spec"))
    part(cron_job, "status")


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"CronJob": default_cron_job, "Job": default_job}
