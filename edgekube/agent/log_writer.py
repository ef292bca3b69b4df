"""Is somebody still writing this log?

Enters: a log file.
Leaves: whether a process has it open for writing; a wait until none has.
Holds: nothing is changed. containerd copies what a container says in a thread of its own: when it reports the container's end the
last lines may not be in the file yet, and it closes the file only after them. The kernel tells by a read lease, which it gives
on a file that nobody has open for writing (fcntl(2), F_SETLEASE).
Next: agent.last_words, agent.server.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path

import trio

from edgekube.limits import LOG_COMPLETE_SECONDS_MAX, LOG_LOOK_SECONDS

_F_SETSIG = 10  # asm-generic/fcntl.h; the module fcntl does not name it


def is_being_written(path: Path) -> bool:
    """False also where the file system gives no leases, or there is no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Whoever opens it for writing while the lease is held is waited for with this signal: one that does nothing here.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


def completion(path: Path, over: Callable[[], bool]) -> Callable[[], bool]:
    """Tells, when asked, whether no more will come: the container has ended, and its log is whole or must do as it is (on NFS
    the kernel gives no lease)."""
    since: float | None = None

    def complete() -> bool:
        nonlocal since
        if not over():
            return False
        now = trio.current_time()
        since = now if since is None else since
        return now - since > LOG_COMPLETE_SECONDS_MAX or not is_being_written(path)

    return complete


async def until_complete(path: Path) -> None:
    """Of a container that has ended: until its log is whole, or it must do as it is."""
    with trio.move_on_after(LOG_COMPLETE_SECONDS_MAX):
        while is_being_written(path):  # noqa: ASYNC110 - containerd tells nobody
            await trio.sleep(LOG_LOOK_SECONDS)
