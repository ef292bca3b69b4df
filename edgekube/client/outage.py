"""One line when the API server stops answering, and one when it answers again, however many ask it meanwhile.

Enters: each call's outcome.
Leaves: lines in the log. Holds: a card is not filled by a dozen followers that each complain at their own pace.
Next: client.remote tells it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

log = logging.getLogger("edgekube.client")


class Outage:
    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._since: float | None = None

    def failed(self, why: str) -> None:
        if self._since is None:
            self._since = self._now()
            log.warning("the API server does not answer, what runs here runs on: %s", why)

    def answered(self) -> None:
        if self._since is not None:
            log.info("the API server answers again after %.0f s", self._now() - self._since)
            self._since = None
