"""The listener: TLS, limits, rotation, draining."""

from __future__ import annotations

import resource
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from edgekube import limits
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context, unverified_client_context
from edgekube.wire.transport import PlainTransport, connect, connect_unix
from tests.wire.certificates import Authority
from tests.wire.serving import Identity, Serving, echo, serving, talk, until, until_eof

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def who(request: Request, responder: Responder) -> None:
    await responder.send(200, {}, b"known" if request.peer_certificate else b"unknown")


async def test_both_ip_versions_on_one_port(identity: Identity) -> None:
    async with serving(who, identity, host=None) as at:
        for host in ("127.0.0.1", "::1"):
            transport = await connect(host, at.port, context=identity.client(), server_hostname="server")
            await transport.send_all(LAST)
            assert (await until_eof(transport)).endswith(b"known")
            transport.close()


async def test_a_port_that_is_taken_says_so() -> None:
    for host in ("127.0.0.1", "::1"):
        (listener,) = open_listeners(0, host)
        with listener, pytest.raises(OSError, match="Address already in use"):
            open_listeners(listener.getsockname()[1])


async def test_a_client_certificate_is_optional_but_must_be_ours(identity: Identity, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "other CA").issue("admin")
    async with serving(who, identity) as at:
        nobody = await connect("127.0.0.1", at.port, context=client_context(identity.authority.path), server_hostname="server")
        await nobody.send_all(LAST)
        assert (await until_eof(nobody)).endswith(b"unknown")
        nobody.close()

        forged = client_context(identity.authority.path, None, stranger.certificate, stranger.key)
        transport = await connect("127.0.0.1", at.port, context=forged, server_hostname="server")
        await transport.send_all(LAST)  # TLS 1.3: the refusal comes after the client's own handshake
        assert await until_eof(transport) == b""
        transport.close()


