"""Tell when a table of the packet filter is gone: whoever loads rules of his own often begins with ``flush ruleset``, as Debian's
nftables.service does.

Enters: the kernel's nfnetlink notifications (linux/netfilter/nf_tables.h).
Leaves: a wake-up when a table of interest was deleted; whether it is still gone the caller looks for himself, for our own scripts
delete a table before they make it anew.
Holds: messages from anybody but the kernel are ignored; when the kernel says that messages were lost, that is a wake-up too.
Bound: nothing is queued.
Next: network.proxy.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterator
from typing import Final

import trio

from edgekube.network.netlink import messages_of, read_all, text_of

_NETLINK_NETFILTER: Final = 12
#: NFNLGRP_NFTABLES, the seventh group.
_GROUPS: Final = 1 << 6
#: NFNL_SUBSYS_NFTABLES and NFT_MSG_DELTABLE.
_TABLE_DELETED: Final = 10 << 8 | 2
_FAMILY: Final = struct.Struct("=BBH")  # nfgenmsg: family, version, resource
_NAME: Final = 1  # NFTA_TABLE_NAME
_FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}


def deleted_tables(messages: bytes) -> Iterator[str]:
    """As nft names them: family and name."""
    for kind, body in messages_of(messages):
        if kind == _TABLE_DELETED and len(body) >= _FAMILY.size:
            family = _FAMILIES.get(_FAMILY.unpack_from(body)[0], "")
            yield f"{family} {text_of(body[_FAMILY.size :], _NAME)}"


def open_news() -> socket.socket:
    """Of this thread's network namespace. Raises OSError."""
    news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
    news.bind((0, _GROUPS))
    return news


async def wait_for_loss(news: socket.socket, tables: Collection[str]) -> None:
    """Returns when one of the tables was deleted, or may have been."""
    while True:
        await trio.lowlevel.wait_readable(news)
        if _read_all(news, tables):
            return


def _read_all(news: socket.socket, tables: Collection[str]) -> bool:
    """Whether a table was deleted. Reads to the end: before that the kernel does not say a second time that it lost messages."""
    deleted = False
    for messages in read_all(news):
        deleted = deleted or messages is None or any(table in tables for table in deleted_tables(messages))
    return deleted
