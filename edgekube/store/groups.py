"""Which keys of a resource belong to which group, so that a list of one group reads its rows alone.

Enters: what a function reads out of each document (store.protocol.Group.of); rows once, then each change as it is published.
Leaves: the keys of a group.
Holds: what is here is what is published, or ahead of it where a row was read before its change was published: whoever lists
undoes what is ahead (store.sqlite). Made when the first list asks for it; a change costs one call of the function.
Bound: one entry for each object of the resource.
Next: store.sqlite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from sys import intern

import trio

from edgekube.store.protocol import Change, Key, Record


class Groups:
    """Of one resource and one function."""

    def __init__(self, of: Callable[[bytes], str]) -> None:
        self._of = of
        self._group_of: dict[Key, str] = {}
        self._keys: dict[str, dict[Key, None]] = {}
        #: Keys that changed since the rows began to be read: rows know nothing newer of them. None: all rows have been read.
        self._changed: set[Key] | None = set()
        self.read = trio.Event()

    def begin(self, records: Iterable[Record]) -> None:
        """Some of the rows."""
        changed = self._changed or ()
        for record in records:
            if record.key not in changed:
                self._put(record.key, record.value)

    def finish(self) -> None:
        """That were all rows."""
        self._changed = None
        self.read.set()

    def apply(self, change: Change) -> None:
        if self._changed is not None:
            self._changed.add(change.key)
        if change.type == "DELETED":
            self._drop(change.key)
        else:
            self._put(change.key, change.value)

    def keys(self, group: str) -> Mapping[Key, None]:
        return self._keys.get(group, {})

    def _put(self, key: Key, value: bytes) -> None:
        group = self._of(value)
        if self._group_of.get(key) == group:
            return
        self._drop(key)
        self._group_of[key] = group = intern(group)
        self._keys.setdefault(group, {})[key] = None

    def _drop(self, key: Key) -> None:
        group = self._group_of.pop(key, None)
        if group is None:
            return
        keys = self._keys[group]
        del keys[key]
        if not keys:
            del self._keys[group]
