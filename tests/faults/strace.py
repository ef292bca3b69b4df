"""Read what strace saw of a process's files, and rebuild the disks that a power cut could have left.

Enters: the output of ``strace -f -xx -s BIG -e trace=TRACED``.
Leaves: events in order; for any moment, the content of each file in one of the ways a disk may hold it.
Holds: what was synced before the moment is there; a write after the last sync of its file may be there, or not, or in part.
Next: tests.faults.test_power_cut.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias

TRACED: Final = "openat,close,write,pwrite64,fsync,fdatasync,ftruncate"
SECTOR_BYTES: Final = 512

Fate: TypeAlias = Literal["kept", "lost", "reordered", "torn"]
FATES: Final[tuple[Fate, ...]] = ("kept", "lost", "reordered", "torn")


@dataclass(frozen=True, slots=True)
class Write:
    path: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    path: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sync:
    path: str


@dataclass(frozen=True, slots=True)
class Said:
    """A line on stdout: an acknowledgement has left the process."""

    text: str


Event: TypeAlias = Write | Truncate | Sync | Said

_CALL: Final = re.compile(r"^(\d+) +(\w+)\((.*)$")
_RESUMED: Final = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_RESULT: Final = re.compile(r"= (-?\d+)")
_HEX: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def _calls(lines: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """(name, arguments, result) in the order in which the calls returned."""
    unfinished: dict[str, str] = {}
    for line in lines:
        if match := _CALL.match(line):
            pid, name, rest = match.groups()
            if rest.rstrip().endswith("<unfinished ...>"):
                unfinished[pid] = rest.rstrip().removesuffix("<unfinished ...>")
                continue
        elif match := _RESUMED.match(line):
            pid, name, tail = match.groups()
            rest = unfinished.pop(pid, "") + tail
        else:
            continue
        if result := _RESULT.search(rest[rest.rfind(")") :]):
            yield name, rest, int(result[1])


def _bytes(arguments: str) -> bytes:
    match = _HEX.search(arguments)
    assert match is not None, arguments[:80]
    return bytes.fromhex(match[1].replace("\\x", ""))


def events(lines: Iterable[str], directory: Path) -> Iterator[Event]:
    """Of files in ``directory`` (each opened under one name), and of stdout."""
    names: dict[str, str] = {}
    for call, arguments, result in _calls(lines):
        descriptor = arguments.split(",", 1)[0].split(")", 1)[0].strip()
        if call == "openat":
            path = _bytes(arguments).decode()
            if result >= 0 and Path(path).parent == directory:
                names[str(result)] = path
        elif call == "close":
            names.pop(descriptor, None)
        elif call == "write" and descriptor == "1":
            said = _bytes(arguments)
            if said.startswith(b"ack "):  # not the ldconfig that ctypes asks for libraries
                yield Said(said.decode().strip())
        elif descriptor in names and result >= 0:
            path = names[descriptor]
            if call == "pwrite64":
                offset = int(arguments[: arguments.rfind(")")].rsplit(",", 1)[1])
                yield Write(path, offset, _bytes(arguments)[:result])
            elif call == "ftruncate":
                yield Truncate(path, int(arguments.split(",", 1)[1].split(")")[0]))
            elif call in ("fsync", "fdatasync"):
                yield Sync(path)
            else:
                raise AssertionError(f"{call} on {path}: this reader does not know what it does to the disk")


def _apply(content: bytearray, event: Write | Truncate, sectors: Sequence[int] | None = None) -> None:
    if isinstance(event, Truncate):
        del content[event.size_bytes :]
        content.extend(bytes(event.size_bytes - len(content)))
        return
    end = event.offset + len(event.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if sectors is None:
        content[event.offset : end] = event.data
        return
    for sector in sectors:  # whole sectors of the disk, not of the write
        start = max(sector * SECTOR_BYTES, event.offset)
        stop = min((sector + 1) * SECTOR_BYTES, end)
        content[start:stop] = event.data[start - event.offset : stop - event.offset]


@dataclass(slots=True)
class Disk:
    """The files as synced, and what was done to each since."""

    synced: dict[str, bytearray]
    pending: dict[str, list[Write | Truncate]] = field(default_factory=dict)

    def happen(self, event: Event) -> None:
        if isinstance(event, Sync):
            content = self.synced.setdefault(event.path, bytearray())
            for pending in self.pending.pop(event.path, []):
                _apply(content, pending)
        elif not isinstance(event, Said):
            self.pending.setdefault(event.path, []).append(event)

    def after_the_cut(self, fate: Fate, chance: random.Random) -> dict[str, bytes]:
        files = {path: bytearray(content) for path, content in self.synced.items()}
        for path, pending in self.pending.items():
            content = files.setdefault(path, bytearray())
            if fate == "kept":
                chosen = list(pending)
            elif fate == "lost":
                chosen = []
            else:
                chosen = [event for event in pending if chance.random() < 0.6]
                chance.shuffle(chosen)
            for event in chosen:
                if fate == "torn" and isinstance(event, Write) and chance.random() < 0.5:
                    first, last = event.offset // SECTOR_BYTES, (event.offset + len(event.data) - 1) // SECTOR_BYTES
                    _apply(content, event, [sector for sector in range(first, last + 1) if chance.random() < 0.5])
                else:
                    _apply(content, event)
        return {path: bytes(content) for path, content in files.items()}
