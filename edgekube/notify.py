"""Tell the service manager how far we are (sd_notify(3)), when there is one.

Enters: a state such as READY=1. Leaves: one datagram to $NOTIFY_SOCKET, or nothing.
Holds: never fails: a manager that does not listen must not stop a cluster. Next: daemon.
"""

from __future__ import annotations

import os
import socket


def notify(state: str, address: str | None = None) -> bool:
    """True when somebody was told. ``address`` stands in for $NOTIFY_SOCKET; a leading @ is the abstract namespace."""
    address = address or os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError:
        return False
    return True
