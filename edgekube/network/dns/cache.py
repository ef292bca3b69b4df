"""Replies that were asked of others, remembered for as long as they say, and for a while longer when nobody answers.

Enters: questions and replies as packets, the time.
Leaves: replies with their remaining lifetimes (RFC 2181, section 8).
Holds: pure. A failure is not remembered; what is out of date is given only to who asks for it (RFC 8767).
Bound: limits.DNS_CACHE_ENTRIES_MAX replies of limits.DNS_REMEMBERED_BYTES_MAX in all; the one not used for the longest time goes
first.
Next: network.dns.forwarder.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from edgekube import limits
from edgekube.network.dns import message

#: The lifetime of an answer that is out of date (RFC 8767, section 4).
STALE_TTL_SECONDS: Final = 30


class _Entry(Struct, frozen=True):
    reply: bytes  # without its id
    stored_at: float
    fresh_until: float
    ttls: tuple[tuple[int, int], ...]  # (offset in reply, seconds)


class ReplyCache:
    """Keys are questions without their id: flags and EDNS options belong to the question."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.stale = 0

    def __len__(self) -> int:
        return len(self._entries)

    def fresh(self, query: bytes, now: float) -> bytes | None:
        entry = self._entries.get(query[2:])
        if entry is None or now >= entry.fresh_until:
            self.misses += 1
            return None
        self.hits += 1
        self._entries.move_to_end(query[2:])
        age = int(now - entry.stored_at)
        return query[:2] + _with_ttls(entry, lambda seconds: max(0, seconds - age))

    def out_of_date(self, query: bytes, now: float) -> bytes | None:
        """What was true lately, for when nobody can say what is now."""
        entry = self._entries.get(query[2:])
        if entry is None or now - entry.stored_at > limits.DNS_STALE_SECONDS_MAX:
            return None
        self.stale += 1
        return query[:2] + _with_ttls(entry, lambda seconds: STALE_TTL_SECONDS)

    def store(self, query: bytes, reply: bytes, now: float) -> None:
        """Does nothing for replies that are not to be remembered: failures, cut ones, those without a lifetime."""
        lifetimes = message.lifetimes(reply)
        if lifetimes is None:
            return
        seconds = min([limits.DNS_CACHE_SECONDS_MAX, *(ttl for _, ttl in lifetimes)])
        if seconds <= 0:
            return
        # The id is cut off: offsets count from behind it.
        ttls = tuple((offset - 2, ttl) for offset, ttl in lifetimes)
        former = self._entries.pop(query[2:], None)
        if former is not None:
            self.bytes -= _weight(query[2:], former)
        entry = self._entries[query[2:]] = _Entry(reply[2:], now, now + seconds, ttls)
        self.bytes += _weight(query[2:], entry)
        while len(self._entries) > limits.DNS_CACHE_ENTRIES_MAX or self.bytes > limits.DNS_REMEMBERED_BYTES_MAX:
            self.bytes -= _weight(*self._entries.popitem(last=False))

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0


def _weight(query: bytes, entry: _Entry) -> int:
    return len(query) + len(entry.reply)


def _with_ttls(entry: _Entry, remaining: Callable[[int], int]) -> bytes:
    changed = bytearray(entry.reply)
    for offset, seconds in entry.ttls:
        changed[offset : offset + 4] = remaining(seconds).to_bytes(4, "big")
    return bytes(changed)
