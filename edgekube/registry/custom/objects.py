"""Custom objects on their way in: their shape, and whether their values are right.

Enters: a decoded object, the stored one for updates, in the version that was asked for.
Leaves: unknown fields dropped and named; causes and warnings.
Holds: the order is upstream's: metadata, schema, scale, embedded resources, list types; rules where the rest is right.
An update is not refused for what was wrong before and did not change.
Next: registry.checks.
"""

from __future__ import annotations

from typing import Final

import trio

from edgekube import limits
from edgekube.api import schemas, strict
from edgekube.api.custom import checking, embedded, lists, pruning, scaling
from edgekube.api.custom.schema import Schema
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.validation import causes as words
from edgekube.api.validation.metadata import NOT_QUALIFIED
from edgekube.registry.context import Context
from edgekube.registry.state import Registry

#: What keeps rules from being asked: values that are not what the rules were written for.
_BLOCKING: Final = frozenset({
    words.NOT_SUPPORTED, words.REQUIRED, words.TOO_LONG, words.TOO_MANY, checking.TYPE_INVALID,
})  # fmt: skip
#: Rules that cost much are asked in a thread.
_THREADS: Final = trio.CapacityLimiter(limits.CEL_THREADS_MAX)
_NOT_CHECKED: Final = (
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)


def decode(schema: Schema, kind: Kind, obj: Object) -> list[str]:
    """Drop what the schema does not know; the paths of it. StatusError BadRequest for metadata of wrong types."""
    unknown: list[str] = []
    metadata = obj.get("metadata")
    if metadata is not None:
        found = strict.check_named(schemas.OBJECT_META, kind.kind, kind.version, metadata).unknown
        unknown += [f"metadata.{path}" for path in found]
    unknown += pruning.prune(obj, schema)
    if schema.has_embedded:
        unknown += embedded.coerce(schema, obj, lenient=False)
    return unknown


async def judge_create(registry: Registry, kind: Kind, obj: Object, causes: list[Cause], context: Context) -> list[Cause]:
    """``causes``: what is wrong with the metadata."""
    schema = registry.custom.schema(kind)
    found = [*_finalizers(causes, obj, None, context), *checking.check(schema, obj)]
    found += _scale(registry, kind, obj, "")
    if schema.has_embedded:
        found += embedded.check_embedded(schema, obj)
    found += lists.check_lists(schema, obj)
    return found + await _rules(registry, kind, schema, obj, None, found, context)


async def judge_update(
    registry: Registry, kind: Kind, new: Object, old: Object, subresource: str, causes: list[Cause], context: Context
) -> list[Cause]:
    schema = registry.custom.schema(kind)
    found = _finalizers(causes, new, old, context)
    if subresource == "status":
        status = schema.properties.get("status")
        if status is not None and "status" in new:
            found += checking.check(status, new["status"], old.get("status", checking.NONE), "status")
    else:
        found += checking.check(schema, new, old)
    found += _scale(registry, kind, new, subresource)
    if subresource != "status" and schema.has_embedded:
        found += embedded.check_embedded(schema, new)
    repeated = lists.check_lists(schema, new)
    if repeated and not lists.check_lists(schema, old):
        found += repeated
    return found + await _rules(registry, kind, schema, new, old, found, context)


async def _rules(
    registry: Registry, kind: Kind, schema: Schema, obj: Object, old: Object | None, found: list[Cause], context: Context
) -> list[Cause]:
    """x-kubernetes-validations; ``found``: what is wrong already."""
    if not schema.has_rules or (tree := await registry.custom.rules(kind)) is None:
        return []
    if any(cause.reason in _BLOCKING for cause in found):
        return [Cause(words.INVALID, _NOT_CHECKED, checking.NOWHERE)]
    from edgekube.api.custom import keeping

    try:
        broken, warnings = keeping.check(tree, obj, old, at_once=True)
    except keeping.Heavy:  # others are served meanwhile
        broken, warnings = await trio.to_thread.run_sync(keeping.check, tree, obj, old, limiter=_THREADS)
    for text in warnings:
        context.warn(text)
    return broken


def _finalizers(causes: list[Cause], obj: Object, old: Object | None, context: Context) -> list[Cause]:
    """A finalizer without a domain is warned of, not refused."""
    kept = [cause for cause in causes if not cause.message.endswith(NOT_QUALIFIED)]
    if len(kept) != len(causes) and not context.trusted:
        before = (old or {}).get("metadata", {}).get("finalizers") or ()
        for name in sorted(set((obj.get("metadata") or {}).get("finalizers") or ()) - set(before)):
            if "/" not in name:
                path = " including a path (/)" if "." in name else ""
                context.warn(
                    f"metadata.finalizers: {words.quoted(name)}: prefer a domain-qualified finalizer name{path} to avoid "
                    "accidental conflicts with other finalizer writers"
                )
    return kept


def _scale(registry: Registry, kind: Kind, obj: Object, subresource: str) -> list[Cause]:
    definition = registry.custom.of(kind)
    version = definition.version(kind.version) if definition is not None else None
    if version is None or version.scale is None:
        return []
    return scaling.check(version.scale, obj, status_only=subresource == "status")
