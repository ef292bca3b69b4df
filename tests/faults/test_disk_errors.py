"""Disks that fail or are full: nothing acknowledged is lost, nothing refused has happened, and the store goes on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from edgekube.store.protocol import Encode, Key, Record, StoreUnavailable
from edgekube.store.sqlite import open_store
from tests.faults.acknowledged import acknowledged, lost

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("when", ["20", "20+5", "21+7"])
async def test_a_failing_fsync_is_answered_and_survived(tmp_path: Path, when: str) -> None:
    """The writer tries each failed write again with the same expectation: had it happened after all, that would conflict."""
    path = tmp_path / "state.db"
    run = subprocess.run(
        [
            *("strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", f"inject=fdatasync:error=EIO:when={when}"),
            *(sys.executable, "-m", "tests.faults.store_writer", path, "--names", "10", "--wal-pages", "25"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    failed = [line for line in lines if line.startswith("refused")]
    assert failed, "no error met a commit"
    assert len(lines) - len(failed) == 3 * (4 * 3 + 6 * 4)
    assert await lost(path, acknowledged(lines)) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "edgekube-small-disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "edgekube-small-disk", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size_bytes in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size_bytes))
            except OSError as error:
                assert error.errno == errno.ENOSPC


def document(size_bytes: int) -> Encode:
    filler = os.urandom(size_bytes // 2).hex()
    return lambda revision: orjson.dumps({"metadata": {"resourceVersion": str(revision)}, "filler": filler})


@pytest.mark.root
async def test_a_full_disk_refuses_writes_serves_reads_and_recovers(small_disk: Path) -> None:
    path = small_disk / "state.db"
    kept: list[Record] = []
    refused: list[Key] = []
    async with open_store(path) as store:
        kept.append(await store.create(Key("configmaps", "default", "before"), document(1000)))
        fill(small_disk / "ballast")
        for number in range(20):
            key = Key("configmaps", "default", f"full-{number}")
            try:
                kept.append(await store.create(key, document(50_000)))
            except StoreUnavailable as error:
                assert "full" in str(error)
                refused.append(key)
        assert refused
        assert [await store.get(key) for key in refused] == [None] * len(refused)
        assert (await store.list("configmaps")).records == sorted(kept, key=lambda record: record.key)
        (small_disk / "ballast").unlink()
        kept += [await store.create(key, document(50_000)) for key in refused]
    async with open_store(path) as store:
        assert (await store.list("configmaps")).records == sorted(kept, key=lambda record: record.key)
