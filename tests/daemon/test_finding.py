"""What comes back from the process that looks around, and when a member looks around at all."""

from __future__ import annotations

import ssl

import pytest
import trio
import trio.testing
from msgspec.structs import replace

from edgekube import limits
from edgekube.cli.discover import as_text
from edgekube.client.addresses import Address, ServerAddresses
from edgekube.daemon.finding import ServerFinder, announcements_from
from edgekube.discovery.announcement import Announcement
from edgekube.discovery.seen import Seen
from edgekube.pki.join_token import fingerprint
from tests.discovery.test_announcement import PI

AUTHORITY = ssl.DER_cert_to_PEM_cert(b"what our CA is")
OURS = replace(PI, ca=fingerprint(AUTHORITY))
A, B, NEW = ("192.0.2.1", 6443), ("192.0.2.2", 6443), ("192.0.2.101", 6443)


def test_what_discover_prints_is_read_back() -> None:
    seen = Seen()
    other = replace(PI, node="nuc", role="agent", addresses=("fe80::5%2",), port=10250)
    seen.put("a", PI)
    seen.put("b", other)
    assert announcements_from(as_text(seen).encode()) == [PI, other]


@pytest.mark.parametrize("output", [b"", b"{", b"[]", b'{"clusters": [{"id": "x"}]}', b'{"clusters": 7}'])
def test_a_process_that_failed_heard_nothing(output: bytes) -> None:
    assert announcements_from(output) == []


class Looking(ServerFinder):
    """Counts its looks, and hears what the test says."""

    def __init__(self, servers: ServerAddresses, heard: list[Announcement]) -> None:
        super().__init__(servers, PI.cluster_id, lambda: AUTHORITY, listen=self._hear, prove=self._ask)
        self.heard = heard
        self.looks: list[float] = []
        self.asked: list[Address] = []

    async def _hear(self) -> list[Announcement]:
        self.looks.append(trio.current_time())
        return self.heard

    async def _ask(self, address: Address, authorities: str) -> None:
        assert authorities == AUTHORITY
        self.asked.append(address)
        if address != NEW:
            raise OSError("this is somebody else")


async def failing(finder: ServerFinder, servers: ServerAddresses, seconds: float) -> None:
    """A client that tries every second, until it is told of the new address."""
    for _ in range(int(seconds)):
        if servers.current() == NEW:
            return
        finder.unreachable(servers.current())
        await trio.sleep(1)


async def test_a_restart_is_waited_for_and_a_silent_server_is_looked_for(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    servers = ServerAddresses([A, B])
    # Somebody announces the same id and the same CA, for both are public: he cannot prove it.
    copied = replace(OURS, node="a", addresses=("192.0.2.66", "192.0.2.67"))
    finder = Looking(servers, [copied, replace(OURS, addresses=(NEW[0],))])
    nursery.start_soon(finder.run)
    began = trio.current_time()
    await failing(finder, servers, limits.FIND_GRACE_SECONDS - 1)
    assert finder.looks == []
    await failing(finder, servers, 4)
    assert [look - began >= limits.FIND_GRACE_SECONDS for look in finder.looks] == [True]
    assert servers.all()[0] == NEW and set(servers.all()) == {A, B, NEW}


async def test_looks_become_seldom_while_nothing_is_found(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> None:
    servers = ServerAddresses([A])
    pretender = replace(OURS, ca="ee" * 32, addresses=("192.0.2.66",))
    finder = Looking(servers, [pretender, replace(OURS, cluster_id="x", addresses=("192.0.2.67",))])
    nursery.start_soon(finder.run)
    await failing(finder, servers, 1800)
    pauses = [later - earlier for earlier, later in zip(finder.looks, finder.looks[1:], strict=False)]
    assert pauses == sorted(pauses) and pauses[0] >= limits.FIND_PAUSE_FIRST_SECONDS
    assert pauses[-1] >= limits.FIND_PAUSE_LAST_SECONDS and len(finder.looks) < 20
    # Neither who only copies the id nor who only copies the CA's fingerprint is ever asked.
    assert servers.all() == (A,) and finder.asked == []
