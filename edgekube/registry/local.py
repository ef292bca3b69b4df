"""The verbs inside the process: controllers, scheduler and the agent of this node, without HTTP.

Enters: what api.verbs.Verbs says.
Leaves: the same answers and errors that a client over the network gets.
Holds: admission, validation and quotas apply as to anybody; the caller's objects are never changed.
Next: registry.get … registry.deletecollection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import orjson

from edgekube.api import errors
from edgekube.api.kinds import Kind
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.verbs import (
    DEFAULT_DELETE,
    EVERYTHING,
    MERGE_PATCH,
    DeleteOptions,
    ListOptions,
    PatchBody,
    RawList,
    UserInfo,
    WatchEvent,
)
from edgekube.registry import create, delete, deletecollection, get, update, watch
from edgekube.registry import list as listing
from edgekube.registry import patch as patching
from edgekube.registry.context import Context
from edgekube.registry.state import Registry
from edgekube.registry.subresources import binding, eviction, scale, token


def delete_options_of(body: Object) -> DeleteOptions:
    """metav1.DeleteOptions from its JSON. StatusError BadRequest for wrong types."""
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds")
    if grace is not None and type(grace) is not int:
        raise errors.bad_request("gracePeriodSeconds must be an integer")
    policy = body.get("propagationPolicy")
    orphan = body.get("orphanDependents")
    if orphan is not None:
        if policy is not None:
            cause = errors.Cause(
                "FieldValueInvalid",
                f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set',
                "propagationPolicy",
            )
            raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
        policy = "Orphan" if orphan else "Background"
    if not isinstance(preconditions, dict) or not isinstance(policy, str | None):
        raise errors.bad_request("the body is not a DeleteOptions")
    dry_run = body.get("dryRun") or []
    if dry_run not in ([], ["All"]):
        cause = errors.Cause("FieldValueNotSupported", f'Unsupported value: {dry_run}: supported values: "All"', "dryRun")
        raise errors.invalid("meta.k8s.io", "DeleteOptions", "", [cause])
    return DeleteOptions(
        grace_period_seconds=grace,
        propagation_policy=policy,
        precondition_uid=preconditions.get("uid"),
        precondition_revision=preconditions.get("resourceVersion"),
        dry_run=bool(dry_run),
    )


def _copy(obj: Object) -> Object:
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


class LocalVerbs:
    """api.verbs.Verbs on a Registry. ``user`` is who the changes are made as; nothing is asked of an authorizer."""

    def __init__(self, registry: Registry, user: UserInfo) -> None:
        self._registry = registry
        self._user = user

    def _context(self, *, dry_run: bool = False) -> Context:
        return Context(self._user, dry_run=dry_run, trusted=True)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        found: Object = orjson.loads(await get.get(self._registry, kind, namespace, name))
        return found

    async def list(self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING) -> RawList:
        return await listing.list_objects(self._registry, kind, namespace, options)

    def watch(
        self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._watch(kind, namespace, options)

    @asynccontextmanager
    async def _watch(self, kind: Kind, namespace: str, options: ListOptions) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        query = watch.WatchOptions(
            label_selector=options.label_selector,
            field_selector=options.field_selector,
            revision=options.revision,
            allow_bookmarks=True,
        )
        async with watch.watch(self._registry, kind, namespace, query) as stream:
            yield _Events(stream)

    async def create(self, kind: Kind, namespace: str, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        obj = _copy(obj)
        if not subresource:
            return (await create.create(self._registry, kind, namespace, obj, self._context())).object
        return await create_subresource(self._registry, kind, namespace, name, subresource, obj, self._context())

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        namespace, name = namespace_of(obj), name_of(obj)
        if subresource == "scale":
            return (await scale.update_scale(self._registry, kind, namespace, name, _copy(obj), self._context())).object
        result = await update.update(self._registry, kind, namespace, name, _copy(obj), self._context(), subresource=subresource)
        return result.object

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: PatchBody,
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object:
        context = self._context()
        body = orjson.dumps(patch)
        if subresource == "scale":
            result = await scale.patch_scale(self._registry, kind, namespace, name, body, patch_type, context)
        else:
            result = await patching.patch(
                self._registry, kind, namespace, name, body, patch_type, context, subresource=subresource
            )
        return result.object

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions = DEFAULT_DELETE) -> None:
        await delete.delete(self._registry, kind, namespace, name, self._context(dry_run=options.dry_run), options)

    async def delete_collection(
        self, kind: Kind, namespace: str, selection: ListOptions = EVERYTHING, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        context = self._context(dry_run=options.dry_run)
        await deletecollection.delete_collection(self._registry, kind, namespace, context, selection, options)


async def create_subresource(
    registry: Registry, kind: Kind, namespace: str, name: str, subresource: str, body: Object, context: Context
) -> Object:
    """POST to a subresource: the answer's object. StatusError MethodNotAllowed for any other."""
    match kind.resource, subresource:
        case "pods", "binding":
            return await binding.bind(registry, namespace, name, body, context)
        case "pods", "eviction":
            options = delete_options_of(body.get("deleteOptions") or {})
            return await eviction.evict(registry, namespace, name, options, context)
        case "serviceaccounts", "token":
            return await token.request_token(registry, namespace, name, body)
    raise errors.method_not_allowed(kind.group, f"{kind.plural}/{subresource}", "create")


class _Events:
    """A WatchStream, event by event."""

    def __init__(self, stream: watch.WatchStream) -> None:
        self._stream = stream
        self._waiting: list[WatchEvent] = []

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> WatchEvent:
        if not self._waiting:
            self._waiting = (await self._stream.receive())[::-1]
            if not self._waiting:
                raise StopAsyncIteration
        return self._waiting.pop()
