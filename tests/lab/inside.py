"""Sockets of a lab node, held by the test: namespaces belong to threads, so a short-lived thread makes the connection.

Enters: the name of a network namespace (or a path such as /proc/PID/ns/net), an address.
Leaves: a connected or listening socket that works anywhere in this process.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x40000000


def connect(namespace: str, address: str, port: int, *, timeout_seconds: float = 30) -> socket.socket:
    """A TCP connection as a process inside ``namespace`` would make it. Raises OSError."""
    return call_in(namespace, lambda: socket.create_connection((address, port), timeout=timeout_seconds))


def listen(namespace: str, port: int) -> socket.socket:
    """A listening TCP socket on every address of ``namespace``, on both stacks. Raises OSError."""
    return call_in(namespace, lambda: socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))


def datagrams(namespace: str, port: int = 0, *, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A UDP socket on every address of ``namespace``. Raises OSError."""

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_DGRAM)
        made.bind(("", port))
        return made

    return call_in(namespace, make)


def fetch(namespace: str, address: str, port: int, path: str = "/", *, timeout_seconds: float = 10) -> str:
    """The body of an HTTP page as a process inside ``namespace`` gets it. Raises OSError."""
    connection = http.client.HTTPConnection(address, port)
    connection.sock = connect(namespace, address, port, timeout_seconds=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def call_in(namespace: str, function: Callable[[], T]) -> T:
    """What the function returns, called in a thread that is inside ``namespace``: everything it opens belongs there."""
    made: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            _enter(namespace)
            made.append(function())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def _enter(namespace: str) -> None:
    descriptor = os.open(os.path.join("/run/netns", namespace), os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
