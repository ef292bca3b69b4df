"""One question to one of several servers, over UDP with repetitions or over TCP.

Enters: a query as a packet, servers in the order of preference.
Leaves: the first reply that is one, and who gave it; None when nobody answered in time.
Holds: a lost packet costs a repetition, not the answer: each round asks the next server too, and whoever answers first is
heard. A reply must come from the asked address and port, carry the asked id and repeat the question (RFC 5452, section 9).
Bound: limits.DNS_FORWARD_SECONDS in all; one socket per server asked.
Next: network.dns.forwarder.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from typing import Any

import trio

from edgekube import limits
from edgekube.network.dns.upstreams import Server

log = logging.getLogger("edgekube.network")

#: Another server may know better (RFC 1035, section 4.1.1).
_SERVFAIL = 2
_REFUSED = 5


class _Race:
    """What the servers of one question said until one of them knew."""

    def __init__(self) -> None:
        self.known: tuple[Server, bytes] | None = None
        self.refused: tuple[Server, bytes] | None = None


async def over_udp(servers: Sequence[Server], query: bytes) -> tuple[Server, bytes] | None:
    """Rounds at limits.DNS_REPEAT_SECONDS: the first server alone, then also the next, and so on, each asked again."""
    race = _Race()
    with trio.move_on_after(limits.DNS_FORWARD_SECONDS):
        async with trio.open_nursery() as nursery:
            for server in servers:
                gave_up = trio.Event()
                nursery.start_soon(_run, server, query, race, gave_up, nursery.cancel_scope)
                # Whoever fails at once hands over at once: without a network nobody waits.
                with trio.move_on_after(limits.DNS_REPEAT_SECONDS):
                    await gave_up.wait()
    return race.known or race.refused


async def _run(server: Server, query: bytes, race: _Race, gave_up: trio.Event, scope: trio.CancelScope) -> None:
    try:
        reply = await _udp(server, query)
    except OSError as error:
        log.debug("resolver failed address=%s: %s", server.address, error)
    else:
        if reply[3] & 0x0F not in (_SERVFAIL, _REFUSED):
            race.known = server, reply
            scope.cancel()
            return
        race.refused = race.refused or (server, reply)
    gave_up.set()


async def _udp(server: Server, query: bytes) -> bytes:
    """The reply, however often it takes to ask. Raises OSError when the network refuses."""
    family = trio.socket.AF_INET6 if ":" in server.address else trio.socket.AF_INET
    ours = secrets.token_bytes(2)
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as socket:
        # connect() makes the kernel drop packets from anybody else and report unreachable networks at once.
        await socket.connect((server.address, server.port))
        while True:
            await socket.send(ours + query[2:])
            with trio.move_on_after(limits.DNS_REPEAT_SECONDS):
                return query[:2] + await _matching(socket, ours, query)


async def _matching(socket: Any, ours: bytes, query: bytes) -> bytes:
    while True:
        reply: bytes = await socket.recv(65535)
        if len(reply) >= 12 and reply[:2] == ours and _same_question(query, reply):
            return reply[2:]


async def over_tcp(servers: Sequence[Server], query: bytes) -> tuple[Server, bytes] | None:
    """One server after the other, limits.DNS_FORWARD_SECONDS for each."""
    for server in servers:
        with trio.move_on_after(limits.DNS_FORWARD_SECONDS):
            try:
                return server, await _tcp(server, query)
            except (OSError, trio.BrokenResourceError) as error:
                log.debug("resolver failed address=%s: %s", server.address, error)
    return None


async def _tcp(server: Server, query: bytes) -> bytes:
    stream = await trio.open_tcp_stream(server.address, server.port)
    async with stream:
        await stream.send_all(len(query).to_bytes(2, "big") + query)
        received = bytearray()
        while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            data = await stream.receive_some(65537)
            if not data:
                raise OSError("the resolver closed the connection")
            received += data
        reply = bytes(received[2 : 2 + int.from_bytes(received[:2], "big")])
        if len(reply) < 12 or reply[:2] != query[:2] or not _same_question(query, reply):
            raise OSError("the resolver answered another question")
        return reply


def _same_question(query: bytes, reply: bytes) -> bool:
    """The reply repeats our question (compared without regard to case), as it must (RFC 5452, section 9.1)."""
    end = 12
    while end < len(query) and query[end]:
        end += query[end] + 1
    end += 5
    return reply[2] & 0x80 != 0 and reply[12:end].lower() == query[12:end].lower()
