"""The verb patch.

Enters: kind, namespace, name, the patch and its media type.
Leaves: Written.
Holds: the patch is applied to the newest state, again after a race. Server-side apply is a verb of its own (registry.apply).
Next: registry.replace, api.patch.
"""

from __future__ import annotations

from typing import Any

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.patch import accepted_types, apply_patch_onto, read_patch, shown
from edgekube.registry import checks, identity
from edgekube.registry.context import IGNORE, Context, Written
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry


def check_type(kind: Kind, patch_type: str) -> None:
    """StatusError UnsupportedMediaType before anything is read."""
    accepted = accepted_types(kind)
    if patch_type not in accepted:
        raise errors.unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
        )


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
        identity.check_type(kind, made, registry.kinds)
        checks.shape_of_patched(registry, kind, made, lambda: shown(patch_type, body), context)
        return made

    return await replace(registry, kind, namespace, name, make, context, subresource=subresource, is_patch=True, is_shaped=True)
