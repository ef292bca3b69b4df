"""What a namespace holds at API servers behind this one: a Protocol over them.

Enters: a namespace.
Leaves: the resources that those servers keep in namespaces, and their objects deleted.
Holds: a group version whose server does not say what it serves is told by name: nobody knows what it keeps.
Next: server.aggregation.content fulfils it; reconcile.emptying asks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct


class RemoteResource(Struct, frozen=True):
    group: str
    version: str
    plural: str
    verbs: frozenset[str]

    @property
    def group_resource(self) -> str:
        return f"{self.plural}.{self.group}"


class Left(Struct, frozen=True):
    """What did not go at once."""

    count: int = 0
    #: Finalizer -> objects that it holds.
    finalizers: Mapping[str, int] | None = None


class RemoteContent(Protocol):
    async def discover(self) -> tuple[Sequence[RemoteResource], Mapping[str, str]]:
        """What may be deleted; group version -> why it is not known what it holds."""
        ...

    async def delete_all(self, resource: RemoteResource, namespace: str) -> Left:
        """StatusError, with the other server's message, when it could not."""
        ...
