"""The verb deletecollection.

Enters: kind, namespace, a selection and delete options.
Leaves: a RawList of what was deleted or marked, as it then was.
Holds: an object that goes meanwhile is no error; the first other failure ends it.
Next: registry.delete.
"""

from __future__ import annotations

import msgspec

from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.verbs import DEFAULT_DELETE, EVERYTHING, DeleteOptions, ListOptions, RawList
from edgekube.registry.context import Context
from edgekube.registry.delete import delete
from edgekube.registry.list import list_objects
from edgekube.registry.state import Registry


class _Metadata(msgspec.Struct):
    name: str
    namespace: str = ""


class _Named(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Named).decode


async def delete_collection(
    registry: Registry,
    kind: Kind,
    namespace: str,
    context: Context,
    selection: ListOptions = EVERYTHING,
    options: DeleteOptions = DEFAULT_DELETE,
) -> RawList:
    found = await list_objects(registry, kind, namespace, selection)
    deleted: list[bytes] = []
    for raw in found.items:
        metadata = _decode(raw).metadata
        try:
            done = await delete(registry, kind, metadata.namespace, metadata.name, context, options, of_collection=True)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
            continue
        deleted.append(done.last.raw)
    return RawList(deleted, found.revision, found.continue_token)
