"""The audit log on disk: events one a line, few writes, old files go.

Enters: lines.
Leaves: a file of mode 0600, and older ones beside it: audit-2026-03-01T12-00-00.000.log beside audit.log.
Holds: lines wait in memory and are written together, so that a flash card is asked once in limits.AUDIT_WRITE_SECONDS; what waits
at a power cut is lost, what waits at a stop is written. What finds no room is counted and left out, never waited for.
Bound: limits.AUDIT_WAITING_BYTES_MAX in memory; size, number and age of the files as they are set.
Next: server.auditing.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.server.audit_waiting import AuditWaiting

log = logging.getLogger("edgekube.audit")


class Rotation(Struct, frozen=True):
    """0: no bound, as in kube-apiserver's flags."""

    size_megabytes: int = 10
    backups: int = 5
    age_days: int = 0


class AuditFile(AuditWaiting):
    def __init__(self, path: str, rotation: Rotation, clock: Callable[[], float] = time.time) -> None:
        """``path``: "-" for standard output."""
        super().__init__(due_bytes=limits.AUDIT_WRITE_BYTES)
        self.path = path
        self._rotation = rotation
        self._clock = clock
        self._failing = False

    async def run(self) -> None:
        """Until it is cancelled; then everything that waits is written."""
        try:
            while True:
                await self.until_due()
                await self.flush()
        finally:
            with trio.CancelScope(shield=True):
                await self.flush()

    async def flush(self) -> None:
        lines = self.take()
        if not lines:
            return
        try:
            await trio.to_thread.run_sync(self._write, b"".join(lines))
            self._failing = False
        except OSError as error:
            self.lost += len(lines)
            if not self._failing:
                log.error("the audit log cannot be written path=%s: %s", self.path, error)
            self._failing = True

    def _write(self, data: bytes) -> None:
        if self.path == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
            return
        path = Path(self.path)
        most = self._rotation.size_megabytes * 1024 * 1024
        if most and path.exists() and path.stat().st_size + len(data) > most:
            self._rotate(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            file.write(data)

    def _rotate(self, path: Path) -> None:
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}"
        path.rename(path.with_name(f"{path.stem}-{stamp}{path.suffix}"))
        older = sorted(path.parent.glob(f"{path.stem}-????-??-??T??-??-??.???{path.suffix}"), reverse=True)
        oldest = now - self._rotation.age_days * 86400
        for number, old in enumerate(older):
            too_many = self._rotation.backups and number >= self._rotation.backups
            too_old = self._rotation.age_days and old.stat().st_mtime < oldest
            if too_many or too_old:
                old.unlink(missing_ok=True)
