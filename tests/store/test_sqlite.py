"""The SQLite engine: the suite that any engine passes, and what only this one does."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from edgekube import limits
from edgekube.store import schema
from edgekube.store.opening import check, open_database
from edgekube.store.protocol import Compacted, Group, Key, Record, StoreRefused
from edgekube.store.sqlite import EXPIRY_SECONDS, open_store
from tests.store.conformance import DURABLE, VOLATILE, Open, StoreConformance, document, everything, named, parity

EVENTS = "events"


def verify(path: Path) -> None:
    """A consistency check of the file as it lies there, by a connection of its own."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        check(path, connection)
    finally:
        connection.close()


def as_after_a_power_cut(path: Path, copy: Path) -> Path:
    """What is on disk now, under another name: the running store goes on, the copy was never closed."""
    copy.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(path.with_name(path.name + suffix), copy / (path.name + suffix))
    return copy / path.name


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "server" / "state.db"
    yield path
    if path.exists():
        verify(path)


class TestConformance(StoreConformance):
    @pytest.fixture
    def opened(self, path: Path) -> Open:
        return lambda: open_store(path, volatile_resources=frozenset({VOLATILE}))


class TestOpening:
    """A file that cannot be trusted is refused with advice, and left as it is."""

    async def refused(self, path: Path, advice: str) -> None:
        before = path.read_bytes()
        with pytest.raises(StoreRefused, match=advice):
            async with open_store(path):
                raise AssertionError("the file was accepted")
        assert path.read_bytes() == before

    async def test_a_file_that_is_not_a_database(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        path.write_bytes(b"hello " * 100)
        await self.refused(path, "not a SQLite database.*restore a snapshot")

    async def test_an_empty_file(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        path.touch()
        await self.refused(path, "is empty")

    async def test_a_database_of_another_program(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE kine (id INTEGER)")
        connection.close()
        await self.refused(path, "another program.*--data-dir")

    async def test_a_newer_schema(self, tmp_path: Path) -> None:
        path = tmp_path / "state.db"
        async with open_store(path):
            pass
        connection = sqlite3.connect(path)
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        connection.close()
        await self.refused(path, f"schema version {schema.VERSION + 1}.*install the edgekube that wrote it")

    async def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(StoreRefused, match="not a regular file"):
            async with open_store(tmp_path):
                raise AssertionError("the directory was accepted")

    async def test_a_log_without_its_database(self, tmp_path: Path) -> None:
        (tmp_path / "state.db-wal").write_bytes(b"x")
        with pytest.raises(StoreRefused, match="put the file back"):
            async with open_store(tmp_path / "state.db"):
                raise AssertionError("a new database was put beside an old log")
        assert not (tmp_path / "state.db").exists()

    async def test_a_second_process_is_told_that_the_data_is_in_use(self, path: Path) -> None:
        async with open_store(path) as store:
            await store.create(named("a"), document())
            with pytest.raises(StoreRefused, match="in use by another edgekube"):
                open_database(path)
        async with open_store(path) as store:
            assert await store.count(DURABLE) == 1

    @pytest.mark.parametrize("where", ["page", "value"])
    async def test_damage_found_after_an_unclean_stop(self, path: Path, tmp_path: Path, where: str) -> None:
        async with open_store(path) as store:
            for number in range(200):
                await store.create(named(str(number)), document(data=os.urandom(5000).hex()))
        damaged = tmp_path / "damaged.db"
        connection = sqlite3.connect(path)
        connection.execute("UPDATE counter SET clean_revision = NULL")
        connection.commit()
        connection.close()
        shutil.copy(path, damaged)
        content = bytearray(damaged.read_bytes())
        start = 8 * 4096 if where == "page" else content.rfind(b"\x78\x01") + 600
        content[start : start + 64] = b"\xff" * 64
        damaged.write_bytes(content)
        await self.refused(damaged, "damaged.*restore a snapshot")

    async def test_the_files_are_private(self, path: Path) -> None:
        async with open_store(path) as store:
            await store.create(named("a"), document())
            modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600, "state.db.lock": 0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700

    async def test_a_start_that_was_cut_while_it_made_the_file_is_made_up_for(self, path: Path) -> None:
        path.parent.mkdir()
        path.with_name("state.db.new").write_bytes(b"half")
        async with open_store(path) as store:
            await store.create(named("a"), document())
        assert not path.with_name("state.db.new").exists()


class TestSettings:
    async def test_commits_are_synced_and_the_log_is_bounded(self, path: Path) -> None:
        database = open_database(path)
        try:
            settings = {
                name: database.writer.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "journal_size_limit", "mmap_size")
            }
        finally:
            database.close()
        assert settings == {
            "journal_mode": "wal",
            "synchronous": 2,  # FULL
            "page_size": 4096,
            "wal_autocheckpoint": limits.WAL_PAGES_MAX,
            "journal_size_limit": limits.WAL_BYTES_KEPT_MAX,
            "mmap_size": 0,
        }


class TestMigrations:
    def test_steps_run_once_in_order_through_sqlite_utils(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
        schema.create(connection)
        connection.execute("PRAGMA user_version = 1")

        def add_note(database: Any) -> None:
            database["counter"].add_column("note", str)

        def fill_note(database: Any) -> None:
            database["counter"].update(1, {"note": "moved"})

        assert schema.migrate(connection, (add_note, fill_note)) == 2
        assert schema.version_of(connection) == 3
        assert connection.execute("SELECT note FROM counter").fetchone() == ("moved",)
        assert schema.migrate(connection, (add_note, fill_note)) == 0
        connection.close()

    def test_a_failed_step_leaves_the_version_before_it(self, tmp_path: Path) -> None:
        connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
        schema.create(connection)
        connection.execute("PRAGMA user_version = 1")

        def broken(database: Any) -> None:
            database.execute("DELETE FROM counter")
            raise RuntimeError("no further")

        with pytest.raises(RuntimeError, match="no further"):
            schema.migrate(connection, (broken,))
        assert schema.version_of(connection) == 1
        assert connection.execute("SELECT count(*) FROM counter").fetchone() == (1,)
        connection.close()


class TestRevisions:
    async def test_they_never_run_backwards_over_an_unclean_stop_even_for_volatile_writes(
        self, path: Path, tmp_path: Path
    ) -> None:
        volatile = frozenset({VOLATILE})
        async with open_store(path, volatile_resources=volatile) as store:
            await store.create(named("durable"), document())
            lease = await store.create(named("a", resource=VOLATILE), document())
            for _ in range(limits.REVISION_BLOCK // 2):
                lease = await store.update(lease.key, document(), expected_revision=lease.revision)
            cut = as_after_a_power_cut(path, tmp_path / "cut")
        async with open_store(cut, volatile_resources=volatile) as store:
            assert store.revision() >= lease.revision
            assert (await store.create(named("next"), document())).revision > lease.revision
            with pytest.raises(Compacted):
                async with store.watch(DURABLE, after=lease.revision):
                    raise AssertionError("changes that were lost would not be seen")

    async def test_a_volatile_write_that_a_new_block_lets_pass_is_met_again_in_the_writers_batch(
        self, path: Path, tmp_path: Path
    ) -> None:
        """At the first writes after a power cut: a new block of revisions is on its way to a slow disk, and a heartbeat comes."""
        async with open_store(path) as store:
            await store.create(named("before"), document())
            cut = as_after_a_power_cut(path, tmp_path / "cut")
        async with open_store(cut, volatile_resources=frozenset({VOLATILE})) as store, trio.open_nursery() as nursery:
            other = sqlite3.connect(cut, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")  # the disk is slow: whatever is written waits
            nursery.start_soon(store.create, named("durable"), document())
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(60):
                while not store._writer._queue.empty():  # a batch has been taken
                    await trio.to_thread.run_sync(time.sleep, 0.01)
            nursery.start_soon(store.create, named("a", resource=VOLATILE), document())
            nursery.start_soon(store.create, named("durable-2"), document())
            await trio.testing.wait_all_tasks_blocked()
            other.execute("ROLLBACK")
            other.close()
        async with open_store(cut, volatile_resources=frozenset({VOLATILE})) as store:
            assert len(await everything(store, VOLATILE)) == 1 and len(await everything(store, DURABLE)) == 3

    async def test_acknowledged_writes_survive_an_unclean_stop(self, path: Path, tmp_path: Path) -> None:
        async with open_store(path) as store:
            for number in range(50):
                record = await store.create(named(str(number)), document(data="x" * 3000))
                if number % 2:
                    await store.delete(record.key, document(), expected_revision=record.revision)
            acknowledged = await everything(store, DURABLE)
            cut = as_after_a_power_cut(path, tmp_path / "cut")
        async with open_store(cut) as store:
            assert await everything(store, DURABLE) == acknowledged

    async def test_a_first_list_of_a_group_that_is_given_up_leaves_the_next_to_read(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "LIST_CHUNK_ROWS_MAX", 1)
        found: list[list[Record]] = []
        async with open_store(path) as store, trio.open_nursery() as nursery:
            records = [await store.create(named(str(n)), document()) for n in range(6)]
            given_up = trio.CancelScope()

            async def first() -> None:
                with given_up:
                    await store.list(DURABLE, group=Group(parity, "1"))

            async def second() -> None:
                found.append((await store.list(DURABLE, group=Group(parity, "1"))).records)

            nursery.start_soon(first)
            nursery.start_soon(second)
            await trio.lowlevel.checkpoint()
            given_up.cancel()
            changed = await store.update(records[0].key, document(), expected_revision=records[0].revision)
        now = [changed, *records[1:]]
        wanted = [[record for record in each if parity(record.value) == "1"] for each in (records, now)]
        assert found[0] in wanted, "as it was before the change, or after"

    async def test_a_page_older_than_upstreams_compaction_is_refused(self, path: Path, mock_clock: MockClock) -> None:
        async with open_store(path) as store:
            for number in range(4):
                await store.create(named(str(number)), document())
            page = await store.list(DURABLE, limit=2)
            mock_clock.jump(limits.LIST_REVISION_AGE_SECONDS_MAX + 1)
            assert (await store.list(DURABLE, limit=2, after=page.next_after, revision=page.revision)).remaining == 0
            await store.create(named("heartbeat", resource="another"), document())
            mock_clock.jump(limits.LIST_REVISION_AGE_SECONDS_MAX + 1)
            with pytest.raises(Compacted):
                await store.list(DURABLE, limit=2, after=page.next_after, revision=page.revision)


class TestVolatile:
    async def test_rows_reach_the_disk_now_and_then_in_one_commit(
        self, path: Path, tmp_path: Path, mock_clock: MockClock
    ) -> None:
        async with open_store(path, volatile_resources=frozenset({VOLATILE}), flush_interval_seconds=600) as store:
            records = [await store.create(named(str(n), resource=VOLATILE), document()) for n in range(20)]
            early = as_after_a_power_cut(path, tmp_path / "early")
            mock_clock.jump(601)
            await store.flush()
            late = as_after_a_power_cut(path, tmp_path / "late")
        async with open_store(early, volatile_resources=frozenset({VOLATILE})) as store:
            assert await store.count(VOLATILE) == 0
        async with open_store(late, volatile_resources=frozenset({VOLATILE})) as store:
            assert list((await everything(store, VOLATILE)).values()) == sorted(records, key=lambda r: r.key)

    async def test_a_deleted_lease_does_not_outlive_the_next_durable_commit(self, path: Path, tmp_path: Path) -> None:
        async with open_store(path, volatile_resources=frozenset({VOLATILE})) as store:
            lease = await store.create(named("a", resource=VOLATILE), document())
            await store.flush()
            await store.delete(lease.key, document(), expected_revision=lease.revision)
            await store.create(named("after"), document())
            cut = as_after_a_power_cut(path, tmp_path / "cut")
        async with open_store(cut, volatile_resources=frozenset({VOLATILE})) as store:
            assert await store.count(VOLATILE) == 0

    async def test_expired_rows_are_deleted_and_watchers_told(self, path: Path, autojump_clock: MockClock) -> None:
        ttl = {EVENTS: 3600.0}
        async with open_store(path, volatile_resources=frozenset({EVENTS, VOLATILE}), ttl_seconds=ttl) as store:
            old = await store.create(named("old", resource=EVENTS), document(note="kept"))
            await store.create(named("lease", resource=VOLATILE), document())
            await trio.sleep(1800)
            young = await store.create(named("young", resource=EVENTS), document())
            async with store.watch(EVENTS, after=store.revision()) as watcher:
                await trio.sleep(1800 + 2 * EXPIRY_SECONDS)
                (change,) = await watcher.receive()
            assert (change.type, change.key, change.previous) == ("DELETED", old.key, old.value)
            assert orjson.loads(change.value) == {"metadata": {"resourceVersion": str(change.revision)}, "note": "kept"}
            assert await everything(store, EVENTS) == {young.key: young}
            assert await store.count(VOLATILE) == 1

    async def test_the_oldest_events_give_way_when_there_are_too_many(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        resources = frozenset({EVENTS, VOLATILE})
        async with open_store(path, volatile_resources=resources, ttl_seconds={EVENTS: 3600.0}) as store:
            await store.create(named("lease", resource=VOLATILE), document())
            for number in range(limits.VOLATILE_OBJECTS_MAX):
                await store.create(Key(EVENTS, "default", f"{number:05}"), document())
            assert await store.count(EVENTS) == limits.VOLATILE_OBJECTS_MAX - 1
            assert await store.count(VOLATILE) == 1
            assert await store.get(Key(EVENTS, "default", "00000")) is None
            assert await store.get(Key(EVENTS, "default", "00001")) is not None


class TestSnapshot:
    async def test_a_snapshot_stands_in_for_the_database(self, path: Path, tmp_path: Path) -> None:
        volatile = frozenset({VOLATILE})
        copy = tmp_path / "copy.db"
        async with open_store(path, volatile_resources=volatile) as store:
            for resource in (DURABLE, VOLATILE):
                await store.create(named("a", resource=resource), document(data="x" * 5000))
            before = [await everything(store, resource) for resource in (DURABLE, VOLATILE)]
            await store.snapshot(copy)
            await store.create(named("later"), document())
            with pytest.raises(FileExistsError):
                await store.snapshot(copy)
        assert copy.stat().st_mode & 0o777 == 0o600
        async with open_store(copy, volatile_resources=volatile) as store:
            assert [await everything(store, resource) for resource in (DURABLE, VOLATILE)] == before
