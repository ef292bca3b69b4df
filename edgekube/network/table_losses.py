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

from edgekube.network.netlink import read_all

_NETLINK_NETFILTER: Final = 12
#: NFNLGRP_NFTABLES, the seventh group.
_GROUPS: Final = 1 << 6
#: NFNL_SUBSYS_NFTABLES and NFT_MSG_DELTABLE.
_TABLE_DELETED: Final = 10 << 8 | 2
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_FAMILY: Final = struct.Struct("=BBH")  # nfgenmsg: family, version, resource
_ATTRIBUTE: Final = struct.Struct("=HH")  # nlattr: length, type
_NAME: Final = 1  # NFTA_TABLE_NAME
_FAMILIES: Final = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}


def deleted_tables(messages: bytes) -> Iterator[str]:
    """As nft names them: family and name."""
    offset = 0
    while offset + _HEADER.size <= len(messages):
        length, kind, _, _, _ = _HEADER.unpack_from(messages, offset)
        if length < _HEADER.size or offset + length > len(messages):
            return  # cut short
        body = messages[offset + _HEADER.size : offset + length]
        if kind == _TABLE_DELETED and len(body) >= _FAMILY.size:
            family = _FAMILIES.get(_FAMILY.unpack_from(body)[0], "")
            yield f"{family} {_name(body[_FAMILY.size :])}"
        offset += (length + 3) & ~3


def _name(attributes: bytes) -> str:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        if length < _ATTRIBUTE.size:
            break
        if kind & 0x3FFF == _NAME:
            return attributes[offset + _ATTRIBUTE.size : offset + length].split(b"\0")[0].decode("ascii", "replace")
        offset += (length + 3) & ~3
    return ""


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
