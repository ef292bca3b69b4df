"""What the scheduler follows of storage.

Enters: lists and watch events, through reconcile.follow.
Leaves: scheduler.storage, kept current; StorageHappening for pods that wait.
Holds: managedFields are not kept; a choice that the API shows is remembered as a choice no more.
Next: reconcile.scheduling.
"""

from __future__ import annotations

from collections.abc import Callable

from edgekube.api import storage
from edgekube.api.kinds import (
    CSIDRIVER,
    CSINODE,
    CSISTORAGECAPACITY,
    PERSISTENTVOLUME,
    PERSISTENTVOLUMECLAIM,
    STORAGECLASS,
    VOLUMEATTACHMENT,
    Kind,
)
from edgekube.api.objects import Object, name_of, uid_of
from edgekube.reconcile.scheduler_feeds import Feed
from edgekube.scheduler.events import StorageHappening
from edgekube.scheduler.storage import ClaimKey, Storage, key_of


class StorageFeeds:
    def __init__(self, known: Storage, happened: Callable[[StorageHappening], None], moved: Callable[[], None]) -> None:
        self._known = known
        self._happened = happened
        #: A claim or a volume changed.
        self._moved = moved
        self._claims: dict[str, ClaimKey] = {}  # by uid
        self._names: dict[str, tuple[str, str]] = {}  # uid -> plural and name, of what has no namespace

    def feeds(self) -> list[Feed]:
        return [
            Feed(PERSISTENTVOLUMECLAIM, self._claim_changed, self._claim_gone),
            Feed(PERSISTENTVOLUME, self._volume_changed, self._volume_gone),
            Feed(STORAGECLASS, self._class_changed, self._class_gone),
            Feed(CSINODE, self._node_changed, self._node_gone),
            Feed(CSIDRIVER, self._driver_changed, self._driver_gone),
            Feed(CSISTORAGECAPACITY, self._capacity_changed, self._capacity_gone),
            Feed(VOLUMEATTACHMENT, self._attachment_changed, self._attachment_gone),
        ]

    def _claim_changed(self, claim: Object) -> None:
        claim["metadata"].pop("managedFields", None)
        key = self._claims[uid_of(claim)] = key_of(claim)
        self._known.claims[key] = claim
        self._moved()
        self._happened(StorageHappening(*key))

    def _claim_gone(self, uid: str) -> None:
        key = self._claims.pop(uid, None)
        if key is not None and key not in self._claims.values():
            self._known.claims.pop(key, None)
            self._moved()

    def _volume_changed(self, volume: Object) -> None:
        volume["metadata"].pop("managedFields", None)
        name = self._name(PERSISTENTVOLUME, volume)
        self._known.volumes[name] = volume
        if storage.claim_of(volume) is not None:
            self._known.chosen.pop(name, None)
        self._moved()
        self._happened(StorageHappening())

    def _volume_gone(self, uid: str) -> None:
        name = self._forget(uid)
        if name is not None:
            self._known.volumes.pop(name, None)
            self._known.chosen.pop(name, None)
            self._moved()

    def _class_changed(self, storage_class: Object) -> None:
        storage_class["metadata"].pop("managedFields", None)
        name = self._name(STORAGECLASS, storage_class)
        self._known.classes[name] = storage_class
        self._happened(StorageHappening())

    def _class_gone(self, uid: str) -> None:
        if (name := self._forget(uid)) is not None:
            self._known.classes.pop(name, None)

    def _node_changed(self, node: Object) -> None:
        name = self._name(CSINODE, node)
        before = self._known.limits.get(name)
        now = {
            str(driver.get("name")): int(driver["allocatable"]["count"])
            for driver in (node.get("spec") or {}).get("drivers") or ()
            if (driver.get("allocatable") or {}).get("count") is not None
        }
        if now != (before or {}):
            self._known.limits[name] = now
            self._happened(StorageHappening())

    def _node_gone(self, uid: str) -> None:
        if (name := self._forget(uid)) is not None:
            self._known.limits.pop(name, None)
            self._happened(StorageHappening())

    def _driver_changed(self, driver: Object) -> None:
        name = self._name(CSIDRIVER, driver)
        if (driver.get("spec") or {}).get("storageCapacity"):
            self._known.counting_drivers.add(name)
        else:
            self._known.counting_drivers.discard(name)
            self._happened(StorageHappening())

    def _driver_gone(self, uid: str) -> None:
        if (name := self._forget(uid)) is not None:
            self._known.counting_drivers.discard(name)

    def _capacity_changed(self, capacity: Object) -> None:
        capacity["metadata"].pop("managedFields", None)
        self._known.capacities[uid_of(capacity)] = capacity
        self._happened(StorageHappening())

    def _capacity_gone(self, uid: str) -> None:
        self._known.capacities.pop(uid, None)

    def _attachment_changed(self, attachment: Object) -> None:
        spec = attachment.get("spec") or {}
        volume = (spec.get("source") or {}).get("persistentVolumeName")
        if volume:
            self._known.attachments[uid_of(attachment)] = (str(spec.get("nodeName")), str(spec.get("attacher")), str(volume))

    def _attachment_gone(self, uid: str) -> None:
        if self._known.attachments.pop(uid, None) is not None:
            self._happened(StorageHappening())

    def _name(self, kind: Kind, obj: Object) -> str:
        name = name_of(obj)
        self._names[uid_of(obj)] = (kind.plural, name)
        return name

    def _forget(self, uid: str) -> str | None:
        """The name, unless a namesake of its kind is there already."""
        known = self._names.pop(uid, None)
        return None if known is None or known in self._names.values() else known[1]
