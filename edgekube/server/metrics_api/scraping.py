"""Ask agents what is used, when somebody wants to know.

Enters: names of nodes.
Leaves: the usage of each that answers.
Holds: nothing is asked of anybody while nobody asks here; a node is asked once for all who wait; CPU is what was used since the
answer before, or in a short while when there is none that is recent enough.
Bound: limits.METRICS_NODES_REMEMBERED_MAX nodes, METRICS_NODE_BYTES_MAX an answer, METRICS_SCRAPES_AT_ONCE_MAX at once.
Next: server.agents.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import trio

from edgekube import limits
from edgekube.api.errors import StatusError
from edgekube.server.agents import AgentConnections
from edgekube.server.metrics_api.exposition import Sample, Usage, parse, usage_between
from edgekube.wire.client import ProtocolError
from edgekube.wire.protocol import BodyTooLarge, Disconnected

log = logging.getLogger("edgekube.server")

_FAILURES = (StatusError, OSError, ssl.SSLError, ProtocolError, Disconnected, BodyTooLarge, ValueError, trio.TooSlowError)


class Scraper:
    def __init__(self, agents: AgentConnections, clock: Callable[[], float] = time.time) -> None:
        self._agents = agents
        self._clock = clock
        self._samples: OrderedDict[str, Sample] = OrderedDict()
        self._usages: dict[str, Usage] = {}
        self._under_way: dict[str, trio.Event] = {}
        #: Nodes that kept silent -> until when they are not asked.
        self._silent: OrderedDict[str, float] = OrderedDict()
        self._room = trio.CapacityLimiter(limits.METRICS_SCRAPES_AT_ONCE_MAX)

    async def usage(self, nodes: Iterable[str]) -> dict[str, Usage]:
        found: dict[str, Usage] = {}

        async def ask(node: str) -> None:
            usage = await self._of(node)
            if usage is not None:
                found[node] = usage

        async with trio.open_nursery() as nursery:
            for node in dict.fromkeys(nodes):
                nursery.start_soon(ask, node)
        return found

    async def _of(self, node: str) -> Usage | None:
        while (going := self._under_way.get(node)) is not None:
            await going.wait()
        known = self._samples.get(node)
        if known is not None and node in self._usages and trio.current_time() - known.at_seconds < limits.METRICS_FRESH_SECONDS:
            return self._usages[node]
        if trio.current_time() < self._silent.get(node, 0.0):
            return None
        self._under_way[node] = trio.Event()
        try:
            with trio.fail_after(limits.METRICS_SCRAPE_SECONDS_MAX):
                async with self._room:
                    return await self._measure(node, known)
        except _FAILURES as error:
            log.debug("node=%s its usage cannot be had why=%r", node, str(error))
            if isinstance(error, trio.TooSlowError):
                self._keep_silent(node)
            return None
        finally:
            self._under_way.pop(node).set()

    def _keep_silent(self, node: str) -> None:
        self._silent.pop(node, None)
        self._silent[node] = trio.current_time() + limits.METRICS_SILENT_SECONDS
        while len(self._silent) > limits.METRICS_NODES_REMEMBERED_MAX:
            self._silent.popitem(last=False)

    async def _measure(self, node: str, before: Sample | None) -> Usage:
        if before is None or trio.current_time() - before.at_seconds > limits.METRICS_WINDOW_SECONDS_MAX:
            before = await self._scrape(node)
            await trio.sleep(limits.METRICS_FIRST_WINDOW_SECONDS)
        sample = await self._scrape(node)
        usage = self._usages[node] = usage_between(before, sample)
        self._samples[node] = sample
        self._samples.move_to_end(node)
        while len(self._samples) > limits.METRICS_NODES_REMEMBERED_MAX:
            forgotten, _ = self._samples.popitem(last=False)
            self._usages.pop(forgotten, None)
        return usage

    async def _scrape(self, node: str) -> Sample:
        connection = await self._agents.open(node)
        try:
            response = await connection.request("GET", "/metrics/resource", {})
            if response.status != 200:
                raise ProtocolError(f"the agent answered {response.status}")
            body = await response.read(limits.METRICS_NODE_BYTES_MAX)
        finally:
            connection.close()
        return parse(body.decode("utf-8", "replace"), trio.current_time(), self._clock())
