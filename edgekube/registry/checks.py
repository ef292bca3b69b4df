"""What an object must be before it is stored: its shape, then its values.

Enters: the decoded object, the stored one for updates, and how strict the client wants it.
Leaves: nothing, warnings in the context, or StatusError BadRequest (shape) or Invalid (values).
Holds: callers inside the process skip the shape, never the values, but for one: they may name link-local addresses.
Next: api.strict, api.validation, api.warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import orjson
import trio

from edgekube.api import conversion_faults, errors, strict, strictness, validation, warnings
from edgekube.api.custom import defaulting
from edgekube.api.defaults import apply_defaults
from edgekube.api.errors import Cause, StatusError
from edgekube.api.kinds import CUSTOMRESOURCEDEFINITION, EVENT, Kind
from edgekube.api.managed.elements import quoted
from edgekube.api.objects import Object, name_of
from edgekube.api.validation.addresses import IN_LINK_LOCAL
from edgekube.registry import conversion
from edgekube.registry.context import IGNORE, STRICT, Context
from edgekube.registry.custom import objects as custom
from edgekube.registry.state import Registry

#: One definition after another: they share a core with the event loop.
_DEFINITION_THREADS: Final = trio.CapacityLimiter(1)


def shape(registry: Registry, kind: Kind, obj: Object, context: Context) -> None:
    """Wrong types are refused, unknown fields dropped, and named as fieldValidation asks."""
    if kind.custom:
        unknown = custom.decode(registry.custom.schema(kind), kind, obj)
        if not context.trusted:
            report(kind, unknown, context)
        return
    if context.trusted:
        return
    report(kind, strict.check(kind, obj).unknown, context)


def shape_of_patched(registry: Registry, kind: Kind, obj: Object, show: Callable[[], str], context: Context) -> None:
    """As shape(), for what a patch made of an object: what is wrong with it is wrong with the patch. ``show`` gives the text of
    the patch; "": the object is shown."""
    try:
        if kind.custom:
            unknown: Sequence[str] = custom.decode(registry.custom.schema(kind), kind, obj)
        else:
            unknown = () if context.trusted else strict.check(kind, obj).unknown
    except StatusError as error:
        if error.reason != "BadRequest":
            raise
        why = error.message.partition(f" cannot be handled as a {kind.kind}: ")[2] or error.message
        shown = show()
        raise bad_patch(shown or orjson.dumps(obj).decode(), conversion_faults.told(why) if shown else why) from None
    if context.trusted or context.field_validation == IGNORE or not (unknown or context.duplicates):
        return
    found = strictness.messages(unknown, context.duplicates, apart=True)
    if context.field_validation == STRICT:
        raise bad_patch(show() or orjson.dumps(obj).decode(), strictness.error(found, context.duplicates))
    for message in found:
        context.warn(message)


def bad_patch(shown: str, why: str) -> StatusError:
    return errors.invalid("", "", "", [Cause("FieldValueInvalid", f"Invalid value: {quoted(shown)}: {why}", "patch")])


def shape_of_mutated(registry: Registry, kind: Kind, obj: Object) -> None:
    """What a webhook or a policy made of an object: unknown fields go without a word, as upstream's decoder lets them."""
    if kind.custom:
        custom.decode(registry.custom.schema(kind), kind, obj)
    else:
        strict.check(kind, obj)


def fill(registry: Registry, kind: Kind, obj: Object) -> None:
    """Defaults, of built-in kinds and of custom ones."""
    if kind.custom:
        defaulting.fill(obj, registry.custom.schema(kind))
    else:
        apply_defaults(kind, obj)


def report(kind: Kind, unknown: Sequence[str], context: Context) -> None:
    """Unknown and repeated fields: an error, warnings, or nothing."""
    if context.field_validation == IGNORE or not (unknown or context.duplicates):
        return
    found = strictness.messages(unknown, context.duplicates, apart=kind.custom)
    if context.field_validation == STRICT:
        raise strict.handled(kind.kind, kind.version, strictness.error(found, context.duplicates))
    for message in found:
        context.warn(message)


async def create(registry: Registry, kind: Kind, obj: Object, context: Context, asked: Kind) -> None:
    """The values of a new object, in its stored version (custom ones: in the one that was sent). StatusError Invalid.

    ``asked``: the kind that was sent. Events are judged as that one: events.k8s.io/v1 wants more of them than v1 does.
    """
    if kind is CUSTOMRESOURCEDEFINITION:  # a large one takes a second, which others need not wait for
        causes = await trio.to_thread.run_sync(validation.validate_create, kind, obj, limiter=_DEFINITION_THREADS)
    elif _judged_as_sent(kind, asked):
        causes = validation.validate_create(asked, conversion.object_from_storage(asked, obj))
    else:
        causes = validation.validate_create(kind, obj)
    if kind.custom:
        causes = await custom.judge_create(registry, kind, obj, causes, context)
    _judge(kind, obj, causes, context)
    _warn(kind, obj, None, context)


def _judged_as_sent(kind: Kind, asked: Kind) -> bool:
    return kind is EVENT and asked is not EVENT


async def update(
    registry: Registry, kind: Kind, new: Object, old: Object, subresource: str, context: Context, asked: Kind
) -> None:
    """The values of a changed object, in the version that create() has. StatusError Invalid."""
    if kind is CUSTOMRESOURCEDEFINITION:
        judge = validation.validate_update
        causes = await trio.to_thread.run_sync(judge, kind, new, old, subresource, limiter=_DEFINITION_THREADS)
    elif _judged_as_sent(kind, asked):
        sent, before = (conversion.object_from_storage(asked, one) for one in (new, old))
        causes = validation.validate_update(asked, sent, before, subresource)
    else:
        causes = validation.validate_update(kind, new, old, subresource)
    if kind.custom:
        causes = await custom.judge_update(registry, kind, new, old, subresource, causes, context)
    _judge(kind, new, causes, context)
    if not subresource:
        _warn(kind, new, old, context)


def _warn(kind: Kind, new: Object, old: Object | None, context: Context) -> None:
    """What is valid and yet worth telling. Nobody inside the process reads it."""
    if not context.trusted:
        for text in warnings.warnings_for(kind, new, old):
            context.warn(text)


def _judge(kind: Kind, obj: Object, causes: list[Cause], context: Context) -> None:
    if context.trusted:
        # Endpoints that clients write may not point at what only a node itself shall reach; ours are where nodes really are.
        causes = [cause for cause in causes if not cause.message.endswith(IN_LINK_LOCAL)]
    if causes:
        raise errors.invalid(kind.group, kind.kind, name_of(obj), causes)
