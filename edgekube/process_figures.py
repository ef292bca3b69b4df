"""What this process is and uses, as every Prometheus client tells it; and what it is the build of.

Enters: /proc/self, edgekube.version.
Leaves: gauges, set when they are read.
Holds: nothing is looked at between two readings.
Source: prometheus.io, "Writing client libraries" (process metrics); kubernetes.io, "Kubernetes Metrics Reference".
Next: metrics.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgekube.metrics import Metrics
from edgekube.version import GIT_VERSION, KUBERNETES_MAJOR, KUBERNETES_MINOR

#: Field 22 of /proc/self/stat, counted behind the name in parentheses, which may hold anything.
_START_TICKS: Final = 19


def _started_at() -> float:
    """Seconds since the epoch, by the clock as it is now."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[_START_TICKS])
    return time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))


def tell_of_process(metrics: Metrics, features: Mapping[str, bool]) -> None:
    """``features``: gates of upstream's that this server answers to."""
    cpu = metrics.counter("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.")
    resident = metrics.gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
    virtual = metrics.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.")
    open_files = metrics.gauge("process_open_fds", "Number of open file descriptors.")
    most_files = metrics.gauge("process_max_fds", "Maximum number of open file descriptors.")
    started = metrics.gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
    started.set((), round(_started_at(), 2))
    page_bytes = os.sysconf("SC_PAGE_SIZE")

    def fill() -> None:
        cpu.add((), time.process_time() - cpu.value())
        pages = Path("/proc/self/statm").read_text().split()
        virtual.set((), int(pages[0]) * page_bytes)
        resident.set((), int(pages[1]) * page_bytes)
        open_files.set((), len(os.listdir("/proc/self/fd")))
        most_files.set((), resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    metrics.before_reading(fill)
    build = metrics.gauge(
        "kubernetes_build_info",
        "What is running here: 1, with its version in the labels.",
        "major", "minor", "git_version", "git_commit", "git_tree_state", "build_date", "go_version", "compiler", "platform",
    )  # fmt: skip
    version = f"python{platform.python_version()}"
    built = (KUBERNETES_MAJOR, KUBERNETES_MINOR, GIT_VERSION, "", "clean", "", version, platform.python_implementation().lower())
    build.set((*built, f"linux/{platform.machine()}"), 1)
    enabled = metrics.gauge(
        "kubernetes_feature_enabled",
        "1: the feature gate is on.",
        "name",
        "stage",
    )
    for name, on in features.items():
        enabled.set((name, ""), int(on))
