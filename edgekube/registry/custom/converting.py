"""One custom object, several versions.

Enters: objects of one kind in any of its versions, and the version that is wanted.
Leaves: the same objects in that version, in the same order; StatusError 500 where the definition's webhook does not convert them.
Holds: without a webhook only apiVersion changes. A webhook is asked once for many objects, and never for one that is
in the wanted version already.
Bound: limits.CONVERSION_SECONDS_MAX for a call, limits.CONVERSION_BYTES_MAX for what it carries.
Next: registry.webhook_client.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import orjson

from edgekube import limits
from edgekube.api.custom.definition import Definition
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.registry.state import Registry


async def convert(registry: Registry, definition: Definition, objects: list[Object], api_version: str) -> list[Object]:
    if not definition.webhook:
        return [{**obj, "apiVersion": api_version} for obj in objects]
    result = list(objects)
    foreign = [index for index, obj in enumerate(objects) if obj.get("apiVersion") != api_version]
    places = iter(foreign)
    for chunk in _chunks([objects[index] for index in foreign]):
        for obj in await _ask(registry, definition, chunk, api_version):
            result[next(places)] = obj
    return result


def _chunks(objects: list[Object]) -> Iterator[list[Object]]:
    """As many at once as the body may carry; at least one."""
    chunk: list[Object] = []
    size_bytes = 0
    for obj in objects:
        length = len(orjson.dumps(obj))
        if chunk and size_bytes + length > limits.CONVERSION_BYTES_MAX:
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(obj)
        size_bytes += length
    if chunk:
        yield chunk


async def _ask(registry: Registry, definition: Definition, objects: list[Object], api_version: str) -> list[Object]:
    from edgekube.api.custom import conversion
    from edgekube.registry.webhook_client import client_of
    from edgekube.registry.webhook_faults import CallFailed

    webhook = definition.webhook_object()
    try:
        body = conversion.review(webhook.get("conversionReviewVersions") or (), objects, api_version, str(uuid.uuid4()))
        answer = await client_of(registry).call(
            webhook["clientConfig"], body, limits.CONVERSION_SECONDS_MAX, max_bytes=2 * limits.CONVERSION_BYTES_MAX
        )
        return conversion.converted(answer, body, objects, api_version)
    except CallFailed as error:
        why = f"conversion webhook for {conversion.type_of(objects[0])} failed: {error}"
        raise StatusError("", why, code=500) from error
    except conversion.ConversionFailed as error:
        raise StatusError("", str(error), code=500) from error
