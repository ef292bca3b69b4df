"""What every engine behind store.protocol must do: subclass ``StoreConformance`` and give it an engine.

Enters: a fixture ``opened`` that opens the same data again and again.
Leaves: nothing.
Holds: the suite speaks the Protocol only, plus closing and opening.
``VOLATILE`` names a volatile resource, ``DURABLE`` a durable one.
Next: tests.store.test_sqlite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

import orjson
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube import limits
from edgekube.store.protocol import (
    Change,
    Compacted,
    Encode,
    FutureRevision,
    Group,
    Key,
    KeyExists,
    KeyMissing,
    Page,
    Record,
    RevisionConflict,
    Store,
    Topic,
    WatcherTooSlow,
)

DURABLE: Final = "configmaps"
VOLATILE: Final = "leases.coordination.k8s.io"

#: Opens the engine on the same data each time.
Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]


def document(**fields: Any) -> Encode:
    return lambda revision: orjson.dumps({"metadata": {"resourceVersion": str(revision)}, **fields})


def named(name: str, namespace: str = "default", resource: str = DURABLE) -> Key:
    return Key(resource, namespace, name)


def names(page: Page) -> list[str]:
    return [record.key.name for record in page.records]


async def everything(store: Store, resource: str) -> dict[Key, Record]:
    return {record.key: record for record in (await store.list(resource)).records}


def parity(document: bytes) -> str:
    """A group that changes with most writes."""
    return str(int(orjson.loads(document)["metadata"]["resourceVersion"]) % 2)


async def in_pages(
    store: Store, resource: str, limit: int, revision: int | None = None, group: Group | None = None
) -> list[Record]:
    """A whole list, page by page, at the revision of its first page."""
    page = await store.list(resource, limit=limit, revision=revision, group=group)
    records = list(page.records)
    while page.next_after is not None:
        assert len(page.records) == limit
        behind = page.remaining
        page = await store.list(resource, limit=limit, after=page.next_after, revision=page.revision, group=group)
        assert page.remaining == behind - len(page.records)
        records += page.records
    assert page.remaining == 0
    return records


def replay(state: dict[Key, Record], changes: Sequence[Change]) -> None:
    """What a watcher makes of changes; it also checks each against what it knew."""
    for change in changes:
        known = state.pop(change.key, None)
        assert change.previous == (known.value if known else None)
        assert (change.type == "ADDED") == (known is None)
        assert orjson.loads(change.value)["metadata"]["resourceVersion"] == str(change.revision)
        if change.type != "DELETED":
            state[change.key] = Record(change.key, change.revision, change.value)


class StoreConformance:
    @pytest.fixture
    def opened(self) -> Open:
        raise NotImplementedError

    # --- writes

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_a_created_object_is_read_back(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            before = store.revision()
            created = await store.create(named("a", resource=resource), document(data="1"))
            assert created.revision > before
            assert store.revision() == created.revision
            assert orjson.loads(created.value) == {"metadata": {"resourceVersion": str(created.revision)}, "data": "1"}
            assert await store.get(created.key) == created
            assert (await store.list(resource)).records == [created]
            assert await store.count(resource) == 1

    async def test_the_first_revision_is_above_zero_since_zero_means_any(self, opened: Open) -> None:
        async with opened() as store:
            assert store.revision() > 0

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_create_refuses_a_taken_key(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            first = await store.create(named("a", resource=resource), document())
            with pytest.raises(KeyExists):
                await store.create(first.key, document())
            assert await store.get(first.key) == first
            assert store.revision() == first.revision

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_update_and_delete_want_the_latest_revision(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            key = named("a", resource=resource)
            with pytest.raises(KeyMissing):
                await store.update(key, document(), expected_revision=1)
            with pytest.raises(KeyMissing):
                await store.delete(key, document(), expected_revision=1)
            first = await store.create(key, document(data="1"))
            second = await store.update(key, document(data="2"), expected_revision=first.revision)
            assert second.revision > first.revision
            with pytest.raises(RevisionConflict):
                await store.update(key, document(data="3"), expected_revision=first.revision)
            with pytest.raises(RevisionConflict):
                await store.delete(key, document(), expected_revision=first.revision)
            assert await store.get(key) == second
            gone = await store.delete(key, document(data="bye"), expected_revision=second.revision)
            assert orjson.loads(gone.value)["data"] == "bye"
            assert await store.get(key) is None
            assert await store.count(resource) == 0

    async def test_a_deleted_key_can_be_taken_again(self, opened: Open) -> None:
        async with opened() as store:
            first = await store.create(named("a"), document())
            gone = await store.delete(first.key, document(), expected_revision=first.revision)
            again = await store.create(first.key, document())
            assert first.revision < gone.revision < again.revision

    async def test_encode_is_called_once_with_the_revision_of_the_record(self, opened: Open) -> None:
        calls: list[int] = []

        def encode(revision: int) -> bytes:
            calls.append(revision)
            return b'{"metadata":{"resourceVersion":"%d"}}' % revision

        async with opened() as store:
            for resource in (DURABLE, VOLATILE):
                created = await store.create(named("a", resource=resource), encode)
                assert calls == [created.revision]
                calls.clear()

    async def test_a_failing_encode_harms_nobody(self, opened: Open) -> None:
        def encode(revision: int) -> bytes:
            raise ValueError("no")

        async with opened() as store:
            with pytest.raises(ValueError, match="no"):
                await store.create(named("a"), encode)
            assert await store.get(named("a")) is None
            assert (await store.create(named("a"), document())).revision == store.revision()

    async def test_of_rivals_for_one_key_exactly_one_wins(self, opened: Open) -> None:
        outcomes: list[str] = []

        async def rival(store: Store, number: int) -> None:
            try:
                await store.update(named("a"), document(by=number), expected_revision=first.revision)
                outcomes.append("won")
            except RevisionConflict:
                outcomes.append("lost")

        async with opened() as store:
            first = await store.create(named("a"), document())
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(rival, store, number)
            assert sorted(outcomes) == ["lost"] * 19 + ["won"]

    async def test_one_writers_conflict_does_not_fail_its_neighbours(self, opened: Open) -> None:
        taken = 0

        async def create(store: Store, name: str) -> None:
            nonlocal taken
            try:
                await store.create(named(name), document())
            except KeyExists:
                taken += 1

        async with opened() as store:
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(create, store, str(number % 20))
            assert taken == 20
            assert await store.count(DURABLE) == 20

    async def test_a_cancelled_write_happens_whole_or_not_at_all(self, opened: Open) -> None:
        async with opened() as store, store.watch(DURABLE, after=store.revision()) as watcher:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    for number in range(10):
                        nursery.start_soon(store.create, named(str(number)), document())
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            last = await store.create(named("last"), document())
            state: dict[Key, Record] = {}
            while last.key not in state:
                replay(state, await watcher.receive())
            assert state == await everything(store, DURABLE)

    # --- lists

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_a_list_is_ordered_by_namespace_and_name(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            for namespace, name in (("b", "a"), ("a-b", "z"), ("a", "b"), ("a", "a"), ("", "node")):
                await store.create(named(name, namespace, resource), document())
            await store.create(named("a", "a", "other"), document())
            page = await store.list(resource)
            assert [r.key[1:] for r in page.records] == [("", "node"), ("a", "a"), ("a", "b"), ("a-b", "z"), ("b", "a")]
            assert (page.next_after, page.remaining, page.revision) == (None, 0, store.revision())
            assert names(await store.list(resource, "a")) == ["a", "b"]
            assert names(await store.list(resource, "")) == ["node"]
            assert names(await store.list("unknown")) == []

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_documents_are_those_of_a_list(self, opened: Open, resource: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "LIST_CHUNK_ROWS_MAX", 2)
        async with opened() as store:
            for count in range(6):  # chunks that are full, and those that are not
                for namespace in (None, "a", "a-b", "none"):
                    page = await store.list(resource, namespace)
                    assert await store.documents(resource, namespace) == ([r.value for r in page.records], page.revision)
                await store.create(named(f"{9 - count}", "a", resource), document())
                await store.create(named(f"{count}", "a-b", resource), document())
            await store.create(named("large", "a", resource), document(text="large" * 2000))
            assert (await store.documents(resource, "a")).values[-1] == (await store.list(resource, "a")).records[-1].value
            assert await store.documents("unknown") == ([], store.revision())

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_documents_are_a_state_that_was(self, opened: Open, resource: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "LIST_CHUNK_ROWS_MAX", 1)
        async with opened() as store:
            records = [await store.create(named(f"{number:03}", resource=resource), document()) for number in range(100)]

            async def change(record: Record) -> None:
                await store.update(record.key, document(changed=True), expected_revision=record.revision)

            for record in records[-20:]:  # behind where the reader is when it comes
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(change, record)
                    documents = await store.documents(resource)
                then = await store.list(resource, revision=documents.revision)
                assert documents.values == [record.value for record in then.records]

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_pages_tell_what_is_behind_them(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            for number in range(7):
                await store.create(named(str(number), resource=resource), document())
            first = await store.list(resource, limit=3)
            assert (names(first), first.remaining) == (["0", "1", "2"], 4)
            second = await store.list(resource, limit=4, after=first.next_after, revision=first.revision)
            assert (names(second), second.remaining, second.next_after) == (["3", "4", "5", "6"], 0, None)

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_pages_stay_at_their_revision(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            for number in range(0, 20, 2):
                await store.create(named(f"{number:02}", resource=resource), document())
            then = list((await everything(store, resource)).values())
            first = await store.list(resource, limit=2)
            for record in then[1:8]:
                await store.update(record.key, document(changed=True), expected_revision=record.revision)
            for record in then[3:6]:
                now = await store.get(record.key)
                assert now is not None
                await store.delete(now.key, document(), expected_revision=now.revision)
            for number in range(1, 20, 4):
                await store.create(named(f"{number:02}", resource=resource), document())
            await store.create(then[4].key, document(again=True))
            for limit in (1, 2, 3, 5, 100):
                assert await in_pages(store, resource, limit, first.revision) == then
            assert (await store.list(resource, revision=first.revision)).records == then

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_a_list_of_a_group_is_that_of_all_without_the_others(self, opened: Open, resource: str) -> None:
        async with opened() as store:
            records = [await store.create(named(str(n), "ab"[n % 2], resource), document()) for n in range(6)]
            for group in ("0", "1", "2"):
                wanted = [record for record in sorted(records) if parity(record.value) == group]
                assert (await store.list(resource, group=Group(parity, group))).records == wanted
                in_a = [record for record in wanted if record.key.namespace == "a"]
                assert (await store.list(resource, "a", group=Group(parity, group))).records == in_a
            then = store.revision()
            moved = await store.update(records[0].key, document(), expected_revision=records[0].revision)
            if parity(moved.value) == parity(records[0].value):
                moved = await store.update(moved.key, document(), expected_revision=moved.revision)
            await store.delete(records[2].key, document(), expected_revision=records[2].revision)
            left = [moved, *(record for record in records[1:] if record != records[2])]
            for group in ("0", "1"):
                wanted = [record for record in sorted(left) if parity(record.value) == group]
                assert (await store.list(resource, group=Group(parity, group))).records == wanted
                before = [record for record in sorted(records) if parity(record.value) == group]
                assert await in_pages(store, resource, 1, then, Group(parity, group)) == before
        async with opened() as store:
            found = (await store.list(resource, group=Group(parity, parity(moved.value)))).records
            assert moved in found, "read anew"

    async def test_a_list_at_a_revision_to_come_is_refused(self, opened: Open) -> None:
        async with opened() as store:
            with pytest.raises(FutureRevision):
                await store.list(DURABLE, revision=store.revision() + 1)

    async def test_a_list_beside_writers_is_a_state_that_was(self, opened: Open) -> None:
        """A list and the watch after it show every change exactly once, however the commits fall."""

        async def write(store: Store, name: str, resource: str) -> None:
            for _ in range(8):
                record = await store.create(named(name, resource=resource), document())
                record = await store.update(record.key, document(), expected_revision=record.revision)
                await store.delete(record.key, document(), expected_revision=record.revision)
            await store.create(named(name, resource=resource), document())

        async def observe(store: Store, resource: str, limit: int) -> None:
            for _ in range(6):
                documents = await store.documents(resource)
                page = await store.list(resource, revision=documents.revision)
                assert documents.values == [record.value for record in page.records]
                page = await store.list(resource, limit=limit)
                state = {record.key: record for record in page.records}
                assert all(record.revision <= page.revision for record in page.records)
                if limit:
                    full = await store.list(resource, revision=page.revision)
                    assert full.records[:limit] == page.records
                    assert page.remaining == len(full.records) - len(page.records)
                    state = {record.key: record for record in full.records}
                odd = await store.list(resource, revision=page.revision, group=Group(parity, "1"))
                assert odd.records == [record for record in sorted(state.values()) if parity(record.value) == "1"]
                async with store.watch(resource, after=page.revision) as watcher:
                    replay(state, await watcher.receive())
                    at = await store.list(resource, revision=watcher.progress())
                    assert state == {record.key: record for record in at.records}

        async with opened() as store:
            for resource in (DURABLE, VOLATILE):
                async with trio.open_nursery() as nursery:
                    for limit in (0, 3):
                        nursery.start_soon(observe, store, resource, limit)
                    for name in "abcdef":
                        nursery.start_soon(write, store, name, resource)
                    await trio.lowlevel.checkpoint()
                    while len(nursery.child_tasks) > 0:
                        # Observers wait for one change each: give them one until they are done.
                        await store.create(named(f"tick{store.revision()}", resource=resource), document())

    # --- watches

    @pytest.mark.parametrize("resource", [DURABLE, VOLATILE])
    async def test_a_watcher_sees_each_change_of_its_resource_once_in_order(self, opened: Open, resource: str) -> None:
        async with opened() as store, store.watch(resource, after=store.revision()) as watcher:
            created = await store.create(named("a", resource=resource), document())
            await store.create(named("a", resource="other"), document())
            updated = await store.update(created.key, document(data="2"), expected_revision=created.revision)
            gone = await store.delete(created.key, document(data="bye"), expected_revision=updated.revision)
            assert list(await watcher.receive()) == [
                Change("ADDED", created.key, created.revision, created.value, None),
                Change("MODIFIED", created.key, updated.revision, updated.value, created.value),
                Change("DELETED", created.key, gone.revision, gone.value, updated.value),
            ]

    async def test_a_watcher_of_a_namespace_sees_only_that(self, opened: Open) -> None:
        async with opened() as store, store.watch(DURABLE, "here", after=store.revision()) as watcher:
            await store.create(named("a", "there"), document())
            here = await store.create(named("a", "here"), document())
            assert [change.revision for change in await watcher.receive()] == [here.revision]

    async def test_a_watcher_of_a_topic_sees_what_comes_to_it_and_what_leaves_it(self, opened: Open) -> None:
        def colour(change: Change) -> set[str]:
            return {orjson.loads(value)["data"] for value in (change.value, change.previous) if value is not None}

        async with opened() as store:
            start = store.revision()
            async with store.watch(DURABLE, after=start, topic=Topic(colour, "red")) as watcher:
                first = await store.create(named("a"), document(data="blue"))
                second = await store.update(first.key, document(data="red"), expected_revision=first.revision)
                await store.create(named("b"), document(data="green"))
                third = await store.update(first.key, document(data="green"), expected_revision=second.revision)
                await store.delete(first.key, document(data="green"), expected_revision=third.revision)
                seen = list(await watcher.receive())
                assert [change.revision for change in seen] == [second.revision, third.revision]
                assert watcher.progress() == store.revision()
            # Somebody who resumes is told the same.
            async with store.watch(DURABLE, "default", after=start, topic=Topic(colour, "red")) as watcher:
                assert list(await watcher.receive()) == seen

    async def test_a_watcher_resumes_after_the_revision_that_it_names(self, opened: Open) -> None:
        async with opened() as store:
            records = [await store.create(named(str(number)), document()) for number in range(4)]
            async with store.watch(DURABLE, after=records[1].revision) as watcher:
                assert [change.revision for change in await watcher.receive()] == [r.revision for r in records[2:]]

    async def test_a_waiting_watcher_is_woken(self, opened: Open) -> None:
        seen: list[str] = []

        async def wait(watcher: Any) -> None:
            seen.extend(change.key.name for change in await watcher.receive())

        async with opened() as store, store.watch(DURABLE, after=store.revision()) as watcher:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait, watcher)
                await wait_all_tasks_blocked()
                await store.create(named("a"), document())
            assert seen == ["a"]

    async def test_a_cancelled_receive_loses_nothing(self, opened: Open) -> None:
        async with opened() as store, store.watch(DURABLE, after=store.revision()) as watcher:
            with trio.move_on_after(0):
                await watcher.receive()
            created = await store.create(named("a"), document())
            with trio.move_on_after(0):
                await watcher.receive()
            assert [change.revision for change in await watcher.receive()] == [created.revision]

    async def test_a_nudge_is_answered_once_and_loses_nothing(self, opened: Open) -> None:
        async with opened() as store, store.watch(DURABLE, after=store.revision()) as watcher:
            watcher.nudge()
            assert not await watcher.receive()
            watcher.nudge()
            created = await store.create(named("a"), document())
            assert [change.revision for change in await watcher.receive()] == [created.revision]
            async with trio.open_nursery() as nursery:
                told: list[object] = []

                async def wait() -> None:
                    told.append(await watcher.receive())

                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
                watcher.nudge()
            assert not told[0]

    async def test_who_is_cancelled_hears_of_it_after_the_write(self, opened: Open) -> None:
        async with opened() as store:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(store.create, named("a"), document())
                    await wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                assert await store.get(named("a")) is not None
            assert not scope.cancelled_caught

    async def test_progress_is_what_a_bookmark_may_say(self, opened: Open) -> None:
        async with opened() as store, store.watch(DURABLE, after=store.revision()) as watcher:
            start = store.revision()
            assert watcher.progress() == start
            other = await store.create(named("a", resource="other"), document())
            assert watcher.progress() == other.revision
            mine = await store.create(named("a"), document())
            assert watcher.progress() == other.revision
            await watcher.receive()
            assert watcher.progress() == mine.revision

    async def test_a_watch_from_the_future_is_refused(self, opened: Open) -> None:
        async with opened() as store:
            with pytest.raises(FutureRevision):
                async with store.watch(DURABLE, after=store.revision() + 1):
                    raise AssertionError("the watch was accepted")

    async def test_a_watcher_that_does_not_read_is_closed_and_its_neighbour_is_not(self, opened: Open) -> None:
        total = limits.WATCH_BACKLOG_EVENTS_MAX + 1
        async with opened() as store:
            after = store.revision()
            async with store.watch(VOLATILE, after=after) as slow, store.watch(VOLATILE, after=after) as reading:
                received = 0
                record = await store.create(named("a", resource=VOLATILE), document())
                for _ in range(total - 1):
                    record = await store.update(record.key, document(), expected_revision=record.revision)
                    received += len(await reading.receive())
                assert received == total
                with pytest.raises(WatcherTooSlow):
                    await slow.receive()

    # --- over restarts

    async def test_a_clean_restart_keeps_everything_and_the_revision(self, opened: Open) -> None:
        async with opened() as store:
            for resource in (DURABLE, VOLATILE):
                records = [await store.create(named(str(n), resource=resource), document(n="n" * 10**n)) for n in range(6)]
                await store.update(records[0].key, document(n="new"), expected_revision=records[0].revision)
                await store.delete(records[1].key, document(), expected_revision=records[1].revision)
            before = {resource: await everything(store, resource) for resource in (DURABLE, VOLATILE)}
            revision = store.revision()
        async with opened() as store:
            assert store.revision() == revision
            assert {resource: await everything(store, resource) for resource in (DURABLE, VOLATILE)} == before
            assert (await store.create(named("next"), document())).revision > revision

    async def test_after_a_restart_only_the_latest_revision_can_be_resumed(self, opened: Open) -> None:
        async with opened() as store:
            first = await store.create(named("a"), document())
            last = await store.create(named("b"), document())
        async with opened() as store:
            with pytest.raises(Compacted):
                async with store.watch(DURABLE, after=first.revision):
                    raise AssertionError("the watch was accepted")
            with pytest.raises(Compacted):
                await store.list(DURABLE, revision=first.revision)
            async with store.watch(DURABLE, after=last.revision) as watcher:
                created = await store.create(named("c"), document())
                assert [change.revision for change in await watcher.receive()] == [created.revision]
