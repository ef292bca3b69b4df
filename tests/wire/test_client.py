"""The HTTP client against our server, and against servers that do odd things."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube import limits
from edgekube.wire.client import HttpClient, ProtocolError, http_client, open_connection, request_head
from edgekube.wire.protocol import BodyTooLarge, ByteStream, Disconnected, Request, Responder
from edgekube.wire.server import open_listeners
from edgekube.wire.splice import splice
from edgekube.wire.transport import PlainTransport, Transport, connect
from tests.wire.serving import Identity, Serving, echo, serving, until


def client_of(at: Serving) -> HttpClient:
    context = at.identity.client() if at.identity else None
    return http_client("127.0.0.1", at.port, context=context, server_hostname="server")


@asynccontextmanager
async def scripted(*connections: Callable[[Transport], Awaitable[None]]) -> AsyncIterator[HttpClient]:
    """A plain TCP server that handles its first connections so, one after the other."""
    (listener,) = open_listeners(0, "127.0.0.1")

    async def serve() -> None:
        with trio.socket.from_stdlib_socket(listener) as accepting:
            for act in connections:
                accepted, _ = await accepting.accept()
                transport = PlainTransport(socket.socket(fileno=accepted.detach()))
                await act(transport)
                transport.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        async with http_client("127.0.0.1", listener.getsockname()[1]) as client:
            yield client
        nursery.cancel_scope.cancel()


def says(*answers: bytes) -> Callable[[Transport], Awaitable[None]]:
    async def act(transport: Transport) -> None:
        for answer in answers:
            await until(transport, b"\r\n\r\n")
            await transport.send_all(answer)

    return act


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_a_connection_is_used_again(identity: Identity) -> None:
    peers = set()

    async def handler(request: Request, responder: Responder) -> None:
        peers.add(request.peer)
        await echo(request, responder)

    async with serving(handler, identity) as at, client_of(at) as client:
        for n in range(3):
            status, headers, body = await client.fetch("PUT", f"/{n}?q", {"a": "b"}, b"body", max_bytes=100)
            assert (status, headers["content-type"], body) == (200, "text/plain", f"PUT /{n}?q body".encode())
    assert len(peers) == 1


async def test_bodies_of_all_framings() -> None:
    async with scripted(
        says(
            OK,
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK,
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\nserver: busybox\n\nok",
            b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        )
    ) as client:
        for method, expected in (
            ("GET", (200, b"ok")),
            ("GET", (200, b"abcde")),
            ("GET", (200, b"ok")),
            ("GET", (204, b"")),
            ("HEAD", (200, b"")),
            ("GET", (200, b"ok")),
            ("GET", (200, b"until the end")),
        ):
            status, _, body = await client.fetch(method, "/", max_bytes=100)
            assert (status, body) == expected


async def test_a_stale_connection_is_replaced_for_an_idempotent_request() -> None:
    async def closes_after_the_second_head(transport: Transport) -> None:
        await says(OK)(transport)
        await until(transport, b"\r\n\r\n")

    async with scripted(closes_after_the_second_head, says(OK)) as client:
        for _ in range(2):
            assert (await client.fetch("GET", "/", max_bytes=10))[2] == b"ok"


async def test_a_post_is_never_sent_twice() -> None:
    async def closes_after_the_second_head(transport: Transport) -> None:
        await says(OK)(transport)
        await until(transport, b"\r\n\r\n")

    async with scripted(closes_after_the_second_head, says(OK)) as client:
        await client.fetch("GET", "/", max_bytes=10)
        with pytest.raises(Disconnected):
            await client.fetch("POST", "/", max_bytes=10)


async def test_a_connection_closed_in_the_pool_is_noticed_before_use() -> None:
    async with scripted(says(OK), says(OK)) as client:
        await client.fetch("GET", "/", max_bytes=10)
        await wait_all_tasks_blocked()
        assert (await client.fetch("POST", "/", max_bytes=10))[2] == b"ok"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 2 * limits.WIRE_RESPONSE_HEAD_BYTES_MAX, ProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * limits.WIRE_RESPONSE_HEAD_BYTES_MAX, ProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", Disconnected),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsho", Disconnected),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b"x" * 1000, BodyTooLarge),
        (b"", Disconnected),
    ],
)
async def test_bad_answers_raise_what_they_are(answer: bytes, error: type[Exception]) -> None:
    async with scripted(says(answer)) as client:
        with pytest.raises(error), trio.fail_after(60):
            await client.fetch("GET", "/", max_bytes=100)


async def test_a_stream_that_is_left_is_cancelled_at_the_server(identity: Identity) -> None:
    ended = trio.Event()

    async def watch(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            await responder.write(b"event")
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving(watch, identity) as at, client_of(at) as client:
        async with client.request("GET", "/") as response:
            assert await response.receive_some() == b"event"
        with trio.fail_after(60):
            await ended.wait()
        with trio.move_on_after(0.05):
            await client.fetch("GET", "/", max_bytes=100)
        assert client._idle == []


async def test_an_early_refusal_of_a_large_upload_is_heard(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(413, {}, b"too large")

    async with serving(handler, identity) as at, client_of(at) as client:
        status, _, body = await client.fetch("POST", "/", body=bytes(4_000_000), max_bytes=100)
    assert (status, body) == (413, b"too large")


@pytest.mark.parametrize("bad", [{"a": "b\r\nc: d"}, {"a\n": "b"}])
def test_line_breaks_cannot_be_sent(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", "/", bad, "x", None)
    with pytest.raises(ValueError, match="space"):
        request_head("GET", "/ HTTP/1.1", {}, "x", None)
    with pytest.raises(ValueError, match="space"):
        request_head("GET /other", "/", {}, "x", None)


async def test_nobody_listening_is_an_oserror() -> None:
    (listener,) = open_listeners(0, "127.0.0.1")
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(OSError, match=str(port)):
        await connect("127.0.0.1", port)


async def test_a_server_that_does_not_shake_hands_times_out(identity: Identity, autojump_clock: trio.testing.MockClock) -> None:
    (listener,) = open_listeners(0, "127.0.0.1")
    autojump_clock.autojump_threshold = 0.05
    with listener, pytest.raises(TimeoutError, match="within 10 s"):
        await connect("127.0.0.1", listener.getsockname()[1], context=identity.client())


async def _container(request: Request, responder: Responder) -> None:
    """Stands for containerd's stream server: takes stdin to its end, then answers and exits."""
    if request.path != "/exec":
        await responder.send(404, {}, b"no such stream")
        return
    stream = await responder.upgrade()
    await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\nprompt")
    total = bytearray()
    while data := await stream.receive_some():
        total += data
    await stream.send_all(bytes(reversed(total)))
    await stream.send_eof()
    await stream.aclose()


