"""HTTP/1.1, the client's side: one connection, a pool of them to one authority, and upgrades.

Enters: method, target, headers (sent as given) and a whole body.
Leaves: ClientResponse with a streamed body, or after 101 the raw connection.
Holds: a response that is not read to its end never returns its connection to the pool; a request is sent twice only if it is
idempotent and the server closed a kept-alive connection before answering anything.
Bound: WIRE_RESPONSE_HEAD_BYTES_MAX; read(max_bytes); WIRE_POOL_IDLE_MAX connections for WIRE_POOL_IDLE_SECONDS.
Next: client.remote, server.tunnel, agent.probes.
"""

from __future__ import annotations

import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, TypeAlias
from weakref import WeakSet

import httptools
import trio

from edgekube import limits
from edgekube.wire.protocol import BodyTooLarge, ByteStream, Disconnected
from edgekube.wire.raw import RawConnection
from edgekube.wire.transport import Transport, connect, connect_unix

#: A name with several values is sent as several lines.
SentHeaders: TypeAlias = Mapping[str, str | tuple[str, ...]]

#: Opens the connection below HTTP. OSError or ssl.SSLError when it cannot.
Dial: TypeAlias = Callable[[], Awaitable[Transport]]

#: Methods that RFC 9110 (9.2.2) lets a client repeat by itself.
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class ProtocolError(Exception):
    """The server answered something that is not HTTP/1.1, or more head than we take."""


