"""Read a container's log as ``kubectl logs`` asks for it.

Enters: a CRI log file, LogOptions, whether the container still runs.
Leaves: pieces of text, as they come.
Holds: who does not follow gets what was there when the log was opened, no matter how fast it grows; following goes on across
rotation and ends once the container has ended and everything was read; nothing is held in memory but one block and one line.
Bound: limits.LOG_LINE_BYTES_MAX per line; ``limit_bytes`` of the options is exact.
Source: Kubernetes API reference, PodLogOptions.
Next: agent.server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import trio
from msgspec import Struct

from edgekube.agent.log_lines import parse_line, tail_offset
from edgekube.api import errors, times
from edgekube.limits import LOG_LINE_BYTES_MAX

_BLOCK_BYTES = 64 * 1024
#: A follower looks this often whether the file has grown; it costs one fstat.
FOLLOW_SECONDS = 0.2


class LogOptions(Struct, frozen=True):
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: float = 0.0  # seconds since the epoch
    stream: str = "All"  # All, Stdout, Stderr


def _whole(query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise errors.bad_request(f"{name} must be a number, got {text!r}") from None
    if value < least:
        raise errors.bad_request(f"{name} must be at least {least}, got {value}")
    return value


def parse_options(query: Mapping[str, str], now: float) -> LogOptions:
    """From the query of containerLogs. StatusError BadRequest for nonsense."""

    def flag(name: str) -> bool:
        return query.get(name, "").lower() in ("1", "true", "t")

    since = 0.0
    seconds = _whole(query, "sinceSeconds", 1)
    if seconds is not None:
        since = now - seconds
    elif query.get("sinceTime"):
        try:
            since = times.parse(query["sinceTime"])
        except ValueError as error:
            raise errors.bad_request(str(error)) from None
    return LogOptions(
        follow=flag("follow"),
        previous=flag("previous"),
        timestamps=flag("timestamps"),
        tail_lines=_whole(query, "tailLines", 0),
        limit_bytes=_whole(query, "limitBytes", 1),
        since=since,
        stream=query.get("stream") or "All",
    )


class _Lines:
    """Whole lines out of blocks; what is left over waits for the next block."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[bytes]:
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        yield from lines
        if len(self._rest) > LOG_LINE_BYTES_MAX:
            yield self._rest
            self._rest = b""

    def flush(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest
            self._rest = b""


class _Selection:
    """Which lines are shown, and how."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._left = options.limit_bytes
        self._since_passed = options.since <= 0
        self._begins_line = True

    @property
    def full(self) -> bool:
        return self._left is not None and self._left <= 0

    def take(self, raw: bytes) -> bytes:
        line = parse_line(raw)
        options = self._options
        if line is None or (options.stream != "All" and line.stream.decode() != options.stream.lower()):
            return b""
        if not self._since_passed:
            try:
                self._since_passed = times.parse(line.timestamp.decode()) >= options.since
            except ValueError:
                self._since_passed = False
            if not self._since_passed:
                return b""
        shown = line.shown(options.timestamps and self._begins_line)
        self._begins_line = not line.partial
        if self._left is not None:
            shown = shown[: self._left]
            self._left -= len(shown)
        return shown


async def read_log(path: Path, options: LogOptions, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Pieces of the log. ``ended`` is asked before each look at the end of the file: True means that no more will come."""
    selection, lines = _Selection(options), _Lines()
    stream = _open(path)
    while stream is None:
        if not options.follow or ended():
            return
        await trio.sleep(FOLLOW_SECONDS)
        stream = _open(path)
    try:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(0 if options.tail_lines is None else tail_offset(stream, options.tail_lines, end))
        while True:
            over = ended()
            while block := stream.read(_BLOCK_BYTES if options.follow else min(_BLOCK_BYTES, end - stream.tell())):
                shown = b"".join(selection.take(line) for line in lines.feed(block))
                if shown:
                    yield shown
                if selection.full:
                    return
                await trio.lowlevel.checkpoint()
            if options.follow and _rotated(stream, path):
                # containerd writes on into the old file until it is told to reopen: what came meanwhile was read above.
                following = _open(path)
                if following is not None:
                    stream.close()
                    stream = following
                    continue
            if not options.follow or over:
                break
            await trio.sleep(FOLLOW_SECONDS)
        rest = b"".join(selection.take(line) for line in lines.flush())
        if rest:
            yield rest
    finally:
        stream.close()


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _rotated(stream: BinaryIO, path: Path) -> bool:
    """Another file has the name now, and it has begun: so the old one is complete."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(stream.fileno())
    return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev) and mine.st_size == stream.tell()
