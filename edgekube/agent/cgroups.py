"""A cgroup per pod, v1 or v2, so that a pod's containers share one limit and can be measured together.

Enters: pods and the resources of agent.resources.
Leaves: directories under /sys/fs/cgroup and the ``cgroup_parent`` that the runtime is told.
Holds: files of the kernel are read and written here and nowhere else; a missing controller is passed over, a missing
cgroup is empty. Source: Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
Next: agent.execute (make, remove), agent.statistics (read).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.agent.cgroup_stat import flat
from edgekube.containerd.model import Resources

ROOT: Final = Path("/sys/fs/cgroup")
_CONTROLLERS_V2: Final = ("cpu", "memory", "pids", "cpuset", "io", "hugetlb")


class Usage(Struct, frozen=True):
    cpu_usage_ns: int
    memory_usage_bytes: int
    memory_working_set_bytes: int


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1..10000) for cpu.shares (2..262144), the conversion that runc and kubelet use."""
    return max(1, min(10_000, 1 + ((shares - 2) * 9999) // 262_142))


class Cgroups:
    def __init__(self, parent: str = "/kubepods", root: Path = ROOT) -> None:
        self.parent = parent
        self.root = root
        self.v2 = (root / "cgroup.controllers").exists()

    def path_of(self, qos: str, uid: str) -> str:
        """``/kubepods/burstable/pod<uid>``; Guaranteed pods stand directly under the parent, as with kubelet."""
        level = "" if qos == "Guaranteed" else f"/{qos.lower()}"
        return f"{self.parent}{level}/pod{uid}"

    def _roots(self) -> list[Path]:
        if self.v2:
            return [self.root]
        # "unified" too: on a host with both versions runc makes its cgroups there as well.
        return [path for path in self.root.iterdir() if path.is_dir() and not path.is_symlink()]

    def make(self, path: str, resources: Resources) -> None:
        """Make the pod's cgroup and set its limits. OSError when the kernel refuses."""
        if self.v2:
            self._make_v2(path, resources)
            return
        for controller, settings in (
            ("cpu", _cpu_v1(resources)),
            ("memory", {"memory.limit_in_bytes": resources.memory_limit_bytes or -1}),
            ("pids", {"pids.max": resources.pids_max or "max"}),
            ("hugetlb", _huge_pages(resources, "limit_in_bytes")),
        ):
            folder = self._made_v1(controller, path)
            for name, value in settings.items():
                _write(folder / name, str(value))

    def _make_v2(self, path: str, resources: Resources) -> None:
        folder = self._made_v2(path)
        _write(folder / "cpu.weight", str(weight_of_shares(resources.cpu_shares)))
        quota = str(resources.cpu_quota_us) if resources.cpu_quota_us else "max"
        _write(folder / "cpu.max", f"{quota} {resources.cpu_period_us}")
        _write(folder / "memory.max", str(resources.memory_limit_bytes) if resources.memory_limit_bytes else "max")
        _write(folder / "pids.max", str(resources.pids_max or "max"))
        for name, amount in _huge_pages(resources, "max").items():
            _write(folder / name, str(amount))

    def exists(self, path: str) -> bool:
        return any(
            (base / path.lstrip("/")).is_dir() for base in ([self.root] if self.v2 else [self.root / "cpu", self.root / "memory"])
        )

    def share(self, path: str, shares: int) -> None:
        """Make the cgroup, and weigh its processors' time. OSError when the kernel refuses."""
        if self.v2:
            _write(self._made_v2(path) / "cpu.weight", str(weight_of_shares(shares)))
        else:
            _write(self._made_v1("cpu", path) / "cpu.shares", str(shares))

    def hold(self, path: str, shares: int, memory_bytes: int, pids: int) -> None:
        """Make the cgroup of many others and bound them together; 0: no bound. OSError when the kernel refuses."""
        self.share(path, shares)
        if self.v2:
            folder = self._made_v2(path)
            _write(folder / "memory.max", str(memory_bytes or "max"))
            _write(folder / "pids.max", str(pids or "max"))
            return
        _write(self._made_v1("memory", path) / "memory.limit_in_bytes", str(memory_bytes or -1))
        _write(self._made_v1("pids", path) / "pids.max", str(pids or "max"))

    def _made_v1(self, controller: str, path: str) -> Path:
        folder = self.root / controller / path.lstrip("/")
        if (self.root / controller).exists():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _made_v2(self, path: str) -> Path:
        """The folder, with all controllers handed down to it and to what is made in it."""
        available = set((self.root / "cgroup.controllers").read_text().split())
        wanted = " ".join(f"+{name}" for name in _CONTROLLERS_V2 if name in available)
        folder = self.root
        for part in path.strip("/").split("/"):
            if wanted:
                _write(folder / "cgroup.subtree_control", wanted)
            folder = folder / part
            folder.mkdir(exist_ok=True)
        if wanted:
            _write(folder / "cgroup.subtree_control", wanted)
        return folder

    def remove(self, path: str, *, kill: bool = True) -> None:
        """All of it; processes left in it are killed first (nothing of a finished pod may linger). OSError when it stays."""
        for base in self._roots():
            _remove_tree(base / path.lstrip("/"), kill=kill)

    def pods(self) -> dict[str, str]:
        """uid -> path, of every pod cgroup there is."""
        found: dict[str, str] = {}
        for base in self._roots():
            for level in ("", "burstable", "besteffort"):
                folder = base / self.parent.lstrip("/") / level
                if folder.is_dir():
                    for entry in folder.iterdir():
                        if entry.name.startswith("pod") and entry.is_dir():
                            found[entry.name[3:]] = "/" + str(entry.relative_to(base))
        return found

    def working_set_bytes(self, path: str) -> int | None:
        """Memory that is not to be had back without harm; None without such a cgroup."""
        relative = path.lstrip("/")
        try:
            return (_memory_v2(self.root / relative) if self.v2 else _memory_v1(self.root / "memory" / relative))[1]
        except (OSError, ValueError, KeyError):
            return None

    def usage(self, path: str) -> Usage | None:
        relative = path.lstrip("/")
        try:
            if self.v2:
                return _usage_v2(self.root / relative)
            return _usage_v1(self.root, relative)
        except (OSError, ValueError, KeyError):
            return None


def _huge_pages(resources: Resources, ending: str) -> dict[str, int | str]:
    return {f"hugetlb.{size}.{ending}": amount for size, amount in resources.hugepage_limits.items()}


def _memory_v1(folder: Path) -> tuple[int, int]:
    """Used, and used without what can be dropped at once."""
    used = int((folder / "memory.usage_in_bytes").read_text())
    return used, max(0, used - flat(folder / "memory.stat")["total_inactive_file"])


def _memory_v2(folder: Path) -> tuple[int, int]:
    used = int((folder / "memory.current").read_text())
    return used, max(0, used - flat(folder / "memory.stat")["inactive_file"])


def _cpu_v1(resources: Resources) -> dict[str, int | str]:
    return {
        "cpu.shares": resources.cpu_shares or 2,
        "cpu.cfs_period_us": resources.cpu_period_us,
        "cpu.cfs_quota_us": resources.cpu_quota_us or -1,
    }


def _write(path: Path, text: str) -> None:
    if path.exists():
        path.write_text(text)


def _remove_tree(folder: Path, *, kill: bool) -> None:
    if not folder.is_dir():
        return
    for parent, _, _ in os.walk(folder, topdown=False):
        for attempt in range(5):
            try:
                os.rmdir(parent)
            except FileNotFoundError:
                break
            except OSError:
                if attempt == 4 or not kill:
                    raise
                _kill_processes(Path(parent))
                time.sleep(0.02)
            else:
                break


def _kill_processes(folder: Path) -> None:
    try:
        pids = (folder / "cgroup.procs").read_text().split()
    except OSError:
        return
    for pid in pids:
        try:
            os.kill(int(pid), 9)
        except ProcessLookupError:
            pass


def _usage_v1(root: Path, relative: str) -> Usage:
    cpu_ns = int((root / "cpuacct" / relative / "cpuacct.usage").read_text())
    return Usage(cpu_ns, *_memory_v1(root / "memory" / relative))


def _usage_v2(folder: Path) -> Usage:
    return Usage(flat(folder / "cpu.stat")["usage_usec"] * 1000, *_memory_v2(folder))