async def test_the_server_is_known_by_name_and_ca(identity: Identity, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other CA")
    async with serving(who, identity) as at:
        with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
            await connect("127.0.0.1", at.port, context=identity.client(), server_hostname="another")
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect("127.0.0.1", at.port, context=client_context(other.path), server_hostname="server")
        probe = await connect("127.0.0.1", at.port, context=unverified_client_context())
        probe.close()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(identity: Identity) -> None:
    async with serving(who, identity) as at:
        context = client_context(identity.authority.path)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect("127.0.0.1", at.port, context=context, server_hostname="server")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        transport = await connect("127.0.0.1", at.port, context=context, server_hostname="server")
        await transport.send_all(LAST)
        assert (await until_eof(transport)).endswith(b"unknown")
        transport.close()


async def test_http_on_the_https_port_gets_a_hint(identity: Identity) -> None:
    async with serving(who, identity) as at:
        transport = await connect("127.0.0.1", at.port)
        await transport.send_all(GET)
        heard = await until_eof(transport)
        assert heard.startswith(b"HTTP/1.1 400 ") and b"Client sent an HTTP request to an HTTPS server." in heard
        transport.close()


async def test_a_handshake_that_does_not_come_has_a_time_limit(identity: Identity, autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving(who, identity) as at:
        silent = await connect("127.0.0.1", at.port)
        assert await until_eof(silent) == b""
        assert trio.current_time() == pytest.approx(limits.WIRE_HANDSHAKE_SECONDS, abs=1)
        silent.close()


async def test_certificates_rotate_without_dropping_connections(authority: Authority, tmp_path: Path) -> None:
    first, second = authority.issue("first"), authority.issue("second")
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def install(pair: Path, secret: Path) -> None:
        certificate.write_bytes(pair.read_bytes())
        key.write_bytes(secret.read_bytes())

    install(first.certificate, first.key)
    tls = ServerTls(certificate, key, authority.path)
    context = client_context(authority.path)
    async with trio.open_nursery() as nursery:
        (port,) = await nursery.start(Server(who, tls=tls).serve, open_listeners(0, "127.0.0.1"))
        standing = await connect("127.0.0.1", port, context=context, server_hostname="first")
        install(second.certificate, second.key)
        tls.reload()
        (await connect("127.0.0.1", port, context=context, server_hostname="second")).close()
        key.write_bytes(first.key.read_bytes())
        with pytest.raises(ssl.SSLError):
            tls.reload()
        (await connect("127.0.0.1", port, context=context, server_hostname="second")).close()
        await standing.send_all(LAST)
        assert (await until_eof(standing)).endswith(b"unknown")
        standing.close()
        nursery.cancel_scope.cancel()


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WIRE_CONNECTIONS_PER_PEER_MAX", 3)
    async with serving(echo) as at:
        standing = [await at.dial() for _ in range(3)]
        await wait_all_tasks_blocked()
        refused = await at.dial()
        assert await until_eof(refused) == b""
        refused.close()
        standing.pop().close()
        while at.server.connections_open == 3:
            await wait_all_tasks_blocked()
        assert (await talk(at, LAST)).startswith(b"HTTP/1.1 200")
        for transport in standing:
            transport.close()


async def test_running_out_of_descriptors_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo) as at:
        client = socket.socket()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        probe = socket.socket()
        highest = probe.fileno()
        probe.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, before[1]))
        try:
            client.connect(("127.0.0.1", at.port))
            with trio.fail_after(60):
                while "cannot accept" not in caplog.text:
                    await wait_all_tasks_blocked(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        transport = PlainTransport(client)
        await transport.send_all(LAST)
        assert (await until_eof(transport)).startswith(b"HTTP/1.1 200")
        transport.close()


async def _drain_with(at: Serving, grace_seconds: float, meanwhile: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(at.server.drain, grace_seconds)
        await wait_all_tasks_blocked()
        meanwhile.set()


async def test_draining_closes_idle_connections_and_finishes_requests() -> None:
    go = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        if request.path == "/slow":
            await go.wait()
        await responder.send(200, {}, b"done")

    async with serving(handler) as at:
        idle, busy = await at.dial(), await at.dial()
        await idle.send_all(GET)
        await until(idle, b"done")
        await busy.send_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        await wait_all_tasks_blocked()
        with trio.fail_after(60):
            await _drain_with(at, 60, go)
            assert await until_eof(idle) == b""
            heard = await until_eof(busy)
        assert heard.endswith(b"done") and b"connection: close" in heard
        with pytest.raises(OSError):
            await at.dial()
        idle.close()
        busy.close()


async def test_draining_cuts_what_does_not_end_within_the_grace(autojump_clock: MockClock) -> None:
    autojump_clock.autojump_threshold = 0.05
    cut = trio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        try:
            await responder.start(200, {})
            await trio.sleep_forever()
        finally:
            cut.set()

    async with serving(handler) as at:
        transport = await at.dial()
        await transport.send_all(GET)
        await until(transport, b"\r\n\r\n")
        await at.server.drain(7)
        assert cut.is_set()
        assert trio.current_time() == pytest.approx(7, abs=0.1)
        transport.close()


async def test_a_watch_may_end_itself_when_draining_begins() -> None:
    async def watch(request: Request, responder: Responder) -> None:
        await responder.start(200, {})
        await at.server.draining.wait()

    async with serving(watch) as at:
        transport = await at.dial()
        await transport.send_all(GET)
        await until(transport, b"\r\n\r\n")
        with trio.fail_after(60):
            await at.server.drain(60)
        assert await until_eof(transport) == b"0\r\n\r\n"
        transport.close()


async def test_unix_sockets(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.setblocking(False)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server(echo, tls=None).serve, [listener])
        transport = await connect_unix(str(tmp_path / "s"))
        await transport.send_all(LAST)
        assert (await until_eof(transport)).endswith(b"GET /? ")
        transport.close()
        nursery.cancel_scope.cancel()


async def test_a_flood_of_bad_handshakes_leaves_a_bounded_log(identity: Identity, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="edgekube.wire")
    async with serving(who, identity) as at:
        for _ in range(3 * limits.REFUSALS_LOGGED_BURST):
            with trio.fail_after(60):
                stream = await trio.open_tcp_stream("127.0.0.1", at.port)
                await stream.send_all(b"\x16\x03\x01\xff\xff not a hello")
                with suppress(trio.BrokenResourceError):
                    while await stream.receive_some():
                        pass
                await stream.aclose()
        told = [record for record in caplog.records if record.getMessage().startswith("TLS handshake failed")]
        assert 0 < len(told) <= limits.REFUSALS_LOGGED_BURST + 2
        transport = await at.dial()
        await transport.send_all(LAST)
        assert (await until_eof(transport)).endswith(b"known")
        transport.close()
