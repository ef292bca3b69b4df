"""What a mutating policy makes of an object: an apply configuration laid over it, or a JSON patch.

Enters: the object, and the value of a mutation's expression as JSON.
Leaves: another object (the given one is not changed); PatchFault with upstream's words, or a StatusError.
Holds: pure. An apply configuration must not say an atomic list, map or struct: what it leaves out would be gone. A JSON patch
whose test fails changes nothing and is no error (source: k8s.io/apiserver pkg/admission/plugin/policy/mutating/patch).
Next: registry.policies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from edgekube.api import json_patch
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.managed import validity
from edgekube.api.managed.compare import ABSENT
from edgekube.api.managed.merge import merge
from edgekube.api.managed.sites import KEYED, MAP, SET, Site, site_of
from edgekube.api.objects import Object
from edgekube.api.schemas import Node


class PatchFault(Exception):
    """The mutation cannot be made. Judged by the policy's failurePolicy."""


def apply_configuration(kind: Kind, shape: Node, obj: Object, configuration: Object) -> Object:
    site = site_of(shape)
    said: Object = {**configuration, "kind": kind.kind, "apiVersion": kind.api_version}
    faults = validity.faults(site, said)
    if faults:
        raise PatchFault(f"error applying patch: failed to convert patch object to typed object: {validity.told(faults)}")
    atomics = list(_atomics(site, said, ""))
    if atomics:
        why = f"may not mutate atomic arrays, maps or structs: {', '.join(atomics)}"
        raise PatchFault(f"error applying patch: invalid ApplyConfiguration: {why}")
    try:
        made = merge(site, obj, said)
    except ValueError as error:
        raise PatchFault(f"error applying patch: failed to convert patch object to typed object: {error}") from None
    # The merge shares parts with both: who changes the result would change them.
    copied: Object = orjson.loads(orjson.dumps({} if made is ABSENT else made))
    return copied


def _atomics(site: Site, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and site.relation == MAP:
        if site.atomic:
            yield path
        for key, item in value.items():
            below = site.field(key)
            if below is not None:
                yield from _atomics(below, item, f"{path}.{key}")
    elif isinstance(value, list) and (site.relation in (KEYED, SET) or site.atomic):
        if site.atomic:
            yield path
        for i, item in enumerate(value):
            yield from _atomics(site.items, item, f"{path}[{i}]")


def json_patched(obj: Object, operations: list[Object]) -> Object:
    copied: Object = orjson.loads(orjson.dumps(obj))
    try:
        return json_patch.applied(copied, operations)
    except json_patch.TestFailed:
        return obj
    except json_patch.Fault as error:
        raise PatchFault(f"JSON Patch: {error}") from None
    except StatusError as error:
        raise PatchFault(f"JSON Patch: {error.message}") from None
