"""scale: one number of Deployment, ReplicaSet, StatefulSet and ReplicationController, as autoscaling/v1 Scale.

Enters: kind, namespace, name; a Scale or a patch of one.
Leaves: the Scale of the object as it then is.
Holds: only spec.replicas goes through; the object's revision is the Scale's.
Next: registry.replace.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api import errors, selectors
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of, name_of
from edgekube.api.patch import apply_patch
from edgekube.registry import identity
from edgekube.registry.context import Context, Written
from edgekube.registry.get import stored
from edgekube.registry.patch import check_type
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry

SCALE: Final = Kind("autoscaling", "v1", "Scale", "scales", verbs=())


def scale_of(kind: Kind, obj: Object) -> Object:
    metadata = metadata_of(obj)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    shown = {
        key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp") if key in metadata
    }
    selector = spec.get("selector")
    if kind.kind == "ReplicationController":
        text = str(selectors.label_selector_of_set(selector))
    else:
        text = str(selectors.label_selector_of(selector)) if selector else ""
    scale: Object = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": shown,
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {"replicas": status.get("replicas") or 0},
    }
    if text:
        scale["status"]["selector"] = text
    return scale


def _scaled(kind: Kind, current: Object, scale: Object) -> Object:
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if type(replicas) is not int:
        raise errors.bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be an integer')
    if replicas < 0:
        cause = Cause("FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0", "spec.replicas")
        raise errors.invalid("autoscaling", "Scale", name_of(current), [cause])
    metadata, given = metadata_of(current), metadata_of(scale)
    if given.get("uid") and given["uid"] != metadata.get("uid"):
        why = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {metadata.get('uid', '')}"
        raise errors.conflict(kind.group, kind.plural, name_of(current), why)
    metadata["resourceVersion"] = given.get("resourceVersion") or ""
    current.setdefault("spec", {})["replicas"] = replicas
    return current


async def get_scale(registry: Registry, kind: Kind, namespace: str, name: str) -> bytes:
    record = await stored(registry, kind, namespace, name)
    return orjson.dumps(scale_of(kind, orjson.loads(record.value)))


async def update_scale(registry: Registry, kind: Kind, namespace: str, name: str, scale: Object, context: Context) -> Written:
    identity.check_type(SCALE, scale)
    identity.check_name(name, scale, required=True)
    result = await replace(registry, kind, namespace, name, lambda current: _scaled(kind, current, scale), context)
    return _written(kind, result)


async def patch_scale(
    registry: Registry, kind: Kind, namespace: str, name: str, body: bytes, patch_type: str, context: Context
) -> Written:
    check_type(kind, patch_type)

    def make(current: Object) -> Object:
        scale = apply_patch(SCALE, scale_of(kind, current), patch_type, body)
        return _scaled(kind, current, scale)

    return _written(kind, await replace(registry, kind, namespace, name, make, context, is_patch=True))


def _written(kind: Kind, result: Written) -> Written:
    scale = scale_of(kind, result.object)
    return Written(scale, orjson.dumps(scale))
