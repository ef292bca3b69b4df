"""edgekube in a node: a background process with a log, started, signalled and powered off from outside.

Enters: a Node that is on, the command's own arguments.
Leaves: the running program, its pid, its log.
Holds: readiness is what the program tells its service manager (sd_notify), not what anybody remembers.
Next: tests.lab.cluster, tests.lab.agents.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.lab.images import make_busybox_archive, make_demo_archive
from tests.lab.node import ROOT, Node, children

#: A machine that runs much else takes long.
START_SECONDS: Final = 120.0


class Program:
    """``noun`` is edgekube's command: server or agent."""

    noun = ""

    def __init__(self, node: Node, *, arguments: Sequence[str] = (), data_dir: Path | None = None) -> None:
        self.node = node
        self.data_dir = data_dir or node.data_dir
        self.arguments = list(arguments)
        self.log = node.disk / "edgekube.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.node.name

    def command(self) -> list[str]:
        """How it is started, inside the node."""
        # However full the disk of the machine that runs the tests: nodes of the lab neither evict pods nor collect images for it.
        roomy = [
            "--eviction-hard",
            "memory.available<16Mi,nodefs.available<1%,imagefs.available<1%",
            "--image-gc-high-threshold",
            "100",
        ]
        settings = ["--data-dir", str(self.data_dir), "--cgroup-parent", self.node.cgroup, *roomy]
        return [sys.executable, "-m", "edgekube", self.noun, *settings, *self.arguments]

    def put_images(self, made: Path | None = None) -> None:
        """busybox:1.36 and the demo page, where the agent imports them from. ``made``: where they have been made already."""
        images = self.data_dir / "agent/images"
        if made is not None:
            shutil.copytree(made, images, dirs_exist_ok=True)
            return
        images.mkdir(parents=True, exist_ok=True)
        make_busybox_archive(images / "busybox.tar")
        make_demo_archive(images / "demo.tar")

    def launch(self, *environment: str) -> None:
        """Start it and wait for nothing."""
        self._process = self.node.start(["env", *environment, *self.command()], self.log)

    def start(self, *, seconds: float = START_SECONDS) -> float:
        """Start it; seconds until it said READY=1."""
        path = self.node.disk / "notify"
        path.unlink(missing_ok=True)
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            notify.settimeout(0.1)
            self.launch(f"NOTIFY_SOCKET={path}")
            assert self._process is not None
            while True:
                try:
                    if b"READY=1" in notify.recv(4096):
                        return time.monotonic() - began
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise AssertionError(f"{self.ended()}\n{self.log_tail()}") from None
                    if time.monotonic() - began > seconds:
                        raise AssertionError(f"{self.name} is not ready after {seconds} s\n{self.log_tail()}") from None

    def ended(self) -> str:
        assert self._process is not None
        return f"edgekube {self.noun} on {self.name} ended with {self._process.returncode}"

    @property
    def pid(self) -> int:
        """The program's process, as the host numbers it."""
        assert self._process is not None
        assert self._process.poll() is None, f"{self.ended()}\n{self.log_tail()}"
        # nsenter forks to enter the pid namespace: the program is its only child.
        return children(self._process)[0]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def processes(self, name: str) -> list[int]:
        """The node's processes of this name, as the host numbers them."""
        found = []
        # What edgekube started is its child as long as it runs, and only then pid 1's.
        waiting = [self.node.pid, *([self.pid] if self.running else [])]
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                    found.append(pid)
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(child) for child in (thread / "children").read_text().split()]
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 90) -> int:
        """Send the signal and wait for the end; the exit code (negative: killed by that signal)."""
        assert self._process is not None
        os.kill(self.pid, number)
        return self._process.wait(seconds)

    def power_off(self) -> None:
        self.node.power_off()
        if self._process is not None:
            self._process.wait(90)

    def log_tail(self, lines: int = 60) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def edgekube(self, *arguments: str, check: bool = True) -> str:
        """What another edgekube command prints on the node."""
        environment = ["env", f"PYTHONPATH={ROOT}"]
        return self.node.run([*environment, sys.executable, "-m", "edgekube", *arguments], check=check)
