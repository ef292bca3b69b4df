"""The checks `etcd` and `log` of the health endpoints: does the store answer, can a log line be written?

Enters: the registry.
Leaves: None, or why it is not well.
Holds: the store is asked by one small read, as Kubernetes asks etcd; the reason names no data.
Bound: limits.HEALTH_STORE_SECONDS_MAX for the read.
Next: server.health.
"""

from __future__ import annotations

import sys

import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.api.kinds import NAMESPACE
from edgekube.registry.get import stored
from edgekube.registry.state import Registry


class StoreCheck:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._why: str | None = None

    async def look(self) -> None:
        """Ask the store now; ``why`` tells what came of it."""
        self._why = "the store does not answer in time"
        with trio.move_on_after(limits.HEALTH_STORE_SECONDS_MAX):
            try:
                await stored(self._registry, NAMESPACE, "", "default")
                self._why = None
            except StatusError as error:
                # A store without that namespace answers as well.
                self._why = None if error.reason == "NotFound" else f"the store does not answer: {error.reason}"

    def why(self) -> str | None:
        return self._why


def log_check() -> str | None:
    """The log goes to the standard error stream."""
    return "the log stream is closed" if sys.stderr is None or sys.stderr.closed else None
