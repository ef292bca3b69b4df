"""Everything that is not the cluster's: ask others, remember for a little while, and know when there is nobody to ask.

Enters: queries as packets.
Leaves: replies as packets, or None when no server answers and none answered lately.
Holds: servers that all were silent are left alone for a while, so that without internet an answer takes no time; one
question under way serves everybody who asks the same.
Bound: limits.DNS_CACHE_ENTRIES_MAX replies, limits.DNS_FORWARDS_MAX questions under way.
Next: network.dns.exchange, network.dns.cache, network.dns.upstreams.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from edgekube import limits
from edgekube.network.dns import exchange
from edgekube.network.dns.cache import ReplyCache
from edgekube.network.dns.metrics import DnsMetrics
from edgekube.network.dns.upstreams import Choice, Server, Upstreams


class _UnderWay:
    """A question that others may wait for, too."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.reply: bytes | None = None


class Forwarder:
    def __init__(self, choice: Choice, metrics: DnsMetrics | None = None) -> None:
        self._choice = choice
        self._metrics = metrics or DnsMetrics()
        self._cache = ReplyCache()
        self._metrics.cache = self._cache
        self._silent_until: dict[Server, float] = {}
        self._under_way: dict[tuple[bytes, bool], _UnderWay] = {}

    def use(self, upstreams: Upstreams) -> None:
        """Other servers may say other things: what was remembered is forgotten."""
        if upstreams != self._choice.upstreams:
            self._choice.upstreams = upstreams
            self._cache.clear()
            self._silent_until.clear()

    async def ask(self, name: str, query: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply to ``query``, which asks for ``name``, with its id. None: nobody answered, or too much is under way."""
        now = trio.current_time()
        known = self._cache.fresh(query, now)
        if known is not None:
            return known
        key = (query[2:], tcp)
        running = self._under_way.get(key)
        if running is None:
            if len(self._under_way) >= limits.DNS_FORWARDS_MAX:
                self._metrics.forwards_refused += 1
                return self._cache.out_of_date(query, now)
            running = self._under_way[key] = _UnderWay()
            try:
                running.reply = await self._ask(self._choice.servers(name), query, tcp)
            finally:
                del self._under_way[key]
                running.done.set()
            if running.reply is not None:
                self._cache.store(query, running.reply, trio.current_time())
        else:
            await running.done.wait()
        if running.reply is None:
            return self._cache.out_of_date(query, trio.current_time())
        return query[:2] + running.reply[2:]

    async def _ask(self, servers: Sequence[Server], query: bytes, tcp: bool) -> bytes | None:
        began = trio.current_time()
        awake = [server for server in servers if self._silent_until.get(server, 0.0) <= began]
        if not awake:
            return None
        # Servers that were silent get one question; until it is answered everybody else is told at once.
        doubtful = [server for server in awake if server in self._silent_until]
        self._silent_until.update(dict.fromkeys(doubtful, began + limits.DNS_FORWARD_SECONDS))
        self._metrics.forwards += 1
        answered = await (exchange.over_tcp if tcp else exchange.over_udp)(awake, query)
        now = trio.current_time()
        # What is not asked any more (DHCP, an operator) is forgotten.
        self._silent_until = {server: until for server, until in self._silent_until.items() if until > now}
        if answered is None:
            self._metrics.forwards_failed += 1
            self._silent_until.update(dict.fromkeys(awake, now + limits.DNS_SILENT_SECONDS))
            return None
        self._metrics.forward_seconds.observe(now - began)
        self._silent_until.pop(answered[0], None)
        return answered[1]
