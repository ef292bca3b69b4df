"""What a Job's status says, in the words that controllers share.

Enters: decoded Jobs.
Leaves: yes or no, and the condition that ended it.
Holds: no clock.
Source: k8s.io/kubernetes pkg/controller/job/util.
Next: controllers.job, controllers.cronjob, controllers.ttlafterfinished.
"""

from __future__ import annotations

from edgekube.api.objects import Object


def ended_by(job: Object) -> Object | None:
    """The condition Complete or Failed that holds."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True":
            found: Object = condition
            return found
    return None


def is_finished(job: Object) -> bool:
    return ended_by(job) is not None


def has_succeeded(job: Object) -> bool:
    return (ended_by(job) or {}).get("type") == "Complete"
