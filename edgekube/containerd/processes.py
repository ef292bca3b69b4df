"""Processes of this machine, as the kernel tells of them.

Enters: /proc.
Leaves: one row a process: whose child it is, since when it runs, the words that it was started with.
Holds: what ends meanwhile is left out; nothing is decided here.
Source: proc(5).
Next: containerd.shims, containerd.supervisor, cli.removing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

PROC: Final = Path("/proc")


class Process(Struct, frozen=True):
    pid: int
    parent: int
    #: In the kernel's ticks since it booted: a number that is used again is another process.
    started: str
    #: Its command line; (""), when it is the kernel's own or a zombie.
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    def flag(self, name: str) -> str:
        """The word behind the last ``name``; "" when there is none."""
        return dict(itertools.pairwise(self.words)).get(name, "")


def processes(proc: Path = PROC) -> Iterator[Process]:
    for name in os.listdir(proc):
        if name.isdecimal():
            try:
                fields = _stat(proc, name)
                words = _read(f"{proc}/{name}/cmdline").decode(errors="replace").split("\0")
                yield Process(int(name), int(fields[1]), fields[19].decode(), tuple(words))
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile


def start_of(pid: int, proc: Path = PROC) -> str:
    """As Process.started; "" when the process is gone or a zombie."""
    try:
        fields = _stat(proc, str(pid))
    except OSError:
        return ""
    return "" if fields[0] in b"ZX" else fields[19].decode()


def _stat(proc: Path, pid: str) -> list[bytes]:
    """Of ``pid (name, in which anything may stand) state parent …`` those from the state on."""
    return _read(f"{proc}/{pid}/stat").rpartition(b") ")[2].split()


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()
