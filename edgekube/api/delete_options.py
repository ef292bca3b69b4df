"""metav1.DeleteOptions: what a client may ask of a delete.

Enters: the decoded options, of a body or of the query.
Leaves: DeleteOptions.
Holds: everything that is wrong is named at once (source: k8s.io/apimachinery pkg/apis/meta/v1/validation, ValidateDeleteOptions).
``ignoreStoreReadErrorWithClusterBreakingPotential`` is dropped, as upstream does while its feature is alpha.
Next: registry.delete.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from edgekube.api import errors
from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.verbs import DeleteOptions

_POLICIES: Final = ("Foreground", "Background", "Orphan")


def delete_options_of(body: Object) -> DeleteOptions:
    """StatusError BadRequest for wrong types, Invalid for wrong values."""
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    policy, orphan = body.get("propagationPolicy"), body.get("orphanDependents")
    dry_run = body.get("dryRun") or []
    if grace is not None and type(grace) is not int:
        raise errors.bad_request("gracePeriodSeconds must be an integer")
    if not (isinstance(preconditions, dict) and isinstance(policy, str | None) and isinstance(dry_run, list)):
        raise errors.bad_request("the body is not a DeleteOptions")
    causes = [*_of_policy(policy, orphan), *of_dry_run(dry_run)]
    if causes:
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", causes)
    if orphan is not None:
        policy = "Orphan" if orphan else "Background"
    return DeleteOptions(
        grace_period_seconds=grace,
        propagation_policy=policy,
        precondition_uid=preconditions.get("uid"),
        precondition_revision=preconditions.get("resourceVersion"),
        dry_run=bool(dry_run),
    )


def _of_policy(policy: str | None, orphan: Any) -> list[Cause]:
    causes = []
    if orphan is not None and policy is not None:
        why = f"Invalid value: {orjson.dumps(policy).decode()}: orphanDependents and deletionPropagation cannot be both set"
        causes.append(Cause("FieldValueInvalid", why, "propagationPolicy"))
    if policy is not None and policy not in _POLICIES:
        supported = ", ".join(f'"{known}"' for known in (*_POLICIES, "nil"))
        why = f"Unsupported value: {orjson.dumps(policy).decode()}: supported values: {supported}"
        causes.append(Cause("FieldValueNotSupported", why, "propagationPolicy"))
    return causes


def of_dry_run(values: list[Any]) -> list[Cause]:
    """What is wrong with the values of dryRun, of any verb."""
    if all(value == "All" for value in values):
        return []
    why = f'Unsupported value: {orjson.dumps(values).decode()}: supported values: "All"'
    return [Cause("FieldValueNotSupported", why, "dryRun")]
