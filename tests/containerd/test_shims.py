"""Shims that hold nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.containerd.processes import processes
from edgekube.containerd.shims import Shim, childless, shims_of

SOCKET = "run/containerd.sock"


class Machine:
    def __init__(self, base: Path) -> None:
        self.proc, self.state = base / "proc", base / "run"

    def process(self, pid: int, *words: str, parent: int = 1, name: str = "x") -> None:
        place = self.proc / str(pid)
        place.mkdir(parents=True)
        (place / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        rest = " ".join(str(number) for number in range(5, 22))
        (place / "stat").write_text(f"{pid} ({name}) S {parent} {rest} {pid}00 99\n")

    def shim(self, pid: int, shim_id: str, *, address: Path | None = None, namespace: str = "k8s.io") -> None:
        address = address or self.state / "containerd.sock"
        self.process(
            pid, "/usr/bin/containerd-shim-runc-v2", "-namespace", namespace, "-id", shim_id, "-address", str(address)
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_that_has_a_child_is_somebodys(machine: Machine) -> None:
    machine.shim(10, "holds nothing")
    machine.shim(12, "has a child")
    machine.process(13, "sleep", "1000", parent=12, name="a name with ) and (")
    assert childless(machine.state, list(processes(machine.proc))) == {Shim(10, "holds nothing", "1000")}


def test_what_is_another_containerds_is_left_alone(machine: Machine, tmp_path: Path) -> None:
    machine.shim(10, "elsewhere", address=tmp_path / "docker/containerd.sock")
    machine.shim(11, "of docker", namespace="moby")
    machine.process(12, "grep", "containerd-shim-runc-v2", "-id", "forgotten")
    machine.process(13)  # a thread of the kernel
    (machine.proc / "14").mkdir()  # it ended while it was looked at
    assert childless(machine.state, list(processes(machine.proc))) == set()


def test_those_of_a_containerd_are_found_whatever_they_hold(machine: Machine, tmp_path: Path) -> None:
    machine.shim(10, "has a child")
    machine.process(11, "sleep", "1000", parent=10)
    machine.shim(12, "of another namespace", namespace="moby")
    machine.shim(13, "elsewhere", address=tmp_path / "docker/containerd.sock")
    machine.process(14, "containerd-shim-runc-v2", "-address")
    assert [each.pid for each in shims_of(machine.state, processes(machine.proc))] in ([10, 12], [12, 10])
