"""A transport that somebody else uses and closes, and that tells its owner when.

Enters: a Transport.
Leaves: the same bytes; an event when it is closed, by whomever.
Holds: what lent it may close it under the borrower's hands, who then sees a peer that left.
Next: server.parked, server.proxy.
"""

from __future__ import annotations

import trio

from edgekube.wire.transport import Transport


class LentTransport:
    """A Transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.peer = transport.peer
        self.local_address = transport.local_address
        self.alpn = transport.alpn
        self.closed = trio.Event()

    @property
    def write_stall_seconds(self) -> float:
        return self._transport.write_stall_seconds

    @write_stall_seconds.setter
    def write_stall_seconds(self, seconds: float) -> None:
        self._transport.write_stall_seconds = seconds

    @property
    def peer_certificate(self) -> bytes | None:
        return self._transport.peer_certificate

    @property
    def expired_certificate(self) -> bytes | None:
        return self._transport.expired_certificate

    async def send_all(self, data: bytes | memoryview) -> None:
        await self._transport.send_all(data)

    def send_some(self, data: bytes) -> bool:
        return self._transport.send_some(data)

    async def receive_some(self, max_bytes: int = 65536) -> bytes:
        return await self._transport.receive_some(max_bytes)

    def receive_now(self) -> bytes | None:
        return self._transport.receive_now()

    async def send_eof(self) -> None:
        await self._transport.send_eof()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._transport.close()
        self.closed.set()

    def readable_now(self) -> bool:
        return self._transport.readable_now()

    def watch_closely(self) -> None:
        self._transport.watch_closely()
