"""Sockets of a lab node, held by the test: namespaces belong to threads, so a short-lived thread makes the connection.

Enters: the name of a network namespace, an address.
Leaves: a connected or listening socket that works anywhere in this process.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from typing import Final

_CLONE_NEWNET: Final = 0x40000000


def connect(namespace: str, address: str, port: int, *, timeout_seconds: float = 10) -> socket.socket:
    """A TCP connection as a process inside ``namespace`` would make it. Raises OSError."""
    return _made_in(namespace, lambda: socket.create_connection((address, port), timeout=timeout_seconds))


def listen(namespace: str, port: int) -> socket.socket:
    """A listening TCP socket on every address of ``namespace``. Raises OSError."""
    return _made_in(namespace, lambda: socket.create_server(("", port)))


def _made_in(namespace: str, make: Callable[[], socket.socket]) -> socket.socket:
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def work() -> None:
        try:
            _enter(namespace)
            made.append(make())
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(namespace: str) -> None:
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
