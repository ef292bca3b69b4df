"""Tables of the group admissionregistration.k8s.io.

Enters: objects and the time.
Leaves: cells.
Next: tables.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api.objects import Object
from edgekube.api.tables.columns import AGE, NAME, Cells, Table, age, label_selector, listed, name, section, text, whole


def _webhooks(configuration: Object, now: float) -> list[Any]:
    return [name(configuration), len(listed(configuration, "webhooks")), age(configuration, now)]


def _policy(rules: str) -> Cells:
    def cells(policy: Object, now: float) -> list[Any]:
        kind = section(policy, "spec", "paramKind")
        shown = f"{kind.get('apiVersion') or ''}/{kind.get('kind') or ''}" if kind else "<unset>"
        return [name(policy), len(listed(policy, "spec", rules)), shown, age(policy, now)]

    return cells


def _binding(binding: Object, now: float) -> list[Any]:
    spec = section(binding, "spec")
    reference = section(spec, "paramRef")
    shown = "<unset>"
    if reference.get("name"):
        shown = f"{reference.get('namespace') or '*'}/{reference['name']}"
    elif reference.get("selector") is not None:
        shown = label_selector(reference["selector"])
    return [name(binding), spec.get("policyName") or "", shown, age(binding, now)]


_WEBHOOKS: Final = Table((NAME, whole("Webhooks", "Number of webhooks."), AGE), _webhooks)
_PARAM_KIND: Final = text("ParamKind", "The kind that holds the policy's parameters.")
_BINDING: Final = Table(
    (NAME, text("PolicyName", "The policy that is bound."), text("ParamRef", "The object that holds its parameters."), AGE),
    _binding,
)

TABLES: Final[dict[str, Table]] = {
    "MutatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingWebhookConfiguration": _WEBHOOKS,
    "ValidatingAdmissionPolicy": Table(
        (NAME, whole("Validations", "Number of validations."), _PARAM_KIND, AGE), _policy("validations")
    ),
    "MutatingAdmissionPolicy": Table((NAME, whole("Mutations", "Number of mutations."), _PARAM_KIND, AGE), _policy("mutations")),
    "ValidatingAdmissionPolicyBinding": _BINDING,
    "MutatingAdmissionPolicyBinding": _BINDING,
}
