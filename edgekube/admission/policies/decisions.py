"""What a validating policy says of a request: expressions have been evaluated, now their results are judged.

Enters: the results of the expressions, and what the policy says of failures, messages and reasons.
Leaves: decisions, audit annotations; of several policies' decisions the Status that refuses the request.
Holds: pure. Of the refusals the first is told. A result that is not ``true`` refuses; what could not be evaluated is judged by
failurePolicy (source: k8s.io/apiserver pkg/admission/plugin/policy/validating: validator.go, dispatcher.go).
Next: registry.policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from msgspec import Struct

from edgekube import limits
from edgekube.api.errors import CODES, Cause, StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of

INVALID: Final = "Invalid"
_FAILURE_KEY: Final = "validation.policy.admission.k8s.io/validation_failure"


class Result(Struct, frozen=True):
    """One evaluated expression: its value, or why there is none."""

    value: Any = None
    error: str = ""


class Decision(Struct, frozen=True):
    denies: bool
    message: str = ""
    reason: str = ""
    #: The expression could not be evaluated.
    failed: bool = False


ADMITTED: Final = Decision(False)


class AuditAnnotation(Struct, frozen=True):
    """``error`` refuses the request; neither value nor error: nothing is published."""

    key: str
    value: str = ""
    error: str = ""


class Verdict(Struct, frozen=True):
    """What one policy says with one param."""

    decisions: Sequence[Decision] = ()
    annotations: Sequence[AuditAnnotation] = ()


def failure(fails_open: bool, message: str) -> Decision:
    """What could not be asked."""
    return Decision(not fails_open, message, failed=True)


def aggregate(messages: Iterable[str]) -> str:
    """Several faults in one line."""
    distinct = list(dict.fromkeys(messages))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


class Matched(Struct, frozen=True):
    """``error``: nobody knows, and failurePolicy is Fail."""

    matches: bool
    error: str = ""


def judge_conditions(results: Sequence[Result], fails_open: bool) -> Matched:
    """matchConditions: one that is false is enough to be left in peace, whatever became of the others."""
    if any(not result.error and result.value is False for result in results):
        return Matched(False)
    errors = [result.error for result in results if result.error]
    if errors:
        return Matched(False) if fails_open else Matched(False, aggregate(errors))
    return Matched(True)


def judge_validation(validation: Object, result: Result, worded: Result | None, fails_open: bool, *, spent: str = "") -> Decision:
    """``worded``: what its messageExpression gave. ``spent``: the budget ended while messages were made."""
    if result.error:
        return failure(fails_open, result.error)
    if spent:
        return failure(fails_open, f"failed messageExpression: {spent}")
    if result.value is True:
        return ADMITTED
    return Decision(True, _message(validation, worded), str(validation.get("reason") or INVALID))


def _message(validation: Object, worded: Result | None) -> str:
    if worded is not None and not worded.error and isinstance(worded.value, str):
        message = worded.value.strip()
        if message and "\n" not in message and len(message.encode()) <= limits.POLICY_MESSAGE_BYTES_MAX:
            return message
    message = str(validation.get("message") or "").strip()
    return message or f"failed expression: {str(validation.get('expression') or '').strip()}"


def judge_annotation(annotation: Object, result: Result, fails_open: bool, type_name: str = "") -> AuditAnnotation:
    """``type_name``: of a value that is neither text nor null."""
    key = str(annotation.get("key") or "")
    if result.error:
        return AuditAnnotation(key, error="" if fails_open else result.error)
    if result.value is None:
        return AuditAnnotation(key)
    if not isinstance(result.value, str):
        why = (
            f"valueExpression '{annotation.get('valueExpression') or ''}' resulted in unsupported return type: {type_name}. "
            "Return type must be either string or null."
        )
        return AuditAnnotation(key, error=why)
    cut = result.value.strip().encode()[: limits.POLICY_AUDIT_VALUE_BYTES_MAX].decode(errors="ignore")
    return AuditAnnotation(key, cut)


# --- of all policies ----------------------------------------------------------------------------------------------------


class Denial(Struct, frozen=True):
    policy: str
    binding: str  # "" when the policy itself is at fault
    message: str
    reason: str = ""


def warning(policy: str, binding: str, decision: Decision) -> str:
    return f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {decision.message}"


def failure_annotation(binding: Object, index: int, decision: Decision) -> tuple[str, str]:
    """What the audit event says of a validation that failed: key and value."""
    spec = binding["spec"]
    said: Object = {
        "message": decision.message,
        "policy": spec.get("policyName") or "",
        "binding": name_of(binding),
        "expressionIndex": index,
        "validationActions": spec.get("validationActions") or [],
    }
    return _FAILURE_KEY, orjson.dumps([said]).decode()


class Collected:
    """The audit annotations of one policy, over its bindings and params: distinct values of a key go into one text."""

    def __init__(self) -> None:
        self._values: dict[str, list[str]] = {}

    def add(self, annotation: AuditAnnotation) -> None:
        values = self._values.setdefault(annotation.key, [])
        if annotation.value and annotation.value not in values:
            values.append(annotation.value)

    def published(self, policy: str) -> dict[str, str]:
        return {f"{policy}/{key}": ", ".join(values) for key, values in self._values.items() if values}


def refusal(kind: Kind, name: str, denials: Sequence[Denial]) -> StatusError:
    """The answer to a request that validating policies deny. The first one is told."""
    first = denials[0]
    with_binding = f" with binding '{first.binding}'" if first.binding else ""
    text = f"ValidatingAdmissionPolicy '{first.policy}'{with_binding} denied request: {first.message}"
    reason = first.reason or INVALID
    return StatusError(
        reason,
        f'{kind.group_resource} "{name}" is forbidden: {text}',
        code=CODES.get(reason, CODES[INVALID]),
        group=kind.group,
        kind=kind.plural,
        name=name,
        causes=[Cause("", text)],
    )


def mutation_refusal(kind: Kind, name: str, denials: Sequence[Denial]) -> StatusError:
    """The answer where mutating policies failed: each failure is a cause. The code is Forbidden's, whatever the reason says."""
    texts = [
        f"policy '{denial.policy}' with binding '{denial.binding}' denied request: {denial.message}"
        if denial.binding
        else f'policy "{denial.policy}" denied request: {denial.message}'
        for denial in denials
    ]
    return StatusError(
        denials[0].reason or "Forbidden",
        texts[0],
        code=CODES["Forbidden"],
        group=kind.group,
        kind=kind.plural,
        name=name,
        causes=[Cause("", text) for text in texts],
    )
