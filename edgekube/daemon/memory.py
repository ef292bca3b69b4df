"""Keep what the process holds near what it needs.

Enters: nothing; the process's own /proc entries.
Leaves: memory, given back to the kernel after the start and after bursts.
Holds: only what can be had again without loss is given back: freed heap, and pages of program code and its constants, which the
kernel maps again from its cache when they are touched. Where a C library or kernel lacks a call, nothing happens.
Bound: limits.MEMORY_CHECK_SECONDS between looks; a busy process is left alone.

What it is worth, measured with five pods, is in docs/adr/0002-process-memory.md.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import re
import time
from pathlib import Path
from typing import Final

import trio

from edgekube import limits

log = logging.getLogger("edgekube")

# <malloc.h>
_M_ARENA_MAX: Final = -8
# <sys/mman.h>
_MADV_DONTNEED: Final = 4

#: One for all threads: the interpreter's lock keeps most of them from meeting there anyway.
_ARENAS: Final = 1
#: Growth since the last release that makes another one worth its price.
_GROWTH_BYTES: Final = 2 * 1024 * 1024
#: Share of one core above which the process is busy.
_BUSY_SHARE: Final = 0.05

_PROGRAM: Final = ("r-xp", "r--p")
_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ [1-9]\d*\s+/")


def bound_heap() -> None:
    """Call before the first thread. By default glibc makes an arena for each thread, and what is free in one helps no other.

    Its thresholds are left alone: giving back each large block at once costs a list of 1,000 objects 200 page faults."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def program_mappings(smaps: str) -> list[tuple[int, int]]:
    """(address, length) of the mapped files' code and constants in the text of /proc/PID/smaps: private, not writable, and
    never written to (what a linker has filled in is read-only too, and would be lost)."""
    found = []
    mapping: re.Match[str] | None = None
    for line in smaps.splitlines():
        if line.startswith("Anonymous:"):
            if mapping is not None and mapping[3] in _PROGRAM and line.split()[1] == "0":
                start, end = int(mapping[1], 16), int(mapping[2], 16)
                found.append((start, end - start))
        elif "-" in line.partition(" ")[0]:
            mapping = _MAPPING.match(line)
    return found


def is_worth_a_release(resident_bytes: int, lowest_bytes: int, busy_share: float) -> bool:
    return busy_share < _BUSY_SHARE and resident_bytes > lowest_bytes + _GROWTH_BYTES


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def release() -> None:
    """Takes some milliseconds, without the interpreter's lock."""
    library = ctypes.CDLL(None)
    trim = getattr(library, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
    for start, length in program_mappings(Path("/proc/self/smaps").read_text()):
        library.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_DONTNEED)


async def keep_small() -> None:
    """Runs until cancelled. Start it once everything else runs."""
    await trio.sleep(limits.MEMORY_SETTLE_SECONDS)
    lowest = await _release_all()
    wall, busy = time.monotonic(), time.process_time()
    while True:
        await trio.sleep(limits.MEMORY_CHECK_SECONDS)
        before_wall, before_busy = wall, busy
        wall, busy = time.monotonic(), time.process_time()
        if is_worth_a_release(resident_bytes(), lowest, (busy - before_busy) / (wall - before_wall)):
            lowest = await _release_all()


async def _release_all() -> int:
    before = resident_bytes()
    gc.collect()  # in this thread: what it ends may belong to the event loop
    await trio.to_thread.run_sync(release)
    after = resident_bytes()
    log.debug("memory released before_mb=%.1f after_mb=%.1f", before / 1e6, after / 1e6)
    return after
