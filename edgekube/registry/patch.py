"""The verb patch.

Enters: kind, namespace, name, the patch and its media type.
Leaves: Written.
Holds: the patch is applied to the newest state, again after a race. Server-side apply is a verb of its own (registry.apply).
Next: registry.replace, api.patch.
"""

from __future__ import annotations

from typing import Any

import orjson

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.patch import accepted_types, apply_patch_onto, read_patch, shown, unknown_type
from edgekube.api.verbs import STRATEGIC_MERGE_PATCH
from edgekube.registry import checks, identity
from edgekube.registry.context import IGNORE, Context, Written
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry


def check_type(kind: Kind, patch_type: str) -> None:
    """StatusError UnsupportedMediaType before anything is read."""
    if patch_type not in accepted_types(kind):
        raise unknown_type(kind)


def check_patched_type(registry: Registry, kind: Kind, made: Object, patch_type: str) -> None:
    """What a patch made of an object is still one of the kind. StatusError Invalid, BadRequest."""
    if patch_type == STRATEGIC_MERGE_PATCH:  # it says how fields change; of which kind they are the URL says
        made["kind"], made["apiVersion"] = kind.kind, kind.api_version
    elif kind.custom:
        identity.check_custom_type(kind, made)
    elif why := identity.other_type(kind, made, registry.kinds):
        raise checks.bad_patch(orjson.dumps(made).decode(), why)
    identity.check_type(kind, made, registry.kinds)


async def patch(
    registry: Registry,
    kind: Kind,
    namespace: str,
    name: str,
    body: bytes,
    patch_type: str,
    context: Context,
    *,
    subresource: str = "",
) -> Written:
    check_type(kind, patch_type)
    decoded: Any = None
    if not context.trusted and context.field_validation != IGNORE:
        decoded, context.duplicates = read_patch(patch_type, body)

    def make(current: Object) -> Object:
        nonlocal decoded
        first, decoded = decoded, None  # parts of it are in what the first attempt makes
        made = apply_patch_onto(kind, current, patch_type, body, first)
        check_patched_type(registry, kind, made, patch_type)
        checks.shape_of_patched(registry, kind, made, lambda: shown(patch_type, body), context)
        return made

    return await replace(registry, kind, namespace, name, make, context, subresource=subresource, is_patch=True, is_shaped=True)
