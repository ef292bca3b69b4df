"""What the store costs, beside raw sqlite3 on the same disk in the same run. Prints JSON.

Enters: nothing but an optional directory (default: a temporary one where the system puts them).
Leaves: commits a second alone, with 16 and with 64 writers; what gets, lists and watchers wait; bytes written per update.
Next: docs; no test asserts on these.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson
import trio

from edgekube.store.protocol import Encode, Key
from edgekube.store.sqlite import SqliteStore, open_store

SECONDS = 1.0


def document(size_bytes: int) -> Encode:
    filler = "".join(f"field{number}: value, " for number in range(size_bytes // 18))
    body = orjson.dumps({"data": {"filler": filler}, "kind": "ConfigMap"})[1:]
    return lambda revision: b'{"metadata":{"resourceVersion":"%d"},' % revision + body


def written_bytes() -> int:
    """What this process gave the kernel to write (proc(5), io: wchar counts write calls, pwrite64 too)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("wchar")))


def floor(directory: Path) -> dict[str, Any]:
    """Raw sqlite3, one thread: an insert, a look-up and a scan of the same shape."""
    connection = sqlite3.connect(directory / "floor.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE objects (id INTEGER PRIMARY KEY, name TEXT UNIQUE, value BLOB)")
    value = document(500)(1)
    count, end = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        connection.execute("INSERT INTO objects (name, value) VALUES (?, ?)", (str(count), value))
        count += 1
    start = time.perf_counter()
    for number in range(5000):
        connection.execute("SELECT value FROM objects WHERE name = ?", (str(number % count),)).fetchone()
    get_us = (time.perf_counter() - start) / 5000 * 1e6
    start = time.perf_counter()
    rows = connection.execute("SELECT name, value FROM objects ORDER BY name LIMIT 1000").fetchall()
    list_ms = (time.perf_counter() - start) * 1e3 * 1000 / len(rows)
    connection.close()
    return {"commits_per_second": round(count / SECONDS), "get_us": round(get_us, 1), "list_1000_ms": round(list_ms, 2)}


async def commits(store: SqliteStore, writers: int) -> dict[str, Any]:
    latencies: list[float] = []
    end = time.perf_counter() + SECONDS

    async def write(writer: int) -> None:
        encode, number = document(500), 0
        while (start := time.perf_counter()) < end:
            await store.create(Key(f"bench{writers}", f"writer{writer}", str(number)), encode)
            latencies.append(time.perf_counter() - start)
            number += 1

    async with trio.open_nursery() as nursery:
        for writer in range(writers):
            nursery.start_soon(write, writer)
    return {
        "commits_per_second": round(len(latencies) / SECONDS),
        "p50_ms": round(statistics.median(latencies) * 1e3, 3),
        "p99_ms": round(statistics.quantiles(latencies, n=100)[98] * 1e3, 3),
    }


async def under_load(store: SqliteStore) -> dict[str, Any]:
    """One writer while other tasks keep the loop, and so the interpreter's lock, busy."""
    figures: dict[str, Any] = {}

    async def keep_busy() -> None:
        while True:
            sum(range(4000))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_busy)
        figures = await commits(store, 2)
        nursery.cancel_scope.cancel()
    return figures


async def lists(store: SqliteStore) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for resource, count, size_bytes in (("small", 1000, 500), ("pods", 1000, 5000), ("many", 10_000, 1500)):
        encode = document(size_bytes)
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(store.create, Key(resource, "default", str(number)), encode)
                if number % 1000 == 999:
                    await trio.sleep(0.05)
        times = []
        for _ in range(7):
            start = time.perf_counter()
            assert len((await store.list(resource)).records) == count
            times.append(time.perf_counter() - start)
        figures[f"list_{count}_of_{size_bytes}_bytes_ms"] = round(statistics.median(times) * 1e3, 2)
    start = time.perf_counter()
    for number in range(10_000):
        await store.get(Key("small", "default", str(number % 1000)))
    figures["get_us"] = round((time.perf_counter() - start) / 10_000 * 1e6, 1)
    return figures


async def fan_out(store: SqliteStore, watchers: int) -> dict[str, Any]:
    """From the call of create to the last of so many watchers."""
    last: list[float] = []
    woken = 0

    async def follow(task_status: trio.TaskStatus[None]) -> None:
        nonlocal woken
        async with store.watch("watched", after=store.revision()) as watcher:
            task_status.started()
            while True:
                await watcher.receive()
                woken += 1
                if woken == watchers:
                    done.set()

    async with trio.open_nursery() as nursery:
        for _ in range(watchers):
            await nursery.start(follow)
        for number in range(200):
            woken, done = 0, trio.Event()
            start = time.perf_counter()
            await store.create(Key("watched", "default", str(number)), document(500))
            await done.wait()
            last.append(time.perf_counter() - start)
        nursery.cancel_scope.cancel()
    return {f"watch_last_of_{watchers}_p50_ms": round(statistics.median(last) * 1e3, 3)}


async def bytes_written(path: Path) -> dict[str, Any]:
    """Updates of 200 objects in turn, one at a time, folding the log into the database included."""
    async with open_store(path, volatile_resources=frozenset({"leases"})) as store:
        figures: dict[str, Any] = {}
        for size_bytes in (500, 2000):
            records = [await store.create(Key("cm", str(size_bytes), str(n)), document(size_bytes)) for n in range(200)]
            before = written_bytes()
            for turn in range(1000):
                known = records[turn % 200]
                records[turn % 200] = await store.update(known.key, document(size_bytes), expected_revision=known.revision)
            figures[f"kb_per_update_of_{size_bytes}_bytes"] = round((written_bytes() - before) / 1000 / 1024, 2)
        leases = [await store.create(Key("leases", "nodes", str(number)), document(450)) for number in range(60)]
        before = written_bytes()
        for _ in range(60):
            leases = [await store.update(lease.key, document(450), expected_revision=lease.revision) for lease in leases]
        await store.flush()
        figures["bytes_per_lease_update_60_leases_60_times_one_flush"] = round((written_bytes() - before) / 3600, 1)
    return figures


def resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


async def main(directory: Path) -> None:
    figures: dict[str, Any] = {"floor": floor(directory)}
    before = resident_kib()
    async with open_store(directory / "state.db") as store:
        figures["rss_kib_of_an_empty_store"] = resident_kib() - before
        for writers in (1, 16, 64):
            figures[f"writers_{writers}"] = await commits(store, writers)
        figures["writers_2_while_the_loop_is_busy"] = await under_load(store)
        figures |= await lists(store)
        figures |= await fan_out(store, 100)
    figures |= await bytes_written(directory / "updates.db")
    os.write(1, orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as temporary:
        trio.run(main, Path(temporary))
