"""The node's own logs, for those who may read ``nodes/log``.

Enters: a path below /logs/ and a query.
Leaves: a listing of /var/log or one of its files; what journalctl, or a service's log file, has of a service.
Holds: no file outside of the directory is opened, whatever links lie in it; a query that takes long is ended.
Bound: limits.NODE_LOG_SECONDS_MAX for a query.
Source: kubernetes.io, "System Logs".
Next: agent.server.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import trio

from edgekube.agent.node_log_query import NodeLogQuery, journal_arguments
from edgekube.api.errors import StatusError
from edgekube.limits import NODE_LOG_SECONDS_MAX

LOGS: Final = Path("/var/log")
HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
_BLOCK_BYTES: Final = 64 * 1024
_JOURNALS: Final = (Path("/run/log/journal"), Path("/var/log/journal"))


def open_within(root: Path, relative: str) -> int:
    """A descriptor of what is there. StatusError NotFound for what is not, or is elsewhere, or is neither file nor directory."""
    missing = StatusError("NotFound", f"there is no log {relative!r}")
    place = root / relative.strip("/")
    if ".." in place.parts or "\0" in relative:
        raise missing
    try:
        # Not opened yet: a FIFO would be waited for, and a device does things when it is (a watchdog begins to count).
        found = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        raise missing from None
    try:
        mode = os.fstat(found).st_mode
        where = Path(os.readlink(f"/proc/self/fd/{found}"))
        if where.is_relative_to(root.resolve()) and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        pass
    finally:
        os.close(found)
    raise missing


def listing(descriptor: int) -> bytes:
    """As browsers and ``kubectl get --raw`` show a directory."""
    import html  # half a megabyte of entities, for the few who look

    with os.scandir(descriptor) as entries:
        names = sorted(entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "") for entry in entries)
    links = [f'<a href="{quote(name)}">{html.escape(name)}</a>' for name in names]
    return "\n".join(
        ["<!doctype html>", '<meta name="viewport" content="width=device-width">', "<pre>", *links, "</pre>", ""]
    ).encode()


def browsed(relative: str, root: Path = LOGS) -> tuple[str, bytes | BinaryIO]:
    """Content type, and a listing or the open file."""
    descriptor = open_within(root, relative)
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        return TEXT, os.fdopen(descriptor, "rb")
    try:
        return HTML, listing(descriptor)
    finally:
        os.close(descriptor)


async def blocks_of(stream: BinaryIO) -> AsyncGenerator[bytes, None]:
    with stream:
        while block := await trio.to_thread.run_sync(stream.read, _BLOCK_BYTES):
            yield block


async def answer(query: NodeLogQuery, root: Path = LOGS) -> AsyncGenerator[bytes, None]:
    if query.file:
        stream = _file(root, query.file)
        if stream is None:
            raise StatusError("NotFound", f"there is no log {query.file!r}")
        async for block in blocks_of(stream):
            yield block
        return
    if shutil.which("journalctl") is not None and any(place.is_dir() for place in _JOURNALS):
        async for block in _journal(query):
            yield block
        return
    found = [stream for service in query.services if (stream := _of_service(root, service)) is not None]
    if not found:
        yield f"\nno log of {', '.join(query.services)} is known here\n".encode()
    elif query.has_options:
        names = ", ".join(query.services)
        yield f"\noptions present and query resolved to log files for {names}\ntry without specifying options\n".encode()
    else:
        for stream in found:
            async for block in blocks_of(stream):
                yield block


def _of_service(root: Path, service: str) -> BinaryIO | None:
    """A service without the journal writes to a file of its name."""
    places = (service, f"{service}.log", f"{service}/{service}.log")
    return next((stream for place in places if (stream := _file(root, place)) is not None), None)


def _file(root: Path, relative: str) -> BinaryIO | None:
    try:
        _, found = browsed(relative.removeprefix(str(root)), root)
    except StatusError:
        return None
    return None if isinstance(found, bytes) else found


async def _journal(query: NodeLogQuery) -> AsyncGenerator[bytes, None]:
    command = ["journalctl", *journal_arguments(query)]
    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    deadline = trio.current_time() + NODE_LOG_SECONDS_MAX
    try:
        while True:
            with trio.CancelScope(deadline=deadline) as scope:
                block = await process.stdout.receive_some(_BLOCK_BYTES)
            if scope.cancelled_caught or not block:
                return
            yield bytes(block)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdout.aclose()
