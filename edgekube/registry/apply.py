"""The verb apply: a patch of the type apply-patch, which says what its sender wants to have and to manage.

Enters: kind, namespace, name and the decoded configuration.
Leaves: Written; ``created`` where the object was not there.
Holds: the configuration is laid over the newest state, again after a race; a subresource is never created by it.
Source: k8s.io/apiserver pkg/endpoints/handlers/patch.go; kubernetes.io, "Server-Side Apply".
Next: registry.managing, registry.replace, registry.create.
"""

from __future__ import annotations

from typing import Final

import orjson

from edgekube.api import errors
from edgekube.api.errors import StatusError
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import identity, managing
from edgekube.registry.context import STRICT, WARN, Context, Written
from edgekube.registry.create import create
from edgekube.registry.replace import replace
from edgekube.registry.state import Registry
from edgekube.store.protocol import Key

_ATTEMPTS_MAX: Final = 5


async def apply(
    registry: Registry,
    kind: Kind,
    namespace: str,
    name: str,
    config: Object,
    context: Context,
    *,
    subresource: str = "",
    repeated: str = "",
) -> Written:
    """``context.operation`` is APPLY. ``repeated``: what the body's text said twice (api.apply_body)."""
    check_applied_type(kind, config)
    body = orjson.dumps(config)

    def make(current: Object | None) -> Object:
        made = managing.applied(registry, kind, current, orjson.loads(body), subresource, context)
        report_repeated(repeated, context)
        return made

    for _ in range(_ATTEMPTS_MAX):
        there = await registry.store.get(Key(kind.resource, namespace, name)) is not None
        try:
            if there or subresource:
                return await replace(registry, kind, namespace, name, make, context, subresource=subresource, is_patch=True)
            context.may_create()
            return await create(registry, kind, namespace, _new(kind, name, make(None)), context)
        except StatusError as error:
            if error.reason != ("NotFound" if there else "AlreadyExists") or error.name != name:
                raise
            if subresource:
                raise
    raise errors.conflict(kind.group, kind.plural, name)


def report_repeated(repeated: str, context: Context) -> None:
    """After everything else that may be wrong, as upstream."""
    if repeated and context.field_validation == STRICT:
        raise errors.bad_request(f"error strict decoding YAML: {repeated}")
    if repeated and context.field_validation == WARN:
        context.warn(repeated)


def check_applied_type(kind: Kind, config: Object) -> None:
    api_version, given = str(config.get("apiVersion") or ""), str(config.get("kind") or "")
    if (api_version, given) != (kind.api_version, kind.kind):
        shown = api_version if "/" in api_version else f"/{api_version}"
        raise errors.bad_request(f"invalid object type: {shown}, Kind={given}")


def _new(kind: Kind, name: str, obj: Object) -> Object:
    metadata = metadata_of(obj)
    if metadata.get("uid"):
        why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
        raise errors.conflict(kind.group, kind.plural, name, why)
    metadata.pop("resourceVersion", None)
    identity.check_name(name, obj)
    return obj
