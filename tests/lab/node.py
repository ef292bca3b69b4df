"""A real node on one machine: namespaces of its own, its own containerd, its own address on the lab's switch.

Enters: a Lan, a name, a directory that is the node's disk.
Leaves: a Node that commands run in; power_off() kills its pid 1 and with it everything it ran, power_on() boots it again.
Holds: what the node writes lands on its disk or in its own mounts (/etc an overlay, /run a tmpfs); its cgroups have a parent;
it cannot set the clock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.lab.lan import Lan
from tests.lab.shell import run

ROOT: Final = Path(__file__).resolve().parents[2]

#: What happens between entering the namespaces and pid 1 (field by field: private mounts, own /proc, /run and /etc).
_BOOT: Final = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/netns
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/etc.work" /etc
mount --make-rshared /
hostname "$2"
exec "$3" -S "$4"
"""

#: All nodes share the kernel's one clock: nothing in a node may set it.
WITHOUT_CLOCK: Final = ["setpriv", "--bounding-set", "-sys_time"]


class Node:
    def __init__(self, lan: Lan, name: str, address: str, disk: Path) -> None:
        self.lan = lan
        self.name = name
        self.address = address
        self.disk = disk
        self.cgroup = f"/{lan.prefix}-{name}"
        self.namespace = lan.plug(name, address)
        self._init: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The node's pid 1, as the host numbers it."""
        assert self._init is not None, f"{self.name} is off"
        # unshare forks: pid 1 is its only child.
        return children(self._init)[0]

    @property
    def on(self) -> bool:
        return self._init is not None

    @property
    def data_dir(self) -> Path:
        return self.disk / "data"

    def power_on(self) -> None:
        for part in ("data", "etc", "etc.work", "var"):
            (self.disk / part).mkdir(parents=True, exist_ok=True)
        boot = ["sh", "-c", _BOOT, "boot", str(self.disk), self.name, sys.executable, str(ROOT / "tests/lab/init.py")]
        unshare = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        enter = [*WITHOUT_CLOCK, "nsenter", f"--net=/run/netns/{self.namespace}"]
        self._init = subprocess.Popen([*enter, *unshare, *boot], stdout=subprocess.PIPE, text=True)
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == "up\n", f"{self.name} did not boot"

    def power_off(self) -> None:
        """Pull the plug: every process of the node is gone when this returns, nothing was told beforehand."""
        if self._init is None:
            return
        os.kill(self.pid, signal.SIGKILL)
        self._init.wait()
        self._init = None

    def change_address(self, address: str) -> None:
        """A new DHCP lease: nobody in the node is told but by the kernel."""
        self.lan.give_address(self.namespace, address)
        self.address = address

    def inside(self, command: list[str]) -> list[str]:
        """The command line that runs ``command`` in the node."""
        return [*WITHOUT_CLOCK, "nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--", *command]

    def run(self, command: list[str], *, timeout_seconds: float = 150, check: bool = True, stdin: str | None = None) -> str:
        return run(self.inside(command), timeout_seconds=timeout_seconds, check=check, stdin=stdin)

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """A background process of the node; its output goes to ``log``."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("ab") as output:
            return subprocess.Popen(
                self.inside(command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
            )

    def close(self) -> None:
        self.power_off()
        self.lan.unplug(self.namespace)
        _remove_cgroups(self.cgroup)


def children(process: subprocess.Popen[Any]) -> list[int]:
    """The processes that ``process`` started: what nsenter and unshare run is their only child."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def _remove_cgroups(parent: str) -> None:
    """The node's cgroups, deepest first, under every v1 controller and the v2 root."""
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        top = root / parent.lstrip("/")
        if top.is_dir():
            for directory, _, _ in sorted(os.walk(top), key=lambda entry: len(entry[0]), reverse=True):
                try:
                    os.rmdir(directory)
                except OSError as error:
                    print(f"{directory}: {error}", file=sys.stderr)
