"""HTTP/1.1 over TLS, as clients speak it."""

from __future__ import annotations

import hashlib
import http.client
import json
import os

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from edgekube.wire.protocol import BodyTooLarge, Disconnected, Request, Responder
from tests.wire.serving import Identity, Serving, echo, serving, talk, until, until_eof


async def curl(at: Serving, *arguments: str, path: str = "/") -> bytes:
    identity = at.identity
    assert identity is not None
    command = ["curl", "-sS", "--max-time", "20", "--cacert", str(identity.authority.path)]
    command += ["--cert", str(identity.admin.certificate), "--key", str(identity.admin.key)]
    command += ["--resolve", f"server:{at.port}:127.0.0.1", *arguments, f"https://server:{at.port}{path}"]
    result = await trio.run_process(command, capture_stdout=True, capture_stderr=True)
    return result.stdout


async def test_a_handler_sees_what_was_asked_and_by_whom(identity: Identity) -> None:
    seen: list[Request] = []

    async def handler(request: Request, responder: Responder) -> None:
        seen.append(request)
        await responder.send(201, {"x-answer": "yes"}, b"made")

    def client(port: int) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPSConnection("localhost", port, context=unnamed)
        connection.request("POST", "/a%20b?c=d&e", body=b"hi", headers={"X-Two": "1", "Cookie": "k"})
        response = connection.getresponse()
        return response.status, response.getheader("X-Answer"), response.read()

    unnamed = identity.client()
    unnamed.check_hostname = False
    async with serving(handler, identity) as at:
        assert await trio.to_thread.run_sync(client, at.port) == (201, "yes", b"made")
    (request,) = seen
    assert (request.method, request.path, request.query, request.http_version) == ("POST", "/a%20b", "c=d&e", "1.1")
    assert request.headers["x-two"] == "1"
    assert request.peer.startswith("127.0.0.1:")
    assert request.peer_certificate is not None
    from cryptography import x509

    assert x509.load_der_x509_certificate(request.peer_certificate).subject.rfc4514_string() == "O=system:masters,CN=admin"


