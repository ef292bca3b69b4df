"""A containerd of the tests' own: below a temporary directory, with a cgroup tree of its own name; both are gone afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from edgekube.containerd.cri import CriRuntime, connect
from edgekube.containerd.supervisor import Supervisor, instance_of, supervise
from edgekube.settings import Settings
from tests.lab.images import make_busybox_archive


@dataclass
class Place:
    """Where one test instance lives."""

    settings: Settings
    cgroup: str

    @property
    def address(self) -> Path:
        return self.settings.containerd_state / "containerd.sock"


def make_place() -> Place:
    base = Path(tempfile.mkdtemp(prefix="ektest-", dir="/tmp"))  # short: a socket's path has 107 bytes
    name = f"ektest{secrets.token_hex(4)}"
    return Place(Settings(node_name="test", data_dir=base / "data", run_dir=base / "run"), f"/{name}")


async def _clear(place: Place) -> None:
    """Remove what is left of a test: pods through the CRI, then containerd, mounts, cgroups and files."""
    with suppress(Exception):
        async with connect(place.address) as runtime:
            with trio.move_on_after(60):
                for sandbox in await runtime.list_sandboxes():
                    await runtime.stop_sandbox(sandbox.id)
                    await runtime.remove_sandbox(sandbox.id)
    await Supervisor(await trio.to_thread.run_sync(instance_of, place.settings)).stop()
    base = place.settings.data_dir.parent
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(place.address).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((path for path in mounts if path.startswith(f"{base}/")), reverse=True):
        subprocess.run(["umount", "-l", mount], check=False)
    for tree in Path("/sys/fs/cgroup").glob(f"*{place.cgroup}"):
        for directory in sorted(tree.rglob("*/"), reverse=True):
            with suppress(OSError):
                directory.rmdir()
        tree.rmdir()
    shutil.rmtree(base)


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = tmp_path_factory.mktemp("images") / "busybox.tar"
    make_busybox_archive(archive)
    return archive


@pytest.fixture(scope="session")
def place(busybox_archive: Path) -> Iterator[Place]:
    """One containerd for the whole session, with busybox imported. containerd outlives its supervisor, so each test adopts it."""
    made = make_place()

    async def prepare() -> None:
        async with supervise(made.settings) as address, connect(address) as runtime:
            await runtime.import_archive(busybox_archive)

    trio.run(prepare)
    yield made
    trio.run(_clear, made)


@pytest.fixture
async def own_place() -> AsyncIterator[Place]:
    """A containerd that the test may break. Not started yet."""
    made = make_place()
    yield made
    with trio.CancelScope(shield=True):
        await _clear(made)


@pytest.fixture
async def runtime(place: Place) -> AsyncIterator[CriRuntime]:
    async with connect(place.address) as connected:
        yield connected
