"""Defaults of admissionregistration.k8s.io.

Enters: webhook configurations, admission policies and their bindings.
Leaves: the same, with every field that Kubernetes fills set.
Holds: an unset selector is the one that selects everything, and is written out.
Source: admissionregistration/v1 SetDefaults_*.
Next: api.defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgekube.api.defaults.fill import Scalars, fill_missing, items, part
from edgekube.api.objects import Object

_WEBHOOK: Final[Scalars] = {"failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10}
_HTTPS: Final[Scalars] = {"port": 443}


def _default_webhook(webhook: Object) -> None:
    fill_missing(webhook, _WEBHOOK)
    part(webhook, "namespaceSelector")
    part(webhook, "objectSelector")
    service = part(webhook, "clientConfig").get("service")
    if isinstance(service, dict):
        fill_missing(service, _HTTPS)
    for rule in items(webhook, "rules"):
        fill_missing(rule, {"scope": "*"})


def default_validating_webhooks(configuration: Object) -> None:
    for webhook in items(configuration, "webhooks"):
        _default_webhook(webhook)


def default_mutating_webhooks(configuration: Object) -> None:
    for webhook in items(configuration, "webhooks"):
        _default_webhook(webhook)
        fill_missing(webhook, {"reinvocationPolicy": "Never"})


def _default_match(resources: Object) -> None:
    fill_missing(resources, {"matchPolicy": "Equivalent"})
    part(resources, "namespaceSelector")
    part(resources, "objectSelector")
    for key in ("resourceRules", "excludeResourceRules"):
        for rule in items(resources, key):
            fill_missing(rule, {"scope": "*"})


def default_policy(policy: Object) -> None:
    spec = part(policy, "spec")
    fill_missing(spec, {"failurePolicy": "Fail"})
    if isinstance(spec.get("matchConstraints"), dict):
        _default_match(spec["matchConstraints"])


def default_validating_policy(policy: Object) -> None:
    default_policy(policy)
    part(policy, "status")


def default_policy_binding(binding: Object) -> None:
    spec = part(binding, "spec")
    if isinstance(spec.get("matchResources"), dict):
        _default_match(spec["matchResources"])


DEFAULTERS: Final[dict[str, Callable[[Object], None]]] = {
    "MutatingAdmissionPolicy": default_policy,
    "MutatingAdmissionPolicyBinding": default_policy_binding,
    "MutatingWebhookConfiguration": default_mutating_webhooks,
    "ValidatingAdmissionPolicy": default_validating_policy,
    "ValidatingAdmissionPolicyBinding": default_policy_binding,
    "ValidatingWebhookConfiguration": default_validating_webhooks,
}
