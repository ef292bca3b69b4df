"""A server on loopback for the length of a test, and raw peers to speak to it byte by byte."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import trio

from edgekube.wire.answers import ErrorBody, plain_error
from edgekube.wire.protocol import Handler, Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context
from edgekube.wire.transport import Transport, connect
from tests.wire.certificates import Authority, Pair


@dataclass(frozen=True, slots=True)
class Identity:
    authority: Authority
    server: Pair
    admin: Pair

    def server_tls(self) -> ServerTls:
        return ServerTls(self.server.certificate, self.server.key, self.authority.path)

    def client(self, *alpn: str) -> ssl.SSLContext:
        context = client_context(self.authority.path, None, self.admin.certificate, self.admin.key)
        context.set_alpn_protocols(list(alpn or ("http/1.1",)))
        return context


@dataclass(slots=True)
class Serving:
    server: Server
    port: int
    identity: Identity | None

    async def dial(self, *alpn: str) -> Transport:
        """A raw connection, TLS unless the server is a plain one."""
        context = self.identity.client(*alpn) if self.identity else None
        return await connect("127.0.0.1", self.port, context=context, server_hostname="server")


@asynccontextmanager
async def serving(
    handler: Handler, identity: Identity | None = None, *, error_body: ErrorBody = plain_error, host: str | None = "127.0.0.1"
) -> AsyncIterator[Serving]:
    server = Server(handler, tls=identity.server_tls() if identity else None, error_body=error_body)
    async with trio.open_nursery() as nursery:
        ports = await nursery.start(server.serve, open_listeners(0, host))
        yield Serving(server, ports[0], identity)
        nursery.cancel_scope.cancel()


async def echo(request: Request, responder: Responder) -> None:
    """``METHOD path?query body``: what arrived, as text."""
    body = await request.body.read(16 * 1024 * 1024)
    await responder.send(200, {"content-type": "text/plain"}, f"{request.method} {request.path}?{request.query} ".encode() + body)


async def until_eof(transport: Transport) -> bytes:
    data = b""
    while piece := await transport.receive_some():
        data += piece
    return data


async def until(transport: Transport, ending: bytes) -> bytes:
    data = b""
    while not data.endswith(ending):
        piece = await transport.receive_some()
        assert piece, f"closed after {data[-200:]!r}"
        data += piece
    return data


async def talk(serving: Serving, said: bytes) -> bytes:
    """Say it on a new connection; everything that the server answers until it closes."""
    transport = await serving.dial()
    await transport.send_all(said)
    heard = await until_eof(transport)
    transport.close()
    return heard


@dataclass(slots=True)
class H2Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class H2Peer:
    """The h2 library as a client, one event at a time."""

    def __init__(self, transport: Transport, *, acknowledge: bool = True) -> None:
        self.transport = transport
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.answers: dict[int, H2Answer] = {}
        self.goaway: int | None = None
        self.closed = False
        self._acknowledge = acknowledge
        self._sending = trio.Lock()

    async def say(self, raw: bytes) -> None:
        async with self._sending:
            await self.transport.send_all(raw)

    async def begin(self) -> None:
        self.h2.initiate_connection()
        await self.flush()

    async def flush(self) -> None:
        await self.say(self.h2.data_to_send())

    def ask(self, method: str, path: str, *headers: tuple[str, str], body: bytes | None = None, more: bool = False) -> int:
        stream_id: int = self.h2.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":authority", "server"), (":path", path)]
        self.h2.send_headers(stream_id, [*pseudo, *headers], end_stream=body is None and not more)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=not more)
        self.answers[stream_id] = H2Answer()
        return stream_id

    async def hear(self) -> None:
        """Take in what comes next."""
        data = await self.transport.receive_some()
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", None) or 0)
            if isinstance(event, h2.events.ResponseReceived):
                assert answer is not None
                headers = {str(name): str(value) for name, value in event.headers}
                answer.status = int(headers.pop(":status"))
                answer.headers = headers
            elif isinstance(event, h2.events.DataReceived):
                assert answer is not None
                answer.body += event.data or b""
                if self._acknowledge and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            elif isinstance(event, h2.events.StreamEnded):
                assert answer is not None
                answer.ended = True
            elif isinstance(event, h2.events.StreamReset):
                assert answer is not None
                answer.reset = int(event.error_code or 0)
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = int(event.error_code or 0)
        data = self.h2.data_to_send()
        if data:
            await self.transport.send_all(data)

    async def hear_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            assert not self.closed, "the server closed"
            await self.hear()

    async def answer(self, stream_id: int) -> H2Answer:
        answer = self.answers[stream_id]
        await self.flush()
        await self.hear_until(lambda: answer.ended or answer.reset is not None)
        return answer

    async def hear_until_closed(self) -> None:
        while not self.closed:
            await self.hear()


@asynccontextmanager
async def h2_peer(serving: Serving, *, acknowledge: bool = True) -> AsyncIterator[H2Peer]:
    peer = H2Peer(await serving.dial("h2"), acknowledge=acknowledge)
    await peer.begin()
    try:
        yield peer
    finally:
        peer.transport.close()
