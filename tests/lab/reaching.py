"""Who reaches whom on a lab network: one datagram there, and what came of it.

Enters: two network namespaces and the target's address. Leaves: whether it arrived, how many of many did, how long bytes took.
Holds: nothing but the network between the sockets is asked; a "no" takes PATIENCE_SECONDS. Next: tests.lab.inside.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Final

from tests.lab import inside

PATIENCE_SECONDS: Final = 0.3
MDNS: Final = ("224.0.0.251", 5353)


def arrives(source: str, target: str, address: str) -> bool:
    """A datagram gets from one namespace to the other. Where ARP is not answered, nothing does."""
    return counted(source, target, address, datagrams=1) == 1


def counted(source: str, target: str, address: str, *, datagrams: int) -> int:
    """How many of so many datagrams arrive."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside.datagrams(target, family=family) as listener, inside.datagrams(source, family=family) as speaker:
        arrived = 0
        with contextlib.suppress(OSError):  # no route, no carrier
            for _ in range(datagrams):
                speaker.sendto(b"?", (address, listener.getsockname()[1]))
        while arrived < datagrams and _heard(listener):
            arrived += 1
        return arrived


def multicast_arrives(source: str, target: str) -> bool:
    """A question to the group of mDNS gets to a member."""
    with inside.call_in(target, _member) as listener, inside.call_in(source, _asker) as asker:
        asker.sendto(b"?", MDNS)
        return _heard(listener)


def _member() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(MDNS)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _on_eth0())
    return made


def _asker() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _on_eth0())
    return made


def _on_eth0() -> bytes:
    """struct ip_mreqn. The interface by its number: there may be no route that would name it."""
    return socket.inet_aton(MDNS[0]) + bytes(4) + socket.if_nametoindex("eth0").to_bytes(4, "little")


def _heard(listener: socket.socket) -> bool:
    listener.settimeout(PATIENCE_SECONDS)
    try:
        listener.recv(16)
    except TimeoutError:
        return False
    return True


def transfer_seconds(source: str, target: str, address: str, *, size_bytes: int) -> float:
    """How long so many bytes take over TCP, until the target has the last."""
    with inside.listen(target, 0) as listener:
        taken = threading.Thread(target=_drain, args=(listener,))
        taken.start()
        with inside.connect(source, address, listener.getsockname()[1]) as connection:
            began = time.monotonic()
            connection.sendall(bytes(size_bytes))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
            return time.monotonic() - began


def _drain(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while connection.recv(65536):
            pass
        connection.sendall(b".")
