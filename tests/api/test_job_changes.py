"""What may change of a Job, and what is refused, in upstream's words."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.defaults.batch import default_job
from edgekube.api.objects import Object
from edgekube.api.validation.job_changes import check_job_status, check_job_update

STAMP, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def job(status: Object | None = None, pod: Object | None = None, **spec: Any) -> Object:
    labels = {"controller-uid": "u", "job-name": "work"}
    labels |= {f"batch.kubernetes.io/{key}": value for key, value in labels.items()}
    whole = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}], **(pod or {})}
    fixed = {"completions": 1, "parallelism": 1, "completionMode": "NonIndexed", "suspend": False, "backoffLimit": 6}
    selector = {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    template = {"metadata": {"labels": labels}, "spec": whole}
    made = {
        "metadata": {"name": "work", "namespace": "default", "uid": "u"},
        "spec": {**fixed, "selector": selector, "template": template, **spec},
        "status": status or {},
    }
    default_job(made)
    return made


def conditions(*kinds: str) -> list[Object]:
    return [{"type": kind, "status": "True"} for kind in kinds]


def problems(check: Any, new: Object, old: Object) -> list[str]:
    out: list[Any] = []
    check(out, new, old)
    return [f"{each.field}: {each.message}" for each in out]


SUSPENDED = {"startTime": STAMP, "conditions": conditions("Suspended")}
ELSEWHERE = {"nodeSelector": {"disk": "fast"}}
BIGGER = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}


@pytest.mark.parametrize("pod", [ELSEWHERE, BIGGER])
@pytest.mark.parametrize(
    ("old", "allowed"),
    [
        (job(suspend=True), True),
        (job(SUSPENDED, suspend=True), True),
        (job({**SUSPENDED, "active": 1}, suspend=True), False),
        (job({"startTime": STAMP}, suspend=True), False),
        (job({"startTime": STAMP}), False),
    ],
)
def test_a_job_at_rest_may_change_where_it_runs_and_what_it_gets(old: Object, allowed: bool, pod: Object) -> None:
    new = job(old["status"], pod, suspend=old["spec"]["suspend"])
    found = problems(check_job_update, new, old)
    assert bool(found) is not allowed
    assert all(each.startswith("spec.template: Invalid value: ") and each.endswith("field is immutable") for each in found)


def test_at_rest_the_image_stays_what_it_is() -> None:
    old = job(suspend=True)
    new = job(suspend=True)
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    [problem] = problems(check_job_update, new, old)
    assert problem.startswith("spec.template.spec: Invalid value: ")


INDEXED = {"completionMode": "Indexed", "completions": 4, "parallelism": 4}
RUNNING = {"startTime": STAMP}


@pytest.mark.parametrize(
    ("status", "before", "spec", "expected"),
    [
        ({"succeeded": 1}, {"succeeded": 2}, {}, "status.succeeded: Invalid value: 1: cannot decrease the succeeded counter"),
        ({"succeeded": 1, "completedIndexes": "0"}, {"succeeded": 2, "completedIndexes": "0,1"}, INDEXED, ""),
        ({"ready": 2, "active": 1}, {}, {}, "status.ready: Invalid value: 2: cannot set more ready pods than active"),
        (
            {**RUNNING, "conditions": conditions("Failed")},
            RUNNING,
            {},
            "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            {**RUNNING, "completionTime": LATER, "conditions": conditions("Complete")},
            RUNNING,
            {},
            "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
        (
            {"startTime": LATER, "completionTime": STAMP, "conditions": conditions("SuccessCriteriaMet", "Complete")},
            {},
            {},
            'status.completionTime: Invalid value: "2026-01-01T00:00:00Z": must be equal to or after `startTime`',
        ),
        (
            {"startTime": LATER},
            {"startTime": STAMP},
            {},
            'status.startTime: Invalid value: "2026-01-01T00:01:00Z": field is immutable for unsuspended job once set',
        ),
        (
            {"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}},
            {},
            {},
            'status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"',
        ),
        (
            {"completedIndexes": "0-2", "failedIndexes": "2"},
            {},
            {**INDEXED, "backoffLimitPerIndex": 1},
            'status.failedIndexes: Invalid value: "2": failedIndexes and completedIndexes overlap at index: 2',
        ),
        (
            {"completedIndexes": "0"},
            {},
            {},
            'status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode',
        ),
    ],
)
def test_a_status_does_not_contradict_itself(status: Object, before: Object, spec: Object, expected: str) -> None:
    assert problems(check_job_status, job(status, **spec), job(before, **spec)) == ([expected] if expected else [])


def test_a_status_that_says_nothing_of_ready_pods_is_judged_all_the_same() -> None:
    negative = job({"active": -1})
    assert problems(check_job_status, negative, job({})) == [
        "status.active: Invalid value: -1: must be greater than or equal to 0",
    ]
