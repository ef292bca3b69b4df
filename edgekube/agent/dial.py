"""A TCP connection from the node to a pod; failures in the words that users of Kubernetes know from probe events.

Enters: a host and a port.
Leaves: a stream; OSError whose text is the whole message, as Go's net package writes it.
Holds: nothing.
Next: agent.http_get, agent.probes, agent.lifecycle.
"""

from __future__ import annotations

import os
import socket

import trio


def host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def words(error: BaseException) -> str:
    """The system's words; trio wraps them when it tried several addresses."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup) and cause.exceptions:
        return words(cause.exceptions[-1])
    if isinstance(cause, OSError):
        error = cause
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)


async def dial(host: str, port: int) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(host, port)
    except socket.gaierror:
        raise OSError(f"dial tcp: lookup {host}: no such host") from None
    except OSError as error:
        raise OSError(f"dial tcp {host_port(host, port)}: connect: {words(error)}") from None


def both_ends(stream: trio.SocketStream) -> str:
    """``here->there``; to be asked while the connection stands."""
    here, there = stream.socket.getsockname(), stream.socket.getpeername()
    return f"{host_port(here[0], here[1])}->{host_port(there[0], there[1])}"


def read_failure(ends: str, error: trio.BrokenResourceError) -> OSError:
    """A connection that broke while it was read."""
    return OSError(f"read tcp {ends}: read: {words(error)}")
