"""The same object in the terms of another kind under which it is served: what matchPolicy Equivalent asks for.

Enters: a kind; an object of it, and the kind that is wanted.
Leaves: the other kinds; a new object.
Holds: the given object is not changed.
Next: registry.policies, registry.webhooks; registry.conversion and registry.custom.converting convert.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.registry import conversion
from edgekube.registry.custom.converting import convert
from edgekube.registry.state import Registry


def equivalents_of(registry: Registry) -> Callable[[Kind], Sequence[Kind]]:
    return registry.kinds.alike


async def in_terms_of(registry: Registry, obj: Object, given: Kind, wanted: Kind) -> Object:
    """StatusError where a conversion webhook does not answer."""
    copied: Object = orjson.loads(orjson.dumps(obj))
    if given == wanted:
        return copied
    if given.custom:
        definition = registry.custom.of(given)
        if definition is None:
            return copied
        (converted,) = await convert(registry, definition, [copied], wanted.api_version)
        return converted
    converted = conversion.object_from_storage(wanted, conversion.to_storage(given, copied))
    return {**converted, "kind": wanted.kind, "apiVersion": wanted.api_version}
