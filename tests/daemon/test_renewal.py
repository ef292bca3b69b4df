"""An agent looks after its own certificates, against a real API."""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from cryptography import x509
from msgspec.structs import replace

from edgekube.api.cluster_facts import ClusterFacts
from edgekube.api.kinds import NODE
from edgekube.api.node_identity import NodeIdentity
from edgekube.api.node_trust import NodeTrust, trust_of
from edgekube.client.addresses import ServerAddresses
from edgekube.client.joining import Joined
from edgekube.client.remote import RemoteVerbs
from edgekube.client.target import Target
from edgekube.daemon.node_files import NodeFiles
from edgekube.daemon.renewal import Renewal
from edgekube.pki.authority import Authority, load_or_create_authority
from edgekube.pki.certificate_facts import CertificateFacts, facts_in_pem
from edgekube.pki.certificates import SERVER_NAME, node_client_subject, node_serving_subject
from edgekube.pki.clock import Clock
from edgekube.pki.requests import load_or_create_key, public_key_hash, request_pem
from edgekube.wire.tls import ClientTls
from tests.server.renewing import FACTS, renewing_api
from tests.server.secured import Secured

USAGES = {"client": "1.3.6.1.5.5.7.3.2", "serving": "1.3.6.1.5.5.7.3.1"}


class Board:
    """A machine that has joined ``days`` ago with certificates for so many days, and its agent's renewal."""

    def __init__(self, api: Secured, directory: Path, facts: ClusterFacts, *, since_days: float, for_days: float) -> None:
        self.api = api
        self.files = NodeFiles(directory)
        self.files.prepare()
        self.key = load_or_create_key(self.files.key)
        begun = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=since_days)
        client, serving = (self._signed(api.authority, what, begun, for_days) for what in ("client", "serving"))
        self.files.save(Joined("pi-7", client, serving, facts))
        self.system = time.time
        self.clock = Clock(None, oldest=0, system=lambda: self.system(), synchronised=lambda: False)
        self.pokes: Callable[[], None] = lambda: None

    def _signed(self, authority: Authority, what: str, begun: datetime.datetime, for_days: float) -> str:
        subject = (node_client_subject if what == "client" else node_serving_subject)("pi-7")
        request = x509.load_pem_x509_csr(request_pem(self.key, subject).encode())
        return authority.sign_request(
            request,
            key_usages=frozenset(),
            extended_usages=[x509.ObjectIdentifier(USAGES[what])],
            now=begun,
            lifetime=datetime.timedelta(days=for_days),
        ).decode()

    @property
    def held(self) -> CertificateFacts:
        return facts_in_pem(self.files.client_certificate.read_text())[0]

    async def register(self) -> None:
        key = public_key_hash(self.key.public_key())
        await self.api.nodes.change("pi-7", lambda before: NodeIdentity("pi-7", key, "test"))
        await self.api.verbs.create(NODE, "", {"metadata": {"name": "pi-7"}})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Renewal]:
        servers = ServerAddresses([("127.0.0.1", self.api.port)])
        tls = ClientTls(self.files.authorities, self.files.client_certificate, self.files.key, clock=self.clock)
        async with RemoteVerbs(Target(servers.current, tls, SERVER_NAME)) as verbs, trio.open_nursery() as nursery:
            renewal = Renewal(self.files, "pi-7", servers, tls, self.clock, verbs, verbs.start_afresh)
            nursery.start_soon(renewal.run)
            yield renewal
            nursery.cancel_scope.cancel()

    async def says(self, wanted: Callable[[NodeTrust], bool]) -> NodeTrust:
        """What the Node tells, once it tells that."""
        with trio.fail_after(60):
            async with self.api.verbs.watch(NODE) as events:
                while not wanted(told := trust_of(await self.api.verbs.get(NODE, "", "pi-7"))):
                    await anext(events)
        return told


async def test_a_young_certificate_is_left_alone_and_told_of(tmp_path: Path) -> None:
    async with renewing_api(tmp_path) as api:
        facts = replace(FACTS, authorities=api.authority.certificate_pem.decode())
        board = Board(api, tmp_path / "agent", facts, since_days=1, for_days=365)
        await board.register()
        before = board.held
        async with board.running():
            told = await board.says(lambda trust: bool(trust.authority))
        assert board.held == before
        authority = facts_in_pem(facts.authorities)[0]
        assert told.trusts == {authority.fingerprint[:16]} and told.authority == authority.fingerprint[:16]


async def test_an_old_certificate_is_renewed_with_a_new_key_while_a_watch_goes_on(tmp_path: Path) -> None:
    made: list[ClusterFacts] = []
    async with renewing_api(tmp_path, facts=lambda: made[0]) as api:
        made.append(replace(FACTS, authorities=api.authority.certificate_pem.decode()))
        board = Board(api, tmp_path / "agent", made[0], since_days=320, for_days=365)
        await board.register()
        before = board.held
        async with board.running():
            told = await board.says(lambda trust: trust.expires > "2" and trust.expires[:10] != day(before.not_after))
        after = board.held
        assert after.public_key != before.public_key and told.expires[:10] == day(after.not_after)
        identity = api.nodes.get("pi-7")
        assert identity is not None and identity.public_key == after.public_key


def day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")


async def test_a_board_in_1970_has_the_time_from_its_server_and_an_expired_certificate_renewed(tmp_path: Path) -> None:
    made: list[ClusterFacts] = []
    async with renewing_api(tmp_path, facts=lambda: made[0]) as api:
        made.append(replace(FACTS, authorities=api.authority.certificate_pem.decode()))
        board = Board(api, tmp_path / "agent", made[0], since_days=400, for_days=365)
        board.system = lambda: 60.0
        await board.register()
        before = board.held
        assert board.clock() < time.time()
        async with board.running() as renewal:
            await board.says(lambda trust: bool(trust.expires))
            assert abs(board.clock() - time.time()) < 60
            assert board.held.not_after > time.time() > before.not_after
            assert renewal.hopeless(), "nothing to mend: from here on a refusal is meant"


async def test_another_authority_that_signs_is_followed_once_it_is_trusted(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    new = load_or_create_authority(tmp_path / "new", now=now)
    async with renewing_api(tmp_path, facts=lambda: both, authority=lambda api: new) as api:
        old_pem, new_pem = (each.certificate_pem.decode() for each in (api.authority, new))
        signing = facts_in_pem(new_pem)[0].fingerprint
        only_old = replace(FACTS, authorities=old_pem, signing_authority=signing)
        both = replace(only_old, authorities=old_pem + new_pem)
        (tmp_path / "ca.crt").write_text(old_pem + new_pem)
        board = Board(api, tmp_path / "agent", only_old, since_days=1, for_days=365)
        await board.register()
        async with board.running() as renewal:
            await board.says(lambda trust: bool(trust.authority) and len(trust.trusts) == 1)
            board.files.save_facts("pi-7", both)
            renewal.poke()
            told = await board.says(lambda trust: trust.authority == signing[:16])
        assert len(told.trusts) == 2


async def test_a_node_that_was_removed_is_refused_and_says_so(tmp_path: Path) -> None:
    async with renewing_api(tmp_path) as api:
        facts = replace(FACTS, authorities=api.authority.certificate_pem.decode())
        board = Board(api, tmp_path / "agent", facts, since_days=400, for_days=365)
        async with board.running() as renewal:
            assert not renewal.hopeless(), "it has only expired"
            with trio.fail_after(60):
                while not renewal.hopeless():
                    await renewal.lock.acquire()
                    renewal.lock.release()
