"""What the scheduler follows, each kind told of by whole objects.

Enters: lists and watch events, through reconcile.follow.
Leaves: decoded objects to whoever asked, and names of those that are gone; scheduler.surroundings, kept current.
Holds: what is remembered here is who there is, nothing of what they say.
Next: reconcile.scheduling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson
import trio

from edgekube.api.kinds import (
    NAMESPACE,
    PODDISRUPTIONBUDGET,
    REPLICASET,
    REPLICATIONCONTROLLER,
    SERVICE,
    STATEFULSET,
    Kind,
)
from edgekube.api.objects import Object, labels_of, name_of, namespace_of, uid_of
from edgekube.api.selectors.labels import label_selector_of_set
from edgekube.api.verbs import DELETED, WatchEvent
from edgekube.scheduler.surroundings import Surroundings, budget_of
from edgekube.scheduler.terms import selector_of


class Feed:
    """A Sink that hands decoded objects on and remembers only who there is."""

    def __init__(self, kind: Kind, changed: Callable[[Object], None], gone: Callable[[str], None]) -> None:
        self.kind = kind
        self.synced = trio.Event()
        self._changed = changed
        self._gone = gone
        self._uids: set[str] = set()
        self._listing: set[str] = set()
        self._revision = 0

    def begin(self) -> None:
        self._listing = set()

    def add(self, items: Sequence[bytes]) -> None:
        for raw in items:
            obj: Object = orjson.loads(raw)
            self._listing.add(uid_of(obj))
            self._changed(obj)

    def finish(self, revision: int) -> None:
        for uid in self._uids - self._listing:
            self._gone(uid)
        self._uids, self._listing = self._listing, set()
        self._revision = revision
        self.synced.set()

    def apply(self, event: WatchEvent) -> None:
        obj = event.object()
        self._revision = int(obj["metadata"]["resourceVersion"])
        uid = uid_of(obj)
        if event.type == DELETED:
            self._uids.discard(uid)
            self._gone(uid)
        else:
            self._uids.add(uid)
            self._changed(obj)

    def progressed(self, revision: int) -> None:
        self._revision = max(self._revision, revision)

    def resume_from(self) -> int:
        return self._revision


def surrounding_feeds(around: Surroundings) -> list[Feed]:
    """Namespaces, services, what owns pods, and what protects them."""
    names: dict[str, tuple[str, str]] = {}  # uid of a namespace or service -> namespace and name

    def namespace_changed(namespace: Object) -> None:
        name = name_of(namespace)
        names[uid_of(namespace)] = ("", name)
        around.namespaces[name] = labels_of(namespace)

    def namespace_gone(uid: str) -> None:
        _, name = names.pop(uid, ("", ""))
        if ("", name) not in names.values():
            around.namespaces.pop(name, None)

    def service_changed(service: Object) -> None:
        namespace, name = namespace_of(service), name_of(service)
        names[uid_of(service)] = (namespace, name)
        selector = (service.get("spec") or {}).get("selector")
        if selector:
            around.services.setdefault(namespace, {})[name] = selector
        else:
            around.services.get(namespace, {}).pop(name, None)

    def service_gone(uid: str) -> None:
        namespace, name = names.pop(uid, ("", ""))
        if name and (namespace, name) not in names.values():
            around.services.get(namespace, {}).pop(name, None)
            if not around.services.get(namespace):
                around.services.pop(namespace, None)

    def owner_changed(owner: Object) -> None:
        around.owners[uid_of(owner)] = selector_of((owner.get("spec") or {}).get("selector"))

    def controller_changed(owner: Object) -> None:
        around.owners[uid_of(owner)] = label_selector_of_set((owner.get("spec") or {}).get("selector"))

    def owner_gone(uid: str) -> None:
        around.owners.pop(uid, None)

    def budget_changed(budget: Object) -> None:
        around.budgets[uid_of(budget)] = budget_of(budget)

    def budget_gone(uid: str) -> None:
        around.budgets.pop(uid, None)

    return [
        Feed(PODDISRUPTIONBUDGET, budget_changed, budget_gone),
        Feed(NAMESPACE, namespace_changed, namespace_gone),
        Feed(SERVICE, service_changed, service_gone),
        Feed(REPLICASET, owner_changed, owner_gone),
        Feed(STATEFULSET, owner_changed, owner_gone),
        Feed(REPLICATIONCONTROLLER, controller_changed, owner_gone),
    ]
