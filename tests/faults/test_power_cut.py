"""Pull the plug on the store. kill -9 is no such test: the kernel still has the pages.

Two ways to lose what was not synced: the file system's own (an image of it, copied under a stopped writer), and every order
that a disk may choose (rebuilt from the writer's system calls). The same harness with synchronous=OFF must lose something:
else it could not tell.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgekube.store.protocol import StoreError
from edgekube.store.sqlite import open_store
from tests.faults.acknowledged import acknowledged, lost
from tests.faults.strace import FATES, TRACED, Disk, Event, Said, Sync, events

ROOT = Path(__file__).parents[2]
IMAGE_BYTES = 48 * 1024 * 1024


@contextmanager
def mounted(image: Path, directory: Path) -> Iterator[Path]:
    directory.mkdir()
    subprocess.run(["mount", "-o", "loop", image, directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-d", directory], check=True)


def read_until(descriptor: int, lines_min: int, timeout_seconds: float = 90.0) -> str:
    text = ""
    while text.count("\n") < lines_min:
        ready, _, _ = select.select([descriptor], [], [], timeout_seconds)
        assert ready, f"the writer is stuck after {text.count(chr(10))} acknowledgements"
        chunk = os.read(descriptor, 65536)
        assert chunk, "the writer ended early"
        text += chunk.decode()
    return text


async def cut_by_image(tmp_path: Path, synchronous: str, acknowledgements: int) -> list[str]:
    """The names lost when the power goes after so many acknowledgements."""
    image, copy = tmp_path / "disk.img", tmp_path / "cut.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with mounted(image, tmp_path / "disk") as disk:
        async with open_store(disk / "state.db"):
            pass
        os.sync()
        writer = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.faults.store_writer", str(disk / "state.db")),
                *("--names", "100000", "--synchronous", synchronous),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        try:
            assert writer.stdout is not None
            text = read_until(writer.stdout.fileno(), acknowledgements)
            writer.send_signal(signal.SIGSTOP)
            os.waitpid(writer.pid, os.WUNTRACED)
            while select.select([writer.stdout], [], [], 0)[0]:  # acknowledged before it stopped
                text += os.read(writer.stdout.fileno(), 65536).decode()
            subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        finally:
            writer.kill()
            writer.wait()
            assert writer.stdout is not None
            writer.stdout.close()
    with mounted(copy, tmp_path / "after") as after:
        return await lost(after / "state.db", acknowledged(text.splitlines()))


@pytest.mark.root
@pytest.mark.parametrize("acknowledgements", [30, 137, 400])
async def test_a_file_system_that_loses_its_page_cache_loses_no_acknowledged_write(tmp_path: Path, acknowledgements: int) -> None:
    assert await cut_by_image(tmp_path, "FULL", acknowledgements) == []


@pytest.mark.root
async def test_the_image_can_tell(tmp_path: Path) -> None:
    gone: list[str] = []
    try:
        gone = await cut_by_image(tmp_path, "OFF", 137)
    except* Exception as refused:
        gone = [str(error) for error in refused.exceptions]  # worse than lost
    assert gone


def traced_run(path: Path, tmp_path: Path, synchronous: str) -> list[Event]:
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *("strace", "-f", "-xx", "-s", "10000000", "-e", f"trace={TRACED}", "-o", str(trace)),
            *(sys.executable, "-m", "tests.faults.store_writer", str(path), "--names", "6", "--synchronous", synchronous),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    with trace.open() as lines:
        return list(events(lines, path.parent))


async def cut_by_calls(tmp_path: Path, synchronous: str, cuts: int) -> tuple[int, int, int]:
    """(states that lost something, states that were refused, states) over ``cuts`` moments and every fate."""
    path = tmp_path / "run" / "state.db"
    async with open_store(path):
        pass
    start = {str(path): bytearray(path.read_bytes())}
    happened = traced_run(path, tmp_path, synchronous)
    if synchronous == "FULL":
        assert sum(isinstance(event, Sync) and event.path.endswith("state.db") for event in happened) >= 3, "no log was folded in"
    chance = random.Random(20)
    moments = set(chance.sample(range(1, len(happened)), cuts)) | {len(happened)}
    disk, said = Disk(start), list[str]()
    bad = refused = states = 0
    for moment, event in enumerate(happened, 1):
        disk.happen(event)
        if isinstance(event, Said):
            said.append(event.text)
        if moment not in moments:
            continue
        for fate in FATES:
            after = tmp_path / "after"
            after.mkdir()
            for name, content in disk.after_the_cut(fate, chance).items():
                (after / Path(name).name).write_bytes(content)
            (after / "state.db-shm").unlink(
                missing_ok=True
            )  # an index of the log in shared memory: it never outlives the machine
            states += 1
            try:
                bad += bool(await lost(after / "state.db", acknowledged(said)))
            except* StoreError:
                refused += 1
            except* Exception as found:  # what is read makes no sense: not even a document, or one that nobody wrote
                traceback.print_exception(found)
                bad += 1
            shutil.rmtree(after)
    return bad, refused, states


async def test_no_order_in_which_a_disk_may_write_loses_an_acknowledged_write(tmp_path: Path) -> None:
    bad, refused, states = await cut_by_calls(tmp_path, "FULL", 45)
    assert (bad, refused) == (0, 0), f"of {states} states"


async def test_the_orders_can_tell(tmp_path: Path) -> None:
    bad, refused, states = await cut_by_calls(tmp_path, "OFF", 10)
    assert bad + refused > states // 4
