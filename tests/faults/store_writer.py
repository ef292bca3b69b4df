"""A process that writes to a store and says what was acknowledged, to be cut off by tests.

Enters: arguments (see below).
Leaves: one line per acknowledged write on stdout: ``ack NAME STEP``, where the steps of a name are create 0, update 1, update 2,
delete 3; ``refused NAME STEP`` for one that the store refused, which is then tried again.
Holds: a name's steps are written one after the other, so its state on disk tells which were kept.
Next: tests.faults.acknowledged.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import orjson
import trio

from edgekube import limits
from edgekube.store.protocol import Encode, Key, Record, StoreUnavailable
from edgekube.store.sqlite import SqliteStore, open_store

STEPS = 4


def document(step: int, size_bytes: int) -> Encode:
    filler = os.urandom(size_bytes // 2).hex()
    return lambda revision: orjson.dumps({"metadata": {"resourceVersion": str(revision)}, "step": step, "filler": filler})


def steps_of(name: str) -> int:
    """Every third name is kept: losing it shows for good."""
    return STEPS - 1 if int(name.split("-")[1]) % 3 == 0 else STEPS


def say(line: str) -> None:
    os.write(1, line.encode() + b"\n")


async def carry_out(store: SqliteStore, key: Key, step: int, record: Record | None) -> Record:
    if step == 0:
        return await store.create(key, document(step, 1500))
    assert record is not None
    if step == STEPS - 1:
        return await store.delete(key, document(step, 100), expected_revision=record.revision)
    return await store.update(key, document(step, 1500), expected_revision=record.revision)


async def write(store: SqliteStore, task: int, names: int) -> None:
    for number in range(names):
        key = Key("configmaps", "default", f"{task}-{number}")
        record: Record | None = None
        for step in range(steps_of(key.name)):
            while True:
                try:
                    record = await carry_out(store, key, step, record)
                    break
                except StoreUnavailable:
                    say(f"refused {key.name} {step}")
            say(f"ack {key.name} {step}")


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path)
    parser.add_argument("--names", type=int, required=True, help="a task")
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--synchronous", default="FULL", help="OFF shows that a test can tell")
    parser.add_argument("--wal-pages", type=int, default=40, help="small, so that a short run folds the log in")
    options = parser.parse_args()
    limits.WAL_PAGES_MAX = options.wal_pages
    async with open_store(options.path) as store:
        store._writer._connection.execute(f"PRAGMA synchronous = {options.synchronous}")
        async with trio.open_nursery() as nursery:
            for task in range(options.tasks):
                nursery.start_soon(write, store, task, options.names)


if __name__ == "__main__":
    trio.run(main)
