"""What the scheduler is told of storage."""

from __future__ import annotations

from itertools import combinations

import orjson
import pytest

from edgekube.api.kinds import CSIDRIVER, CSINODE, PERSISTENTVOLUME, STORAGECLASS, Kind
from edgekube.api.objects import Object
from edgekube.reconcile.scheduler_feeds import Feed
from edgekube.reconcile.storage_feeds import StorageFeeds
from edgekube.scheduler.storage import Storage

KINDS = (PERSISTENTVOLUME, STORAGECLASS, CSINODE, CSIDRIVER)
SPECS: dict[Kind, Object] = {
    PERSISTENTVOLUME: {},
    CSINODE: {"drivers": [{"name": "d", "allocatable": {"count": 1}}]},
    CSIDRIVER: {"storageCapacity": True},
}


def names(known: Storage, kind: Kind) -> list[str]:
    return sorted({
        PERSISTENTVOLUME: known.volumes,
        STORAGECLASS: known.classes,
        CSINODE: known.limits,
        CSIDRIVER: known.counting_drivers,
    }[kind])  # fmt: skip


@pytest.mark.parametrize(("gone", "stays"), [pair for each in combinations(KINDS, 2) for pair in (each, each[::-1])])
def test_an_object_goes_even_if_one_of_another_kind_has_its_name(gone: Kind, stays: Kind) -> None:
    known = Storage()
    feeds: dict[Kind, Feed] = {feed.kind: feed for feed in StorageFeeds(known, lambda _: None, lambda: None).feeds()}
    for kind in (gone, stays):
        feeds[kind].begin()
        feeds[kind].add([orjson.dumps({"metadata": {"name": "nfs", "uid": kind.plural}, "spec": SPECS.get(kind)})])
        feeds[kind].finish(1)
    feeds[gone].begin()
    feeds[gone].finish(2)
    assert (names(known, gone), names(known, stays)) == ([], ["nfs"])
