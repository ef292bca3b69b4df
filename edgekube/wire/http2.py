"""HTTP/2, the server's side of one connection.

Enters: bytes of a Transport that negotiated ``h2``.
Leaves: one handler task per stream; responses interleaved under both flow-control windows.
Holds: one task writes, so what many streams (a hundred watches) say in one turn leaves in one TLS record; no stream is owed
more than WIRE_UNSENT_BYTES_MAX of memory by a peer that does not read; a reset or a lost peer cancels the handlers.
Bound: WIRE_STREAMS_MAX handlers; floods of resets and of control frames end in GOAWAY ENHANCE_YOUR_CALM.
Next: the handler (server.app).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio
from hyperframe.frame import GoAwayFrame

from edgekube import limits
from edgekube.wire.answers import Refused, http_date
from edgekube.wire.connection import Shell, only
from edgekube.wire.field_block import FieldEncoder
from edgekube.wire.protocol import BodyTooLarge, ByteStream, Disconnected, Request, Responder
from edgekube.wire.transport import Transport

log = logging.getLogger("edgekube.wire")

#: What a connection's headers may not say in HTTP/2 (RFC 9113, 8.2.2).
_HOP_BY_HOP: Final = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade", "proxy-connection", "content-length"})
#: One stream's share of a turn.
_TURN_BYTES: Final = 65536

_CONFIG: Final = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    normalize_inbound_headers=False,  # cookies are joined here anyway
)


class _H2(h2.connection.H2Connection):
    #: The library remembers 65,536 closed streams, some megabytes for a connection that lives long.
    MAX_CLOSED_STREAMS = 1024


class _Allowance:
    """So many at once, refilled with time: what exceeds it is a flood."""

    __slots__ = ("_burst", "_left", "_per_second", "_since")

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = self._left = burst
        self._per_second = per_second
        self._since = trio.current_time()

    def spend(self, count: int) -> bool:
        self._left -= count
        if self._left < 0:
            now = trio.current_time()
            self._left = min(self._burst, self._left + (now - self._since) * self._per_second)
            self._since = now
        return self._left >= 0

    def earn(self, count: float) -> None:
        self._left = min(self._burst, self._left + count)


class _Stream:
    """One request and its response: Body and Responder in one."""

    __slots__ = (
        "_body_complete",
        "_connection",
        "_content_length",
        "_deadline",
        "_expects_continue",
        "_length_left",
        "_news",
        "_no_body",
        "_pieces",
        "_received_bytes",
        "ended",
        "id",
        "request",
        "reset",
        "scope",
        "started",
        "window",
    )

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self._connection = connection
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._body_complete = False
        self._content_length: int | None = None
        self._received_bytes = 0
        self._deadline = 0.0
        self._expects_continue = False
        self._no_body = False
        self._length_left: int | None = None
        self._news = trio.lowlevel.ParkingLot()
        self.window = trio.lowlevel.ParkingLot()
        self.id = stream_id
        self.scope = trio.CancelScope()
        self.started = False
        self.ended = False
        self.reset = False
        self.request: Request

    # --- the connection's side ---------------------------------------------------------------------------------------

    def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Raises Refused."""
        method = target = authority = ""
        fields: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1")
            value = raw_value.decode("latin-1")
            if name[0] == ":":
                if name == ":method":
                    method = value
                elif name == ":path":
                    target = value
                elif name == ":authority":
                    authority = value
            elif name in fields:
                fields[name] += ("; " if name == "cookie" else ", ") + value
            else:
                fields[name] = value
        if authority:
            fields["host"] = authority
        path, _, query = target.partition("?")
        transport = self._connection.transport
        self.request = Request(
            method, path, query, fields, self, "2", transport.peer, transport.peer_certificate, self._connection.values
        )
        if len(headers) > limits.WIRE_HEADERS_COUNT_MAX:
            raise Refused(431, "the request has too many headers")
        if len(target) > limits.WIRE_TARGET_BYTES_MAX:
            raise Refused(414, "the request target is too long")
        if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
            raise Refused(400, "the request target is not a path")
        length = fields.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 19):
                raise Refused(400, "content-length is not a number")
            self._content_length = int(length)
        self._expects_continue = fields.get("expect", "").lower() == "100-continue"

    def feed(self, piece: bytes, flow_bytes: int) -> None:
        self._received_bytes += len(piece)
        self._pieces.append((piece, flow_bytes))
        self._news.unpark_all()

    def body_ended(self) -> None:
        self._body_complete = True
        self._news.unpark_all()

    def unread_flow_bytes(self) -> int:
        return sum(flow_bytes for _, flow_bytes in self._pieces)

    @property
    def body_complete(self) -> bool:
        return self._body_complete

    # --- Body --------------------------------------------------------------------------------------------------------

    async def read(self, max_bytes: int) -> bytes:
        if self._content_length is not None and self._content_length > max_bytes:
            raise BodyTooLarge(f"the body has {self._content_length} bytes, at most {max_bytes} are taken")
        parts = []
        size = 0
        while piece := await self.receive_some():
            size += len(piece)
            if size > max_bytes:
                raise BodyTooLarge(f"the body is larger than {max_bytes} bytes")
            parts.append(piece)
        return b"".join(parts)

    async def receive_some(self) -> bytes:
        while True:
            while self._pieces:
                piece, flow_bytes = self._pieces.popleft()
                self._connection.consumed(self, flow_bytes)
                if piece:
                    return piece
            if self._body_complete:
                return b""
            if self.reset:
                raise Disconnected
            if self._expects_continue:
                self._expects_continue = False
                self._connection.send_headers(self, [(b":status", b"100")], end=False)
            if not self._deadline:
                self._deadline = trio.current_time() + limits.WIRE_BODY_SECONDS
            with trio.move_on_at(self._deadline + self._received_bytes / limits.WIRE_BODY_BYTES_PER_SECOND_MIN) as scope:
                await self._news.park()
            if scope.cancelled_caught:
                raise Refused(408, "the request body came too slowly")

    # --- Responder ---------------------------------------------------------------------------------------------------

    def _head(self, status: int, headers: Mapping[str, str], length: str | None) -> list[tuple[bytes, bytes]]:
        if self.started:
            raise RuntimeError("the response has been started already")
        self._no_body = self.request.method == "HEAD" or status in (204, 304)
        fields = [(b":status", b"%d" % status)]
        for name, value in headers.items():
            if name not in _HOP_BY_HOP:
                if "\n" in value or "\r" in value or "\0" in value:
                    raise ValueError("a header holds a line break")
                fields.append((name.encode("latin-1"), value.encode("latin-1", "replace")))
        fields.append((b"date", http_date().encode()))
        if length is not None and status not in (204, 304):
            fields.append((b"content-length", length.encode()))
        return fields

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        length = str(len(body))
        if self.request.method == "HEAD":
            length = headers.get("content-length", length)
        fields = self._head(status, headers, length)
        self.started = True
        connection = self._connection
        if self._no_body or not body:
            self.ended = True
            connection.send_headers(self, fields, end=True)
            return
        connection.send_headers(self, fields, end=False)
        if not connection.send_now(self, body):
            await connection.send_data(self, body, end=True)
        self.ended = True

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length")
        fields = self._head(status, headers, length)
        self._length_left = None if length is None or self._no_body else int(length)
        self.started = True
        self._connection.send_headers(self, fields, end=self._no_body)
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
        await self._connection.send_data(self, chunk, end=False)
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
            self._connection.end_stream(self)

    async def upgrade(self) -> ByteStream:
        raise ValueError("HTTP/2 has no upgrade")


