"""The API's verbs, a few at a time: what a node's pods ask while a hundred of them come or go.

Enters: calls of verbs; the verbs that do it.
Leaves: the same answers. Watches wait for no turn: they last.
Holds: whoever comes first asks first. Each request that is under way has a connection of its own, and one more than the pool
keeps is a handshake on both sides and is thrown away; a server that does one thing at a time is no faster for it.
Bound: limits.POD_REQUESTS_AT_ONCE_MAX.
Next: client.remote, registry.local.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import trio

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.verbs import (
    DEFAULT_DELETE,
    EVERYTHING,
    MERGE_PATCH,
    DeleteOptions,
    ListOptions,
    PatchBody,
    RawList,
    Verbs,
    WatchEvent,
)
from edgekube.limits import POD_REQUESTS_AT_ONCE_MAX


class TakingTurns:
    """Verbs."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._turn = trio.Semaphore(POD_REQUESTS_AT_ONCE_MAX)

    async def get(self, kind: Kind, namespace: str, name: str, *, subresource: str = "") -> Object:
        async with self._turn:
            return await self._verbs.get(kind, namespace, name, subresource=subresource)

    async def list(self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING) -> RawList:
        async with self._turn:
            return await self._verbs.list(kind, namespace, options)

    def watch(
        self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._verbs.watch(kind, namespace, options)

    async def create(self, kind: Kind, namespace: str, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        async with self._turn:
            return await self._verbs.create(kind, namespace, obj, subresource=subresource, name=name)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        async with self._turn:
            return await self._verbs.update(kind, obj, subresource=subresource)

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
        async with self._turn:
            return await self._verbs.patch(kind, namespace, name, patch, patch_type=patch_type, subresource=subresource)

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions = DEFAULT_DELETE) -> None:
        async with self._turn:
            await self._verbs.delete(kind, namespace, name, options)

    async def delete_collection(
        self, kind: Kind, namespace: str, selection: ListOptions = EVERYTHING, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        async with self._turn:
            await self._verbs.delete_collection(kind, namespace, selection, options)
