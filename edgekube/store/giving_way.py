"""Let the writer thread have the interpreter while the loop is busy.

Enters: the loop's passes (trio.abc.Instrument).
Leaves: a short sleep now and then, while writes wait.
Holds: a busy loop releases the interpreter's lock (GIL) at each system call, but takes it back before a waiting thread has
woken; and each release starts that thread's 5 ms patience anew. Without this a commit under load took over a second at p99.
Bound: one pause in PAUSE_EVERY_SECONDS, only when the loop has more to do at once and a write waits.
Next: store.sqlite.
"""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import Final

import trio

#: With the kernel's timer slack about 0.1 ms: long enough for a thread to wake.
_PAUSE_SECONDS: Final = 0.00005
PAUSE_EVERY_SECONDS: Final = 0.0005


class GivingWay(trio.abc.Instrument):
    def __init__(self, waiting: Sized) -> None:
        self._waiting = waiting
        self._next_seconds = 0.0

    def before_io_wait(self, timeout: float) -> None:
        """``timeout`` is 0 when tasks are ready to run; otherwise the loop is about to sleep anyway."""
        if timeout <= 0 and self._waiting and (now := time.perf_counter()) >= self._next_seconds:
            time.sleep(_PAUSE_SECONDS)
            self._next_seconds = now + PAUSE_EVERY_SECONDS
