"""HTTP/2 over TLS: what Go clients rely on, and what abuse must not reach."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path

import h2.errors
import h2.settings
import pytest
import trio
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, SettingsFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from edgekube import limits
from edgekube.wire.protocol import Disconnected, Request, Responder
from tests.wire.serving import H2Peer, Identity, Serving, echo, h2_peer, serving, until_eof

CALM = int(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)


async def curl(at: Serving, *arguments: str) -> bytes:
    assert at.identity is not None
    command = ["curl", "-sS", "--http2", "--max-time", "20", "--cacert", str(at.identity.authority.path)]
    command += ["--resolve", f"server:{at.port}:127.0.0.1", *arguments]
    return (await trio.run_process(command, capture_stdout=True, capture_stderr=True)).stdout


async def test_curl_over_http2(identity: Identity, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    async with serving(echo, identity) as at:
        url = f"https://server:{at.port}"
        assert await curl(at, "-w", "%{http_version}", f"{url}/a?b") == b"GET /a?b 2"
        assert await curl(at, f"{url}/1", f"{url}/2", "-d", "x") == b"POST /1? xPOST /2? x"
        up_and_down = await curl(at, "--data-binary", f"@{tmp_path / 'data'}", f"{url}/up")
    assert hashlib.sha256(up_and_down).digest() == hashlib.sha256(b"POST /up? " + data).digest()


async def test_an_early_answer_is_read_by_who_is_still_sending(identity: Identity) -> None:
    """As kube-apiserver's 401 to a POST: curl 7.88 gives up at a reset that comes before its body has left."""

    async def refusing(request: Request, responder: Responder) -> None:
        await responder.send(401, {}, b"who are you?")

    async with serving(refusing, identity) as at:
        async with h2_peer(at) as peer:
            stream = peer.ask("POST", "/", ("content-length", "5"), more=True)
            await peer.hear_until(lambda: peer.answers[stream].ended)
            peer.h2.send_data(stream, b"hello", end_stream=True)
            after = await peer.answer(peer.ask("GET", "/"))
            assert (peer.answers[stream].status, peer.answers[stream].reset, after.status) == (401, None, 401)
        url = f"https://server:{at.port}/"
        for _ in range(10):
            assert await curl(at, "-w", " %{http_code}", "-d", "x" * 300, url) == b"who are you? 401"


async def test_who_goes_on_sending_for_nothing_is_told(identity: Identity, autojump_clock: MockClock) -> None:
    async def refusing(request: Request, responder: Responder) -> None:
        await responder.send(413, {}, b"no")

    autojump_clock.autojump_threshold = 0.05
    async with serving(refusing, identity) as at, h2_peer(at) as peer:
        stream = peer.ask("POST", "/", more=True)
        began = trio.current_time()
        await peer.hear_until(lambda: peer.answers[stream].reset is not None)
        assert (peer.answers[stream].status, peer.answers[stream].reset) == (413, h2.errors.ErrorCodes.NO_ERROR)
        assert trio.current_time() - began >= limits.WIRE_LINGER_SECONDS


async def test_a_handler_sees_the_same_request_as_over_http1(identity: Identity) -> None:
    seen: list[Request] = []

    async def handler(request: Request, responder: Responder) -> None:
        seen.append(request)
        assert await request.body.read(100) == b"hello"
        with pytest.raises(ValueError, match="no upgrade"):
            await responder.upgrade()
        await responder.send(201, {"x-a": "b", "connection": "close"}, b"made")

    async with serving(handler, identity) as at, h2_peer(at) as peer:
        answer = await peer.answer(
            peer.ask("POST", "/p?q", ("a", "1"), ("a", "2"), ("cookie", "k"), ("cookie", "l"), body=b"hello")
        )
    assert (answer.status, bytes(answer.body), answer.headers["x-a"]) == (201, b"made", "b")
    assert answer.headers["content-length"] == "4" and "connection" not in answer.headers
    (request,) = seen
    assert (request.method, request.path, request.query, request.http_version) == ("POST", "/p", "q", "2")
    assert request.headers["host"] == "server" and request.headers["a"] == "1, 2" and request.headers["cookie"] == "k; l"
    assert request.peer_certificate


