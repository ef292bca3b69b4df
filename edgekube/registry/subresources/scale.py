"""scale: one number of Deployment, ReplicaSet, StatefulSet and ReplicationController, as autoscaling/v1 Scale.

Enters: kind, namespace, name; a Scale or a patch of one.
Leaves: the Scale of the object as it then is.
Holds: only spec.replicas goes through; the object's revision is the Scale's.
Next: registry.replace.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson

from edgekube.api import errors
from edgekube.api.custom import scaling
from edgekube.api.errors import Cause
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of, name_of
from edgekube.api.patch import apply_patch, shown
from edgekube.api.selectors.labels import label_selector_of, label_selector_of_set
from edgekube.registry import checks, identity, managing
from edgekube.registry.apply import check_applied_type, report_repeated
from edgekube.registry.context import Context, Written
from edgekube.registry.get import get
from edgekube.registry.patch import check_patched_type, check_type
from edgekube.registry.replace import View, replace
from edgekube.registry.state import Registry

_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
SCALE: Final = Kind("autoscaling", "v1", "Scale", "scales", verbs=())


def scale_of(kind: Kind, obj: Object) -> Object:
    metadata = metadata_of(obj)
    if kind.scale_paths is not None:
        return _custom_scale(kind.scale_paths, obj)
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    shown = {key: metadata[key] for key in _SHOWN if key in metadata}
    selector = spec.get("selector")
    if kind.kind == "ReplicationController":
        text = str(label_selector_of_set(selector))
    else:
        text = str(label_selector_of(selector)) if selector else ""
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


def _custom_scale(paths: scaling.Paths, obj: Object) -> Object:
    metadata = metadata_of(obj)
    wanted, there, selector = scaling.numbers(paths, obj)
    status: Object = {"replicas": there}
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in _SHOWN if key in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": status,
    }


def _scaled(kind: Kind, current: Object, scale: Object) -> Object:
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        cause = Cause("FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0", "spec.replicas")
        raise errors.invalid("autoscaling", "Scale", name_of(current), [cause])
    metadata, given = metadata_of(current), metadata_of(scale)
    identity.check_uid(kind, name_of(current), scale, current)
    metadata["resourceVersion"] = given.get("resourceVersion") or ""
    if kind.scale_paths is not None:
        try:
            scaling.put(current, kind.scale_paths[0], replicas)
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
        return current
    current.setdefault("spec", {})["replicas"] = replicas
    return current


def _view(kind: Kind) -> View:
    return View(SCALE, "scale", partial(scale_of, kind), partial(_scaled, kind))


async def get_scale(registry: Registry, kind: Kind, namespace: str, name: str) -> bytes:
    obj = orjson.loads(await get(registry, kind, namespace, name))
    if kind.scale_paths is not None and scaling.numbers(kind.scale_paths, obj)[0] is None:
        raise errors.internal(f'the spec replicas field "{kind.scale_paths[0]}" does not exist')
    return orjson.dumps(scale_of(kind, obj))


async def update_scale(registry: Registry, kind: Kind, namespace: str, name: str, scale: Object, context: Context) -> Written:
    identity.check_type(SCALE, scale, registry.kinds)
    identity.check_name(name, scale, required=True)
    body = orjson.dumps(scale)
    result = await replace(registry, kind, namespace, name, lambda _: orjson.loads(body), context, view=_view(kind))
    return _written(kind, result)


async def patch_scale(
    registry: Registry, kind: Kind, namespace: str, name: str, body: bytes, patch_type: str, context: Context
) -> Written:
    check_type(kind, patch_type)

    def make(current: Object) -> Object:
        made = apply_patch(SCALE, current, patch_type, body)
        check_patched_type(registry, SCALE, made, patch_type)
        identity.check_name(name, made, required=True)
        checks.shape_of_patched(registry, SCALE, made, lambda: shown(patch_type, body), context)
        return made

    return _written(kind, await replace(registry, kind, namespace, name, make, context, is_patch=True, view=_view(kind)))


async def apply_scale(
    registry: Registry, kind: Kind, namespace: str, name: str, config: Object, context: Context, repeated: str = ""
) -> Written:
    """``context.operation`` is APPLY."""
    check_applied_type(SCALE, config)
    body = orjson.dumps(config)

    def make(current: Object) -> Object:
        made = managing.applied(registry, SCALE, current, orjson.loads(body), "scale", context)
        report_repeated(repeated, context)
        identity.check_name(name, made)
        return made

    return _written(kind, await replace(registry, kind, namespace, name, make, context, is_patch=True, view=_view(kind)))


def _written(kind: Kind, result: Written) -> Written:
    scale = scale_of(kind, result.object)
    return Written(scale, orjson.dumps(scale))
