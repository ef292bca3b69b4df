"""The verbs inside the process: controllers, scheduler and the agent of this node, without HTTP.

Enters: what api.verbs.Verbs says.
Leaves: the same answers and errors that a client over the network gets.
Holds: admission, validation and quotas apply as to anybody; the caller's objects are never changed.
Next: registry.get … registry.deletecollection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import orjson

from edgekube.admission.request import CREATE
from edgekube.api import errors
from edgekube.api.delete_options import delete_options_of
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
from edgekube.registry import create, delete, deletecollection, gate, get, identity, update, watch
from edgekube.registry import list as listing
from edgekube.registry import patch as patching
from edgekube.registry.context import Context
from edgekube.registry.state import Registry
from edgekube.registry.subresources import binding, eviction, scale, token

#: Whose the fields are that parts of this process write.
FIELD_MANAGER: Final = "edgekube"
#: What is posted to a subresource.
_BODY_KINDS: Final = {
    ("pods", "binding"): binding.BINDING,
    ("pods", "eviction"): eviction.EVICTION,
    ("serviceaccounts", "token"): token.TOKEN_REQUEST,
}


def _copy(obj: Object) -> Object:
    copied: Object = orjson.loads(orjson.dumps(obj))
    return copied


class LocalVerbs:
    """api.verbs.Verbs on a Registry. ``user`` is who the changes are made as; nothing is asked of an authorizer."""

    def __init__(
        self, registry: Registry, user: UserInfo, field_manager: str = FIELD_MANAGER, *, foundation: bool = False
    ) -> None:
        """``foundation``: what the server needs to start; no webhook and no policy is asked."""
        self._registry = registry
        self._foundation = foundation
        self._user = user
        self._field_manager = field_manager

    def _context(self, *, dry_run: bool = False) -> Context:
        return Context(self._user, dry_run=dry_run, trusted=True, foundation=self._foundation, field_manager=self._field_manager)

    async def get(self, kind: Kind, namespace: str, name: str, *, subresource: str = "") -> Object:
        read = scale.get_scale if subresource == "scale" else get.get
        found: Object = orjson.loads(await read(self._registry, kind, namespace, name))
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
    body_kind = _BODY_KINDS.get((kind.resource, subresource))
    if body_kind is None:
        raise errors.method_not_allowed(kind.group, f"{kind.plural}/{subresource}", "create")
    if body_kind is eviction.EVICTION and body.get("apiVersion") == eviction.OLD_VERSION:
        body["apiVersion"] = body_kind.api_version
    identity.check_type(body_kind, body, registry.kinds)
    request = gate.request_of(CREATE, kind, namespace, name, context, body, subresource=subresource, body_kind=body_kind)
    body = request.object = await gate.mutate(registry, request)
    match subresource:
        case "binding":
            return await binding.bind(registry, namespace, name, body, context, request)
        case "eviction":
            options = delete_options_of(body.get("deleteOptions") or {})
            return await eviction.evict(registry, namespace, name, options, context, request)
        case _:
            return await token.request_token(registry, namespace, name, body, request)


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
