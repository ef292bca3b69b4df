"""Audit events between the request that made them and whoever takes them away.

Enters: events, a line each.
Leaves: them, in their order, as many as are taken at once.
Holds: no request waits for it; what finds no room is left out and counted.
Bound: limits.AUDIT_WAITING_BYTES_MAX in memory.
Next: server.audit_file, server.audit_webhook.
"""

from __future__ import annotations

import math

import trio

from edgekube import limits


class AuditWaiting:
    def __init__(self, *, due_bytes: int = limits.AUDIT_WAITING_BYTES_MAX, due_events: float = math.inf) -> None:
        """Taking is due when so much waits, and after limits.AUDIT_WRITE_SECONDS."""
        self._due_bytes = due_bytes
        self._due_events = due_events
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._full = trio.Event()
        self.lost = 0

    def put(self, line: bytes) -> bool:
        """False: there was no room."""
        if self._waiting_bytes + len(line) > limits.AUDIT_WAITING_BYTES_MAX:
            self.lost += 1
            self._full.set()
            return False
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        if self._waiting_bytes >= self._due_bytes or len(self._waiting) >= self._due_events:
            self._full.set()
        return True

    async def until_due(self) -> None:
        with trio.move_on_after(limits.AUDIT_WRITE_SECONDS):
            await self._full.wait()
        self._full = trio.Event()

    def take(self, most: int | None = None) -> list[bytes]:
        """The first of them; all without a number."""
        taken = self._waiting[:most]
        del self._waiting[: len(taken)]
        self._waiting_bytes -= sum(map(len, taken))
        return taken
