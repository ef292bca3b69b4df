"""Read what the kernel tells on a netlink socket.

Enters: a non-blocking netlink socket.
Leaves: the kernel's datagrams, one after the other; None where some were lost. What messages and attributes are in one.
Holds: read to the end: before that the kernel does not say a second time that it lost messages. What anybody else sent is
ignored.
Source: netlink(7); linux/netlink.h.
Next: network.address_changes, network.table_losses.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final

_MESSAGE_BYTES_MAX: Final = 65536
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE: Final = struct.Struct("=HH")  # nlattr, rtattr: length, type
_ATTRIBUTE_TYPE: Final = 0x3FFF  # the upper two bits are flags


def read_all(kernel: socket.socket) -> Iterator[bytes | None]:
    """All that waits. Take it to its end."""
    while True:
        try:
            messages, (sender, _) = kernel.recvfrom(_MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            yield None  # more happened than the socket's buffer took
            continue
        if sender == 0:
            yield messages


def messages_of(datagram: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each; what is cut short ends them."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _, _, _ = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size or offset + length > len(datagram):
            return
        yield kind, datagram[offset + _HEADER.size : offset + length]
        offset += _aligned(length)


def text_of(attributes: bytes, wanted: int) -> str:
    """The first attribute of that type, as text; "" when there is none."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(attributes):
        length, kind = _ATTRIBUTE.unpack_from(attributes, offset)
        if length < _ATTRIBUTE.size:
            break
        if kind & _ATTRIBUTE_TYPE == wanted:
            return attributes[offset + _ATTRIBUTE.size : offset + length].split(b"\0")[0].decode("ascii", "replace")
        offset += _aligned(length)
    return ""


def _aligned(length: int) -> int:
    return (length + 3) & ~3
