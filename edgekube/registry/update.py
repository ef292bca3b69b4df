"""The verb update (PUT).

Enters: kind, namespace, name and a decoded object.
Leaves: Written; ``created`` says that the name was new and the kind lets PUT create it.
Holds: a resourceVersion in the object must be the latest.
Next: registry.replace.
"""

from __future__ import annotations

import orjson

from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import checks, identity
from edgekube.registry.context import Context, Written
from edgekube.registry.create import create
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of


async def update(
    registry: Registry, kind: Kind, namespace: str, name: str, obj: Object, context: Context, *, subresource: str = ""
) -> Written:
    if not identity.is_named(name, obj):
        checks.shape(registry, kind, obj, context)  # what cannot be read is told first
    identity.check_name(name, obj, required=True)
    body = orjson.dumps(obj)
    metadata = metadata_of(obj)
    may_create = not (subresource or metadata.get("uid") or metadata.get("resourceVersion"))
    first: Object | None = obj

    def make(_: Object) -> Object:
        nonlocal first
        made, first = first, None
        again: Object = made if made is not None else orjson.loads(body)
        return again

    try:
        return await replace(registry, kind, namespace, name, make, context, subresource=subresource, is_update=True)
    except StatusError as error:
        if error.reason != "NotFound" or not may_create or not strategy_of(kind).create_on_update:
            raise
    context.may_create()
    return await create(registry, kind, namespace, orjson.loads(body), context)
