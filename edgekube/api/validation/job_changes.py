"""What may change of a Job: its spec by people, its status by whoever manages it.

Enters: the new and the old Job, both defaulted.
Leaves: causes appended to ``out``.
Holds: a rule about the status is asked when what it is about changes, so that an old fault holds up nothing else.
Source: batch/validation ValidateJobUpdate, ValidateJobStatusUpdate; registry/batch/job getStatusValidationOptions.
Next: api.validation.
"""

from __future__ import annotations

from typing import Any

from edgekube.api import times
from edgekube.api.objects import Object
from edgekube.api.validation import causes, inner
from edgekube.api.validation.batch import check_job, count_indexes
from edgekube.api.validation.fields import Out, check_immutable, check_nonnegative, items, number, part, same, text

_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_SHAPES = {"podFailurePolicy": inner.FAILURE_POLICY, "successPolicy": inner.SUCCESS_POLICY}
_CONDITIONS = "status.conditions"


def check_job_update(out: Out, new: Object, old: Object) -> None:
    check_job(out, new)
    spec, before = part(new, "spec"), part(old, "spec")
    completions = spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        check_immutable(out, completions, before.get("completions"), "spec.completions")
    elif completions is not None and completions != before.get("completions") and completions != spec.get("parallelism"):
        detail = "can only be modified in tandem with spec.parallelism"
        out.append(causes.invalid("spec.completions", completions, detail))
    selector, old_selector = (inner.label_selector(one.get("selector")) for one in (spec, before))
    check_immutable(out, selector, old_selector, "spec.selector")
    template, old_template = part(spec, "template"), part(before, "template")
    if _is_at_rest(old):
        old_template = _with_placement(old_template, template)
        pod, old_pod = part(template, "spec"), _with_resources(part(old_template, "spec"), part(template, "spec"))
        if not same(pod, old_pod):
            out.append(causes.invalid("spec.template.spec", pod, causes.IMMUTABLE))
    elif not same(template, old_template):
        out.append(causes.invalid("spec.template", template, causes.IMMUTABLE))
    for key in _IMMUTABLE:
        check_immutable(out, spec.get(key), before.get(key), f"spec.{key}", shape=_SHAPES.get(key))


def _is_at_rest(job: Object) -> bool:
    """Suspended, without pods: where they will run and what they will get may still change (KEP-2926, KEP-5440)."""
    status = part(job, "status")
    stopped = status.get("startTime") is None or _is(status, "Suspended")
    return bool(part(job, "spec").get("suspend")) and stopped and not number(status, "active")


def _with_placement(old: Object, new: Object) -> Object:
    """The old template with the new one's scheduling directives."""
    metadata, spec = dict(part(old, "metadata")), dict(part(old, "spec"))
    for key in ("labels", "annotations"):
        metadata[key] = part(new, "metadata").get(key)
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        spec[key] = part(new, "spec").get(key)
    affinity = dict(part(spec, "affinity"))
    affinity["nodeAffinity"] = part(part(new, "spec"), "affinity").get("nodeAffinity")
    spec["affinity"] = {key: value for key, value in affinity.items() if value}
    return {**old, "metadata": metadata, "spec": spec}


def _with_resources(old: Object, new: Object) -> Object:
    """The old pod with what the new one's containers of the same names ask for."""
    result = dict(old)
    for key in ("containers", "initContainers"):
        before, after = items(old, key), items(new, key)
        if len(before) == len(after):
            pairs = zip(before, after, strict=True)
            result[key] = [{**b, "resources": a.get("resources")} if b.get("name") == a.get("name") else b for b, a in pairs]
    return result


def _is(status: Object, kind: str, value: str = "True") -> bool:
    return any(one.get("type") == kind and one.get("status") == value for one in items(status, "conditions"))


def check_job_status(out: Out, new: Object, old: Object) -> None:
    status, before = part(new, "status"), part(old, "status")
    for key in ("active", "succeeded", "failed", "ready", "terminating"):
        check_nonnegative(out, status, key, "status")
    _check_uncounted(out, status)
    _check_conditions(out, new, status, before)
    _check_times(out, new, status, before)
    _check_pods(out, status, before)
    _check_indexes(out, part(new, "spec"), status, before)
    _check_course(out, new, status, before)


def _changed(status: Object, before: Object, *kinds: str) -> bool:
    return any(_is(status, kind) != _is(before, kind) for kind in kinds)


def _is_finished(status: Object) -> bool:
    return _is(status, "Complete") or _is(status, "Failed")


def _check_uncounted(out: Out, status: Object) -> None:
    seen: set[Any] = set()
    uncounted = part(status, "uncountedTerminatedPods")
    for key in ("succeeded", "failed"):
        for i, uid in enumerate(uncounted.get(key) or ()):
            path = f"status.uncountedTerminatedPods.{key}[{i}]"
            if not uid:
                out.append(causes.invalid(path, uid, "must not be empty"))
            elif uid in seen:
                out.append(causes.duplicate(path, uid))
            seen.add(uid)


