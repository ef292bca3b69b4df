"""The ConfigMaps and Secrets that this node's pods name, and no others: each followed by itself.

Enters: pods' references; the API's watches.
Leaves: objects, as last seen; a call to ``changed`` with the uids of pods that name one that changed.
Holds: what was seen once can be had while the API is away; what no pod names is forgotten, and its watch ended.
Bound: one watch per object that a pod of this node names.
Next: volumes.payload, agent.env, agent.images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import orjson
import trio

from edgekube.agent.podspec import all_containers
from edgekube.api.kinds import CONFIGMAP, SECRET, Kind
from edgekube.api.objects import Object, namespace_of, spec_of
from edgekube.api.verbs import Verbs
from edgekube.reconcile.one_object import OneObject, follow_one

#: kind, namespace, name
Key: TypeAlias = tuple[Kind, str, str]

#: How long a pod waits for the API to answer about an object not seen before.
ANSWER_SECONDS = 10.0


def sources_of(volume: Object) -> Iterator[tuple[Kind, str]]:
    if config_map := volume.get("configMap"):
        yield CONFIGMAP, config_map.get("name") or ""
    if secret := volume.get("secret"):
        yield SECRET, secret.get("secretName") or secret.get("name") or ""
    for source in (volume.get("projected") or {}).get("sources") or []:
        yield from sources_of(source)


def environment_references(pod: Object, container: Object) -> set[Key]:
    """Those that the container's variables come from."""
    found: set[tuple[Kind, str]] = set()
    for source in container.get("envFrom") or []:
        for field, kind in (("configMapRef", CONFIGMAP), ("secretRef", SECRET)):
            if field in source:
                found.add((kind, source[field].get("name") or ""))
    for variable in container.get("env") or []:
        value_from = variable.get("valueFrom") or {}
        for field, kind in (("configMapKeyRef", CONFIGMAP), ("secretKeyRef", SECRET)):
            if field in value_from:
                found.add((kind, value_from[field].get("name") or ""))
    return {(kind, namespace_of(pod), name) for kind, name in found if name}


def references_of(pod: Object) -> set[Key]:
    """Every ConfigMap and Secret that the pod's volumes, environment and pulls name."""
    namespace = namespace_of(pod)
    found: set[tuple[Kind, str]] = set()
    for volume in spec_of(pod).get("volumes") or []:
        found.update(sources_of(volume))
    for container in all_containers(pod):
        found.update((kind, name) for kind, _, name in environment_references(pod, container))
    for secret in spec_of(pod).get("imagePullSecrets") or []:
        found.add((SECRET, secret.get("name") or ""))
    return {(kind, namespace, name) for kind, name in found if name}


class _One(OneObject):
    """An object and the pods that name it."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__(changed)
        self.scope = trio.CancelScope()
        self.users: set[str] = set()


class References:
    def __init__(self, verbs: Verbs, nursery: trio.Nursery, changed: Callable[[str], None]) -> None:
        self._verbs = verbs
        self._nursery = nursery
        self._changed = changed
        self._entries: dict[Key, _One] = {}

    def keep(self, uid: str, keys: Iterable[Key]) -> None:
        """The pod names these now. () when it is gone."""
        wanted = set(keys)
        for key in wanted:
            if key not in self._entries:
                self._follow(key)
            self._entries[key].users.add(uid)
        for key, entry in list(self._entries.items()):
            if key not in wanted and uid in entry.users:
                entry.users.discard(uid)
                if not entry.users:
                    self._forget(key, entry)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None when the API has none. TimeoutError when the API does not answer about one not seen before."""
        key = (kind, namespace, name)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._follow(key)
        with trio.move_on_after(ANSWER_SECONDS):
            await entry.synced.wait()
        if not entry.users and self._entries.get(key) is entry:
            self._forget(key, entry)  # its pod is gone by now
        if not entry.synced.is_set():
            raise TimeoutError(f"the API does not answer about {kind.singular} {namespace}/{name}")
        if entry.raw is None:
            return None
        found: Object = orjson.loads(entry.raw)
        return found

    def _forget(self, key: Key, entry: _One) -> None:
        entry.scope.cancel()
        del self._entries[key]

    def _follow(self, key: Key) -> _One:
        def tell() -> None:
            for uid in tuple(self._entries[key].users) if key in self._entries else ():
                self._changed(uid)

        entry = self._entries[key] = _One(tell)
        self._nursery.start_soon(self._run, key, entry)
        return entry

    async def _run(self, key: Key, entry: _One) -> None:
        with entry.scope:
            await follow_one(self._verbs, *key, entry)
