"""The words of a refusal: one StatusCause per fault, as upstream writes them.

Enters: the path of a field, its value, and what is wrong with it.
Leaves: Cause values; ``field`` is the path, ``message`` is what field.Error.ErrorBody() would give.
Holds: a long or secret value is never repeated by too_long, forbidden and required.
Source: apimachinery util/validation/field (errors.go).
Next: every file of this package.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from edgekube.api.errors import Cause

REQUIRED: Final = "FieldValueRequired"
INVALID: Final = "FieldValueInvalid"
NOT_SUPPORTED: Final = "FieldValueNotSupported"
DUPLICATE: Final = "FieldValueDuplicate"
FORBIDDEN: Final = "FieldValueForbidden"
TOO_LONG: Final = "FieldValueTooLong"
TOO_MANY: Final = "FieldValueTooMany"
NOT_FOUND: Final = "FieldValueNotFound"

IMMUTABLE: Final = "field is immutable"
NEGATIVE: Final = "must be greater than or equal to 0"
NOT_POSITIVE: Final = "must be greater than zero"


def shown(value: Any) -> str:
    """A value as a message gives it: numbers and flags plain, text quoted, the rest as JSON."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return quoted(value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return str(value)


def quoted(text: str) -> str:
    """In double quotes, with escapes where they are needed."""
    try:
        return orjson.dumps(text).decode()
    except TypeError:  # lone surrogates
        return ascii(text)


def required(field: str, detail: str = "") -> Cause:
    return Cause(REQUIRED, f"Required value: {detail}" if detail else "Required value", field)


def invalid(field: str, value: Any, detail: str) -> Cause:
    message = f"Invalid value: {shown(value)}"
    return Cause(INVALID, f"{message}: {detail}" if detail else message, field)


def invalid_whole(field: str, detail: str) -> Cause:
    """Of a whole whose value would say nothing (upstream's OmitValueType)."""
    return Cause(INVALID, f"Invalid value: {detail}", field)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    values = ", ".join(quoted(one) for one in supported)
    return Cause(NOT_SUPPORTED, f"Unsupported value: {shown(value)}: supported values: {values}", field)


def duplicate(field: str, value: Any, detail: str = "") -> Cause:
    message = f"Duplicate value: {shown(value)}"
    return Cause(DUPLICATE, f"{message}: {detail}" if detail else message, field)


def forbidden(field: str, detail: str) -> Cause:
    return Cause(FORBIDDEN, f"Forbidden: {detail}", field)


def too_long(field: str, bytes_max: int) -> Cause:
    return Cause(TOO_LONG, f"Too long: may not be more than {bytes_max} bytes", field)


def too_many(field: str, count: int, count_max: int) -> Cause:
    return Cause(TOO_MANY, f"Too many: {count}: must have at most {count_max} items", field)


def not_found(field: str, value: Any, detail: str = "") -> Cause:
    message = f"Not found: {shown(value)}"
    return Cause(NOT_FOUND, f"{message}: {detail}" if detail else message, field)
