"""The lines of CRI log files.

Enters: bytes such as ``2026-01-02T03:04:05.000000006Z stdout F text``.
Leaves: LogLine values; the last lines of a file.
Holds: a line that does not parse is passed over; partial lines (P) keep no newline of their own.
Source: the CRI logging format (kubernetes design proposals, kubelet-cri-logging).
Next: agent.logs, agent.termination.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

_BLOCK_BYTES = 64 * 1024


class LogLine(Struct, frozen=True):
    timestamp: bytes
    stream: bytes  # stdout, stderr
    partial: bool
    text: bytes  # without its newline

    def shown(self, timestamps: bool) -> bytes:
        end = b"" if self.partial else b"\n"
        return (self.timestamp + b" " if timestamps else b"") + self.text + end


def parse_line(raw: bytes) -> LogLine | None:
    parts = raw.rstrip(b"\n").split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr"):
        return None
    tag = parts[2].split(b":", 1)[0]
    if tag not in (b"F", b"P"):
        return None
    return LogLine(parts[0], parts[1], tag == b"P", parts[3] if len(parts) == 4 else b"")


def tail_offset(stream: BinaryIO, lines: int, end: int) -> int:
    """Where the last ``lines`` log lines before the byte ``end`` begin; a line cut in partial pieces counts once."""
    if lines <= 0:
        return end
    position, seen, buffer = end, 0, b""
    while position > 0:
        size = min(_BLOCK_BYTES, position)
        position -= size
        stream.seek(position)
        buffer = stream.read(size) + buffer
        cut = len(buffer)
        while True:
            # The newline that ends the line before the one at ``cut``.
            cut = buffer.rfind(b"\n", 0, max(0, cut - 1))
            if cut < 0:
                break
            start_of_previous = buffer.rfind(b"\n", 0, cut) + 1
            if start_of_previous == 0 and position > 0:
                break
            previous = parse_line(buffer[start_of_previous:cut])
            if previous is not None and previous.partial:
                continue
            seen += 1
            if seen == lines:
                return position + cut + 1
            cut += 1
            cut = cut - 1 if cut > 0 else 0
        seen = 0  # counted again with the longer buffer
    return 0


def tail_text(path: Path, lines: int, bytes_max: int) -> str:
    """The end of a log as text without timestamps; "" when there is no log."""
    try:
        with path.open("rb") as stream:
            stream.seek(tail_offset(stream, lines, stream.seek(0, os.SEEK_END)))
            parsed = [line for raw in stream if (line := parse_line(raw))]
    except OSError:
        return ""
    return b"".join(line.shown(False) for line in parsed)[-bytes_max:].decode(errors="replace")
