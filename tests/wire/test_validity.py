"""Certificates judged by our own clock: the rule, and the rule behind real handshakes."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import Disconnected, Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ServerTls, client_context, validities_of_authorities
from edgekube.wire.transport import connect
from edgekube.wire.validity import Validity, Verdict, judge
from tests.wire.certificates import Authority, Pair
from tests.wire.serving import H2Peer

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
DAY_SECONDS = 86400.0

seconds = st.floats(min_value=0, max_value=4e9)
validities = st.tuples(seconds, seconds).map(lambda pair: Validity(min(pair), max(pair)))


class HandClock:
    """A clock that stands still until somebody says something."""

    def __init__(self, now: datetime.datetime = NOW) -> None:
        self.now = now.timestamp()
        self.sources: list[str] = []

    def __call__(self) -> float:
        return self.now

    def raise_floor(self, seconds: float, source: str) -> None:
        assert seconds > self.now
        self.now = seconds
        self.sources.append(source)


@given(validities, st.lists(validities, max_size=3), seconds)
def test_valid_means_within_both_periods_at_the_earliest_time_that_it_can_be(
    certificate: Validity, authorities: list[Validity], now: float
) -> None:
    verdict, earliest = judge(certificate, authorities, now)
    assert earliest >= now
    if verdict is Verdict.VALID:
        authority = max(authorities, key=lambda one: one.not_after)
        assert authority.not_before <= earliest <= authority.not_after
        assert certificate.not_before <= earliest <= certificate.not_after


@given(validities, validities, seconds)
def test_what_has_expired_never_becomes_good_again(certificate: Validity, authority: Validity, now: float) -> None:
    verdict, earliest = judge(certificate, [authority], now)
    if verdict is not Verdict.VALID:
        assert judge(certificate, [authority], max(earliest, now) + 1)[0] is not Verdict.VALID


@given(validities, validities)
def test_a_clock_in_1970_refuses_nothing_that_is_good_when_it_begins(certificate: Validity, authority: Validity) -> None:
    if authority.not_before <= certificate.not_before <= authority.not_after:
        assert judge(certificate, [authority], 0.0) == (Verdict.VALID, certificate.not_before)


def test_without_the_issuer_nothing_is_good() -> None:
    assert judge(Validity(0, 10), [], 5)[0] is Verdict.STRANGER


# --- real handshakes -------------------------------------------------------------------------------------------------


async def who(request: Request, responder: Responder) -> None:
    """``known``, ``expired`` or ``nobody``."""
    word = "known" if request.peer_certificate else "expired" if request.expired_certificate else "nobody"
    await responder.send(200, {}, word.encode())


class Scene:
    """A server and a client under one authority, each with a clock of its own."""

    def __init__(self, directory: Path, *, server: Pair, client: Pair, authority: Authority) -> None:
        self.server_clock, self.client_clock = HandClock(), HandClock()
        self.authority = authority
        self.tls = ServerTls(server.certificate, server.key, authority.path, clock=self.server_clock)
        self.client = client_context(authority.path, None, client.certificate, client.key, clock=self.client_clock)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[HttpConnection]:
        refused: OSError | None = None
        async with trio.open_nursery() as nursery:
            ports = await nursery.start(Server(who, tls=self.tls).serve, open_listeners(0, "127.0.0.1"))
            try:
                transport = await connect("127.0.0.1", ports[0], context=self.client, server_hostname="server")
                yield HttpConnection(transport, "server")
            except OSError as error:
                refused = error
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused

    async def ask(self) -> str:
        async with self.connected() as connection:
            return await asked(connection)


async def asked(connection: HttpConnection) -> str:
    response = await connection.request("GET", "/", {"host": "server"})
    return (await response.read(100)).decode()


def scene(directory: Path, *, authority_days: float = 10, server_days: float = 5, client_days: float = 5) -> Scene:
    authority = Authority(directory, begins=NOW - DAY, days=authority_days + 1)
    return Scene(
        directory,
        server=authority.issue("server", begins=NOW - DAY, days=server_days + 1),
        client=authority.issue("client", begins=NOW - DAY, days=client_days + 1),
        authority=authority,
    )


async def test_both_are_in_time(tmp_path: Path) -> None:
    assert await scene(tmp_path).ask() == "known"


async def test_an_expired_server_is_refused_by_the_clients_clock(tmp_path: Path) -> None:
    there = scene(tmp_path, server_days=1)
    there.client_clock.now += 2 * DAY_SECONDS
    with pytest.raises(ssl.SSLCertVerificationError, match="has expired"):
        await there.ask()
    there.client_clock.now -= 1.5 * DAY_SECONDS
    assert await there.ask() == "known"


async def test_an_expired_client_is_let_in_as_nobody_who_may_renew(tmp_path: Path) -> None:
    there = scene(tmp_path, client_days=1)
    there.server_clock.now += 2 * DAY_SECONDS
    assert await there.ask() == "expired"


async def test_a_client_expires_on_a_connection_that_stands(tmp_path: Path) -> None:
    there = scene(tmp_path, client_days=1)
    async with there.connected() as connection:
        assert await asked(connection) == "known"
        there.server_clock.now += 2 * DAY_SECONDS
        assert await asked(connection) == "expired"


async def test_the_same_over_http_2(tmp_path: Path) -> None:
    there = scene(tmp_path, client_days=1)
    there.client.set_alpn_protocols(["h2"])
    async with there.connected() as connection:
        peer = H2Peer(connection.transport)
        await peer.begin()
        assert bytes((await peer.answer(peer.ask("GET", "/"))).body) == b"known"
        there.server_clock.now += 2 * DAY_SECONDS
        assert bytes((await peer.answer(peer.ask("GET", "/"))).body) == b"expired"


async def test_a_certificate_from_the_future_raises_the_floor(tmp_path: Path) -> None:
    there = scene(tmp_path)
    there.client_clock.now = 0.0
    there.server_clock.now = 0.0
    assert await there.ask() == "known"
    begins = (NOW - DAY).timestamp()
    assert there.client_clock.now == there.server_clock.now == begins
    assert there.client_clock.sources == ["a peer's certificate"]


async def test_an_expired_authority_vouches_for_nobody(tmp_path: Path) -> None:
    there = scene(tmp_path, authority_days=1)
    there.client_clock.now += 2 * DAY_SECONDS
    with pytest.raises(ssl.SSLCertVerificationError, match="authority has expired"):
        await there.ask()
    there.client_clock.now -= 2 * DAY_SECONDS
    there.server_clock.now += 2 * DAY_SECONDS
    async with there.connected() as connection:
        # TLS 1.3: the client learns of it when it reads.
        with pytest.raises((OSError, Disconnected)):
            await asked(connection)


async def test_another_authority_of_the_same_name_vouches_for_nobody(tmp_path: Path) -> None:
    there = scene(tmp_path)
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", begins=NOW - DAY, days=10)
    there.client = client_context(other.path, clock=there.client_clock)
    with pytest.raises(ssl.SSLCertVerificationError):
        await there.ask()
    assert there.client_clock.sources == []


async def test_who_is_there_is_believed_as_long_as_his_authority_is(tmp_path: Path) -> None:
    there = scene(tmp_path)
    async with there.connected() as connection:
        assert await asked(connection) == "known"
        (tmp_path / "new").mkdir()
        new = Authority(tmp_path / "new", "new CA", begins=NOW - DAY, days=10)
        old = there.authority.path.read_bytes()
        there.authority.path.write_bytes(old + new.path.read_bytes())
        there.tls.reload()
        assert await asked(connection) == "known"
        there.authority.path.write_bytes(new.path.read_bytes())
        there.tls.reload()
        assert await asked(connection) == "nobody"


def test_a_context_that_cannot_be_read_leaves_the_old_one(tmp_path: Path) -> None:
    there = scene(tmp_path)
    before = there.tls.context
    there.authority.path.write_bytes(b"")
    with pytest.raises(ssl.SSLError):
        there.tls.reload()
    assert there.tls.context is before


def test_the_dates_of_authorities_are_read_without_cryptography(tmp_path: Path) -> None:
    authority = Authority(tmp_path, begins=NOW - DAY, days=10)
    assert validities_of_authorities(authority.path) == [Validity((NOW - DAY).timestamp(), (NOW + 9 * DAY).timestamp())]


async def test_files_that_change_are_taken_up_by_the_next_connection(tmp_path: Path) -> None:
    there = scene(tmp_path)
    before = there.tls.context
    assert there.tls.context is before
    renewed = there.authority.issue("server", begins=NOW - DAY, days=6)
    assert there.tls.context is not before and renewed.certificate.exists()
    assert await there.ask() == "known"


async def test_half_a_rotation_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = scene(tmp_path)
    before = there.tls.context
    key = (tmp_path / "server.key").read_bytes()
    (tmp_path / "server.key").write_bytes((tmp_path / "client.key").read_bytes())
    assert there.tls.context is before and "keeping the old ones" in caplog.text
    assert await there.ask() == "known"
    (tmp_path / "server.key").write_bytes(key)
    assert there.tls.context is not before