class ClientResponse:
    """``headers`` are lower case, repeated ones joined by ", ". Read the body with ``receive_some`` or ``read``, or drop it with
    ``aclose`` (which closes the connection unless the body is done)."""

    __slots__ = ("_connection", "_done", "_pieces", "headers", "keep_alive", "reason", "status")

    def __init__(self, connection: HttpConnection, status: int, reason: str, headers: dict[str, str], keep_alive: bool) -> None:
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._done = False
        self.status = status
        self.reason = reason
        self.headers = headers
        self.keep_alive = keep_alive

    @property
    def complete(self) -> bool:
        return self._done

    async def receive_some(self) -> bytes:
        """The next piece, b"" at the end. Disconnected when the connection ended before the body did."""
        while not self._pieces:
            if self._done:
                return b""
            await self._connection.feed_more()
        return self._pieces.popleft()

    async def read(self, max_bytes: int) -> bytes:
        """All of it. Raises BodyTooLarge and closes the connection."""
        parts = []
        size = 0
        while piece := await self.receive_some():
            size += len(piece)
            if size > max_bytes:
                self._connection.close()
                raise BodyTooLarge(f"the response is larger than {max_bytes} bytes")
            parts.append(piece)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body is not done."""
        self._connection.finished(self)
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> ClientResponse:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.finished(self)

    # The parser's side.
    def feed(self, piece: bytes) -> None:
        self._pieces.append(piece)

    def finish(self) -> None:
        self._done = True


class HttpConnection:
    """One connection, one request at a time."""

    def __init__(self, transport: Transport, authority: str, pool: HttpClient | None = None) -> None:
        self.transport = transport
        self.authority = authority
        self.idle_since = 0.0
        self.age = 0
        self._pool = pool
        self._closed = False
        self._used = False
        self._new_parser()

    def _new_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # RFC 9112 section 2.2 lets a recipient take a bare LF; scripts behind small web servers write it.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self._method = ""
        self._response: ClientResponse | None = None
        self._anything = False
        self._leftover = b""
        self._begin_head()

    def _begin_head(self) -> None:
        self._reason = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._open_head_bytes = 0

    # --- httptools calls these ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._begin_head()

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > limits.WIRE_RESPONSE_HEAD_BYTES_MAX:
            raise ProtocolError("the response's headers are too large")
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 and status != 101:
            return  # 100 Continue, 103 Early Hints: the real one follows
        keep_alive = self._parser.should_keep_alive()
        self._response = ClientResponse(self, status, self._reason.decode("latin-1"), self._headers, keep_alive)
        if self._method == "HEAD" or status in (204, 304):
            self._response.finish()

    def on_body(self, piece: bytes) -> None:
        if self._response is not None and not self._response.complete:
            self._response.feed(piece)

    def on_message_complete(self) -> None:
        if self._response is not None:
            self._response.finish()

    # -----------------------------------------------------------------------------------------------------------------

    async def feed_more(self) -> None:
        data = await self.transport.receive_some()
        if not data:
            response = self._response
            if response is not None and "content-length" not in response.headers and "transfer-encoding" not in response.headers:
                response.keep_alive = False
                response.finish()  # a body that ends with its connection (HTTP/1.0)
                return
            self.close()
            raise Disconnected("the server closed the connection before its response was complete")
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._anything = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._leftover = data[upgrade.args[0] :]
            if self._response is not None:
                self._response.keep_alive = False
                self._response.finish()
        except httptools.HttpParserError as error:
            if self._response is not None and self._response.complete and self._method == "HEAD":
                return
            self.close()
            raise ProtocolError(f"this is not an HTTP response: {error}") from error
        if self._response is None:
            self._open_head_bytes += len(data)
            if self._open_head_bytes > limits.WIRE_RESPONSE_HEAD_BYTES_MAX:
                self.close()
                raise ProtocolError("the response's headers are too large")

    async def request(self, method: str, target: str, headers: SentHeaders, body: bytes | None = None) -> ClientResponse:
        """Send one request; returns once the response's head is in. Disconnected, ProtocolError."""
        self._new_parser()
        self._method = method
        self._used = True
        try:
            await self._send(method, target, headers, body)
            while self._response is None:
                await self.feed_more()
        except BaseException:
            self.close()
            raise
        return self._response

    async def _send(self, method: str, target: str, headers: SentHeaders, body: bytes | None) -> None:
        head = request_head(method, target, headers, self.authority, None if body is None else len(body))
        if not body:
            await self.transport.send_all(head)
        elif len(body) <= 65536:
            await self.transport.send_all(head + body)
        else:
            await self.transport.send_all(head)
            try:
                await self.transport.send_all(body)
            except Disconnected:
                # The server may have refused a large body early: its answer can be waiting.
                if not self.transport.readable_now():
                    raise

    async def upgrade(
        self, method: str, target: str, headers: SentHeaders, body: bytes | None = None
    ) -> tuple[ClientResponse, ByteStream | None]:
        """Ask to switch protocols: with 101 the raw stream (early bytes included), else None and an ordinary response."""
        response = await self.request(method, target, headers, body)
        if response.status != 101:
            return response, None
        early, self._leftover = self._leftover, b""
        self._closed = True  # no longer ours
        return response, RawConnection(self.transport, early)

    def finished(self, response: ClientResponse) -> None:
        if self._closed:
            return
        if not response.complete or not response.keep_alive or response is not self._response:
            self.close()
        elif self._pool is not None:
            self._pool.give_back(self)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def answered_anything(self) -> bool:
        """False: the server closed without a byte of answer, so a kept-alive connection was stale."""
        return self._anything

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.transport.close()


