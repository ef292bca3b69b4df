"""The node's resolver: UDP and TCP on one address, the cluster's zone first, the forwarder for the rest.

Enters: packets from pods and from this host.
Leaves: packets.
Holds: names of the cluster are answered from memory, whether or not there is an internet; a packet that cannot be parsed costs
nobody else anything.
Bound: limits.DNS_TASKS_MAX questions in tasks of their own, limits.DNS_TCP_CONNECTIONS_MAX connections, each idle for at most
limits.DNS_TCP_IDLE_SECONDS.
Next: network.dns.zone, network.dns.forwarder.
"""

from __future__ import annotations

import logging
from typing import Any

import trio

from edgekube import limits
from edgekube.network.dns import message
from edgekube.network.dns.forwarder import Forwarder
from edgekube.network.dns.zone import Reply, Zone

log = logging.getLogger("edgekube.network")


class Resolver:
    """Answers packets; knows no sockets."""

    def __init__(self, zone: Zone, forwarder: Forwarder) -> None:
        self._zone = zone
        self._forwarder = forwarder
        self._made: dict[bytes, bytes] = {}
        self._made_at = -1

    def answer_now(self, packet: bytes) -> bytes | message.Question:
        """The reply if it needs nobody else; else the question, for answer_later()."""
        if self._made_at != self._zone.generation or len(self._made) > limits.DNS_CACHE_ENTRIES_MAX:
            self._made.clear()
            self._made_at = self._zone.generation
        made = self._made.get(packet[2:])
        if made is not None:
            return packet[:2] + made
        try:
            question = message.parse(packet)
        except message.MalformedPacket as error:
            return error.reply
        reply = self._zone.lookup(question.name, question.type)
        if reply is None or reply.follow:
            return question
        composed = message.compose(question, reply, self._zone.domain)
        self._made[packet[2:]] = composed[2:]
        return composed

    async def answer_later(self, packet: bytes, question: message.Question, *, tcp: bool) -> bytes:
        reply = self._zone.lookup(question.name, question.type)
        if reply is not None:
            return await self._follow(question, reply, tcp=tcp)
        forwarded = await self._forwarder.ask(packet, tcp=tcp)
        return forwarded if forwarded is not None else message.failure(question, message.SERVFAIL)

    async def _follow(self, question: message.Question, reply: Reply, *, tcp: bool) -> bytes:
        if not reply.follow:
            return message.compose(question, reply, self._zone.domain)
        inside = self._zone.lookup(reply.follow, question.type)
        if inside is not None:
            joined = Reply(inside.code, (*reply.answers, *inside.answers), inside.additional)
            return message.compose(question, joined, self._zone.domain)
        target = await self._forwarder.ask(message.query_for(question, reply.follow), tcp=tcp)
        return message.merge(question, reply.answers[0], target or b"")


async def serve(
    resolver: Resolver, address: str, port: int = 53, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Answer on ``address`` until cancelled; started with the port once both sockets are bound. OSError when it is taken."""
    udp = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    tcp = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
    with udp, tcp:
        tcp.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        await tcp.bind((address, port))
        bound = tcp.getsockname()[1]
        await udp.bind((address, bound))
        tcp.listen(64)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve_udp, resolver, udp, nursery)
            nursery.start_soon(_serve_tcp, resolver, tcp, nursery)
            task_status.started(bound)


async def _serve_udp(resolver: Resolver, socket: Any, nursery: trio.Nursery) -> None:
    tasks = trio.CapacityLimiter(limits.DNS_TASKS_MAX)
    while True:
        try:
            packet, peer = await socket.recvfrom(65535)
            answer = resolver.answer_now(packet)
            if isinstance(answer, bytes):
                if answer:
                    await socket.sendto(_fit(packet, answer), peer)
            elif tasks.available_tokens >= 1:
                nursery.start_soon(_answer_udp, resolver, socket, packet, answer, peer, tasks)
        except OSError as error:
            # A peer that is gone (ICMP) or a full buffer concerns one packet only.
            log.debug("dns udp: %s", error)


def _fit(packet: bytes, answer: bytes) -> bytes:
    if len(answer) <= 512:
        return answer
    return message.fit(answer, message.parse(packet).udp_bytes_max)


async def _answer_udp(
    resolver: Resolver, socket: Any, packet: bytes, question: message.Question, peer: Any, tasks: trio.CapacityLimiter
) -> None:
    async with tasks:
        answer = await resolver.answer_later(packet, question, tcp=False)
        try:
            await socket.sendto(message.fit(answer, question.udp_bytes_max), peer)
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
                answer = resolver.answer_now(packet)
                if not isinstance(answer, bytes):
                    answer = await resolver.answer_later(packet, answer, tcp=True)
                if not answer:
                    return
                with trio.fail_after(limits.DNS_TCP_IDLE_SECONDS):
                    await stream.send_all(len(answer).to_bytes(2, "big") + answer)
        except (trio.TooSlowError, trio.BrokenResourceError, OSError):
            return
