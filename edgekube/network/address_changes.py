"""Tell when this machine's links or addresses change (a new lease, a cable pulled or plugged in), or routes of one protocol.

Enters: the kernel's rtnetlink notifications (rtnetlink(7)).
Leaves: one wake-up for each burst of changes; what there is now the caller reads itself.
Holds: pods' own links (``veth…``) wake nobody; messages from anybody but the kernel are ignored; when the kernel says that
messages were lost, that is a change too.
Bound: a burst is told of at the latest after ADDRESS_BURST_SECONDS_MAX; nothing is queued.
Next: discovery.announce, the pod network.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from edgekube import limits
from edgekube.network.netlink import messages_of, read_all, text_of

#: linux/rtnetlink.h: RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR.
_GROUPS: Final = 0x1 | 0x10 | 0x100
_LINK_MESSAGES: Final = frozenset({16, 17})  # RTM_NEWLINK, RTM_DELLINK
_ADDRESS_MESSAGES: Final = frozenset({20, 21})  # RTM_NEWADDR, RTM_DELADDR
#: RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE.
_ROUTE_GROUPS: Final = 0x40 | 0x400
_ROUTE_MESSAGES: Final = frozenset({24, 25})  # RTM_NEWROUTE, RTM_DELROUTE
_LINK: Final = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS: Final = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
#: rtmsg: family, destination and source length, tos, table, protocol, scope, type, flags
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
_INTERFACE_NAME: Final = 3  # IFLA_IFNAME; for an IPv4 address IFA_LABEL, which begins with the name
_PODS: Final = ("veth",)


def interfaces_of(messages: bytes) -> Iterator[str]:
    """The interface that each link or address message is about; "" for a link that the message does not name.

    An address whose link is gone (an IPv6 one does not name it) is no news beside the end of that link, as when a pod ends.
    """
    for kind, body in messages_of(messages):
        if kind in _LINK_MESSAGES and len(body) >= _LINK.size:
            yield text_of(body[_LINK.size :], _INTERFACE_NAME)
        elif kind in _ADDRESS_MESSAGES and len(body) >= _ADDRESS.size:
            name = text_of(body[_ADDRESS.size :], _INTERFACE_NAME) or _name_of_index(_ADDRESS.unpack_from(body)[4])
            if name:
                yield name


def route_protocols_of(messages: bytes) -> Iterator[int]:
    """Who made the route that each route message is about."""
    for kind, body in messages_of(messages):
        if kind in _ROUTE_MESSAGES and len(body) >= _ROUTE.size:
            yield _ROUTE.unpack_from(body)[5]


def _name_of_index(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return ""


def concerns_the_node(messages: bytes) -> bool:
    """Whether one of the messages is about a link that is not a pod's."""
    return any(not name.startswith(_PODS) for name in interfaces_of(messages))


class AddressChanges:
    """Each ``async for`` turn is one burst; waiting may be cancelled and taken up again (of a generator it would be the end)."""

    def __init__(self, kernel: socket.socket, settle_seconds: float, route_protocol: int) -> None:
        self._kernel = kernel
        self._settle_seconds = settle_seconds
        self._route_protocol = route_protocol

    def __aiter__(self) -> AddressChanges:
        return self

    async def __anext__(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._kernel)
            if _changed(self._kernel, self._route_protocol):
                break
        with trio.move_on_after(limits.ADDRESS_BURST_SECONDS_MAX):
            quiet = False
            while not quiet:
                with trio.move_on_after(self._settle_seconds) as silence:
                    await trio.lowlevel.wait_readable(self._kernel)
                    _changed(self._kernel, self._route_protocol)
                quiet = silence.cancelled_caught


@asynccontextmanager
async def address_changes(
    *, settle_seconds: float = limits.ADDRESS_SETTLE_SECONDS, route_protocol: int = 0
) -> AsyncIterator[AddressChanges]:
    """``async with address_changes() as changes: async for _ in changes: look again``.

    Whatever changes after the ``with`` was entered is told of: look for the first time inside it. With a ``route_protocol``
    (rtm_protocol) changes of the routes that bear it count, too.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, _GROUPS | (_ROUTE_GROUPS if route_protocol else 0)))
        yield AddressChanges(kernel, settle_seconds, route_protocol)


def _changed(kernel: socket.socket, route_protocol: int) -> bool:
    """Read all that waits; whether any of it matters."""
    changed = False
    for messages in read_all(kernel):
        if messages is None or concerns_the_node(messages) or (route_protocol and route_protocol in route_protocols_of(messages)):
            changed = True
    return changed
