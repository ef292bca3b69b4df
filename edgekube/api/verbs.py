"""The verbs on resources as a Protocol: what controllers, scheduler, agent and command line may ask of the API.

Enters: a Kind, names, objects.
Leaves: objects, raw lists and watch events; every failure is a StatusError.
Holds: the in-process implementation (registry) and the one over mutual TLS (client) behave alike; one conformance suite says so.
Next: registry.local, client.remote.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import orjson
from msgspec import Struct, field

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"
BOOKMARK: Final = "BOOKMARK"

#: A merge patch is an object, a JSON patch a list of operations.
PatchBody: TypeAlias = Object | list[Object]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
#: Server-side apply.
APPLY_PATCH: Final = "application/apply-patch+yaml"


class RawList(Struct, frozen=True):
    """A list as the store has it: ``items`` are JSON documents, ``revision`` is the list's resourceVersion."""

    items: list[bytes]
    revision: str
    continue_token: str = ""
    remaining: int | None = None

    def objects(self) -> list[Object]:
        return [orjson.loads(item) for item in self.items]


class WatchEvent(Struct, frozen=True):
    """One watch event. ``raw`` is the object's JSON; a BOOKMARK carries only kind and resourceVersion."""

    type: str
    raw: bytes

    def object(self) -> Object:
        decoded: Object = orjson.loads(self.raw)
        return decoded


class DeleteOptions(Struct, frozen=True):
    """metav1.DeleteOptions, with None where the kind's default holds."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None  # Orphan, Background, Foreground
    precondition_uid: str | None = None
    precondition_revision: str | None = None
    dry_run: bool = False

    def as_object(self) -> Object:
        """The request body: absent where the default holds."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if self.grace_period_seconds is not None:
            body["gracePeriodSeconds"] = self.grace_period_seconds
        if self.propagation_policy is not None:
            body["propagationPolicy"] = self.propagation_policy
        preconditions = {
            key: value
            for key, value in (("uid", self.precondition_uid), ("resourceVersion", self.precondition_revision))
            if value is not None
        }
        if preconditions:
            body["preconditions"] = preconditions
        if self.dry_run:
            body["dryRun"] = ["All"]
        return body


class ListOptions(Struct, frozen=True):
    """The query of a list or watch. ``revision`` "" means most recent, "0" any."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    revision: str = ""


EVERYTHING: Final = ListOptions()
DEFAULT_DELETE: Final = DeleteOptions()


class Verbs(Protocol):
    """The API as code sees it. ``namespace`` is "" for cluster-scoped kinds and for lists across namespaces."""

    async def get(self, kind: Kind, namespace: str, name: str, *, subresource: str = "") -> Object:
        """``subresource``: "scale" alone has something else to show."""
        ...

    async def list(self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING) -> RawList: ...

    def watch(
        self, kind: Kind, namespace: str = "", options: ListOptions = EVERYTHING
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Events after ``options.revision``, bookmarks included. StatusError "Expired" when that is too old; the iterator
        ends when the server closes the stream (a normal thing: watch again from the last revision seen)."""
        ...

    async def create(self, kind: Kind, namespace: str, obj: Object, *, subresource: str = "", name: str = "") -> Object:
        """``subresource`` with ``name``: pods/NAME/binding, serviceaccounts/NAME/token, pods/NAME/eviction."""
        ...

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replace. With metadata.resourceVersion set, "Conflict" when it is not the latest."""
        ...

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        patch: PatchBody,
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str = "",
    ) -> Object: ...

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions = DEFAULT_DELETE) -> None: ...

    async def delete_collection(
        self, kind: Kind, namespace: str, selection: ListOptions = EVERYTHING, options: DeleteOptions = DEFAULT_DELETE
    ) -> None: ...


class UserInfo(Struct, frozen=True):
    """Who asks: what authentication found (authentication.k8s.io/v1 UserInfo)."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = field(default_factory=dict)
