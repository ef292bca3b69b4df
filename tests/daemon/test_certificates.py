"""The server's own certificates are renewed while it runs, and nobody's connection ends for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import yaml

from edgekube.daemon.certificates import KeptCertificates
from edgekube.daemon.identity import Identity, prepare_identity
from edgekube.pki.authorities import Authorities
from edgekube.pki.certificate_facts import CertificateFacts, facts_in_pem
from edgekube.pki.certificates import SERVER_NAME, KeyPair
from edgekube.pki.clock import Clock, released
from edgekube.settings import Settings
from edgekube.wire.client import HttpConnection
from edgekube.wire.protocol import Request, Responder
from edgekube.wire.server import Server, open_listeners
from edgekube.wire.tls import ClientTls, ServerTls
from edgekube.wire.transport import connect

DAY = 86400.0


class Place:
    """A server's certificates, its listener, and a clock that can be turned."""

    def __init__(self, directory: Path, *, now: float = 1_800_000_000.0) -> None:
        self.settings = Settings("pi-1", data_dir=directory / "data", admin_kubeconfig=directory / "etc/kubeconfig.yaml")
        self.now = now
        self.clock = Clock(None, system=lambda: self.now, synchronised=lambda: False)
        self.identity: Identity = prepare_identity(self.settings, "192.0.2.1", self.clock.utc())
        self.kept = KeptCertificates(self.settings, self.identity, self.clock, ("192.0.2.1",))
        self.tls = ServerTls(
            self.identity.server.certificate, self.identity.server.key, self.identity.authority_path, clock=self.clock
        )
        self.kept.changed.append(self.tls.reload)

    def held(self, pair: KeyPair) -> CertificateFacts:
        return facts_in_pem(pair.certificate.read_text())[0]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        async with trio.open_nursery() as nursery:
            ports = await nursery.start(Server(who, tls=self.tls).serve, open_listeners(0, "127.0.0.1"))
            nursery.start_soon(self.kept.run)
            yield ports[0]
            nursery.cancel_scope.cancel()

    async def admin(self, port: int) -> HttpConnection:
        pair = self.identity.admin
        tls = ClientTls(self.identity.authority_path, pair.certificate, pair.key, clock=self.clock)
        return HttpConnection(await connect("127.0.0.1", port, context=tls(), server_hostname=SERVER_NAME), SERVER_NAME)


async def who(request: Request, responder: Responder) -> None:
    await responder.send(200, {}, b"known" if request.peer_certificate else b"nobody")


async def asked(connection: HttpConnection) -> str:
    with trio.fail_after(60):
        response = await connection.request("GET", "/", {})
        return (await response.read(100)).decode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_what_has_aged_is_renewed_and_taken_up_without_a_restart(place: Place) -> None:
    pairs = (place.identity.server, place.identity.admin, place.identity.agent_client, place.identity.node)
    before = [place.held(pair) for pair in pairs]
    renewed = trio.Event()
    place.kept.changed.append(renewed.set)
    async with place.serving() as port:
        standing = await place.admin(port)
        assert await asked(standing) == "known"
        place.now += 200 * DAY
        place.kept.addresses_changed(("192.0.2.1", "fd00::1"))  # wakes it, as the hour would
        with trio.fail_after(60):
            await renewed.wait()
        assert await asked(standing) == "known", "the connection goes on"
        renewed = trio.Event()
        place.kept.changed.append(renewed.set)
        place.now += 60 * DAY
        place.kept.addresses_changed(("192.0.2.1",))
        with trio.fail_after(60):
            await renewed.wait()
        after = [place.held(pair) for pair in pairs]
        assert all(
            new.not_after > old.not_after and new.public_key != old.public_key for old, new in zip(before, after, strict=True)
        )
        assert await asked(standing) == "known"
        assert await asked(await place.admin(port)) == "known"
    config = yaml.safe_load(place.settings.kubeconfig.read_text())
    assert config == yaml.safe_load(place.settings.admin_kubeconfig.read_text())


async def test_a_server_that_first_boots_in_1970_is_good_when_it_learns_the_time(tmp_path: Path) -> None:
    place = Place(tmp_path, now=60.0)
    assert place.held(place.identity.server).not_before == released() - DAY
    async with place.serving() as port:
        assert await asked(await place.admin(port)) == "known"
        for years in (0.5, 1.5):  # NTP comes: the certificates are still good, or have expired meanwhile
            renewed = trio.Event()
            place.kept.changed.append(renewed.set)
            place.now = released() + years * 365 * DAY
            if years > 1:
                place.kept.addresses_changed(("192.0.2.1", "192.0.2.2"))
                with trio.fail_after(60):
                    await renewed.wait()
            assert await asked(await place.admin(port)) == "known"


async def test_an_admin_who_was_dropped_with_his_authority_is_nobody_on_a_connection_that_stands(place: Place) -> None:
    async with place.serving() as port:
        standing = await place.admin(port)
        await place.kept.begin()
        assert await asked(standing) == "known"
        await place.kept.sign_with_new()
        assert await asked(standing) == "known" and await asked(await place.admin(port)) == "known"
        await place.kept.finish()
        assert await asked(standing) == "nobody"
        assert await asked(await place.admin(port)) == "known"


async def test_the_server_shows_itself_under_the_old_authority_until_the_end(place: Place) -> None:
    old = facts_in_pem(place.identity.authority_pem.decode())[0]
    for step in (place.kept.begin, place.kept.sign_with_new):
        await step()
        assert place.held(place.identity.server).issuer == old.subject
    assert place.held(place.identity.admin).issuer != old.subject
    await place.kept.finish()
    assert place.held(place.identity.server).issuer != old.subject


async def test_a_restart_in_the_middle_goes_on_where_it_was(place: Place) -> None:
    await place.kept.begin()
    await place.kept.sign_with_new()
    signing = place.kept.signing
    identity = prepare_identity(place.settings, "192.0.2.1", place.clock.utc())
    again = KeptCertificates(place.settings, identity, place.clock, ("192.0.2.1",))
    assert (again.phase, again.signing) == ("signing", signing)
    await again.finish()
    assert Authorities(place.settings.pki_dir, place.clock.utc()).phase.value == "settled"


async def test_a_new_address_gets_into_the_servers_certificate_while_it_runs(place: Place) -> None:
    first = place.held(place.identity.server)
    admin = place.held(place.identity.admin)
    changed = trio.Event()
    place.kept.changed.append(changed.set)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.kept.run)
        place.kept.addresses_changed(("192.0.2.1",))
        place.kept.addresses_changed(("192.0.2.77",))
        with trio.fail_after(60):
            await changed.wait()
        nursery.cancel_scope.cancel()
    assert place.held(place.identity.server).fingerprint != first.fingerprint
    assert place.held(place.identity.admin) == admin, "only what names addresses"