async def test_repeated_headers_are_joined(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(200, {}, f"{request.headers['a']}|{request.headers['cookie']}".encode())

    async with serving(handler, identity) as at:
        said = b"GET / HTTP/1.1\r\nhost: x\r\na: 1\r\nA: 2\r\ncookie: k\r\ncookie: l\r\nconnection: close\r\n\r\n"
        assert (await talk(at, said)).endswith(b"\r\n\r\n1, 2|k; l")


async def test_a_connection_is_kept_and_remembers(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        count = request.connection.setdefault("count", 0)
        assert isinstance(count, int)
        request.connection["count"] = count + 1
        await responder.send(200, {}, str(count).encode())

    async with serving(handler, identity) as at:
        transport = await at.dial()
        for expected in (b"0", b"1", b"2"):
            await transport.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await until(transport, expected)).startswith(b"HTTP/1.1 200 OK\r\n")
        transport.close()


async def test_pipelined_requests_are_answered_in_order(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        said = b"".join(b"PUT /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n%d" % (n, n) for n in range(5))
        heard = await talk(at, said + b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        bodies = [part.rpartition(b"\r\n\r\n")[2] for part in heard.split(b"HTTP/1.1 200 OK\r\n")[1:]]
        assert bodies == [b"PUT /%d? %d" % (n, n) for n in range(5)] + [b"GET /last? "]


async def test_curl_uploads_three_megabytes_after_100_continue(
    identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        body = await request.body.read(4_000_000)
        await responder.send(200, {}, hashlib.sha256(body).hexdigest().encode() + request.headers["expect"].encode())

    data = os.urandom(3_000_000)
    path = tmp_path_factory.mktemp("upload") / "data"
    path.write_bytes(data)
    async with serving(handler, identity) as at:
        sent = await curl(at, "--http1.1", "-T", str(path), path="/up")
        chunked = await curl(at, "--http1.1", "-T", str(path), "-H", "Transfer-Encoding: chunked", path="/up")
    assert sent == chunked == hashlib.sha256(data).hexdigest().encode() + b"100-continue"


async def test_100_continue_is_said_only_when_the_body_is_wanted(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        if request.path == "/no":
            await responder.send(403, {}, b"no")
        else:
            await echo(request, responder)

    async with serving(handler, identity) as at:
        head = b" HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        refused = await talk(at, b"PUT /no" + head)
        assert refused.startswith(b"HTTP/1.1 403") and b"connection: close" in refused
        transport = await at.dial()
        await transport.send_all(b"PUT /yes" + head)
        assert await until(transport, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await transport.send_all(b"ok")
        assert (await until(transport, b"ok")).startswith(b"HTTP/1.1 200")
        transport.close()


async def test_head_204_and_304_have_no_body(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        status = int(request.path[1:])
        await responder.send(status, {}, b"" if status != 200 else b"five!")

    async with serving(handler, identity) as at:
        heard = await talk(
            at,
            b"HEAD /200 HTTP/1.1\r\nhost: x\r\n\r\nGET /204 HTTP/1.1\r\nhost: x\r\n\r\n"
            b"GET /304 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
    head, no_content, not_modified, rest = heard.split(b"\r\n\r\n")
    assert b"content-length: 5" in head
    assert no_content.startswith(b"HTTP/1.1 204") and b"content-length" not in no_content
    assert not_modified.startswith(b"HTTP/1.1 304") and rest == b""


async def test_http_1_0_gets_a_body_that_ends_with_the_connection(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        await responder.write(b"one ")
        await responder.write(b"two")

    async with serving(handler, identity) as at:
        heard = await talk(at, b"GET / HTTP/1.0\r\n\r\n")
        assert b"chunked" not in heard and b"connection: close" in heard
        assert heard.endswith(b"\r\n\r\none two")


async def test_a_stream_is_chunked_and_a_handler_may_leave_out_the_end(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {"content-type": "application/json"})
        for size in (1, 70_000, 20):
            await responder.write(b"x" * size)

    async with serving(handler, identity) as at:
        assert await curl(at, "--http1.1") == b"x" * 70_021


async def test_content_length_may_be_announced_and_is_held_to(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {"content-length": "4"})
        await responder.write(b"1234" if request.path == "/right" else b"12")

    async with serving(handler, identity) as at:
        assert await curl(at, "--http1.1", path="/right") == b"1234"
        heard = await talk(at, b"GET /short HTTP/1.1\r\nhost: x\r\n\r\n")
        assert heard.endswith(b"\r\n\r\n12"), "cut, so that the client sees a body that is too short"


@pytest.mark.parametrize("how", ["raise", "silence", "header"])
async def test_a_failing_handler_answers_500_and_the_connection_lives(
    identity: Identity, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        if request.path == "/ok":
            await responder.send(200, {}, b"ok")
        elif how == "raise":
            raise LookupError("a bug")
        elif how == "header":
            await responder.send(200, {"location": "a\r\nset-cookie: evil"}, b"")

    def as_status(status: int, message: str) -> tuple[str, bytes]:
        return "application/json", json.dumps({"kind": "Status", "code": status}).encode()

    async with serving(handler, identity, error_body=as_status) as at:
        heard = await talk(at, b"GET /bug HTTP/1.1\r\nhost: x\r\n\r\nGET /ok HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 500 ") and b'{"kind": "Status", "code": 500}' in heard
    assert b"set-cookie" not in heard
    assert heard.endswith(b"\r\n\r\nok")
    assert "handler failed method=GET path=/bug" in caplog.text


async def test_a_stream_that_breaks_is_cut_not_ended(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        await responder.write(b"some")
        raise LookupError("a bug")

    async with serving(handler, identity) as at:
        heard = await talk(at, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert heard.endswith(b"4\r\nsome\r\n"), "no last chunk: the client must not take it for whole"


async def test_too_large_a_body_is_answered_while_it_is_still_sent(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await request.body.read(1_000_000)
        raise AssertionError("unreachable")

    async with serving(handler, identity) as at:
        for framing in (b"content-length: 3000000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n2dc6c0\r\n"):
            transport = await at.dial()
            await transport.send_all(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing)
            await transport.send_all(bytes(3_000_000))
            heard = await until_eof(transport)
            transport.close()
            assert heard.startswith(b"HTTP/1.1 413 ") and b"connection: close" in heard


async def test_a_handler_may_answer_too_large_itself(identity: Identity) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        try:
            await request.body.read(2)
        except BodyTooLarge:
            await responder.send(413, {}, b"mine")

    async with serving(handler, identity) as at:
        heard = await talk(at, b"POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc")
        assert heard.endswith(b"mine")


@pytest.mark.parametrize("leave", ["close", "half-close"])
async def test_a_peer_that_leaves_cancels_its_watch(identity: Identity, leave: str) -> None:
    ended = trio.Event()

    async def watch(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            await trio.sleep_forever()
        finally:
            ended.set()

    async with serving(watch, identity) as at:
        transport = await at.dial()
        await transport.send_all(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(transport, b"\r\n\r\n")
        if leave == "close":
            transport.close()
        else:
            await transport.send_eof()
        with trio.fail_after(60):
            await ended.wait()
        transport.close()


async def test_a_handler_that_has_not_answered_yet_notices_too(
    identity: Identity, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    begun, ended = trio.Event(), trio.Event()

    async def slow(request: Request, responder: Responder) -> None:
        begun.set()
        try:
            await trio.sleep(3600)
        finally:
            ended.set()

    async with serving(slow, identity) as at:
        transport = await at.dial()
        await transport.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await begun.wait()
        await trio.sleep(10)
        assert not ended.is_set(), "a slow handler is no reason to cancel it"
        transport.close()
        with trio.fail_after(60):
            await ended.wait()


async def test_a_write_to_a_peer_that_left_raises_disconnected(identity: Identity) -> None:
    outcome: list[str] = []

    async def handler(request: Request, responder: Responder) -> None:
        await request.body.receive_some()  # "go": the peer is about to reset
        try:
            await responder.start(200, {})
            while True:
                await responder.write(bytes(65536))
        except (Disconnected, trio.Cancelled) as error:
            outcome.append(type(error).__name__)
            raise

    async with serving(handler, identity) as at:
        transport = await at.dial()
        await transport.send_all(b"PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\ngo")
        transport.close()
        while not outcome:
            await wait_all_tasks_blocked()
        assert at.server.connections_open <= 1


async def test_a_request_that_came_during_a_stream_is_answered_after_it(identity: Identity) -> None:
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        if request.path == "/slow":
            await go.wait()
        await responder.write(request.path.encode())

    async with serving(handler, identity) as at:
        transport = await at.dial()
        await transport.send_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(transport, b"\r\n\r\n")
        await transport.send_all(b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        await wait_all_tasks_blocked()
        go.set()
        heard = await until_eof(transport)
        transport.close()
        assert heard.index(b"/slow") < heard.index(b"/next")


async def _shout(request: Request, responder: Responder) -> None:
    """Upgraded: echoes what comes; after the peer's end of data says the digest, then ends."""
    stream = await responder.upgrade()
    await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n")
    digest = hashlib.sha256()
    while data := await stream.receive_some():
        digest.update(data)
        await stream.send_all(data)
    await stream.send_all(digest.digest())
    await stream.send_eof()
    assert await stream.receive_some() == b""
    await stream.aclose()


UPGRADE = b"POST /exec HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\n"


@pytest.mark.parametrize("early", [b"", b"early bytes"])
async def test_an_upgraded_stream_is_byte_exact_after_a_half_close(identity: Identity, early: bytes) -> None:
    data = os.urandom(2_000_000)
    heard = bytearray()

    async with serving(_shout, identity) as at:
        transport = await at.dial()
        await transport.send_all(UPGRADE + early)
        await until(transport, b"\r\n\r\n" + early)

        async def listen() -> None:
            while piece := await transport.receive_some():
                heard.extend(piece)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await transport.send_all(data)
            await transport.send_eof()
        transport.close()
    assert bytes(heard) == data + hashlib.sha256(early + data).digest()


async def test_an_upgrade_that_was_slow_to_come_loses_nothing(identity: Identity, autojump_clock: trio.testing.MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05

    async def handler(request: Request, responder: Responder) -> None:
        await trio.sleep(5)  # as the container runtime may: by now the peer is watched
        await _shout(request, responder)

    async with serving(handler, identity) as at:
        transport = await at.dial()
        await transport.send_all(UPGRADE)
        await trio.sleep(3)
        await transport.send_all(b"typed ahead")
        assert (await until(transport, b"typed ahead")).startswith(b"HTTP/1.1 101")
        transport.close()


async def test_an_upgrade_may_be_refused_and_the_connection_kept(identity: Identity) -> None:
    async with serving(echo, identity) as at:
        heard = await talk(at, UPGRADE + b"GET /next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert heard.count(b"HTTP/1.1 200") == 2 and heard.endswith(b"GET /next? ")