def _check_conditions(out: Out, job: Object, status: Object, before: Object) -> None:
    complete, failed, met, target = (_is(status, each) for each in ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget"))
    rules = (
        (complete and failed and _changed(status, before, "Complete", "Failed"),
         "cannot set Complete=True and Failed=true conditions"),
        (complete and target and _changed(status, before, "Complete", "FailureTarget"),
         "cannot set Complete=True and FailureTarget=true conditions"),
        (failed and not target and (_changed(status, before, "Failed") or not same(status.get("failedIndexes"),
                                                                                  before.get("failedIndexes"))),
         "cannot set Failed=True condition without the FailureTarget=true condition"),
        (complete and not met and _changed(status, before, "Complete", "SuccessCriteriaMet"),
         "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"),
        (met and failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (met and target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
        (part(part(job, "spec"), "successPolicy") and complete and not met,
         "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"),
    )  # fmt: skip
    for broken, words in rules:
        if broken:
            out.append(causes.invalid_whole(_CONDITIONS, words))


def _check_times(out: Out, job: Object, status: Object, before: Object) -> None:
    started, completed = status.get("startTime"), status.get("completionTime")
    complete = _is(status, "Complete")
    starts, completes = started != before.get("startTime"), completed != before.get("completionTime")
    if completes or _changed(status, before, "Complete"):
        if completed is not None and not complete:
            detail = "cannot set completionTime when there is no Complete=True condition"
            out.append(causes.invalid("status.completionTime", completed, detail))
        if completed is None and complete:
            out.append(causes.required("status.completionTime", "completionTime is required for Complete jobs"))
    if (starts or completes) and started and completed and times.parse(completed) < times.parse(started):
        out.append(causes.invalid("status.completionTime", completed, "must be equal to or after `startTime`"))
    finishes = _is_finished(status) != _is_finished(before)
    spec = part(job, "spec")
    never_ran = bool(spec.get("suspend")) and spec.get("completions") == 0
    if (finishes or starts) and not never_ran and started is None and _is_finished(status):
        out.append(causes.required("status.startTime", "startTime is required for finished job"))


def _check_pods(out: Out, status: Object, before: Object) -> None:
    finished = _is_finished(status)
    finishes = finished != _is_finished(before)

    def moved(key: str) -> bool:
        return not same(status.get(key), before.get(key))

    uncounted = part(status, "uncountedTerminatedPods")
    for key in ("active", "terminating"):
        if finished and (finishes or moved(key)) and number(status, key) > 0:
            out.append(causes.invalid(f"status.{key}", status[key], f"{key}>0 is invalid for finished job"))
    if finished and (finishes or moved("uncountedTerminatedPods")) and (uncounted.get("failed") or uncounted.get("succeeded")):
        out.append(causes.invalid("status.uncountedTerminatedPods", uncounted, "must be empty for finished job"))
    tells = status.get("ready") is not None
    if tells and (moved("ready") or moved("active")) and number(status, "ready") > number(status, "active"):
        out.append(causes.invalid("status.ready", status["ready"], "cannot set more ready pods than active"))


def _check_indexes(out: Out, spec: Object, status: Object, before: Object) -> None:
    completions = spec.get("completions")
    completed, failed = text(status, "completedIndexes"), status.get("failedIndexes")
    completes, fails = completed != text(before, "completedIndexes"), failed != before.get("failedIndexes")
    checked = [("completedIndexes", completed, completes)]
    if spec.get("backoffLimitPerIndex") is not None:
        checked.append(("failedIndexes", failed or "", fails))
    for key, value, moves in checked:
        problem = count_indexes(value, completions)[1] if moves and completions is not None else ""
        if problem:
            out.append(causes.invalid(f"status.{key}", value, f"error parsing {key}: {problem}"))
    if completes and completed and spec.get("completionMode") != "Indexed":
        detail = "cannot set non-empty completedIndexes when non-indexed completion mode"
        out.append(causes.invalid("status.completedIndexes", completed, detail))
    if fails and failed is not None and spec.get("backoffLimitPerIndex") is None:
        detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        out.append(causes.invalid("status.failedIndexes", failed, detail))
    if (completes or fails) and failed and completions is not None:
        both = _first_in_both(completed, failed, completions)
        if both is not None:
            detail = f"failedIndexes and completedIndexes overlap at index: {both}"
            out.append(causes.invalid("status.failedIndexes", failed, detail))


def _first_in_both(completed: str, failed: str, completions: int) -> int | None:
    if count_indexes(completed, completions)[1] or count_indexes(failed, completions)[1]:
        return None
    shared = [
        max(first, other)
        for first, last in _intervals(completed)
        for other, end in _intervals(failed)
        if first <= end and other <= last
    ]
    return min(shared, default=None)


def _intervals(indexes: str) -> list[tuple[int, int]]:
    ends = [part.split("-") for part in indexes.split(",") if part]
    return [(int(each[0]), int(each[-1])) for each in ends]


def _check_course(out: Out, job: Object, status: Object, before: Object) -> None:
    """What may not be taken back."""
    spec = part(job, "spec")
    for kind in ("Failed", "Complete", "FailureTarget"):
        if _is(before, kind) and not _is(status, kind):
            out.append(causes.invalid_whole(_CONDITIONS, f"cannot disable the terminal {kind}=True condition"))
    # An Indexed Job may be made smaller, together with its parallelism.
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get("parallelism")
    for key in ("failed",) if elastic else ("failed", "succeeded"):
        if number(status, key) < number(before, key):
            out.append(causes.invalid(f"status.{key}", number(status, key), f"cannot decrease the {key} counter"))
    completed, was_completed = status.get("completionTime"), before.get("completionTime")
    if completed is not None and was_completed is not None and completed != was_completed:
        out.append(causes.invalid("status.completionTime", completed, "field is immutable"))
    started, was_started = status.get("startTime"), before.get("startTime")
    resumes = _is(before, "Suspended") and _is(status, "Suspended", "False")
    if was_started is not None and started != was_started and not resumes and not spec.get("suspend"):
        out.append(causes.invalid("status.startTime", started, "field is immutable for unsuspended job once set"))
    if _is(before, "SuccessCriteriaMet") and not _is(status, "SuccessCriteriaMet"):
        out.append(causes.invalid_whole(_CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition"))
    if _is(before, "Complete") and not _is(before, "SuccessCriteriaMet") and _is(status, "SuccessCriteriaMet"):
        words = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        out.append(causes.invalid_whole(_CONDITIONS, words))
