"""Shims of our containerd that are nobody's, and hold nothing.

Enters: containerd's state directory, what its CRI lists, the machine's processes.
Leaves: such processes are ended.
Holds: a shim that has a child is somebody's, and so is one whose sandbox is listed. Where edgekube or containerd dies while a
sandbox is being made, containerd 1.6 forgets the shim at times, or keeps its bundle and lists nothing; it would stay for ever, in
13 MB.
Bound: two looks, SHIM_LOOKS_SECONDS apart, see a process before it is ended: what was being made then is made, or given up.
Next: daemon.node.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import trio
from msgspec import Struct

from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.processes import Process, processes
from edgekube.containerd.protocol import Runtime
from edgekube.containerd.rpc import NAMESPACE
from edgekube.limits import SHIM_LOOKS_SECONDS, SHIMS_CHECK_SECONDS

log = logging.getLogger("edgekube.containerd")


class Shim(Struct, frozen=True):
    pid: int
    id: str
    started: str


def shims_of(state: Path, everything: Iterable[Process]) -> Iterator[Process]:
    """Those that were started for the containerd with this state directory."""
    address = str(state / "containerd.sock")
    return (each for each in everything if each.program.startswith("containerd-shim") and each.flag("-address") == address)


def childless(state: Path, everything: Collection[Process]) -> set[Shim]:
    parents = {each.parent for each in everything}
    return {
        Shim(each.pid, shim_id, each.started)
        for each in shims_of(state, everything)
        if each.pid not in parents and each.flag("-namespace") == NAMESPACE and (shim_id := each.flag("-id"))
    }


async def abandoned(state: Path, runtime: Runtime) -> set[Shim]:
    """Those that nobody would miss, as far as one look can tell. RuntimeFailure."""
    found = childless(state, await trio.to_thread.run_sync(lambda: list(processes())))
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
