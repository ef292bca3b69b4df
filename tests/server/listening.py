"""The client's end of a WebSocket, by wsproto.

Enters: a port, a path, headers.
Leaves: the answer, the messages.
Holds: nothing of the server's own framing is used.
Next: the tests of logs and watches over WebSockets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from wsproto import events
from wsproto.connection import Connection, ConnectionType

from edgekube.wire.client import ClientResponse, HttpConnection
from edgekube.wire.protocol import ByteStream
from edgekube.wire.transport import connect


class Listener:
    def __init__(self, response: ClientResponse, stream: ByteStream) -> None:
        self.response = response
        self._stream = stream
        self._frames = Connection(ConnectionType.CLIENT)

    async def hear(self) -> events.Event:
        """The next event; messages are whole."""
        with trio.fail_after(60):
            while True:
                for event in self._frames.events():
                    return event
                self._frames.receive_data(await self._stream.receive_some() or None)

    async def message(self) -> str | bytes:
        event = await self.hear()
        if isinstance(event, events.TextMessage):
            return event.data
        assert isinstance(event, events.BytesMessage), event
        return bytes(event.data)

    async def say(self, event: events.Event) -> None:
        await self._stream.send_all(self._frames.send(event))

    async def ended(self) -> bool:
        """Whether the server hangs up."""
        with trio.fail_after(60):
            while await self._stream.receive_some():
                pass
        return True


@asynccontextmanager
async def listening(port: int, path: str, **headers: str) -> AsyncIterator[Listener]:
    """Headers as keywords; without ``authorization`` it is the administrator who asks."""
    sent = {"authorization": "Bearer admin", **{name.replace("_", "-"): value for name, value in headers.items()}}
    sent |= {
        "upgrade": "websocket", "connection": "Upgrade", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    connection = HttpConnection(await connect("127.0.0.1", port), "test")
    try:
        response, stream = await connection.upgrade("GET", path, {name: value for name, value in sent.items() if value})
        assert response.status == 101 and stream is not None, await response.read(1 << 20)
        yield Listener(response, stream)
    finally:
        connection.close()
