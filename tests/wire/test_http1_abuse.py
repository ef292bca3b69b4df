"""HTTP/1.1 against peers that are broken, slow or hostile."""

from __future__ import annotations

import socket

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from edgekube import limits
from edgekube.wire.answers import plain_error
from edgekube.wire.connection import Shell
from edgekube.wire.http1 import Http1Connection
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.transport import PlainTransport
from tests.wire.serving import echo, serving, talk, until, until_eof

HOST = b"host: x\r\n"

# ruff: noqa: E501 - a request is easier to read in one line

REFUSED = {
    "both content-length and transfer-encoding": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "transfer-encoding before content-length": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"),
    "two content-lengths": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabcde"),
    "a list of content-lengths": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3, 3\r\n\r\nabc"),
    "signed content-length": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +3\r\n\r\nabc"),
    "hexadecimal content-length": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x3\r\n\r\nabc"),
    "negative content-length": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\nabc"),
    "content-length beyond 64 bits": (400, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\nabc"),
    "chunked is not last": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    "another coding": (501, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked twice": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a name that looks like chunked": (501, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "transfer-encoding in HTTP/1.0": (400, b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a folded line": (400, b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n"),
    "a space before the colon": (400, b"GET / HTTP/1.1\r\nhost : x\r\n\r\n"),
    "bare LF": (400, b"GET / HTTP/1.1\nhost: x\n\n"),
    "bare CR in a value": (400, b"GET / HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n"),
    "NUL in a value": (400, b"GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n"),
    "no host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two hosts": (400, b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n"),
    "a target that is no path": (400, b"GET a HTTP/1.1\r\nhost: x\r\n\r\n"),
    "an unknown version": (400, b"GET / HTTP/3.7\r\nhost: x\r\n\r\n"),
    "an unknown method": (400, b"GRAB / HTTP/1.1\r\nhost: x\r\n\r\n"),
    "another expectation": (417, b"GET / HTTP/1.1\r\nhost: x\r\nexpect: miracles\r\n\r\n"),
    "binary": (400, bytes(range(256))),
    "a TLS hello on a plain port": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "chunk size is no number": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"),
    "chunk size overflows": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc"),
    "chunk longer than it says": (400, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"),
    "a very long target": (414, b"GET /" + b"a" * limits.WIRE_TARGET_BYTES_MAX + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
    "many headers": (431, b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * limits.WIRE_HEADERS_COUNT_MAX + b"\r\n"),
    "a large header": (431, b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * limits.WIRE_HEAD_BYTES_MAX + b"\r\n\r\n"),
    "a header without end": (431, b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * (4 * limits.WIRE_HEAD_BYTES_MAX)),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
async def test_bad_requests_are_refused_and_the_connection_closed(what: str) -> None:
    status, said = REFUSED[what]
    seen: list[str] = []

    async def handler(request: Request, responder: Responder) -> None:
        seen.append(request.path)
        await echo(request, responder)

    async with serving(handler) as at:
        with trio.fail_after(60):
            heard = await talk(at, said + b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 %d " % status), heard[:200]
        assert heard.count(b"HTTP/1.1 ") == 1
        assert b"connection: close\r\n" in heard
        assert "/smuggled" not in seen
        # ... and the server serves on.
        assert (await talk(at, b"GET /on HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).endswith(b"GET /on? ")


async def test_good_requests_before_a_bad_one_are_answered() -> None:
    async with serving(echo) as at:
        heard = await talk(at, b"GET /good HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 200") and b"HTTP/1.1 400" in heard


@pytest.mark.parametrize(
    "sent", [b"GET /", b"GET / HTTP/1.1\r\nhost: x\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /2"], ids=["1", "2", "3"]
)
async def test_a_head_that_drips_is_answered_408(sent: bytes, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.03
    async with serving(echo) as at:
        transport = await at.dial()
        begin = trio.current_time()
        await transport.send_all(sent)

        async def drip() -> None:
            while True:
                await trio.sleep(1)
                await transport.send_all(b"a")

        async with trio.open_nursery() as nursery:
            if not sent.endswith(b"2"):
                nursery.start_soon(drip)
            heard = await until_eof(transport)
            nursery.cancel_scope.cancel()
        assert b"HTTP/1.1 408 " in heard
        assert trio.current_time() - begin < limits.WIRE_HEAD_SECONDS + limits.WIRE_LINGER_SECONDS + 2


async def test_a_body_that_drips_is_answered_408(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.03
    async with serving(echo) as at:
        transport = await at.dial()
        await transport.send_all(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")

        async def drip() -> None:
            while True:
                await trio.sleep(1)
                await transport.send_all(b"a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            assert (await until(transport, b"slowly\n")).startswith(b"HTTP/1.1 408 ")
            nursery.cancel_scope.cancel()
        assert limits.WIRE_BODY_SECONDS - 1 < trio.current_time() < limits.WIRE_BODY_SECONDS + 5
        transport.close()


async def test_an_idle_connection_is_closed_and_a_silent_watch_is_not(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.01

    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        if request.path == "/watch":
            await trio.sleep(2 * limits.WIRE_IDLE_SECONDS)
            await responder.write(b"news")

    async with serving(handler) as at:
        watch = await at.dial()
        await watch.send_all(b"GET /watch HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        idle = await at.dial()
        await idle.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(idle, b"0\r\n\r\n")
        assert await until_eof(idle) == b""
        assert limits.WIRE_IDLE_SECONDS <= trio.current_time() < limits.WIRE_IDLE_SECONDS + 5
        assert (await until_eof(watch)).endswith(b"4\r\nnews\r\n0\r\n\r\n")
        idle.close()
        watch.close()


async def test_a_reader_that_never_reads_is_cut(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.03
    ended = trio.Event()

    async def flood(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            while True:
                await responder.write(bytes(65536))
        finally:
            ended.set()

    async with serving(flood) as at:
        transport = await at.dial()
        await transport.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await ended.wait()
        assert limits.WIRE_WRITE_STALL_SECONDS <= trio.current_time() < limits.WIRE_WRITE_STALL_SECONDS + 10
        transport.close()


async def test_a_peer_that_pipelines_without_end_is_not_read_ahead_without_end() -> None:
    """While a handler streams, at most WIRE_READ_AHEAD_BYTES_MAX and one piece are taken in."""
    begun = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        begun.set()
        await trio.sleep_forever()

    async with serving(handler) as at:
        transport = await at.dial()
        await transport.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await begun.wait()
        with trio.move_on_after(0.3) as scope:
            while True:
                await transport.send_all(bytes(65536))
        assert scope.cancelled_caught, "the server's buffers are full, so we wait"
        transport.close()


DIALOGUE = (
    b"GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"
    b"POST /d HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10;ext=1\r\n0123456789abcdef\r\n0\r\ntrailer: t\r\n\r\n"
    b"DELETE /e HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
)
HEARD = ["GET /a?b ", "PUT /c? hello", "POST /d? abc0123456789abcdef", "DELETE /e? "]


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(1, len(DIALOGUE) - 1), max_size=12, unique=True).map(sorted))
async def test_where_the_network_cuts_makes_no_difference(cuts: list[int]) -> None:
    heard: list[str] = []

    async def handler(request: Request, responder: Responder) -> None:
        body = await request.body.read(1000)
        heard.append(f"{request.method} {request.path}?{request.query} {body.decode()}")
        await responder.send(200, {}, b"")

    ours, theirs = socket.socketpair()
    peer = PlainTransport(theirs)
    async with trio.open_nursery() as nursery:
        shell = Shell(handler, plain_error, nursery)
        nursery.start_soon(Http1Connection(shell, PlainTransport(ours)).run)
        for begin, end in zip([0, *cuts], [*cuts, len(DIALOGUE)], strict=True):
            await peer.send_all(DIALOGUE[begin:end])
            await wait_all_tasks_blocked()
        answers = await until_eof(peer)
        peer.close()
    assert heard == HEARD
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4


@settings(max_examples=60, deadline=None)
@given(said=st.binary(max_size=200), position=st.integers(0, len(DIALOGUE) - 1))
async def test_no_bytes_break_the_server(said: bytes, position: int) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await request.body.read(1000)
        await responder.send(200, {}, b"")

    ours, theirs = socket.socketpair()
    peer = PlainTransport(theirs)
    async with trio.open_nursery() as nursery:
        shell = Shell(handler, plain_error, nursery)
        nursery.start_soon(Http1Connection(shell, PlainTransport(ours)).run)
        await peer.send_all(DIALOGUE[:position] + said)
        await peer.send_eof()
        answers = await until_eof(peer)
        peer.close()
    statuses = {line[9:12] for line in answers.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")}
    assert statuses <= {b"200", b"400", b"413", b"414", b"417", b"431", b"501", b"505"}, statuses
