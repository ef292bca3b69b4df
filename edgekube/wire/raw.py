"""A connection after its upgrade, on either side: what was read behind the head comes out first.

Enters: a transport, and the bytes that came too early.
Leaves: a ByteStream (wire.protocol). Holds: no byte is lost or said twice; the transport is owned from here on.
Next: wire.http1 (server) and wire.client hand it out; wire.splice joins two; wire.lent, when HTTP goes on.
"""

from __future__ import annotations

import trio

from edgekube.wire.transport import Transport


class RawConnection:
    """A ByteStream whose first bytes may have come with the head."""

    __slots__ = ("_early", "_transport")

    def __init__(self, transport: Transport, early: bytes) -> None:
        self._transport = transport
        self._early = early

    def release(self) -> tuple[Transport, bytes]:
        """The transport and what has been read too early: for whoever speaks HTTP on it again. This object is then spent."""
        early, self._early = self._early, b""
        return self._transport, early

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._transport.send_all(data)

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        if self._early:
            await trio.lowlevel.checkpoint()
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        return await self._transport.receive_some(max_bytes)

    async def send_eof(self) -> None:
        await self._transport.send_eof()

    async def aclose(self) -> None:
        await self._transport.aclose()
