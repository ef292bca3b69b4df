"""SubjectAccessReviews and their kin: what must be said, and what must not.

Enters: the body of a review.
Leaves: causes.
Holds: pure; operators of selectors that nobody knows are let through, for clients that are newer than the server.
Source: k8s.io/kubernetes pkg/apis/authorization/validation.
Next: server.reviews.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.errors import Cause
from edgekube.api.objects import Object
from edgekube.api.validation import causes

_KNOWN: Final = {"In": True, "NotIn": True, "Exists": False, "DoesNotExist": False}


def check_access_review(kind: str, obj: Object, namespace: str = "") -> list[Cause]:
    """``namespace``: of the request, for a LocalSubjectAccessReview."""
    spec = obj.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    found: list[Cause] = []
    if resource is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        found.append(causes.invalid("spec.nonResourceAttributes", path, why))
    if resource is None and path is None:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        found.append(causes.invalid("spec.resourceAttributes", None, why))
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        found.append(causes.invalid("spec.user", "", "at least one of user or group must be specified"))
    for key in ("fieldSelector", "labelSelector"):
        selector = (resource or {}).get(key)
        if selector is not None:
            _check_selector(found, selector, f"spec.resourceAttributes.{key}")
    local = kind == "LocalSubjectAccessReview"
    said = {key: value for key, value in (obj.get("metadata") or {}).items() if value and key != "managedFields"}
    if local:
        said.pop("namespace", None)
    if said:
        found.append(causes.invalid("metadata", said, "must be empty except for namespace" if local else "must be empty"))
    if local:
        named = str((resource or {}).get("namespace") or "")
        if resource is not None and named != namespace:
            found.append(causes.invalid("spec.resourceAttributes.namespace", named, "must match metadata.namespace"))
        if path is not None:
            found.append(causes.invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request"))
    return found


def _check_selector(found: list[Cause], selector: Object, field: str) -> None:
    raw, requirements = selector.get("rawSelector"), selector.get("requirements") or ()
    if raw and requirements:
        why = "may not specified at the same time as requirements"
        found.append(causes.invalid(f"{field}.rawSelector", raw, why))
    if not raw and not requirements:
        why = f"when {field} is specified, requirements or rawSelector is required"
        found.append(causes.required(f"{field}.requirements", why))
    for number, requirement in enumerate(requirements):
        where = f"{field}.requirements[{number}]"
        if not requirement.get("key"):
            found.append(causes.required(f"{where}.key", "must be specified"))
        wants_values = _KNOWN.get(str(requirement.get("operator")))
        values = requirement.get("values") or ()
        if wants_values is True and not values:
            why = "must be specified when `operator` is 'In' or 'NotIn'"
            found.append(causes.required(f"{where}.values", why))
        elif wants_values is False and values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            found.append(causes.forbidden(f"{where}.values", why))