class Http2Connection:
    """Runs until the peer or the server closes, or misbehaviour ends it."""

    def __init__(self, shell: Shell, transport: Transport) -> None:
        self.shell = shell
        self.transport = transport
        self.values: dict[str, object] = {}
        self._h2 = _H2(_CONFIG)
        self._h2.encoder = FieldEncoder()  # type: ignore[assignment]
        self._streams: dict[int, _Stream] = {}
        self._scope = trio.CancelScope()
        self._raw = b""
        self._dirty = False
        self._unsent_bytes = 0
        self._writer = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._closing = False
        self._draining = False
        self._settings_seen = False
        self._last_stream_id = 0
        self._resets = _Allowance(limits.WIRE_RESETS_BURST, limits.WIRE_RESETS_PER_SECOND)
        self._control = _Allowance(limits.WIRE_CONTROL_FRAMES_BURST, limits.WIRE_CONTROL_FRAMES_PER_SECOND)
        self._began = trio.current_time()
        self._idle_since: float | None = self._began

    # --- life --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: limits.WIRE_STREAMS_MAX,
                codes.MAX_HEADER_LIST_SIZE: limits.WIRE_HEAD_BYTES_MAX,
                codes.INITIAL_WINDOW_SIZE: limits.WIRE_STREAM_WINDOW_BYTES,
                codes.ENABLE_CONNECT_PROTOCOL: 0,
            },
        )
        self._h2.decoder.max_header_list_size = limits.WIRE_HEAD_BYTES_MAX
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(limits.WIRE_CONNECTION_WINDOW_BYTES - 65535)
        self._mark_dirty()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write)
                    await self._read(nursery)
        except BaseExceptionGroup as group:
            if only(group, Disconnected) is None:
                raise
        finally:
            self.transport.close()

    async def _read(self, nursery: trio.Nursery) -> None:
        """Ends the connection at the peer's end of data. After a violation the rest is thrown away (see _write)."""
        linger_bytes = limits.WIRE_LINGER_BYTES_MAX
        while data := await self._receive():
            if self._closing:
                linger_bytes -= len(data)
                if linger_bytes < 0:
                    break
                continue
            try:
                events = self._h2.receive_data(data)
            except h2.exceptions.ProtocolError as error:
                log.info("HTTP/2 violation why=%r peer=%s", str(error), self.transport.peer)
                self._close()
                continue
            for event in events:
                handle = _EVENTS.get(type(event))
                if handle is not None and not handle(self, event, nursery):
                    log.warning("HTTP/2 flood of %s peer=%s", type(event).__name__, self.transport.peer)
                    self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
                    self._close()
                    break
            self._mark_dirty()
        self._scope.cancel()

    async def _receive(self) -> bytes:
        while self._unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX:
            await self._room.park()  # answers to pings pile up: read no more until the peer does
        return await self.transport.receive_some()

    def _close(self) -> None:
        """Nobody is left to answer; what h2 has still to say (GOAWAY) goes out, then the connection ends."""
        for stream in self._streams.values():
            stream.scope.cancel()
        self._closing = True
        self._mark_dirty()

    async def _write(self) -> None:
        while True:
            while not self._dirty:
                if self._closing and not self._streams:
                    # A reset, sent for data that nobody reads, could overtake our last words: _read goes on a little.
                    with trio.move_on_after(limits.WIRE_LINGER_SECONDS):
                        await self.transport.send_eof()
                        await trio.sleep_forever()
                    self._scope.cancel()
                    return
                await self._writer.park()
            self._dirty = False
            data: bytes = self._h2.data_to_send()
            if self._raw:
                data, self._raw = self._raw + data, b""
            if data:
                size = self._unsent_bytes = len(data)
                await self.transport.send_all(data)
                self._unsent_bytes -= size
                if self._room:
                    self._room.unpark_all()

    def _mark_dirty(self) -> None:
        if not self._dirty:
            self._dirty = True
            if self._writer:
                self._writer.unpark()

    # --- what the peer says ------------------------------------------------------------------------------------------

    def _on_request(self, event: h2.events.RequestReceived, nursery: trio.Nursery) -> bool:
        stream_id = event.stream_id
        assert stream_id is not None
        if len(self._streams) >= limits.WIRE_STREAMS_MAX or self._draining:
            # Streams that were reset still count until their handlers have ended.
            self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
            return self._draining or self._resets.spend(1)
        stream = _Stream(self, stream_id)
        self._last_stream_id = stream_id
        self._streams[stream_id] = stream
        self._idle_since = None
        try:
            stream.begin(event.headers)
        except Refused as refused:
            nursery.start_soon(self._run_stream, stream, refused)
        else:
            nursery.start_soon(self._run_stream, stream, None)
        return True

    def _on_data(self, event: h2.events.DataReceived, nursery: trio.Nursery) -> bool:
        stream = self._streams.get(event.stream_id or 0)
        flow_bytes = event.flow_controlled_length or 0
        if stream is None or stream.ended:
            if flow_bytes:
                self._h2.acknowledge_received_data(flow_bytes, event.stream_id or 0)
            return True
        stream.feed(event.data or b"", flow_bytes)
        return bool(event.data) or event.stream_ended is not None or self._control.spend(1)

    def _on_stream_ended(self, event: h2.events.StreamEnded, nursery: trio.Nursery) -> bool:
        stream = self._streams.get(event.stream_id or 0)
        if stream is not None:
            stream.body_ended()
        return True

    def _on_reset(self, event: h2.events.StreamReset, nursery: trio.Nursery) -> bool:
        stream = self._streams.get(event.stream_id or 0)
        if stream is not None:
            stream.reset = True
            stream.scope.cancel()
        return self._resets.spend(1)

    def _on_window(self, event: h2.events.WindowUpdated, nursery: trio.Nursery) -> bool:
        if event.stream_id:
            stream = self._streams.get(event.stream_id)
            if stream is not None:
                stream.window.unpark_all()
        else:
            self._wake_all()
        return self._control.spend(1)

    def _on_settings(self, event: h2.events.RemoteSettingsChanged, nursery: trio.Nursery) -> bool:
        self._settings_seen = True
        self._wake_all()
        return self._control.spend(10)

    def _on_control(self, event: h2.events.Event, nursery: trio.Nursery) -> bool:
        return self._control.spend(1)

    def _on_terminated(self, event: h2.events.ConnectionTerminated, nursery: trio.Nursery) -> bool:
        # The peer opens no more streams; those that stand may still be answered. h2 takes the connection for closed, so end it.
        self._scope.cancel()
        return True

    def _wake_all(self) -> None:
        for stream in self._streams.values():
            if stream.window:
                stream.window.unpark_all()

    # --- what handlers say -------------------------------------------------------------------------------------------

    def send_headers(self, stream: _Stream, fields: list[tuple[bytes, bytes]], *, end: bool) -> None:
        try:
            self._h2.send_headers(stream.id, fields, end_stream=end)
        except h2.exceptions.ProtocolError as error:
            raise Disconnected from error
        self._mark_dirty()

    def end_stream(self, stream: _Stream) -> None:
        try:
            self._h2.end_stream(stream.id)
        except h2.exceptions.ProtocolError as error:
            raise Disconnected from error
        self._mark_dirty()

    def send_now(self, stream: _Stream, body: bytes) -> bool:
        """The whole body in one frame, if both windows and the buffer have room: what nearly every answer does."""
        length = len(body)
        try:
            if (
                length > self._h2.max_outbound_frame_size
                or self._unsent_bytes + length > limits.WIRE_UNSENT_BYTES_MAX
                or length > self._h2.local_flow_control_window(stream.id)
            ):
                return False
            self._h2.send_data(stream.id, body, end_stream=True)
        except h2.exceptions.ProtocolError as error:
            raise Disconnected from error
        self._unsent_bytes += length
        self._control.earn(1 + length / 1024)
        self._mark_dirty()
        return True

    async def send_data(self, stream: _Stream, data: bytes, *, end: bool) -> None:
        view = memoryview(data)
        turn = _TURN_BYTES
        try:
            while view:
                while self._unsent_bytes > limits.WIRE_UNSENT_BYTES_MAX:
                    await self._room.park()  # the writer has its own stall limit
                size = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size, len(view))
                if size <= 0:
                    with trio.move_on_after(self.transport.write_stall_seconds) as scope:
                        await stream.window.park()
                    if scope.cancelled_caught:
                        self._h2.reset_stream(stream.id, h2.errors.ErrorCodes.FLOW_CONTROL_ERROR)
                        stream.reset = True
                        self._mark_dirty()
                        raise Disconnected("the peer has stopped reading")
                    continue
                last = end and size == len(view)
                self._h2.send_data(stream.id, view[:size], end_stream=last)
                view = view[size:]
                self._unsent_bytes += size
                self._control.earn(1 + size / 1024)
                self._mark_dirty()
                turn -= size
                if turn <= 0:
                    turn = _TURN_BYTES
                    await trio.lowlevel.checkpoint()
        except h2.exceptions.ProtocolError as error:
            raise Disconnected from error

    def consumed(self, stream: _Stream, flow_bytes: int) -> None:
        if flow_bytes and not self._closing:
            try:
                self._h2.acknowledge_received_data(flow_bytes, stream.id)
            except h2.exceptions.ProtocolError:
                return
            self._mark_dirty()

    # --- one stream --------------------------------------------------------------------------------------------------

    async def _run_stream(self, stream: _Stream, refused: Refused | None) -> None:
        try:
            with stream.scope:
                if refused is not None:
                    await self._answer(stream, refused)
                    return
                try:
                    await self.shell.handler(stream.request, stream)
                    if not stream.started:
                        raise RuntimeError("the handler did not answer")
                    if not stream.ended:
                        await stream.end()
                except Exception as error:
                    await self._failed(stream, error)
        except Disconnected:
            pass
        except Exception:  # in the error's answer itself: this stream is reset, the others live
            log.exception("answer failed path=%s peer=%s", stream.request.path, self.transport.peer)
        finally:
            self._stream_done(stream)

    async def _failed(self, stream: _Stream, error: Exception) -> None:
        if only(error, Disconnected) is not None:
            return
        refused = only(error, Refused)
        too_large = only(error, BodyTooLarge)
        if too_large is not None:
            refused = Refused(413, str(too_large))
        if refused is None:
            request = stream.request
            log.error("handler failed method=%s path=%s peer=%s", request.method, request.path, request.peer, exc_info=error)
            refused = Refused(500, "the server failed to answer; its log says why")
        if not stream.started:
            await self._answer(stream, refused)

    async def _answer(self, stream: _Stream, refused: Refused) -> None:
        content_type, body = self.shell.error_body(refused.status, refused.message)
        await stream.send(refused.status, {"content-type": content_type}, body)

    def _stream_done(self, stream: _Stream) -> None:
        del self._streams[stream.id]
        try:
            self.consumed(stream, stream.unread_flow_bytes())
            if not stream.reset:
                if not stream.ended:
                    self._h2.reset_stream(stream.id, h2.errors.ErrorCodes.INTERNAL_ERROR)
                elif not stream.body_complete:
                    self._h2.reset_stream(stream.id, h2.errors.ErrorCodes.NO_ERROR)
        except h2.exceptions.ProtocolError:
            pass  # closed meanwhile
        self._mark_dirty()
        if not self._streams:
            self._idle_since = trio.current_time()
            if self._draining:
                self._closing = True
            if self._closing:
                self._mark_dirty()

    # --- the server's side -------------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        if not self._settings_seen and now - self._began >= limits.WIRE_HEAD_SECONDS:
            self._scope.cancel()
        elif self._idle_since is not None and now - self._idle_since >= limits.WIRE_IDLE_SECONDS:
            self.start_draining()

    def start_draining(self) -> None:
        """GOAWAY: what was begun is finished, what comes is refused. Written by hand, because the library takes a connection that
        has said GOAWAY for closed."""
        if self._draining:
            return
        self._draining = True
        frame = GoAwayFrame(0)
        frame.last_stream_id = self._last_stream_id
        self._raw += frame.serialize()
        if not self._streams:
            self._closing = True
        self._mark_dirty()

    def cut(self) -> None:
        self._scope.cancel()


_EVENTS: Final[dict[type[h2.events.Event], Callable[[Http2Connection, Any, trio.Nursery], bool]]] = {
    h2.events.RequestReceived: Http2Connection._on_request,
    h2.events.DataReceived: Http2Connection._on_data,
    h2.events.StreamEnded: Http2Connection._on_stream_ended,
    h2.events.StreamReset: Http2Connection._on_reset,
    h2.events.WindowUpdated: Http2Connection._on_window,
    h2.events.RemoteSettingsChanged: Http2Connection._on_settings,
    h2.events.PingReceived: Http2Connection._on_control,
    h2.events.PriorityUpdated: Http2Connection._on_control,
    h2.events.UnknownFrameReceived: Http2Connection._on_control,
    h2.events.TrailersReceived: Http2Connection._on_control,
    h2.events.ConnectionTerminated: Http2Connection._on_terminated,
}

_: type[Responder] = _Stream
