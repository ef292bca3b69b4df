"""What a process costs, as /proc tells it: memory, CPU time, bytes written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    rss_mb: float
    pss_mb: float
    cpu_seconds: float
    written_bytes: int
    threads: int


def cost_of(pid: int) -> Cost:
    """Memory in MB (10^6 bytes), CPU since the process began, bytes that it caused to be written to block devices."""
    root = Path("/proc") / str(pid)
    rollup = dict(line.split(":", 1) for line in (root / "smaps_rollup").read_text().splitlines()[1:])
    stat = (root / "stat").read_text().rsplit(") ", 1)[1].split()
    io = dict(line.split(": ") for line in (root / "io").read_text().splitlines())
    kilobytes = {name: int(value.split()[0]) for name, value in rollup.items()}
    return Cost(
        rss_mb=kilobytes["Rss"] * 1024 / 1e6,
        pss_mb=kilobytes["Pss"] * 1024 / 1e6,
        cpu_seconds=(int(stat[11]) + int(stat[12])) / _TICKS,
        written_bytes=int(io["write_bytes"]),
        threads=int(stat[17]),
    )


def children_named(pid: int, name: str) -> list[int]:
    """Descendants of the process whose command name is ``name``."""
    found: list[int] = []
    for child in (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split():
        try:
            if (Path("/proc") / child / "comm").read_text().strip() == name:
                found.append(int(child))
            found.extend(children_named(int(child), name))
        except FileNotFoundError:
            continue
    return found


def cpu_with_reaped(pid: int) -> float:
    """CPU seconds of the process and of the children that it has waited for, however short they lived."""
    try:
        return sum(map(int, (Path("/proc") / str(pid) / "stat").read_text().rsplit(") ", 1)[1].split()[11:15])) / _TICKS
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def cpu_of_tree(pid: int) -> float:
    """The same of the process and all its descendants."""
    try:
        tasks = list((Path("/proc") / str(pid) / "task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return cpu_with_reaped(pid) + sum(cpu_of_tree(int(child)) for child in children)