def request_head(method: str, target: str, headers: SentHeaders, authority: str, body_bytes: int | None) -> bytes:
    """ValueError when a part holds a line break, or method or target a space."""
    lines = [f"{method} {target} HTTP/1.1\r\n"]
    for name, value in headers.items():
        lines += [f"{name}: {value}\r\n"] if isinstance(value, str) else [f"{name}: {each}\r\n" for each in value]
    names = {name.lower() for name in headers}
    if "host" not in names:
        lines.append(f"host: {authority}\r\n")
    if body_bytes is not None and "content-length" not in names:
        lines.append(f"content-length: {body_bytes}\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode("latin-1")
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or " " in target or " " in method:
        raise ValueError("a header, the method or the target holds a line break or a space")
    return head


class HttpClient:
    """A pool of connections to one authority. ``dial`` opens one; ``authority`` goes into Host."""

    def __init__(self, dial: Dial, authority: str) -> None:
        self._dial = dial
        self.authority = authority
        self._idle: list[HttpConnection] = []
        self._open: WeakSet[HttpConnection] = WeakSet()
        self._closed = False
        #: Connections of an earlier age are used up, never used again.
        self._age = 0

    async def _connection(self) -> tuple[HttpConnection, bool]:
        oldest = trio.current_time() - limits.WIRE_POOL_IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since >= oldest and not connection.transport.readable_now():
                return connection, True
            connection.close()
        return await self._new(), False

    async def _new(self) -> HttpConnection:
        age = self._age
        connection = HttpConnection(await self._dial(), self.authority, self)
        connection.age = age
        self._open.add(connection)
        return connection

    def hang_up(self, local_addresses: Collection[str]) -> None:
        """Close the connections that began at one of these addresses, idle or not: whoever waits on one gets Disconnected."""
        for connection in list(self._open):
            if connection.transport.local_address in local_addresses:
                connection.close()
        self._idle = [connection for connection in self._idle if not connection.closed]

    def start_afresh(self) -> None:
        """No further request goes over a connection that stands now: certificates or tokens have been replaced."""
        self._age += 1
        self._drop_idle()

    def give_back(self, connection: HttpConnection) -> None:
        if self._closed or connection.age != self._age or len(self._idle) >= limits.WIRE_POOL_IDLE_MAX:
            connection.close()
        else:
            connection.idle_since = trio.current_time()
            self._idle.append(connection)

    @asynccontextmanager
    async def request(
        self, method: str, target: str, headers: SentHeaders | None = None, body: bytes | None = None
    ) -> AsyncIterator[ClientResponse]:
        """``async with client.request("GET", "/livez") as response``. OSError and ssl.SSLError when no connection comes up,
        Disconnected when it ends too early, ProtocolError. The caller bounds the time with a cancel scope."""
        response = await self.send(method, target, headers or {}, body)
        async with response:
            yield response

    async def send(self, method: str, target: str, headers: SentHeaders, body: bytes | None) -> ClientResponse:
        """As ``request``; the caller closes the response."""
        connection, reused = await self._connection()
        try:
            return await connection.request(method, target, headers, body)
        except Disconnected:
            if not reused or connection.answered_anything or method not in _IDEMPOTENT:
                raise
        # The server closed it while it lay in the pool: those that lay there longer are no better.
        self._drop_idle()
        return await (await self._new()).request(method, target, headers, body)

    async def fetch(
        self,
        method: str,
        target: str,
        headers: SentHeaders | None = None,
        body: bytes | None = None,
        *,
        max_bytes: int,
    ) -> tuple[int, dict[str, str], bytes]:
        """A whole exchange: status, headers, body."""
        response = await self.send(method, target, headers or {}, body)
        async with response:
            return response.status, response.headers, await response.read(max_bytes)

    async def upgrade(
        self, method: str, target: str, headers: SentHeaders | None = None, body: bytes | None = None
    ) -> tuple[ClientResponse, ByteStream | None]:
        """On a connection of its own. See HttpConnection.upgrade; without a stream, the caller closes the response."""
        connection = await self._new()
        return await connection.upgrade(method, target, headers or {}, body)

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def aclose(self) -> None:
        self._closed = True
        self._drop_idle()
        await trio.lowlevel.checkpoint()

    async def __aenter__(self) -> HttpClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        self._drop_idle()


def http_client(
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    connect_seconds: float = limits.WIRE_CONNECT_SECONDS,
) -> HttpClient:
    """A pool to ``host:port``; TLS when a context is given, the certificate must carry ``server_hostname`` (default: host)."""

    async def dial() -> Transport:
        return await connect(host, port, context=context, server_hostname=server_hostname, timeout_seconds=connect_seconds)

    return HttpClient(dial, _authority(server_hostname or host, port))


def unix_client(path: str, authority: str = "localhost") -> HttpClient:
    async def dial() -> Transport:
        return await connect_unix(path)

    return HttpClient(dial, authority)


@asynccontextmanager
async def open_connection(
    host: str,
    port: int,
    *,
    context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    connect_seconds: float = limits.WIRE_CONNECT_SECONDS,
) -> AsyncIterator[HttpConnection]:
    """One connection, closed on leaving unless it was upgraded: then the stream's taker closes it."""
    transport = await connect(host, port, context=context, server_hostname=server_hostname, timeout_seconds=connect_seconds)
    connection = HttpConnection(transport, _authority(server_hostname or host, port))
    try:
        yield connection
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
