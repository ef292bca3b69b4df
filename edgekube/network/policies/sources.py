"""The three lists that policies are made of, taken into a planner as they come.

Enters: lists and events of NetworkPolicies, Namespaces and PodAddresses, through reconcile.follow.
Leaves: calls of the planner, and word that there was one.
Holds: what a whole list does not name is gone; nothing is kept here but where to go on watching.
Next: network.policies.enforcer, network.policies.planner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import orjson

from edgekube.api.pod_address import Metadata, PodAddress
from edgekube.api.verbs import DELETED, WatchEvent
from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Key, Planner


class Target(Protocol):
    """One kind's way into the planner."""

    def put(self, raw: bytes) -> Key: ...

    def remove(self, key: Key, revision: int) -> None: ...

    def known(self) -> list[Key]: ...


class Source:
    """A Sink of reconcile.follow."""

    def __init__(self, target: Target, changed: Callable[[], None], listed: Callable[[], None]) -> None:
        self._target = target
        self._changed = changed
        self._listed = listed
        self._listing: set[Key] = set()
        self._revision = 0

    def begin(self) -> None:
        self._listing = set()

    def add(self, items: Sequence[bytes]) -> None:
        self._listing.update(self._target.put(raw) for raw in items)

    def finish(self, revision: int) -> None:
        for key in self._target.known():
            if key not in self._listing:
                self._target.remove(key, revision)
        self._listing = set()
        self._revision = revision
        self._listed()
        self._changed()

    def apply(self, event: WatchEvent) -> None:
        metadata = _head(event.raw).metadata
        self._revision = int(metadata.resourceVersion)
        if event.type == DELETED:
            self._target.remove((metadata.namespace, metadata.name), self._revision)
        else:
            self._target.put(event.raw)
        self._changed()

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision


class _Head(msgspec.Struct):
    metadata: Metadata


_head: Final = msgspec.json.Decoder(_Head).decode
_pod: Final = msgspec.json.Decoder(PodAddress).decode


class PodTarget:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def put(self, raw: bytes) -> Key:
        told = _pod(raw)
        self._planner.put_pod(told)
        return told.metadata.namespace, told.metadata.name

    def remove(self, key: Key, revision: int) -> None:
        self._planner.remove_pod(*key, revision)

    def known(self) -> list[Key]:
        return self._planner.pod_keys()


class NamespaceTarget:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def put(self, raw: bytes) -> Key:
        metadata = _head(raw).metadata
        self._planner.put_namespace(metadata.name, metadata.labels or {})
        return "", metadata.name

    def remove(self, key: Key, revision: int) -> None:
        self._planner.remove_namespace(key[1])

    def known(self) -> list[Key]:
        return [("", name) for name in self._planner.namespace_names()]


class PolicyTarget:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def put(self, raw: bytes) -> Key:
        policy = policy_of(orjson.loads(raw))
        self._planner.put_policy(policy)
        return policy.namespace, policy.name

    def remove(self, key: Key, revision: int) -> None:
        self._planner.remove_policy(*key)

    def known(self) -> list[Key]:
        return self._planner.policy_keys()
