"""The node's resolver: UDP and TCP on one address, the cluster's zone first, the forwarder for the rest.

Enters: packets from pods and from this host.
Leaves: packets.
Holds: names of the cluster are answered from memory, whether or not there is an internet; a packet that cannot be parsed costs
nobody else anything.
Bound: limits.DNS_CACHE_ENTRIES_MAX answers of limits.DNS_REMEMBERED_BYTES_MAX in all; limits.DNS_TASKS_MAX questions in tasks of
their own, limits.DNS_TCP_CONNECTIONS_MAX connections, each idle for at most limits.DNS_TCP_IDLE_SECONDS.
Next: network.dns.zone, network.dns.forwarder.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

import trio
from msgspec import Struct, field

from edgekube import limits
from edgekube.network.dns import message
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.metrics import DnsMetrics
from edgekube.network.dns.zone import AAAA, A, Reply, Zone

log = logging.getLogger("edgekube.network")

#: Datagrams taken in one turn of the loop.
_PACKETS_PER_TURN = 64
_DATAGRAM_BYTES_MAX = 65535


class _Made(Struct):
    """A composed reply without its id, in as many orders as its addresses ask for."""

    type: int
    wanted: int
    packets: list[bytes] = field(default_factory=list)
    turn: int = 0


class Resolver:
    """Answers packets; knows no sockets."""

    def __init__(self, zone: Zone, forwarder: Forwarder, metrics: DnsMetrics | None = None) -> None:
        self.metrics = metrics or DnsMetrics()
        self._zone = zone
        self._forwarder = forwarder
        self._made: dict[bytes, _Made] = {}
        self._made_at = -1
        self.remembered_bytes = 0

    def answer_now(self, packet: bytes, transport: str) -> bytes | message.Question:
        """The reply if it needs nobody else; else the question, for answer_later(). ``transport``: udp or tcp."""
        if self._made_at != self._zone.generation or len(self._made) > limits.DNS_CACHE_ENTRIES_MAX:
            self._forget()
        made = self._made.get(packet[2:])
        if made is not None and len(made.packets) == made.wanted:
            made.turn += 1
            reply = packet[:2] + made.packets[made.turn % made.wanted]
            self.metrics.count(transport, made.type, reply)
            return reply
        try:
            question = message.parse(packet)
        except message.MalformedPacket as error:
            self.metrics.count(transport, 0, error.reply)
            return error.reply
        found = self._zone.lookup(question.name, question.type)
        if found is None or found.follow:
            return question
        if made is None:
            made = self._made[packet[2:]] = _Made(question.type, _orders(found))
        composed = message.compose(question, message.rotated(found, len(made.packets)), self._zone.domain)
        made.packets.append(composed[2:])
        self.remembered_bytes += len(composed) + (len(packet) if len(made.packets) == 1 else 0)
        if self.remembered_bytes > limits.DNS_REMEMBERED_BYTES_MAX:
            self._forget()
        self.metrics.count(transport, question.type, composed)
        return composed

    def _forget(self) -> None:
        self._made.clear()
        self._made_at = self._zone.generation
        self.remembered_bytes = 0

    async def answer_later(self, packet: bytes, question: message.Question, *, tcp: bool) -> bytes:
        reply = await self._from_others(packet, question, tcp=tcp)
        self.metrics.count("tcp" if tcp else "udp", question.type, reply)
        return reply

    async def _from_others(self, packet: bytes, question: message.Question, *, tcp: bool) -> bytes:
        reply = self._zone.lookup(question.name, question.type)
        if reply is not None:
            return await self._follow(question, reply, tcp=tcp)
        forwarded = await self._forwarder.ask(question.name, packet, tcp=tcp)
        return forwarded if forwarded is not None else message.failure(question, message.SERVFAIL)

    async def _follow(self, question: message.Question, reply: Reply, *, tcp: bool) -> bytes:
        if not reply.follow:
            return message.compose(question, reply, self._zone.domain)
        inside = self._zone.lookup(reply.follow, question.type)
        if inside is not None:
            joined = Reply(inside.code, (*reply.answers, *inside.answers), inside.additional)
            return message.compose(question, joined, self._zone.domain)
        target = await self._forwarder.ask(reply.follow, message.query_for(question, reply.follow), tcp=tcp)
        return message.merge(question, reply.answers[0], target or b"")


def _orders(reply: Reply) -> int:
    """In how many orders the answers are worth giving: addresses only, each first once."""
    if any(answer.type not in (A, AAAA) for answer in reply.answers):
        return 1
    return min(max(1, len(reply.answers)), limits.DNS_ROTATIONS_MAX)


async def serve(
    resolver: Resolver, address: str, port: int = 53, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer on ``address`` until cancelled; started with the port once both sockets are bound. OSError when it is taken."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    tcp = trio.socket.socket(family, trio.socket.SOCK_STREAM)
    with udp, tcp:
        udp.setblocking(False)
        tcp.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await tcp.bind((address, port))
        bound = tcp.getsockname()[1]
        udp.bind((address, bound))
        tcp.listen(64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_udp, resolver, udp, nursery)
            nursery.start_soon(_serve_tcp, resolver, tcp, nursery)
            task_status.started(bound)


async def _serve_udp(resolver: Resolver, udp: socket.socket, nursery: trio.Nursery) -> None:
    tasks = trio.CapacityLimiter(limits.DNS_TASKS_MAX)
    while True:
        await trio.lowlevel.wait_readable(udp)
        for _ in range(_PACKETS_PER_TURN):
            try:
                packet, peer = udp.recvfrom(_DATAGRAM_BYTES_MAX)
                answer = resolver.answer_now(packet, "udp")
                if isinstance(answer, bytes):
                    if answer:
                        udp.sendto(_fit(packet, answer), peer)
                elif tasks.available_tokens >= 1:
                    nursery.start_soon(_answer_udp, resolver, udp, packet, answer, peer, tasks)
                else:
                    resolver.metrics.dropped += 1
            except BlockingIOError:
                break
            except OSError as error:
                # A peer that is gone (ICMP) concerns one packet only.
                log.debug("dns udp: %s", error)


def _fit(packet: bytes, answer: bytes) -> bytes:
    if len(answer) <= 512:
        return answer
    return message.fit(answer, message.parse(packet).udp_bytes_max)


async def _answer_udp(
    resolver: Resolver, udp: socket.socket, packet: bytes, question: message.Question, peer: Any, tasks: trio.CapacityLimiter
) -> None:
    async with tasks:
        answer = await resolver.answer_later(packet, question, tcp=False)
        try:
            udp.sendto(message.fit(answer, question.udp_bytes_max), peer)
        except OSError as error:
            log.debug("dns udp: %s", error)


async def _serve_tcp(resolver: Resolver, listener: Any, nursery: trio.Nursery) -> None:
    places = trio.CapacityLimiter(limits.DNS_TCP_CONNECTIONS_MAX)
    while True:
        try:
            connection, _ = await listener.accept()
        except OSError as error:
            log.warning("dns tcp accept: %s", error)
            await trio.sleep(limits.NFT_RETRY_SECONDS)
            continue
        if places.available_tokens < 1:
            connection.close()
            continue
        nursery.start_soon(_answer_tcp, resolver, trio.SocketStream(connection), places)


async def _answer_tcp(resolver: Resolver, stream: trio.SocketStream, places: trio.CapacityLimiter) -> None:
    async with places, stream:
        received = bytearray()
        try:
            while True:
                with trio.fail_after(limits.DNS_TCP_IDLE_SECONDS):
                    while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
                        data = await stream.receive_some(65537)
                        if not data:
                            return
                        received += data
                size = int.from_bytes(received[:2], "big")
                packet, received = bytes(received[2 : 2 + size]), received[2 + size :]
                answer = resolver.answer_now(packet, "tcp")
                if not isinstance(answer, bytes):
                    answer = await resolver.answer_later(packet, answer, tcp=True)
                if not answer:
                    return
                with trio.fail_after(limits.DNS_TCP_IDLE_SECONDS):
                    await stream.send_all(len(answer).to_bytes(2, "big") + answer)
        except (trio.TooSlowError, trio.BrokenResourceError, OSError):
            return
