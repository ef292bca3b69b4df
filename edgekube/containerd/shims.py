"""Shims of our containerd that are nobody's, and hold nothing.

Enters: containerd's state directory, what its CRI lists, /proc.
Leaves: such processes are ended.
Holds: a shim that has a child is somebody's, and so is one whose sandbox is listed. Where edgekube or containerd dies while a
sandbox is being made, containerd 1.6 forgets the shim at times, or keeps its bundle and lists nothing; it would stay for ever, in
13 MB.
Bound: two looks, SHIM_LOOKS_SECONDS apart, see a process before it is ended: what was being made then is made, or given up.
Next: daemon.node.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.protocol import Runtime
from edgekube.containerd.rpc import NAMESPACE
from edgekube.limits import SHIM_LOOKS_SECONDS, SHIMS_CHECK_SECONDS

log = logging.getLogger("edgekube.containerd")

_PROC: Final = Path("/proc")


class Shim(Struct, frozen=True):
    pid: int
    id: str
    #: In the kernel's ticks since it booted: a number that is used again is another process.
    started: str


def childless(state: Path, proc: Path = _PROC) -> set[Shim]:
    shims: list[Shim] = []
    parents: set[int] = set()
    for entry in proc.glob("[0-9]*"):
        try:
            # pid (name, in which anything may stand) state ppid … starttime
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents.add(int(fields[1]))
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (OSError, IndexError, ValueError):
            continue  # it ended meanwhile
        if Path(words[0]).name.startswith("containerd-shim-") and (shim_id := _id_of(words, state)):
            shims.append(Shim(int(entry.name), shim_id, fields[19]))
    return {shim for shim in shims if shim.pid not in parents}


def _id_of(words: list[str], state: Path) -> str:
    """ "" when it is another containerd's."""
    flags = dict(_flags(words))
    ours = flags.get("-namespace") == NAMESPACE and flags.get("-address") == str(state / "containerd.sock")
    return flags.get("-id", "") if ours else ""


def _flags(words: list[str]) -> Iterator[tuple[str, str]]:
    for flag, value in itertools.pairwise(words):
        if flag.startswith("-"):
            yield flag, value


async def abandoned(state: Path, runtime: Runtime) -> set[Shim]:
    """Those that nobody would miss, as far as one look can tell. RuntimeFailure."""
    found = await trio.to_thread.run_sync(childless, state)
    if not found:
        return found
    known = {row.id for row in await runtime.list_sandboxes()} | {row.id for row in await runtime.list_containers()}
    return {shim for shim in found if shim.id not in known}


async def end_abandoned(state: Path, runtime: Runtime) -> None:
    """Until cancelled: after a start, and now and then."""
    while True:
        try:
            seen = await abandoned(state, runtime)
            if seen:
                await trio.sleep(SHIM_LOOKS_SECONDS)
                seen &= await abandoned(state, runtime)
        except RuntimeFailure:
            seen = set()  # containerd is away: another time
        for shim in seen:
            log.info("ending a shim that holds nothing pid=%d id=%s", shim.pid, shim.id)
            try:
                os.kill(shim.pid, signal.SIGKILL)  # it heeds no other
            except ProcessLookupError:
                pass
        await trio.sleep(SHIMS_CHECK_SECONDS)
