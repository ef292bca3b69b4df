"""metav1.Condition, as newer kinds have them in their status.

Enters: a list of conditions.
Leaves: causes appended to ``out``.
Holds: each type stands once.
Source: apimachinery meta/v1/validation (ValidateConditions).
Next: the files of this package whose kinds have conditions.
"""

from __future__ import annotations

import re
from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.validation import causes
from edgekube.api.validation.fields import Out, check_one_of, check_present, items, number, repeated, text
from edgekube.api.validation.metadata import check_label_key

_STATUSES: Final = ("False", "True", "Unknown")
_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", re.ASCII)
_REASON_WORDS: Final = names.pattern_words(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or "
    "'_,:', and must end with an alphanumeric character or '_'",
    _REASON.pattern,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_REASON_BYTES_MAX: Final = 1024
_MESSAGE_BYTES_MAX: Final = 32 * 1024


def check_conditions(out: Out, holder: Object, key: str, field: str) -> None:
    conditions = items(holder, key)
    again = repeated(text(condition, "type") for condition in conditions)
    for i, condition in enumerate(conditions):
        path, reason = f"{field}.{key}[{i}]", text(condition, "reason")
        if i in again:
            out.append(causes.duplicate(f"{path}.type", text(condition, "type")))
        check_label_key(out, text(condition, "type"), f"{path}.type")
        if not text(condition, "status"):
            out.append(causes.not_supported(f"{path}.status", "", _STATUSES))
        check_one_of(out, condition, "status", path, _STATUSES, needed=False)
        if number(condition, "observedGeneration") < 0:
            detail = "must be greater than or equal to zero"
            out.append(causes.invalid(f"{path}.observedGeneration", condition["observedGeneration"], detail))
        check_present(out, condition, "lastTransitionTime", path)
        if not reason:
            out.append(causes.required(f"{path}.reason"))
        elif not _REASON.fullmatch(reason):
            out.append(causes.invalid(f"{path}.reason", reason, _REASON_WORDS))
        if len(reason.encode()) > _REASON_BYTES_MAX:
            out.append(causes.too_long(f"{path}.reason", _REASON_BYTES_MAX))
        if len(text(condition, "message").encode()) > _MESSAGE_BYTES_MAX:
            out.append(causes.too_long(f"{path}.message", _MESSAGE_BYTES_MAX))
