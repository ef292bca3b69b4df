"""What an object must be before it is stored: its shape, then its values.

Enters: the decoded object, the stored one for updates, and how strict the client wants it.
Leaves: nothing, warnings in the context, or StatusError BadRequest (shape) or Invalid (values).
Holds: callers inside the process skip the shape, never the values.
Next: api.strict, api.validation, api.warnings.
"""

from __future__ import annotations

from edgekube.api import errors, strict, validation, warnings
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of
from edgekube.registry.context import STRICT, WARN, Context


def shape(kind: Kind, obj: Object, context: Context) -> None:
    """Wrong types are refused, unknown fields dropped, and named as fieldValidation asks."""
    if context.trusted:
        return
    report(kind, [*strict.check(kind, obj).messages(), *context.duplicates], context)


def report(kind: Kind, messages: list[str], context: Context) -> None:
    """Unknown and repeated fields: an error, warnings, or nothing."""
    if not messages:
        return
    if context.field_validation == STRICT:
        raise strict.strict_error(kind, messages)
    if context.field_validation == WARN:
        for message in messages:
            context.warn(message)


def create(kind: Kind, obj: Object, context: Context) -> None:
    """The values of a new object, in its stored version. StatusError Invalid."""
    _judge(kind, obj, validation.validate_create(kind, obj))
    _warn(kind, obj, None, context)


def update(kind: Kind, new: Object, old: Object, subresource: str, context: Context) -> None:
    """The values of a changed object, in its stored version. StatusError Invalid."""
    _judge(kind, new, validation.validate_update(kind, new, old, subresource))
    if not subresource:
        _warn(kind, new, old, context)


def _warn(kind: Kind, new: Object, old: Object | None, context: Context) -> None:
    """What is valid and yet worth telling. Nobody inside the process reads it."""
    if not context.trusted:
        for text in warnings.warnings_for(kind, new, old):
            context.warn(text)


def _judge(kind: Kind, obj: Object, causes: list[Cause]) -> None:
    if causes:
        raise errors.invalid(kind.group, kind.kind, name_of(obj), causes)
