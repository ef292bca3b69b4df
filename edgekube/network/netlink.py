"""Read what the kernel tells on a netlink socket.

Enters: a non-blocking netlink socket.
Leaves: the kernel's messages, one datagram after the other; None where some were lost.
Holds: read to the end: before that the kernel does not say a second time that it lost messages. What anybody else sent is
ignored.
Source: netlink(7), ENOBUFS.
Next: network.address_changes, network.table_losses.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Final

_MESSAGE_BYTES_MAX: Final = 65536


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
