"""What was refused and to whom, in the log: enough to notice an attack, never so much that the attack fills the card.

Enters: requests that a handler answered 401 or 403, and handshakes that failed.
Leaves: one line for each, as long as they are few; then now and then one that counts the others.
Holds: nothing that a peer sent is written but its path and what it was told, quoted and cut; no header, no body, no token.
Bound: limits.REFUSALS_LOGGED_BURST lines, then one each limits.REFUSALS_LOGGED_SECONDS.
Next: server.app, agent.server, wire.server.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from edgekube import limits
from edgekube.wire.protocol import Request

REFUSED: Final = (401, 403)


class Allowance:
    """How much may be said: a burst, then one line now and then."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._room = float(limits.REFUSALS_LOGGED_BURST)
        self._asked_at = now()
        self._unsaid = 0

    def take(self) -> int | None:
        """How many were left out since the last line, when another may be said; None: leave this one out."""
        now = self._now()
        self._room = min(limits.REFUSALS_LOGGED_BURST, self._room + (now - self._asked_at) / limits.REFUSALS_LOGGED_SECONDS)
        self._asked_at = now
        if self._room < 1:
            self._unsaid += 1
            return None
        self._room -= 1
        unsaid, self._unsaid = self._unsaid, 0
        return unsaid


class RefusalLog:
    def __init__(self, log: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._allowance = Allowance(now)

    def tell(self, request: Request, code: int, why: str) -> None:
        unsaid = self._allowance.take()
        if unsaid is None:
            return
        path = request.path[: limits.REFUSAL_TEXT_BYTES_MAX]
        self._log.warning(
            "refused code=%d method=%s path=%r peer=%s why=%r unsaid=%d",
            code, request.method, path, request.peer, why[: limits.REFUSAL_TEXT_BYTES_MAX], unsaid,
        )  # fmt: skip
