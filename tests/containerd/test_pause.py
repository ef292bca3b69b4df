"""The pause program, run for real where its machine (or an emulator of it) is at hand, byte for byte everywhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from edgekube.containerd import oci, pause, pause_image

EMULATORS = {"aarch64": "qemu-aarch64-static", "armv7l": "qemu-arm-static", "x86_64": "qemu-x86_64-static"}
#: Digests of the programs that were run on the machine or in qemu 7.2; a change of bytes must be tried there again.
TRIED = {
    "x86_64": "fb97abc08c32e0560654274328a037e1d9642e5da8af054702272ae3b5b46611",
    "aarch64": "d8e14e86655b2396b382a74b22c2cb0cbcfb7359863da18cdaf015bb53c380da",
    "armv7l": "1e61fcc2111b7174803379e8e7386f3f56a6470ecc01f366d305b99780abcbf1",
}


def runnable() -> Iterator[tuple[str, list[str]]]:
    here = oci.this_machine()
    yield here, []
    for machine, emulator in EMULATORS.items():
        if machine != here and (found := shutil.which(emulator)):
            yield machine, [found]


@pytest.fixture
def program() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ekpause") as directory:
        yield Path(directory) / "pause"


def _start(program: Path, machine: str, emulator: list[str]) -> subprocess.Popen[bytes]:
    program.write_bytes(pause.executable(machine))
    program.chmod(0o755)
    return subprocess.Popen([*emulator, str(program)])


def _until(true: Callable[[], bool]) -> None:
    """Look every 5 ms: another process' state has no event to wait for."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _sleeps(pid: int) -> bool:
    """It sleeps nowhere but in its wait for signals."""
    return "(sleeping)" in Path(f"/proc/{pid}/status").read_text()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("machine", sorted(TRIED))
def test_bytes_are_the_ones_that_were_tried(machine: str) -> None:
    assert hashlib.sha256(pause.executable(machine)).hexdigest() == TRIED[machine]
    assert len(pause.executable(machine)) < 256


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told(program: Path, ending: signal.Signals) -> None:
    for machine, emulator in runnable():
        process = _start(program, machine, emulator)
        _until(partial(_sleeps, process.pid))
        for harmless in (signal.SIGCHLD, signal.SIGSTOP, signal.SIGCONT):
            process.send_signal(harmless)
        assert process.poll() is None
        process.send_signal(ending)
        assert process.wait(10) == 0
        program.unlink()


@pytest.mark.root
def test_it_reaps_what_is_left_to_it(program: Path) -> None:
    """As PID 1 of a PID namespace: an orphan's end leaves no zombie, and SIGTERM from outside is heard."""
    program.write_bytes(pause.executable(oci.this_machine()))
    program.chmod(0o755)
    # unshare(1) forks PID 1, which leaves an orphan behind and becomes the pause program.
    script = f"(sleep 0.2 & sleep 0.3 &) ; exec {program}"
    outer = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", script])
    try:
        _until(lambda: [_name(child) for child in _children(outer.pid)] == ["pause"])
        [inner] = _children(outer.pid)
        # A zombie stays in the list until it is reaped.
        _until(lambda: not _children(inner))
        assert outer.poll() is None
        os.kill(inner, signal.SIGTERM)
        assert outer.wait(10) == 0
    finally:
        outer.kill()
        outer.wait()


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_an_image_for_every_board() -> None:
    for machine, (architecture, variant) in pause.ARCHITECTURES.items():
        image = pause_image.build(machine)
        assert (image.architecture, image.variant) == (architecture, variant)
        assert all(oci.digest_of(data) == digest for digest, data in image.blobs.items())
    with pytest.raises(KeyError):
        pause_image.build("riscv64")


def test_images_do_not_depend_on_the_clock() -> None:
    assert pause_image.build("aarch64") == pause_image.build("aarch64")
