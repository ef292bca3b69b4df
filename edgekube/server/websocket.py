"""The server's end of a WebSocket whose client only listens: a log, a watch.

Enters: a request that asks for a WebSocket, messages to send.
Leaves: the 101 answer, messages, a close.
Holds: what the client says is heard (its close ends the block, a ping is answered) and means nothing else.
Loaded when somebody asks.
Source: RFC 6455.
Next: server.log_socket, server.watch_socket.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Final

import trio
from wsproto import events
from wsproto.connection import Connection, ConnectionType
from wsproto.utilities import RemoteProtocolError

from edgekube.api import errors
from edgekube.wire.protocol import ByteStream, Disconnected, Responder

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def answer_head(headers: Mapping[str, str], protocols: Collection[str] | None) -> tuple[bytes, str]:
    """The answer's head and the protocol chosen, "" for none. ``protocols`` None: whichever comes first.
    StatusError BadRequest when it is no proper request."""
    key = headers.get("sec-websocket-key", "")
    if not key or headers.get("sec-websocket-version") != "13":
        raise errors.bad_request("a WebSocket needs Sec-WebSocket-Key and Sec-WebSocket-Version: 13")
    offered = [part.strip() for part in headers.get("sec-websocket-protocol", "").split(",") if part.strip()]
    chosen = next((each for each in offered if protocols is None or each in protocols), "")
    if offered and not chosen:
        raise errors.bad_request(f"unable to upgrade: none of the protocols {', '.join(offered)} is supported")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: Upgrade", f"sec-websocket-accept: {accept}"]
    if chosen:
        lines.append(f"sec-websocket-protocol: {chosen}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), chosen


class WebSocket:
    def __init__(self, client: ByteStream) -> None:
        self._client = client
        self._frames = Connection(ConnectionType.SERVER)
        self._one_at_a_time = trio.Lock()

    async def send(self, message: str | bytes) -> None:
        await self._say(events.TextMessage(message) if isinstance(message, str) else events.BytesMessage(message))

    async def close(self) -> None:
        await self._say(events.CloseConnection(1000))

    async def _say(self, event: events.Event) -> None:
        async with self._one_at_a_time:
            await self._client.send_all(self._frames.send(event))

    async def hear(self) -> None:
        """Until the client closes, or makes no sense."""
        try:
            while data := await self._client.receive_some():
                self._frames.receive_data(data)
                for event in self._frames.events():
                    if isinstance(event, events.Ping):
                        await self._say(event.response())
                    elif isinstance(event, events.CloseConnection):
                        return
        except (RemoteProtocolError, Disconnected, OSError):
            pass


@asynccontextmanager
async def opened(head: bytes, responder: Responder) -> AsyncIterator[WebSocket]:
    """Answered with ``head``; closed at the end. The block is cancelled when the client goes."""
    client = await responder.upgrade()
    await client.send_all(head)
    socket = WebSocket(client)

    async def hear(scope: trio.CancelScope) -> None:
        await socket.hear()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hear, nursery.cancel_scope)
        yield socket
        await socket.close()
        nursery.cancel_scope.cancel()
