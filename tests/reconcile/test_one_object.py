"""One object by name: seen when it comes, kept while it stays, told about when it changes, and no neighbour is."""

from __future__ import annotations

import orjson
import trio

from edgekube.api.kinds import CONFIGMAP
from edgekube.api.objects import Object
from edgekube.reconcile.one_object import OneObject, follow_one
from tests.reconcile.conftest import Api


def config_map(name: str, value: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}}


def data_of(one: OneObject) -> object:
    return None if one.raw is None else orjson.loads(one.raw)["data"]


class Heard:
    """Waits for the next word of a change."""

    def __init__(self) -> None:
        self.count = 0
        self._event = trio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()
        self._event = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(60):
            while self.count < count:
                await self._event.wait()


async def test_an_object_comes_changes_and_goes(api: Api, nursery: trio.Nursery) -> None:
    heard = Heard()
    one = OneObject(heard)
    nursery.start_soon(follow_one, api.verbs, CONFIGMAP, "default", "wanted", one)
    with trio.fail_after(60):
        await one.synced.wait()
    assert data_of(one) is None and heard.count == 0, "that there is none is no change"
    await api.verbs.create(CONFIGMAP, "default", config_map("neighbour", "x"))
    await api.verbs.create(CONFIGMAP, "default", config_map("wanted", "a"))
    await heard.until(1)
    assert data_of(one) == {"key": "a"}
    await api.verbs.patch(CONFIGMAP, "default", "wanted", {"data": {"key": "b"}})
    await heard.until(2)
    assert data_of(one) == {"key": "b"}
    await api.verbs.delete(CONFIGMAP, "default", "wanted")
    await heard.until(3)
    assert data_of(one) is None and heard.count == 3


async def test_who_asks_for_it_hears_of_the_first_sight_too(api: Api, nursery: trio.Nursery) -> None:
    await api.verbs.create(CONFIGMAP, "default", config_map("wanted", "a"))
    heard, silent = Heard(), Heard()
    quiet = OneObject(silent)
    nursery.start_soon(follow_one, api.verbs, CONFIGMAP, "default", "wanted", quiet)
    nursery.start_soon(follow_one, api.verbs, CONFIGMAP, "default", "wanted", OneObject(heard, first=True))
    await heard.until(1)
    with trio.fail_after(60):
        await quiet.synced.wait()
    assert quiet.raw is not None and silent.count == 0
