"""A watch that begins with what there is: of one moment, page by page, and not more in memory than its share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CONFIGMAP
from edgekube.api.verbs import WatchEvent
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.registry.watch import WatchOptions, watch
from tests.registry.cluster import ADMIN, config_map, open_registry

STREAM = WatchOptions(send_initial_events=True, revision_match="NotOlderThan", allow_bookmarks=True)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    async with open_registry(tmp_path / "state.db") as registry:
        yield registry


@pytest.fixture
async def verbs(registry: Registry) -> LocalVerbs:
    return LocalVerbs(registry, ADMIN)


def _seen(events: list[WatchEvent]) -> list[tuple[str, str, str]]:
    objects = [(event.type, orjson.loads(event.raw)) for event in events]
    return [(kind, obj["metadata"].get("name", ""), (obj.get("data") or {}).get("key", "")) for kind, obj in objects]


async def test_the_state_is_of_one_moment_and_changes_follow(registry: Registry, verbs: LocalVerbs) -> None:
    names = [f"c{number:03}" for number in range(3 * limits.WATCH_INITIAL_OBJECTS_MIN)]
    for name in names:
        await verbs.create(CONFIGMAP, "default", config_map(name))
    async with watch(registry, CONFIGMAP, "default", STREAM) as stream:
        begun = await stream.receive()
        assert 0 < len(begun) < len(names), "what is not taken yet is not read yet"
        await verbs.delete(CONFIGMAP, "default", names[-1])
        await verbs.patch(CONFIGMAP, "default", names[-2], {"data": {"key": "later"}})
        seen = _seen(begun)
        while seen[-1][0] == "ADDED":
            seen += _seen(await stream.receive())
        assert seen == [*(("ADDED", name, "value") for name in names), ("BOOKMARK", "", "")]
        following = _seen(await stream.receive())
        while len(following) < 2:
            following += _seen(await stream.receive())
        assert following == [("DELETED", names[-1], "value"), ("MODIFIED", names[-2], "later")]
    assert registry.initial_readers == 0


async def test_a_reader_that_is_too_slow_for_the_history_is_told(registry: Registry, verbs: LocalVerbs) -> None:
    for number in range(3 * limits.WATCH_INITIAL_OBJECTS_MIN):
        await verbs.create(CONFIGMAP, "default", config_map(f"c{number:03}"))
    large = "x" * 900_000
    async with watch(registry, CONFIGMAP, "default", STREAM) as stream:
        await stream.receive()
        for number in range(limits.WATCH_RING_BYTES_MAX // len(large) + 1):
            await verbs.create(CONFIGMAP, "kube-system", config_map(f"large{number}", {"key": large}))
        with pytest.raises(StatusError) as error:
            while await stream.receive():
                pass
    assert (error.value.reason, registry.initial_readers) == ("Expired", 0)


async def test_many_who_begin_at_once_share_what_there_is(registry: Registry, verbs: LocalVerbs) -> None:
    payload = "x" * 10_000
    for number in range(100):
        await verbs.create(CONFIGMAP, "default", config_map(f"c{number:03}", {"key": payload}))
    readers = limits.WATCH_INITIAL_BYTES // limits.WATCH_INITIAL_READER_BYTES
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(watch(registry, CONFIGMAP, "default", STREAM)) for _ in range(readers)]
        assert registry.initial_readers == readers
        for _ in range(2):
            held = sum(len(event.raw) for event in await streams[-1].receive())
        assert held <= limits.WATCH_INITIAL_OBJECTS_MIN * (len(payload) + 500)
    assert registry.initial_readers == 0
    async with watch(registry, CONFIGMAP, "default", STREAM) as stream:
        await stream.receive()
        assert len(await stream.receive()) > limits.WATCH_INITIAL_OBJECTS_MIN, "one alone is not held back"
