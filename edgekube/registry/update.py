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
from edgekube.registry import identity
from edgekube.registry.context import Context, Written
from edgekube.registry.create import create
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry
from edgekube.registry.strategies import strategy_of


async def update(
    registry: Registry, kind: Kind, namespace: str, name: str, obj: Object, context: Context, *, subresource: str = ""
) -> Written:
    identity.check_name(name, obj, required=True)
    body = orjson.dumps(obj)

    def make(_: Object) -> Object:
        made: Object = orjson.loads(body)
        return made

    try:
        return await replace(registry, kind, namespace, name, make, context, subresource=subresource)
    except StatusError as error:
        metadata = metadata_of(obj)
        creates = error.reason == "NotFound" and not subresource and strategy_of(kind).create_on_update
        if not creates or metadata.get("uid") or metadata.get("resourceVersion"):
            raise
    return await create(registry, kind, namespace, obj, context)
