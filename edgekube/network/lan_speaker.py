"""Answer on one interface for addresses that no interface has: ARP for IPv4, neighbour discovery for IPv6.

Enters: the addresses to answer for; questions from the segment.
Leaves: answers and announcements; word of a conflict, when somebody else says that such an address is his.
Holds: what is not held is never answered for. When this process ends nobody answers any more, so an address is never stuck to a
node that cannot serve it; the packet filter does the serving.
Bound: limits.LAN_PACKETS_PER_TURN_MAX questions in a turn of the loop.
Next: network.arp, network.ndp.
"""

from __future__ import annotations

import logging
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Final

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.network import arp, ndp

log = logging.getLogger("edgekube.network")

#: linux/icmpv6.h: the option, and its value for "pass": a cleared bit.
_ICMP6_FILTER: Final = 1
_FRAME_BYTES_MAX: Final = 2048


class Interface(Struct, frozen=True):
    name: str
    index: int
    mac: bytes


class LanSpeaker:
    """``conflicted`` hears the address and the other's MAC."""

    def __init__(self, interface: Interface, conflicted: Callable[[str, bytes], None]) -> None:
        """Opens its sockets in the network namespace of the calling thread. Raises OSError."""
        self.interface = interface
        self._conflicted = conflicted
        self._held: set[str] = set()
        self._to_announce: dict[str, int] = {}
        self._wake = trio.Event()
        self._arp = _arp_socket(interface)
        self._icmp: socket.socket | None = None
        try:
            self._icmp = _icmp_socket(interface)
        except OSError as error:
            log.info("no neighbour discovery on %s: %s", interface.name, error)

    def hold(self, addresses: Iterable[str]) -> None:
        """Answer for exactly these from now on; new ones are announced."""
        wanted = set(addresses)
        for address in self._held - wanted:
            self._group(address, join=False)
        for address in wanted - self._held:
            self._group(address, join=True)
            self.announce(address)
        self._held = wanted
        self._to_announce = {address: left for address, left in self._to_announce.items() if address in wanted}

    def announce(self, address: str) -> None:
        """Tell the segment where the address is, some times, because nobody says whether he heard."""
        self._to_announce[address] = limits.LAN_ANNOUNCEMENTS_MAX
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; closes the sockets."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._announce_all)
                nursery.start_soon(self._listen, self._arp, self._on_frame)
                if self._icmp is not None:
                    nursery.start_soon(self._listen, self._icmp, self._on_icmp)
        finally:
            self.close()

    def close(self) -> None:
        self._arp.close()
        if self._icmp is not None:
            self._icmp.close()

    async def _announce_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._to_announce:
                for address, left in list(self._to_announce.items()):
                    self._send_announcement(address)
                    if left > 1:
                        self._to_announce[address] = left - 1
                    else:
                        del self._to_announce[address]
                await trio.sleep(limits.LAN_ANNOUNCE_SECONDS)

    def _send_announcement(self, address: str) -> None:
        try:
            if ":" not in address:
                self._arp.send(arp.announcement(self.interface.mac, address))
            elif self._icmp is not None:
                message = ndp.advertisement(self.interface.mac, address, answers=False)
                self._icmp.sendto(message, (ndp.ALL_NODES, 0, 0, self.interface.index))
        except OSError as error:
            log.debug("not announced address=%s interface=%s: %s", address, self.interface.name, error)

    async def _listen(self, source: socket.socket, take: Callable[[socket.socket], None]) -> None:
        while True:
            await trio.lowlevel.wait_readable(source)
            for _ in range(limits.LAN_PACKETS_PER_TURN_MAX):
                try:
                    take(source)
                except BlockingIOError:
                    break
                except OSError as error:  # the link is down, or its queue is full: one packet's worth
                    log.debug("interface=%s: %s", self.interface.name, error)
                    break

    def _on_frame(self, source: socket.socket) -> None:
        found = arp.parse(source.recv(_FRAME_BYTES_MAX))
        if found is None or found.sender_mac == self.interface.mac:
            return
        if found.sender in self._held:
            self._conflicted(found.sender, found.sender_mac)
        elif found.operation == arp.REQUEST and found.target in self._held:
            source.send(arp.answer(self.interface.mac, found.target, found))

    def _on_icmp(self, source: socket.socket) -> None:
        message, ancillary, _, sender = source.recvmsg(_FRAME_BYTES_MAX, 64)
        if not _came_from_the_segment(ancillary):
            return
        asked = ndp.solicited(message)
        if asked in self._held:
            assert asked is not None
            # Somebody without an address yet, who wants to know whether it is free, is told through all (RFC 4861, 7.2.4).
            to = sender if sender[0] != "::" else (ndp.ALL_NODES, 0, 0, self.interface.index)
            source.sendto(ndp.advertisement(self.interface.mac, asked, answers=sender[0] != "::"), to)
            return
        claimed = ndp.advertised(message)
        if claimed is not None and claimed[0] in self._held and claimed[1] != self.interface.mac:
            self._conflicted(*claimed)

    def _group(self, address: str, *, join: bool) -> None:
        if ":" not in address or self._icmp is None:
            return
        group = socket.inet_pton(socket.AF_INET6, ndp.group_of(address)) + struct.pack("=I", self.interface.index)
        option = socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP
        try:
            self._icmp.setsockopt(socket.IPPROTO_IPV6, option, group)
        except OSError as error:  # two addresses may share a group
            log.debug("group of %s on %s: %s", address, self.interface.name, error)


def _arp_socket(interface: Interface) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(arp.ETHERTYPE))
    try:
        made.bind((interface.name, arp.ETHERTYPE))
    except OSError:
        made.close()
        raise
    return made


def _icmp_socket(interface: Interface) -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    try:
        passed = [ndp.SOLICITATION, ndp.ADVERTISEMENT]
        words = [0xFFFFFFFF] * 8
        for kind in passed:
            words[kind >> 5] &= ~(1 << (kind & 31)) & 0xFFFFFFFF
        made.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode() + b"\0")
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, interface.index)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ndp.HOP_LIMIT)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ndp.HOP_LIMIT)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    except OSError:
        made.close()
        raise
    return made


def _came_from_the_segment(ancillary: list[tuple[int, int, bytes]]) -> bool:
    return any(
        level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT and int.from_bytes(data[:4], sys.byteorder) == ndp.HOP_LIMIT
        for level, kind, data in ancillary
    )
