"""Volumes that this node uses and somebody attaches to it: what Node.status.volumesInUse says.

Enters: pods that begin and end to use a volume.
Leaves: the names for the status; a wait until the API was told.
Holds: a volume is named before it is looked for, and until it is unmounted from everything: whoever detaches goes by that.
Next: agent.node writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio


class VolumesInUse:
    def __init__(self) -> None:
        self._users: dict[str, set[str]] = {}
        self._told: frozenset[str] = frozenset()
        self._telling = trio.Event()
        #: Called when the names are others than they were.
        self.changed: Callable[[], None] = lambda: None

    def names(self) -> list[str]:
        return sorted(self._users)

    def take(self, name: str, uid: str) -> None:
        known = name in self._users
        self._users.setdefault(name, set()).add(uid)
        if not known:
            self.changed()

    def drop(self, name: str, uid: str) -> None:
        users = self._users.get(name, set())
        users.discard(uid)
        if name in self._users and not users:
            del self._users[name]
            self.changed()

    def told(self, names: Collection[str]) -> None:
        """The API has these now."""
        self._told = frozenset(names)
        self._telling.set()
        self._telling = trio.Event()

    async def until_told(self, name: str) -> None:
        while name not in self._told:
            await self._telling.wait()
