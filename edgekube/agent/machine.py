"""What of this machine decides what containers may have: memory, swap, page sizes, version of cgroups, AppArmor.

Enters: Facts, /sys, /proc/self/cgroup, the operator's settings.
Leaves: Machine.
Holds: read once, at start; a file that is missing means that the kernel cannot.
Next: agent.resources, agent.admission.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.agent.confinement import kernel_has_apparmor
from edgekube.agent.facts import Facts
from edgekube.api import quantities
from edgekube.settings import Settings

_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


class Machine(Struct, frozen=True):
    memory_bytes: int
    swap_bytes: int = 0
    #: Sizes of huge pages.
    page_bytes: tuple[int, ...] = ()
    cgroup_v2: bool = False
    swap_controller: bool = False
    #: setting memory-swap: Burstable pods may use their share of swap (cgroup v2 only); else none does.
    limited_swap: bool = False
    #: setting pod-pids-limit; 0: the kernel's.
    pids_max: int = 0
    apparmor: bool = False


def huge_page_sizes(directory: Path = Path("/sys/kernel/mm/hugepages")) -> tuple[int, ...]:
    if not directory.is_dir():
        return ()
    names = (entry.name.removeprefix("hugepages-").removesuffix("kB") for entry in directory.iterdir())
    return tuple(sorted(int(name) * 1024 for name in names if name.isdigit()))


def huge_pages_bytes(page_bytes: int, directory: Path = Path("/sys/kernel/mm/hugepages")) -> int:
    """The memory that the kernel has set aside for pages of this size."""
    try:
        return page_bytes * int((directory / f"hugepages-{page_bytes // 1024}kB" / "nr_hugepages").read_text())
    except (OSError, ValueError):
        return 0


def huge_pages(directory: Path = Path("/sys/kernel/mm/hugepages")) -> tuple[tuple[str, int], ...]:
    """("hugepages-2Mi", bytes): what the node has of each size."""
    sizes = huge_page_sizes(directory)
    return tuple((f"hugepages-{quantities.text_of(size, 'binary')}", huge_pages_bytes(size, directory)) for size in sizes)


def page_name(page_bytes: int) -> str:
    """``2MB``: as cgroups spell it."""
    number, unit = page_bytes, 0
    while number % 1024 == 0 and number and unit < len(_UNITS) - 1:
        number, unit = number // 1024, unit + 1
    return f"{number}{_UNITS[unit]}"


def _own_cgroup_v2() -> str:
    try:
        return next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return "/"


def machine_of(facts: Facts, settings: Settings, cgroups: Path = Path("/sys/fs/cgroup")) -> Machine:
    v2 = (cgroups / "cgroup.controllers").exists()
    swap = cgroups / _own_cgroup_v2().lstrip("/") / "memory.swap.max" if v2 else cgroups / "memory/memory.memsw.limit_in_bytes"
    return Machine(
        memory_bytes=facts.memory_bytes,
        swap_bytes=facts.swap_bytes,
        page_bytes=huge_page_sizes(),
        cgroup_v2=v2,
        swap_controller=swap.exists(),
        limited_swap=settings.memory_swap == "LimitedSwap",
        pids_max=settings.pod_pids_limit,
        apparmor=kernel_has_apparmor(),
    )
