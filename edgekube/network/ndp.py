"""Neighbour discovery for IPv6 addresses that a node answers for without having them.

Enters: ICMPv6 messages as a raw socket gives them, addresses.
Leaves: what was asked for, advertisements; the groups in which questions come.
Holds: pure; the kernel computes checksums.
Source: RFC 4861, sections 4.3, 4.4 and 7.2; RFC 4291, section 2.7.1.
Next: network.lan_speaker.
"""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import Final

SOLICITATION: Final = 135
ADVERTISEMENT: Final = 136
ALL_NODES: Final = "ff02::1"
#: Both are sent and believed only with the hop limit that no router could have left.
HOP_LIMIT: Final = 255
_SOLICITED: Final = 0x40
_OVERRIDE: Final = 0x20
_TARGET_LINK_ADDRESS: Final = 2
_HEADER_BYTES: Final = 24


def solicited(message: bytes) -> str | None:
    """The address that a solicitation asks for."""
    return _target(message, SOLICITATION)


def advertised(message: bytes) -> tuple[str, bytes] | None:
    """(address, MAC) of an advertisement that says where the address is."""
    target = _target(message, ADVERTISEMENT)
    option = message[_HEADER_BYTES : _HEADER_BYTES + 8]
    if target is None or len(option) < 8 or option[:2] != bytes([_TARGET_LINK_ADDRESS, 1]):
        return None
    return target, option[2:]


def advertisement(mac: bytes, address: str, *, answers: bool) -> bytes:
    """``answers``: to somebody who asked; else to all, to forget another place."""
    flags = _OVERRIDE | (_SOLICITED if answers else 0)
    head = bytes([ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0])
    return head + IPv6Address(address).packed + bytes([_TARGET_LINK_ADDRESS, 1]) + mac


def group_of(address: str) -> str:
    """The solicited-node multicast address."""
    return str(IPv6Address(int(IPv6Address("ff02::1:ff00:0")) | int(IPv6Address(address)) & 0xFFFFFF))


def _target(message: bytes, kind: int) -> str | None:
    if len(message) < _HEADER_BYTES or message[0] != kind or message[1] != 0:
        return None
    return str(IPv6Address(message[8:_HEADER_BYTES]))
