"""What a cgroup has used, in all the detail that the kernel tells.

Enters: a cgroup's path, the root of the hierarchies, v1 or v2.
Leaves: a Reading, None when there is no such cgroup.
Holds: files only; a file that a kernel does not have counts as zero. The working set is what is used without the file pages that
nobody has looked at of late, as the kubelet has it.
Source: Linux Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
Next: agent.statistics.summary, agent.statistics.cadvisor.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct

from edgekube.agent.cgroup_stat import flat

_TICK_NS: Final = 10**9 // os.sysconf("SC_CLK_TCK")
#: What v1 says where there is no limit: the largest page-aligned number, or near it.
_NO_LIMIT_BYTES: Final = 1 << 62


class Reading(Struct, frozen=True):
    cpu_ns: int
    user_ns: int
    system_ns: int
    periods: int
    throttled_periods: int
    throttled_ns: int
    memory_bytes: int
    working_set_bytes: int
    rss_bytes: int
    cache_bytes: int
    mapped_bytes: int
    page_faults: int
    major_page_faults: int
    swap_bytes: int
    #: 0: none.
    memory_limit_bytes: int
    memory_peak_bytes: int
    memory_failures: int
    oom_kills: int
    processes: int


def read_v1(root: Path, relative: str) -> Reading | None:
    memory, cpu = root / "memory" / relative, root / "cpu" / relative
    used = _number(memory / "memory.usage_in_bytes")
    cpu_ns = _number(root / "cpuacct" / relative / "cpuacct.usage")
    if used is None or cpu_ns is None:
        return None
    stat, times = flat(memory / "memory.stat"), flat(root / "cpuacct" / relative / "cpuacct.stat")
    throttling, oom = flat(cpu / "cpu.stat"), flat(memory / "memory.oom_control")
    limit = _number(memory / "memory.limit_in_bytes") or 0
    return Reading(
        cpu_ns=cpu_ns,
        user_ns=times.get("user", 0) * _TICK_NS,
        system_ns=times.get("system", 0) * _TICK_NS,
        periods=throttling.get("nr_periods", 0),
        throttled_periods=throttling.get("nr_throttled", 0),
        throttled_ns=throttling.get("throttled_time", 0),
        memory_bytes=used,
        working_set_bytes=max(0, used - stat.get("total_inactive_file", 0)),
        rss_bytes=stat.get("total_rss", 0),
        cache_bytes=stat.get("total_cache", 0),
        mapped_bytes=stat.get("total_mapped_file", 0),
        page_faults=stat.get("total_pgfault", 0),
        major_page_faults=stat.get("total_pgmajfault", 0),
        swap_bytes=stat.get("total_swap", 0),
        memory_limit_bytes=limit if limit < _NO_LIMIT_BYTES else 0,
        memory_peak_bytes=_number(memory / "memory.max_usage_in_bytes") or 0,
        memory_failures=_number(memory / "memory.failcnt") or 0,
        oom_kills=oom.get("oom_kill", 0),
        processes=_number(root / "pids" / relative / "pids.current") or 0,
    )


def read_v2(folder: Path) -> Reading | None:
    times = flat(folder / "cpu.stat")
    used = _number(folder / "memory.current")
    if "usage_usec" not in times:
        return None
    if used is None:  # the root has no memory.current
        used = flat(folder / "memory.stat").get("anon", 0) + flat(folder / "memory.stat").get("file", 0)
    stat, events = flat(folder / "memory.stat"), flat(folder / "memory.events")
    return Reading(
        cpu_ns=times["usage_usec"] * 1000,
        user_ns=times.get("user_usec", 0) * 1000,
        system_ns=times.get("system_usec", 0) * 1000,
        periods=times.get("nr_periods", 0),
        throttled_periods=times.get("nr_throttled", 0),
        throttled_ns=times.get("throttled_usec", 0) * 1000,
        memory_bytes=used,
        working_set_bytes=max(0, used - stat.get("inactive_file", 0)),
        rss_bytes=stat.get("anon", 0),
        cache_bytes=stat.get("file", 0),
        mapped_bytes=stat.get("file_mapped", 0),
        page_faults=stat.get("pgfault", 0),
        major_page_faults=stat.get("pgmajfault", 0),
        swap_bytes=_number(folder / "memory.swap.current") or 0,
        memory_limit_bytes=_number(folder / "memory.max") or 0,
        memory_peak_bytes=_number(folder / "memory.peak") or 0,
        memory_failures=events.get("max", 0),
        oom_kills=events.get("oom_kill", 0),
        processes=_number(folder / "pids.current") or 0,
    )


def network_of(process: int, proc: Path = Path("/proc")) -> dict[str, tuple[int, ...]]:
    """Interface -> received bytes, packets, errors, dropped, and the same sent, in the network of that process."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        lines = (proc / str(process) / "net/dev").read_text().splitlines()[2:]
    except OSError:
        return found
    for line in lines:
        name, _, counters = line.partition(":")
        numbers = [int(word) for word in counters.split()]
        if len(numbers) >= 12 and name.strip() != "lo":
            found[name.strip()] = (*numbers[0:4], *numbers[8:12])
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