async def test_head_204_errors_and_silence(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        if request.path == "/bug":
            raise LookupError("a bug")
        if request.path == "/large":
            await request.body.read(3)
        if request.path == "/broken":
            await responder.start(200, {})
            raise LookupError("a bug in the middle")
        if request.path != "/silent":
            await responder.send(204 if request.path == "/204" else 200, {}, b"" if request.path == "/204" else b"12345")

    async with serving(handler, identity) as at, h2_peer(at) as peer:
        head = await peer.answer(peer.ask("HEAD", "/"))
        assert (head.status, head.headers["content-length"], bytes(head.body)) == (200, "5", b"")
        assert (await peer.answer(peer.ask("GET", "/204"))).status == 204
        assert (await peer.answer(peer.ask("GET", "/bug"))).status == 500
        assert (await peer.answer(peer.ask("GET", "/silent"))).status == 500
        assert (await peer.answer(peer.ask("PUT", "/large", body=b"1234"))).status == 413
        assert (await peer.answer(peer.ask("GET", "/" + "a" * limits.WIRE_TARGET_BYTES_MAX))).status == 414
        many = [("a", str(n)) for n in range(limits.WIRE_HEADERS_COUNT_MAX)]
        assert (await peer.answer(peer.ask("GET", "/", *many))).status == 431
        broken = await peer.answer(peer.ask("GET", "/broken"))
        assert broken.reset == h2.errors.ErrorCodes.INTERNAL_ERROR and not broken.ended
        assert (await peer.answer(peer.ask("GET", "/"))).status == 200, "the connection lives on"


async def test_two_hundred_watches_on_one_connection_hear_every_event(identity: Identity) -> None:
    watchers: list[trio.MemorySendChannel[bytes]] = []

    async def watch(request: Request, responder: Responder) -> None:
        send, receive = trio.open_memory_channel[bytes](10)
        watchers.append(send)
        await responder.start(200, {"content-type": "application/json"})
        async for event in receive:
            await responder.write(event)

    async with serving(watch, identity) as at, h2_peer(at) as peer:
        streams = [peer.ask("GET", f"/watch/{n}") for n in range(200)]
        await peer.flush()
        await peer.hear_until(lambda: all(peer.answers[stream].status == 200 for stream in streams))
        for event in (b"first\n", b"second\n"):
            for watcher in watchers:
                watcher.send_nowait(event)
        await peer.hear_until(lambda: all(bytes(peer.answers[s].body) == b"first\nsecond\n" for s in streams))


async def test_a_large_answer_does_not_hold_up_a_small_one(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(200, {}, bytes(5_000_000) if request.path == "/large" else b"small")

    async with serving(handler, identity) as at, h2_peer(at) as peer:
        large = peer.ask("GET", "/large")
        await peer.flush()
        small = await peer.answer(peer.ask("GET", "/small"))
        assert small.body == b"small"
        assert not peer.answers[large].ended
        assert len((await peer.answer(large)).body) == 5_000_000


async def test_a_slow_stream_stalls_alone_and_is_cut(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    outcome: list[str] = []

    async def handler(request: Request, responder: Responder) -> None:
        try:
            await responder.send(200, {}, bytes(100_000))
        except Disconnected as error:
            outcome.append(str(error))

    async with serving(handler, identity) as at, h2_peer(at, acknowledge=False) as peer:
        peer.h2.increment_flow_control_window(1_000_000)  # the connection has room, its streams have not
        stalled = peer.ask("GET", "/")
        await peer.flush()
        await peer.hear_until(lambda: len(peer.answers[stalled].body) == 65535)
        other = await peer.answer(peer.ask("HEAD", "/"))
        assert other.status == 200 and not outcome
        await peer.hear_until(lambda: peer.answers[stalled].reset is not None)
        assert outcome == ["the peer has stopped reading"]
        assert trio.current_time() >= limits.WIRE_WRITE_STALL_SECONDS


async def test_an_upload_is_not_taken_in_before_it_is_read(identity: Identity) -> None:
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await go.wait()
        await echo(request, responder)

    async with serving(handler, identity) as at, h2_peer(at) as peer:
        stream = peer.ask("PUT", "/", more=True)
        await peer.flush()
        await wait_all_tasks_blocked()
        await peer.hear()  # settings
        sent = 0
        while (window := min(peer.h2.local_flow_control_window(stream), 16384)) > 0:
            peer.h2.send_data(stream, bytes(window))
            sent += window
            await peer.flush()
        assert sent <= limits.WIRE_STREAM_WINDOW_BYTES
        go.set()
        while sent < 2_000_000:
            await peer.hear_until(lambda: peer.h2.local_flow_control_window(stream) > 0)
            while (window := min(peer.h2.local_flow_control_window(stream), 16384, 2_000_000 - sent)) > 0:
                peer.h2.send_data(stream, bytes(window))
                sent += window
            await peer.flush()
        peer.h2.end_stream(stream)
        answer = await peer.answer(stream)
        assert len(answer.body) == 2_000_000 + len("PUT /? ")


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_peer_that_leaves_cancels_its_handlers(identity: Identity, how: str) -> None:
    ended = trio.Event()
    begun = trio.Event()

    async def watch(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            begun.set()
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving(watch, identity) as at, h2_peer(at) as peer:
        stream = peer.ask("GET", "/watch")
        await peer.flush()
        await begun.wait()
        if how == "reset":
            peer.h2.reset_stream(stream)
            await peer.flush()
        else:
            peer.transport.close()
        with trio.fail_after(60):
            await ended.wait()


async def test_streams_beyond_the_limit_are_refused_while_handlers_linger(identity: Identity) -> None:
    """CVE-2023-44487 in small: a reset frees the stream for the protocol, not the handler that is still ending."""
    running = 0
    release = trio.Event()

    async def stubborn(request: Request, responder: Responder) -> None:
        nonlocal running
        running += 1
        with trio.CancelScope(shield=True):
            await release.wait()

    async with serving(stubborn, identity) as at, h2_peer(at) as peer:
        await peer.hear()
        for _ in range(limits.WIRE_STREAMS_MAX + 20):
            stream = peer.ask("GET", "/")
            await peer.flush()
            await wait_all_tasks_blocked()
            peer.h2.reset_stream(stream)
            await peer.flush()
        last = peer.ask("GET", "/")
        answer = await peer.answer(last)
        assert answer.reset == h2.errors.ErrorCodes.REFUSED_STREAM
        assert running == limits.WIRE_STREAMS_MAX
        release.set()
        await wait_all_tasks_blocked()
        last = peer.ask("GET", "/")
        assert (await peer.answer(last)).status == 500, "there is room again (and this handler does not answer)"


async def until_goaway(peer: H2Peer) -> int:
    with trio.fail_after(60):
        await peer.hear_until(lambda: peer.goaway is not None)
        assert peer.goaway is not None
        assert await until_eof(peer.transport) is not None
    return peer.goaway


async def test_rapid_reset_is_calmed(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        async with h2_peer(at) as peer:

            async def flood() -> None:
                try:
                    while peer.goaway is None:
                        peer.h2.reset_stream(peer.ask("GET", "/"))
                        await peer.flush()
                except Disconnected:
                    pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood)
                assert await until_goaway(peer) == CALM
                nursery.cancel_scope.cancel()
        async with h2_peer(at) as peer:
            assert (await peer.answer(peer.ask("GET", "/after"))).body == b"GET /after? "


@pytest.mark.parametrize("kind", ["ping", "settings", "empty data", "priority"])
async def test_floods_of_control_frames_are_calmed(identity: Identity, kind: str) -> None:
    if kind == "ping":
        frame = PingFrame(0, opaque_data=b"12345678").serialize()
    elif kind == "settings":
        frame = SettingsFrame(0, settings={4: 65535}).serialize()
    elif kind == "priority":
        frame = b"\0\0\5\2\0\0\0\0\1" + struct.pack(">IB", 0, 16)
    else:
        frame = b"\0\0\0\0\0\0\0\0\1"
    async with serving(echo, identity) as at, h2_peer(at) as peer:
        peer.ask("PUT", "/", more=True)
        await peer.flush()

        async def flood() -> None:
            try:
                for _ in range(100):
                    await peer.say(frame * 100)
            except Disconnected:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert await until_goaway(peer) == CALM
            nursery.cancel_scope.cancel()


async def test_a_continuation_flood_ends_the_connection(identity: Identity) -> None:
    async with serving(echo, identity) as at, h2_peer(at) as peer:
        await peer.say(HeadersFrame(1, data=b"\x82").serialize())

        async def flood() -> None:
            try:
                for _ in range(1000):
                    await peer.say(ContinuationFrame(1, data=b"\0\1a\1b" * 100).serialize())
            except Disconnected:
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert await until_goaway(peer) in (CALM, int(h2.errors.ErrorCodes.PROTOCOL_ERROR))
            nursery.cancel_scope.cancel()


async def test_a_header_bomb_ends_the_connection(identity: Identity) -> None:
    """One kilobyte of indexed fields that would expand to megabytes (HPACK bomb)."""
    async with serving(echo, identity) as at, h2_peer(at) as peer:
        await peer.hear()
        stream = peer.ask("GET", "/", ("bomb", "b" * 4000))
        await peer.answer(stream)
        block = b"\x82\x84\x87" + b"\x41\x01x" + b"\xbf" * 1000
        frame = HeadersFrame(stream + 2, data=block, flags=["END_HEADERS", "END_STREAM"])
        await peer.say(frame.serialize())
        assert await until_goaway(peer) == CALM


async def test_a_ping_flood_by_a_peer_that_does_not_read_is_cut(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving(echo, identity) as at:
        transport = await at.dial("h2")
        peer = H2Peer(transport)
        await peer.begin()
        ping = PingFrame(0, opaque_data=b"12345678").serialize()
        with pytest.raises(Disconnected):
            while True:
                await transport.send_all(ping * 1000)
        transport.close()
        await trio.sleep(limits.WIRE_WRITE_STALL_SECONDS + 5)
        assert at.server.connections_open == 0


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_a_preface_that_does_not_come_has_a_time_limit(identity: Identity, said: bytes, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving(echo, identity) as at:
        transport = await at.dial("h2")
        await transport.send_all(said)
        await until_eof(transport)
        assert trio.current_time() <= limits.WIRE_HEAD_SECONDS + limits.WIRE_LINGER_SECONDS + 2
        transport.close()


async def test_an_idle_connection_is_told_to_go(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.01
    async with serving(echo, identity) as at, h2_peer(at) as peer:
        await peer.answer(peer.ask("GET", "/"))
        await peer.hear_until_closed()
        assert peer.goaway == 0
        assert limits.WIRE_IDLE_SECONDS <= trio.current_time() < limits.WIRE_IDLE_SECONDS + 10


async def test_draining_finishes_what_was_begun_and_refuses_what_comes(identity: Identity) -> None:
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await go.wait()
        await responder.send(200, {}, b"done")

    async with serving(handler, identity) as at, h2_peer(at) as peer:
        begun = peer.ask("GET", "/")
        await peer.flush()
        await wait_all_tasks_blocked()
        late = peer.ask("GET", "/late")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(at.server.drain, 20)
            await wait_all_tasks_blocked()
            await peer.flush()  # it had not heard yet
            await wait_all_tasks_blocked()
            go.set()
            heard = b""
            while piece := await peer.transport.receive_some():
                heard += piece
        assert b"done" in heard
        assert heard.count(b"\0\0\x04\x03\0" + struct.pack(">I", late) + struct.pack(">I", 7)) == 1, "REFUSED_STREAM"
        assert begun == 1
