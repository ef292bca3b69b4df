"""Defaults of the small groups that steer the control plane: scheduling, flowcontrol, certificates, reviews.

Enters: an object of these groups.
Leaves: the same, with every field that Kubernetes fills set.
Source: scheduling/v1, flowcontrol/v1, authentication/v1, authorization/v1 SetDefaults_*.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_empty, fill_missing, part
from edgekube.api.objects import Object

_QUEUING: Final[Scalars] = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


def default_priority_class(priority_class: Object) -> None:
    fill_missing(priority_class, {"preemptionPolicy": "PreemptLowerPriority", "value": 0})


def default_flow_schema(flow_schema: Object) -> None:
    fill_empty(part(flow_schema, "spec"), {"matchingPrecedence": 1000})
    part(flow_schema, "status")


def default_priority_level(level: Object) -> None:
    spec = part(level, "spec")
    if isinstance(spec.get("limited"), dict):
        fill_missing(spec["limited"], {"nominalConcurrencyShares": 30, "lendablePercent": 0})
        queuing = part(spec["limited"], "limitResponse").get("queuing")
        if isinstance(queuing, dict):
            fill_empty(queuing, _QUEUING)
    if isinstance(spec.get("exempt"), dict):
        fill_missing(spec["exempt"], {"nominalConcurrencyShares": 0, "lendablePercent": 0})
    part(level, "status")


def default_signing_request(request: Object) -> None:
    part(request, "status")


def default_review(review: Object) -> None:
    part(review, "spec")


SCHEDULING_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"PriorityClass": default_priority_class}
FLOWCONTROL_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "FlowSchema": default_flow_schema,
    "PriorityLevelConfiguration": default_priority_level,
}
CERTIFICATES_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {"CertificateSigningRequest": default_signing_request}
REVIEW_DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "LocalSubjectAccessReview": default_review,
    "SelfSubjectAccessReview": default_review,
    "SelfSubjectRulesReview": default_review,
    "SubjectAccessReview": default_review,
    "TokenReview": default_review,
}