ASK = {"connection": "Upgrade", "upgrade": "SPDY/3.1"}


def tunnel_to(port: int) -> Callable[[Request, Responder], Awaitable[None]]:
    """What the API server does with exec: the client's request goes on, then raw bytes both ways."""

    async def handler(request: Request, responder: Responder) -> None:
        async with open_connection("127.0.0.1", port) as connection:
            response, stream = await connection.upgrade(request.method, request.path, ASK)
            if stream is None:
                await responder.send(response.status, {}, await response.read(1000))
                return
            ours = await responder.upgrade()
            lines = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
            await ours.send_all(f"HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n".encode())
            await splice(ours, stream)

    return handler


async def read_all(stream: ByteStream) -> bytes:
    parts = []
    while data := await stream.receive_some():
        parts.append(data)
    return b"".join(parts)


async def test_exec_through_a_tunnel_is_byte_exact_with_end_of_stdin(identity: Identity) -> None:
    data = os.urandom(3_000_000)
    async with (
        serving(_container) as container,
        serving(tunnel_to(container.port)) as agent,
        serving(tunnel_to(agent.port), identity) as api,
        client_of(api) as client,
    ):
        response, stream = await client.upgrade("POST", "/exec", ASK)
        assert response.status == 101 and stream is not None and response.headers["upgrade"] == "SPDY/3.1"
        assert await stream.receive_some(6) == b"prompt"
        await stream.send_all(data)
        await stream.send_eof()
        assert await read_all(stream) == bytes(reversed(data))
        await stream.aclose()

        refused, nothing = await client.upgrade("POST", "/other", ASK)
        assert nothing is None and refused.status == 404
        assert await refused.read(100) == b"no such stream"
        await refused.aclose()


async def test_splice_ends_both_sides_when_one_dies(identity: Identity) -> None:
    died = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        stream = await responder.upgrade()
        await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: SPDY/3.1\r\n\r\n")
        assert await read_all(stream) == b""
        died.set()
        await stream.aclose()

    async with serving(handler) as container, serving(tunnel_to(container.port), identity) as api, client_of(api) as client:
        _, stream = await client.upgrade("POST", "/exec", ASK)
        assert stream is not None
        await stream.aclose()
        with trio.fail_after(60):
            await died.wait()


async def test_splice_ends_a_server_that_does_not_notice_its_client_leaving() -> None:
    left, client = (PlainTransport(end) for end in socket.socketpair())
    right, server = (PlainTransport(end) for end in socket.socketpair())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(splice, left, right)
        await client.send_eof()
        assert await server.receive_some() == b""
        await server.send_all(b"late words")
        assert await client.receive_some() == b"late words"
        with trio.fail_after(60):
            assert await client.receive_some() == b"", "the server said nothing for a while"
    with pytest.raises(Disconnected):
        while True:
            await server.send_all(b"x" * 65536)


async def test_splice_holds_back_a_writer_whose_reader_is_slow() -> None:
    left, left_far = (PlainTransport(end) for end in socket.socketpair())
    right, right_far = (PlainTransport(end) for end in socket.socketpair())
    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(splice, left, right)
        with trio.move_on_after(0.2):
            while True:
                await left_far.send_all(bytes(65536))
                sent += 65536
        assert sent < 4_000_000, "buffers of the kernel, no more"
        left_far.close()
        right_far.close()
    with pytest.raises(Disconnected):
        await right.send_all(b"x")


async def test_connections_of_an_address_that_is_gone_end_at_once(identity: Identity) -> None:
    """One is idle, one waits for an answer that cannot come any more; both are of the same address."""
    never = trio.Event()

    async def answer(request: Request, responder: Responder) -> None:
        if request.path == "/never":
            await never.wait()
        await echo(request, responder)

    async with serving(answer, identity) as at, client_of(at) as client, trio.open_nursery() as nursery:
        cut = trio.Event()

        async def wait_for_ever() -> None:
            with pytest.raises(Disconnected):
                await client.fetch("POST", "/never", max_bytes=1000)
            cut.set()

        nursery.start_soon(wait_for_ever)
        await wait_all_tasks_blocked(0.05)
        await client.fetch("GET", "/", max_bytes=1000)
        client.hang_up({"192.0.2.77"})
        await wait_all_tasks_blocked(0.05)
        assert not cut.is_set(), "another address's connections are let alone"
        client.hang_up({"127.0.0.1"})
        await cut.wait()
        assert (await client.fetch("GET", "/", max_bytes=1000))[0] == 200
        never.set()
