"""How many requests may run at once.

Enters: the kind of request: read, write, or watch (which includes logs, exec and the like: streams that last).
Leaves: a place, or StatusError TooManyRequests with Retry-After.
Holds: a place is given back whatever happens; system:masters need none, so that the cluster can be mended.
Bound: limits.REQUESTS_READING_MAX, REQUESTS_WRITING_MAX, WATCHES_MAX; WATCHES_PER_USER_MAX streams of one user.
Next: server.app.
"""

from __future__ import annotations

from collections import Counter
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
        self.streams_of: Counter[str] = Counter()

    def at_once(self) -> dict[str, int]:
        """As upstream's metric names them."""
        return {"readOnly": self.running[READING], "mutating": self.running[WRITING]}

    def place(self, what: str, *, exempt: bool, user_name: str = "") -> Place:
        """Taken until the ``with`` ends, which should begin at once. ``user_name``: whose share of the streams it is; "" for
        requests that end soon. StatusError TooManyRequests."""
        crowded = self.running[what] >= self._most[what] or self.streams_of[user_name] >= limits.WATCHES_PER_USER_MAX
        if crowded and not exempt:
            raise errors.too_many_requests("too many requests, please try again later", retry_after_seconds=1)
        return Place(self, what, user_name)


class Place:
    __slots__ = ("_in_flight", "_user_name", "_what")

    def __init__(self, in_flight: InFlight, what: str, user_name: str) -> None:
        self._in_flight = in_flight
        self._what = what
        self._user_name = user_name

    def __enter__(self) -> None:
        self._in_flight.running[self._what] += 1
        if self._user_name:
            self._in_flight.streams_of[self._user_name] += 1

    def __exit__(self, *error: object) -> None:
        running, streams_of = self._in_flight.running, self._in_flight.streams_of
        running[self._what] -= 1
        if self._user_name:
            streams_of[self._user_name] -= 1
            if not streams_of[self._user_name]:
                del streams_of[self._user_name]
