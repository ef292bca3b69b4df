"""HTTP/1.1, the server's side of one connection.

Enters: bytes of a Transport.
Leaves: one handler call per request, in order; its response, framed; after an upgrade the raw stream.
Holds: requests are answered in the order they came; whatever could be read two ways (both Content-Length and
Transfer-Encoding, folded lines, bare LF) is refused and the connection closed, so nothing can be smuggled behind it;
a peer that goes cancels its handler.
Bound: WIRE_HEAD_BYTES_MAX, WIRE_HEADERS_COUNT_MAX, WIRE_TARGET_BYTES_MAX, WIRE_READ_AHEAD_BYTES_MAX; times as WIRE_*_SECONDS.
Next: the handler (server.app, agent.http).

A handler runs in the connection's own task: a second task per request would cost more than the request. While a handler
streams, or has run for WIRE_DISCONNECT_WATCH_SECONDS, a watch reads ahead, so as to see the peer leave.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from typing import Final

import httptools
import trio

from edgekube import limits
from edgekube.wire.answers import Refused, response_head
from edgekube.wire.connection import Shell, only, refusal_of
from edgekube.wire.http1_incoming import Incoming
from edgekube.wire.protocol import Body, ByteStream, Disconnected, Request, Responder
from edgekube.wire.raw import RawConnection
from edgekube.wire.transport import Transport

log = logging.getLogger("edgekube.wire")

_LAST_CHUNK: Final = b"0\r\n\r\n"
_JOIN_BYTES: Final = 65536


class Http1Responder:
    __slots__ = (
        "_chunked",
        "_close",
        "_connection",
        "_incoming",
        "_length",
        "_no_body",
        "_request",
        "_upgraded",
        "_writes",
        "ended",
        "started",
    )

    def __init__(self, connection: Http1Connection, incoming: Incoming) -> None:
        self._connection = connection
        self._incoming = incoming
        self._request = incoming.request
        self._chunked = False
        self._close = False
        self._length: int | None = None
        self._no_body = False
        self._upgraded = False
        self._writes = 0
        self.started = False
        self.ended = False

    def _connection_line(self) -> str:
        incoming = self._incoming
        if incoming.keep_alive and incoming.complete and not self._connection.shell.draining and not self._close:
            return ""
        self._connection.keep_alive = False
        return "connection: close\r\n"

    def _begin(self, status: int) -> None:
        if self.started or self._upgraded:
            raise RuntimeError("the response has been started already")
        self._no_body = self._request.method == "HEAD" or status in (204, 304) or status < 200

    async def send(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self._begin(status)
        if self._no_body:
            if status in (204, 304):
                length = ""
            else:
                length = f"content-length: {headers.get('content-length', len(body))}\r\n"
            head = response_head(status, headers, length + self._connection_line())
            body = b""
        else:
            head = response_head(status, headers, f"content-length: {len(body)}\r\n{self._connection_line()}")
        self.started = True
        if len(body) <= _JOIN_BYTES:
            await self._connection.transport.send_all(head + body)
        else:
            await self._connection.transport.send_all(head + body[: _JOIN_BYTES - len(head)])
            await self._connection.transport.send_all(memoryview(body)[_JOIN_BYTES - len(head) :])
        self.ended = True

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        self._begin(status)
        if self._no_body:
            framing = ""
        elif "content-length" in headers:
            self._length = int(headers["content-length"])
            framing = f"content-length: {self._length}\r\n"
        elif self._incoming.http_1_0:
            self._close = True
            framing = ""
        else:
            self._chunked = True
            framing = "transfer-encoding: chunked\r\n"
        head = response_head(status, headers, framing + self._connection_line())
        self.started = True
        await self._connection.transport.send_all(head)
        self._connection.watch_peer()

    async def write(self, chunk: bytes) -> None:
        if not self.started or self.ended:
            raise RuntimeError("write outside start and end")
        if not chunk:
            return
        self._writes += 1
        if self._writes % limits.WIRE_WRITES_IN_A_ROW_MAX:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await trio.lowlevel.checkpoint()
        if self._no_body:
            return
        send_all = self._connection.transport.send_all
        if self._chunked:
            if len(chunk) <= _JOIN_BYTES:
                await send_all(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            else:
                await send_all(b"%x\r\n" % len(chunk))
                await send_all(chunk)
                await send_all(b"\r\n")
            return
        if self._length is not None:
            if len(chunk) > self._length:
                raise RuntimeError("more was written than content-length announced")
            self._length -= len(chunk)
        await send_all(chunk)

    async def end(self) -> None:
        if not self.started:
            raise RuntimeError("end before start")
        if self.ended:
            return
        self.ended = True
        if self._chunked:
            await self._connection.transport.send_all(_LAST_CHUNK)
        elif self._length:
            # Less came than was announced: only the end of the connection can tell the peer.
            self._connection.keep_alive = False
            raise RuntimeError(f"{self._length} bytes less were written than content-length announced")

    async def upgrade(self) -> ByteStream:
        if self.started:
            raise RuntimeError("the response has been started already")
        self._upgraded = self.started = self.ended = True
        return await self._connection.hand_over()


class Http1Connection:
    """Runs until the peer or the server closes. ``early`` are bytes already read."""

    def __init__(self, shell: Shell, transport: Transport, early: bytes = b"") -> None:
        self.shell = shell
        self.transport = transport
        self.keep_alive = True
        self.refusal: Refused | None = None
        # What the sweep looks at: no clock is read for a request.
        self._idle = True
        self._handled: Incoming | None = None
        self._serial = 0
        self._swept = (-1, True)
        self._swept_since = 0.0
        self._eof = False
        self._unparsed: deque[bytes] = deque((early,) if early else ())
        self._unparsed_bytes = len(early)
        self._ready: deque[Incoming] = deque()
        self._parser = httptools.HttpRequestParser(self)
        self._raw_mode = False
        # The head that is being parsed.
        self._in_head = False
        self._head_bytes = 0
        self._open_head_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._headers_count = 0
        self._current: Incoming | None = None
        self._connection_values: dict[str, object] = {}
        # The watch on the peer while a handler runs.
        self._scope = trio.CancelScope()
        self._watch: trio.CancelScope | None = None
        self._watch_news = trio.lowlevel.ParkingLot()
        self._watch_room = trio.lowlevel.ParkingLot()
        self._watch_ended: trio.Event | None = None

    # --- parsing: httptools calls these ------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_head = True
        self._open_head_bytes = -1
        self._head_bytes = 0
        self._url = b""
        self._headers = {}
        self._headers_count = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > limits.WIRE_TARGET_BYTES_MAX:
            raise Refused(414, "the request target is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        self._headers_count += 1
        if self._head_bytes > limits.WIRE_HEAD_BYTES_MAX or self._headers_count > limits.WIRE_HEADERS_COUNT_MAX:
            raise Refused(431, "the request's headers are too large")
        if not self._in_head:
            return  # trailers: nothing here uses them
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        if key in self._headers:
            if key in ("host", "content-length", "transfer-encoding"):
                raise Refused(400, f"repeated header: {key}")
            self._headers[key] += (";" if key == "cookie" else ",") + " " + text
        else:
            self._headers[key] = text

    def on_headers_complete(self) -> None:
        self._in_head = False
        headers = self._headers
        parser = self._parser
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Refused(505, f"HTTP version {version} is not spoken here")
        if version == "1.1" and "host" not in headers:
            raise Refused(400, "missing header: host")
        length: int | None = 0
        coding = headers.get("transfer-encoding")
        if coding is not None:
            if "content-length" in headers or version == "1.0":
                raise Refused(400, "content-length and transfer-encoding exclude each other")
            if coding.lower() != "chunked":
                raise Refused(501, "the only transfer-encoding is chunked")
            length = None
        elif "content-length" in headers:
            digits = headers["content-length"]
            if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
                raise Refused(400, "content-length is not a number")
            length = int(digits)
        target = self._url.decode("latin-1")
        method = parser.get_method().decode("ascii")
        if not target.startswith("/"):
            target = _origin_form(target, method)
        path, _, query = target.partition("?")
        transport = self.transport
        certificate = transport.peer_certificate
        expired = transport.expired_certificate if certificate is None else None
        request = Request(
            method, path, query, headers, _NOTHING, version, transport.peer, certificate, self._connection_values, expired
        )
        incoming = Incoming(self, request, length)
        request.body = incoming
        incoming.keep_alive = version == "1.1" and parser.should_keep_alive()
        incoming.http_1_0 = version == "1.0"
        incoming.upgrade = parser.should_upgrade()
        if "expect" in headers:
            if headers["expect"].lower() != "100-continue":
                raise Refused(417, "the only expectation is 100-continue")
            incoming.expects_continue = version == "1.1"
        self._current = incoming
        self._ready.append(incoming)

    def on_body(self, piece: bytes) -> None:
        if self._current is not None:
            self._current.feed(piece)

    def on_message_complete(self) -> None:
        if self._current is not None:
            self._current.complete = True
            self._current = None

    # --- bytes in ----------------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # What follows belongs to whoever takes the connection over, or to the next request if nobody does.
            rest = data[upgrade.args[0] :]
            if rest:
                self._unparsed.appendleft(rest)
                self._unparsed_bytes += len(rest)
        except httptools.HttpParserError as error:
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, Refused):
                cause = cause.__context__
            self.refusal = cause or Refused(400, "this is not an HTTP request")
        else:
            if self._in_head:
                # An endless header line never reaches on_header: count what is fed while the head is open.
                self._open_head_bytes = 0 if self._open_head_bytes < 0 else self._open_head_bytes + len(data)
                if self._open_head_bytes > limits.WIRE_HEAD_BYTES_MAX:
                    self.refusal = Refused(431, "the request's headers are too large")

    async def feed_more(self) -> None:
        """Parse the next bytes, waiting for them. Raises Refused once they make no sense, Disconnected at their end."""
        if self.refusal is not None:
            raise self.refusal
        while not self._unparsed:
            if self._eof:
                raise Disconnected
            if self._watch is not None:
                self._watch_room.unpark_all()
                await self._watch_news.park()
                continue
            data = await self.transport.receive_some()
            if not data:
                self._eof = True
                raise Disconnected
            self._parse(data)
            return
        data = self._unparsed.popleft()
        self._unparsed_bytes -= len(data)
        self._watch_room.unpark_all()
        self._parse(data)
        await trio.lowlevel.checkpoint()

    def feed_now(self) -> bool:
        """The same without waiting; False: nothing is there, or others have to be asked first."""
        if self.refusal is not None or self._unparsed or self._eof or self._watch is not None:
            return False
        data = self.transport.receive_now()
        if data is None:
            return False
        if not data:
            self._eof = True
            raise Disconnected
        self._parse(data)
        return True

    async def _next_request(self) -> Incoming:
        """Waits idle for the first byte, then at most WIRE_HEAD_SECONDS for the rest of the head."""
        ready = self._ready
        if ready:
            await trio.lowlevel.checkpoint()
        elif self.refusal is None:
            if not self._in_head:
                await self.feed_more()
            if not ready and self.refusal is None:
                self._idle = False
                with trio.move_on_after(limits.WIRE_HEAD_SECONDS) as scope:
                    while not ready and self.refusal is None:
                        await self.feed_more()
                if scope.cancelled_caught:
                    raise Refused(408, "the request head came too slowly")
        if ready:
            return ready.popleft()
        assert self.refusal is not None
        raise self.refusal

    # --- one connection's life ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        try:
            with self._scope:
                while self.keep_alive:
                    self._idle = True
                    if self.shell.draining and not self._ready and not self._unparsed:
                        break
                    try:
                        incoming = await self._next_request()
                    except Refused as refused:
                        await self._refuse(refused)
                        return
                    self._idle = False
                    self._serial += 1
                    await self._respond(incoming)
        except Disconnected:
            pass
        finally:
            if self._watch is not None:
                self._watch.cancel()
            self.transport.close()

    async def _respond(self, incoming: Incoming) -> None:
        responder = Http1Responder(self, incoming)
        self._handled = incoming
        try:
            await self.shell.handler(incoming.request, responder)
            if not responder.started:
                raise RuntimeError("the handler did not answer")
            if not responder.ended:
                await responder.end()
        except Exception as error:
            await self._failed(incoming, responder, error)
        self._handled = None
        if self._watch is not None:
            await self._end_watch()
        if self._raw_mode:
            self.keep_alive = False
        elif not self.keep_alive or not incoming.complete:
            self.keep_alive = False
            if not incoming.complete or self._unparsed or self._ready:
                await self._linger()

    async def _failed(self, incoming: Incoming, responder: Http1Responder, error: Exception) -> None:
        if only(error, Disconnected):
            raise Disconnected from error
        refused = refusal_of(error, incoming.request)
        if responder.started:
            # Too late for a status: a cut connection is the only honest end of a broken stream.
            self.keep_alive = False
            if not responder.ended:
                raise Disconnected from error
            return
        if refused.status != 500:
            self.keep_alive = False
        content_type, body = self.shell.error_body(refused.status, refused.message)
        incoming.keep_alive = incoming.keep_alive and self.keep_alive
        await responder.send(refused.status, {"content-type": content_type}, body)

    async def _refuse(self, refused: Refused) -> None:
        self._idle = False
        log.info("request refused status=%d why=%r peer=%s", refused.status, refused.message, self.transport.peer)
        content_type, body = self.shell.error_body(refused.status, refused.message)
        framing = f"content-length: {len(body)}\r\nconnection: close\r\n"
        await self.transport.send_all(response_head(refused.status, {"content-type": content_type}, framing) + body)
        await self._linger()

    async def _linger(self) -> None:
        """Closing with unread data makes the kernel send a reset, which may overtake our answer: read a little on."""
        with trio.move_on_after(limits.WIRE_LINGER_SECONDS):
            await self.transport.send_eof()
            left = limits.WIRE_LINGER_BYTES_MAX
            while left > 0 and not self._eof:
                data = await self.transport.receive_some()
                if not data:
                    return
                left -= len(data)

    def start_draining(self) -> None:
        """Nobody waits for an answer on an idle connection; a busy one says ``connection: close`` with its answer."""
        if self._idle and not self._ready and not self._unparsed:
            self._scope.cancel()

    def cut(self) -> None:
        self._scope.cancel()

    def sweep(self, now: float) -> None:
        state = (self._serial, self._idle)
        if state != self._swept:
            self._swept = state
            self._swept_since = now
        elif self._idle:
            if now - self._swept_since >= limits.WIRE_IDLE_SECONDS:
                self._scope.cancel()
        elif now - self._swept_since >= limits.WIRE_DISCONNECT_WATCH_SECONDS:
            self.watch_peer()

    # --- the peer while a handler runs -------------------------------------------------------------------------------

    def watch_peer(self) -> None:
        """Read ahead while the handler runs, to see the peer leave. A body that is still coming is read by the handler."""
        handled = self._handled
        if handled is not None and handled.complete and self._watch is None and not self._raw_mode and not self._eof:
            self._watch = trio.CancelScope()
            self._watch_ended = trio.Event()
            self.shell.nursery.start_soon(self._watch_peer, self._watch, self._watch_ended)

    async def _watch_peer(self, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                while True:
                    while self._unparsed_bytes >= limits.WIRE_READ_AHEAD_BYTES_MAX:
                        await self._watch_room.park()
                    data = await self.transport.receive_some()
                    if not data:
                        self._gone()
                        return
                    self._unparsed.append(data)
                    self._unparsed_bytes += len(data)
                    self._watch_news.unpark_all()
        except Disconnected:
            self._gone()
        finally:
            ended.set()

    def _gone(self) -> None:
        self._eof = True
        self._watch_news.unpark_all()
        self._scope.cancel()

    async def _end_watch(self) -> None:
        if self._watch is not None and self._watch_ended is not None:
            self._watch.cancel()
            await self._watch_ended.wait()
            self._watch = self._watch_ended = None

    async def hand_over(self) -> ByteStream:
        await self._end_watch()
        self._raw_mode = True
        early = b"".join(self._unparsed)
        self._unparsed.clear()
        return RawConnection(self.transport, early)


class _Nothing:
    """Stands in a Request until its own body does."""

    __slots__ = ()

    async def read(self, max_bytes: int) -> bytes:
        return b""

    async def receive_some(self) -> bytes:
        return b""


_NOTHING: Final[Body] = _Nothing()


def _origin_form(target: str, method: str) -> str:
    """``http://host/path`` (RFC 9112, 3.2.2) as ``/path``; ``*`` for OPTIONS stays."""
    if target == "*" and method == "OPTIONS":
        return target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise Refused(400, "the request target is not a path")
    _, slash, path = rest.partition("/")
    return slash + path or "/"


_: type[Responder] = Http1Responder
