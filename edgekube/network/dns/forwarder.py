"""Everything that is not the cluster's: ask the host's own resolvers, remember for a little while, and know when there are none.

Enters: queries as packets.
Leaves: replies as packets, or None when no resolver answers.
Holds: a resolver that was silent is left alone for a while, so that without internet an answer takes no time; replies
must come from the asked address and carry the asked id and question.
Bound: limits.DNS_CACHE_ENTRIES_MAX replies, limits.DNS_FORWARDS_MAX questions under way.
Next: network.dns.server.
"""

from __future__ import annotations

import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from edgekube import limits
from edgekube.network.dns import message

log = logging.getLogger("edgekube.network")

_STUB = "127.0.0.53"


def nameservers(text: str, avoid: Sequence[str]) -> list[str]:
    """The addresses of resolv.conf(5), first three, without those that lead back to us."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in avoid:
            found.append(words[1].split("%")[0])
    return found[:3]


class Resolvers:
    """The host's resolvers, read again when the file changes (DHCP rewrites it)."""

    def __init__(self, path: Path, avoid: Sequence[str]) -> None:
        self._path = path
        self._avoid = avoid
        self._stamp: tuple[int, int] | None = None
        self._addresses: list[str] = []

    def addresses(self) -> list[str]:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._addresses = nameservers(self._path.read_text(errors="replace"), self._avoid)
                self._stamp = stamp
        except OSError:
            self._stamp, self._addresses = None, []
        return self._addresses


class Forwarder:
    def __init__(self, resolvers: Callable[[], list[str]], *, port: int = 53) -> None:
        self._resolvers = resolvers
        self._port = port
        self._silent_until: dict[str, float] = {}
        self._cache: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._under_way = 0

    async def ask(self, query: bytes, *, tcp: bool = False) -> bytes | None:
        """The reply to ``query``, with its id. None: nobody answered, or too many questions are under way."""
        now = trio.current_time()
        cached = self._cache.get(query[2:])
        if cached is not None and now < cached[0]:
            return query[:2] + cached[1][2:]
        if self._under_way >= limits.DNS_FORWARDS_MAX:
            return None
        self._under_way += 1
        try:
            reply = await self._ask_each(query, tcp)
        finally:
            self._under_way -= 1
        if reply is None:
            return None
        seconds = message.seconds_to_live(reply)
        if seconds > 0:
            self._cache[query[2:]] = (now + seconds, reply)
            while len(self._cache) > limits.DNS_CACHE_ENTRIES_MAX:
                self._cache.popitem(last=False)
        return query[:2] + reply[2:]

    async def _ask_each(self, query: bytes, tcp: bool) -> bytes | None:
        servers = self._resolvers()
        awake = [s for s in servers if self._silent_until.get(s, 0.0) <= trio.current_time()]
        for server in awake:
            reply: bytes | None = None
            with trio.move_on_after(limits.DNS_FORWARD_SECONDS):
                try:
                    reply = await (self._over_tcp if tcp else self._over_udp)(server, query)
                except OSError as error:
                    log.debug("resolver failed address=%s: %s", server, error)
            if reply is not None:
                self._silent_until.pop(server, None)
                return reply
            self._silent_until[server] = trio.current_time() + limits.DNS_SILENT_SECONDS
        return None

    async def _over_udp(self, server: str, query: bytes) -> bytes:
        family = trio.socket.AF_INET6 if ":" in server else trio.socket.AF_INET
        ours = secrets.token_bytes(2)
        with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as socket:
            # connect() makes the kernel drop packets from anybody else and report unreachable networks at once.
            await socket.connect((server, self._port))
            await socket.send(ours + query[2:])
            while True:
                reply = await socket.recv(65535)
                if len(reply) >= 12 and reply[:2] == ours and _same_question(query, reply):
                    return query[:2] + reply[2:]

    async def _over_tcp(self, server: str, query: bytes) -> bytes:
        stream = await trio.open_tcp_stream(server, self._port)
        async with stream:
            await stream.send_all(len(query).to_bytes(2, "big") + query)
            received = bytearray()
            while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                data = await stream.receive_some(65537)
                if not data:
                    raise OSError("the resolver closed the connection")
                received += data
            return bytes(received[2 : 2 + int.from_bytes(received[:2], "big")])


def _same_question(query: bytes, reply: bytes) -> bool:
    """The reply repeats our question (compared without regard to case), as it must (RFC 5452, section 9.1)."""
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    return reply[2] & 0x80 != 0 and reply[12:end].lower() == query[12:end].lower()
