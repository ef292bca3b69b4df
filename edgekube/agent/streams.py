"""exec, attach and port-forward: the client's connection joined with containerd's.

Enters: a request that wants an upgrade, a single-use URL on containerd's loopback stream server.
Leaves: bytes both ways, until both sides have ended; the same for a port of a pod.
Holds: the request's head goes on as the client sent it, but for its path, Host and Authorization; what containerd refuses (400,
403) is answered to the client, which then tries another protocol.
Next: wire.splice.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from edgekube import limits
from edgekube.agent.dial import host_port, words
from edgekube.api import errors
from edgekube.wire.client import ProtocolError, open_connection
from edgekube.wire.protocol import Disconnected, Request, Responder
from edgekube.wire.splice import splice
from edgekube.wire.transport import connect

_KEPT_BACK: Final = frozenset({"host", "authorization", "content-length", "transfer-encoding", "expect", "cookie"})
DIAL_PROTOCOL: Final = "edgekube-dial"
_REFUSAL_BYTES_MAX: Final = 64 * 1024


def _switching(headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name not in ("content-length", "date"))
    return f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode("latin-1")


async def join_port(request: Request, responder: Responder, host: str, port: int, context: ssl.SSLContext | None) -> None:
    """The client's connection joined with one to a port, after an upgrade that says so."""
    if request.headers.get("upgrade", "").lower() != DIAL_PROTOCOL or request.http_version != "1.1":
        raise errors.bad_request(f"Upgrade: {DIAL_PROTOCOL} is what this path is for")
    try:
        there = await connect(host, port, context=context, timeout_seconds=limits.POD_DIAL_SECONDS)
    except OSError as error:
        raise errors.unreachable(f"dial tcp {host_port(host, port)}: {words(error)}") from error
    try:
        client = await responder.upgrade()
        await client.send_all(_switching({"upgrade": DIAL_PROTOCOL, "connection": "Upgrade"}))
        await splice(client, there)
    finally:
        there.close()


async def join(request: Request, responder: Responder, url: str) -> None:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {name: value for name, value in request.headers.items() if name not in _KEPT_BACK}
    try:
        async with open_connection(parts.hostname or "127.0.0.1", parts.port or 80) as connection:
            response, stream = await connection.upgrade(request.method, target, headers)
            if stream is None:
                body = await response.read(_REFUSAL_BYTES_MAX)
                kind = response.headers.get("content-type", "text/plain")
                await responder.send(response.status, {"content-type": kind}, body)
                return
            client = await responder.upgrade()
            await client.send_all(_switching(response.headers))
            await splice(client, stream)
    except (ProtocolError, OSError) as error:
        if responder.started:
            raise Disconnected(str(error)) from None
        await responder.send(502, {"content-type": "text/plain"}, f"the container runtime did not answer: {error}\n".encode())
