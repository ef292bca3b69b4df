"""ARP packets for addresses that a node answers for without having them.

Enters: Ethernet frames, addresses.
Leaves: Arp values, frames.
Holds: pure; only ARP for IPv4 over Ethernet is read, everything else is None.
Source: RFC 826; RFC 5227, sections 2.3 (announcements) and 2.4 (conflicts).
Next: network.lan_speaker.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Final, NamedTuple

ETHERTYPE: Final = 0x0806
REQUEST: Final = 1
REPLY: Final = 2
BROADCAST: Final = b"\xff" * 6
_ETHERNET: Final = struct.Struct("!6s6sH")
#: Hardware and protocol type, their lengths, operation; sender's hardware and protocol address, target's.
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ETHERNET_IPV4: Final = (1, 0x0800, 6, 4)


class Arp(NamedTuple):
    operation: int
    sender_mac: bytes
    sender: str
    target: str


def parse(frame: bytes) -> Arp | None:
    if len(frame) < _ETHERNET.size + _ARP.size or _ETHERNET.unpack_from(frame)[2] != ETHERTYPE:
        return None
    *kind, operation, sender_mac, sender, _, target = _ARP.unpack_from(frame, _ETHERNET.size)
    if tuple(kind) != _ETHERNET_IPV4:
        return None
    return Arp(operation, sender_mac, str(IPv4Address(sender)), str(IPv4Address(target)))


def answer(mac: bytes, address: str, asker: Arp) -> bytes:
    """``address`` is at ``mac``."""
    return _frame(asker.sender_mac, REPLY, mac, address, asker.sender_mac, asker.sender)


def announcement(mac: bytes, address: str) -> bytes:
    """To all: whoever remembers another place for the address shall forget it."""
    return _frame(BROADCAST, REQUEST, mac, address, bytes(6), address)


def _frame(to: bytes, operation: int, mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    body = _ARP.pack(*_ETHERNET_IPV4, operation, mac, IPv4Address(sender).packed, target_mac, IPv4Address(target).packed)
    return _ETHERNET.pack(to, mac, ETHERTYPE) + body
