"""One HTTP/2 request and its response: Body and Responder in one.

Enters: a RequestHead, pieces of the body; what the handler says.
Leaves: calls of the connection, which frames, queues and sends.
Holds: one answer, framed as announced; a body is credited to the peer's window as the handler reads it.
Bound: the stream's window, WIRE_BODY_SECONDS for a body that comes slowly.
Next: wire.http2_outgoing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

import trio

from edgekube import limits
from edgekube.wire.answers import Refused
from edgekube.wire.field_block import CONTINUE_BLOCK, response_block
from edgekube.wire.http2_request import RequestHead
from edgekube.wire.protocol import ByteStream, Disconnected, Request, Responder, whole_body
from edgekube.wire.transport import Transport


class Carrier(Protocol):
    """The connection as its streams see it."""

    transport: Transport
    values: dict[str, object]

    def send_head(self, stream: Http2Stream, block: bytes, *, end: bool) -> None: ...

    def send_whole(self, stream: Http2Stream, block: bytes, body: bytes) -> bool:
        """Head and body at once, if the windows and the buffer have room for them; False, and nothing sent, if not."""
        ...

    async def send_data(self, stream: Http2Stream, data: bytes, *, end: bool) -> None: ...

    def end_stream(self, stream: Http2Stream) -> None: ...

    def consumed(self, stream: Http2Stream, flow_bytes: int) -> None: ...


class Http2Stream:
    __slots__ = (
        "_carrier",
        "_deadline",
        "_length_left",
        "_news",
        "_no_body",
        "_pieces",
        "_writes",
        "body_complete",
        "content_length",
        "ended",
        "expects_continue",
        "id",
        "receive_window",
        "received_bytes",
        "refused",
        "request",
        "reset",
        "scope",
        "send_window",
        "started",
        "uncredited",
        "window",
    )

    def __init__(self, carrier: Carrier, stream_id: int, head: RequestHead, send_window: int) -> None:
        self._carrier = carrier
        self._pieces: deque[tuple[bytes, int]] | None = None
        self._news: trio.lowlevel.ParkingLot | None = None
        self._no_body = False
        self._deadline = 0.0
        self._length_left: int | None = None
        self._writes = 0
        self.id = stream_id
        self.content_length = head.content_length
        self.expects_continue = head.expects_continue
        self.refused = head.refused
        self.received_bytes = 0
        self.body_complete = False
        #: What the peer may still send, what we may, and what the handler has read but the peer has not been told of.
        self.receive_window = limits.WIRE_STREAM_WINDOW_BYTES
        self.send_window = send_window
        self.uncredited = 0
        #: Those who wait for send_window to open.
        self.window: trio.lowlevel.ParkingLot | None = None
        #: The task that runs the handler, once it does.
        self.scope: trio.CancelScope | None = None
        self.started = False
        self.ended = False
        self.reset = False
        transport = carrier.transport
        certificate = transport.peer_certificate
        self.request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            self,
            "2",
            transport.peer,
            certificate,
            carrier.values,
            transport.expired_certificate if certificate is None else None,
        )

    # --- the connection's side ---------------------------------------------------------------------------------------

    def feed(self, piece: bytes, flow_bytes: int) -> None:
        self.received_bytes += len(piece)
        if self._pieces is None:
            self._pieces = deque()
        self._pieces.append((piece, flow_bytes))
        if self._news is not None:
            self._news.unpark_all()

    def body_ended(self) -> None:
        self.body_complete = True
        if self._news is not None:
            self._news.unpark_all()

    def unread_flow_bytes(self) -> int:
        return sum(flow_bytes for _, flow_bytes in self._pieces) if self._pieces else 0

    def cancel(self) -> None:
        """The peer does not want an answer any more, or nobody is there to get it."""
        self.reset = True
        if self.scope is not None:
            self.scope.cancel()

    async def wait_for_window(self) -> None:
        if self.window is None:
            self.window = trio.lowlevel.ParkingLot()
        await self.window.park()

    def window_opened(self) -> None:
        if self.window is not None:
            self.window.unpark_all()

    # --- Body --------------------------------------------------------------------------------------------------------

    async def read(self, max_bytes: int) -> bytes:
        return await whole_body(self, self.content_length, max_bytes)

    async def receive_some(self) -> bytes:
        while True:
            while self._pieces:
                piece, flow_bytes = self._pieces.popleft()
                self._carrier.consumed(self, flow_bytes)
                if piece:
                    return piece
            if self.body_complete:
                return b""
            if self.reset:
                raise Disconnected
            if self.expects_continue:
                self.expects_continue = False
                self._carrier.send_head(self, CONTINUE_BLOCK, end=False)
            if not self._deadline:
                self._deadline = trio.current_time() + limits.WIRE_BODY_SECONDS
            if self._news is None:
                self._news = trio.lowlevel.ParkingLot()
            with trio.move_on_at(self._deadline + self.received_bytes / limits.WIRE_BODY_BYTES_PER_SECOND_MIN) as scope:
                await self._news.park()
            if scope.cancelled_caught:
                raise Refused(408, "the request body came too slowly")

    # --- Responder ---------------------------------------------------------------------------------------------------

    def _begin(self, status: int) -> None:
        if self.started:
            raise RuntimeError("the response has been started already")
        self._no_body = self.request.method == "HEAD" or status in (204, 304)

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self._begin(status)
        length: str | None = str(len(body))
        if self._no_body:
            length = headers.get("content-length", length) if status not in (204, 304) else None
        block = response_block(status, headers, length)
        self.started = True
        if self._no_body or not body:
            self.ended = True
            self._carrier.send_head(self, block, end=True)
            return
        if not self._carrier.send_whole(self, block, body):
            self._carrier.send_head(self, block, end=False)
            await self._carrier.send_data(self, body, end=True)
        self.ended = True

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self._begin(status)
        length = headers.get("content-length")
        block = response_block(status, headers, length if status not in (204, 304) else None)
        self._length_left = None if length is None or self._no_body else int(length)
        self.started = True
        self._carrier.send_head(self, block, end=self._no_body)
        await trio.lowlevel.checkpoint()

    async def write(self, chunk: bytes) -> None:
        if not self.started or self.ended:
            raise RuntimeError("write outside start and end")
        if not chunk or self._no_body:
            await trio.lowlevel.checkpoint()
            return
        if self._length_left is not None:
            if len(chunk) > self._length_left:
                raise RuntimeError("more was written than content-length announced")
            self._length_left -= len(chunk)
        await self._carrier.send_data(self, chunk, end=False)
        self._writes += 1
        if self._writes % limits.WIRE_WRITES_IN_A_ROW_MAX:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()

    async def end(self) -> None:
        if not self.started:
            raise RuntimeError("end before start")
        if self.ended:
            return
        if self._length_left:
            raise RuntimeError(f"{self._length_left} bytes less were written than content-length announced")
        self.ended = True
        if not self._no_body:
            self._carrier.end_stream(self)

    async def upgrade(self) -> ByteStream:
        raise ValueError("HTTP/2 has no upgrade")


_: type[Responder] = Http2Stream
