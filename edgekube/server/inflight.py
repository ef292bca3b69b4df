"""How many requests may run at once.

Enters: the kind of request: read, write, or watch (which includes logs, exec and the like: streams that last).
Leaves: a place, or StatusError TooManyRequests with Retry-After.
Holds: a place is given back whatever happens; system:masters need none, so that the cluster can be mended.
Bound: limits.REQUESTS_READING_MAX, REQUESTS_WRITING_MAX, WATCHES_MAX.
Next: server.app.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from edgekube import limits
from edgekube.api import errors

READING: Final = "reading"
WRITING: Final = "writing"
WATCHING: Final = "watching"


class InFlight:
    def __init__(self) -> None:
        self._most = {
            READING: limits.REQUESTS_READING_MAX,
            WRITING: limits.REQUESTS_WRITING_MAX,
            WATCHING: limits.WATCHES_MAX,
        }
        self.running: Counter[str] = Counter()

    @contextmanager
    def place(self, what: str, *, exempt: bool) -> Iterator[None]:
        if not exempt and self.running[what] >= self._most[what]:
            raise errors.too_many_requests("too many requests, please try again later", retry_after_seconds=1)
        self.running[what] += 1
        try:
            yield
        finally:
            self.running[what] -= 1
