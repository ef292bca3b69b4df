"""The verb patch.

Enters: kind, namespace, name, the patch and its media type.
Leaves: Written.
Holds: the patch is applied to the newest state, again after a race; server-side apply is refused by name until it is here.
Next: registry.replace, api.patch.
"""

from __future__ import annotations

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.patch import accepted_types, apply_patch
from edgekube.registry.context import Context, Written
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry


def check_type(kind: Kind, patch_type: str) -> None:
    """StatusError UnsupportedMediaType before anything is read. Server-side apply is refused here until the API issue."""
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

    def make(current: Object) -> Object:
        return apply_patch(kind, current, patch_type, body)

    return await replace(registry, kind, namespace, name, make, context, subresource=subresource, is_patch=True)
