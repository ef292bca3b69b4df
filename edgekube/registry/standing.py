"""The configurations that writes are judged by: webhooks, policies, classes, quotas. Kept as bytes, current with each write.

Enters: the store when the registry is loaded; then each write of one of these kinds, from registry.writing.
Leaves: whether there are any, and their JSON; a generation by which whoever made something of them knows that it is out of date.
Holds: what a write left stands here before the write is answered. A cluster without configurations pays one look into a dict.
Next: the plugins of registry.gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from edgekube.store.protocol import Key, Store

T = TypeVar("T")

MUTATING_WEBHOOKS: Final = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING_WEBHOOKS: Final = "validatingwebhookconfigurations.admissionregistration.k8s.io"
MUTATING_POLICIES: Final = "mutatingadmissionpolicies.admissionregistration.k8s.io"
MUTATING_BINDINGS: Final = "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
VALIDATING_POLICIES: Final = "validatingadmissionpolicies.admissionregistration.k8s.io"
VALIDATING_BINDINGS: Final = "validatingadmissionpolicybindings.admissionregistration.k8s.io"
PRIORITY_CLASSES: Final = "priorityclasses.scheduling.k8s.io"
STORAGE_CLASSES: Final = "storageclasses.storage.k8s.io"
INGRESS_CLASSES: Final = "ingressclasses.networking.k8s.io"
LIMIT_RANGES: Final = "limitranges"
QUOTAS: Final = "resourcequotas"

_RESOURCES: Final = (
    MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, MUTATING_POLICIES, MUTATING_BINDINGS, VALIDATING_POLICIES, VALIDATING_BINDINGS,
    PRIORITY_CLASSES, STORAGE_CLASSES, INGRESS_CLASSES, LIMIT_RANGES, QUOTAS,
)  # fmt: skip


class Standing:
    def __init__(self) -> None:
        #: resource -> namespace -> name -> JSON as stored. An empty namespace has no entry.
        self._found: dict[str, dict[str, dict[str, bytes]]] = {resource: {} for resource in _RESOURCES}
        self._made: dict[str, tuple[int, Any]] = {}
        self._generations = dict.fromkeys(_RESOURCES, 0)

    async def load(self, store: Store) -> None:
        for resource in _RESOURCES:
            self._found[resource] = {}
            page = await store.list(resource)
            for record in page.records:
                self._put(resource, record.key.namespace, record.key.name, record.value)
            self._generations[resource] += 1

    def heeds(self, resource: str) -> bool:
        return resource in self._found

    async def follow(self, store: Store, key: Key) -> None:
        """After a write of ``key`` was committed. What is read is put here at once: two writes cannot overtake each other."""
        record = await store.get(key)
        self._put(key.resource, key.namespace, key.name, record.value if record is not None else None)
        self._generations[key.resource] += 1

    def _put(self, resource: str, namespace: str, name: str, raw: bytes | None) -> None:
        spaces = self._found[resource]
        if raw is not None:
            spaces.setdefault(namespace, {})[name] = raw
            return
        names = spaces.get(namespace, {})
        names.pop(name, None)
        if not names:
            spaces.pop(namespace, None)

    def any(self, resource: str, namespace: str | None = None) -> bool:
        """``namespace`` None: anywhere."""
        spaces = self._found[resource]
        return bool(spaces) if namespace is None else namespace in spaces

    def namespaces(self, resource: str) -> list[str]:
        return list(self._found[resource])

    def of(self, resource: str, namespace: str = "") -> Iterator[bytes]:
        """The objects of one namespace ("" for cluster-scoped kinds) in the order of their names."""
        names = self._found[resource].get(namespace, {})
        for name in sorted(names):
            yield names[name]

    def get(self, resource: str, name: str, namespace: str = "") -> bytes | None:
        return self._found[resource].get(namespace, {}).get(name)

    def made(self, resource: str, make: Callable[[Iterator[bytes]], T]) -> T:
        """What ``make`` makes of all objects of a cluster-scoped kind, kept until one of them changes. One ``make`` a kind."""
        kept = self._made.get(resource)
        if kept is None or kept[0] != self._generations[resource]:
            kept = self._made[resource] = (self._generations[resource], make(self.of(resource)))
        found: T = kept[1]
        return found

    def generation(self, resource: str) -> int:
        """Raised with each change of any object of the kind."""
        return self._generations[resource]
