"""Look for servers on the LAN in a process of its own, which is gone when it has answered.

Enters: how long to listen; which cluster.
Leaves: announcements; addresses for ServerAddresses when no known address answers any more.
Holds: what strangers multicast is parsed outside this process, and zeroconf's memory is given back. What is found are places to
try; the certificate decides.
Bound: discovery.seen, and FIND_PAUSE_FIRST_SECONDS to FIND_PAUSE_LAST_SECONDS between looks.
Next: cli.discover; client.addresses.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence

import trio

from edgekube import limits
from edgekube.client.addresses import Address, ServerAddresses
from edgekube.client.doors import call, trusting
from edgekube.daemon.trying import NoneWorked, first_that_works
from edgekube.discovery.announcement import Announcement
from edgekube.discovery.servers import found
from edgekube.pki.join_token import fingerprints

log = logging.getLogger("edgekube.agent")


async def prove_under(address: Address, authorities: str) -> None:
    """Raises OSError or StatusError when no server of these authorities is there."""
    await call(address, trusting(authorities), "GET", "cluster")


async def look_around() -> list[Announcement]:
    """Who announces himself on the LAN, as far as it takes some seconds to hear."""
    command = [sys.executable, "-m", "edgekube", "discover", "--json"]
    times = ["--timeout", f"{limits.FIND_LISTEN_SECONDS:g}", "--settle", f"{limits.FIND_SETTLE_SECONDS:g}"]
    done = await trio.run_process([*command, *times], capture_stdout=True, capture_stderr=True, check=False)
    if done.stderr:
        log.warning("%s", done.stderr.decode(errors="replace").strip().splitlines()[-1][:300])
    return await trio.to_thread.run_sync(announcements_from, done.stdout)


def announcements_from(output: bytes) -> list[Announcement]:
    """What ``edgekube discover --json`` printed; nothing when it printed nothing."""
    heard = []
    try:
        for cluster in json.loads(output)["clusters"]:
            heard += [
                Announcement(
                    node=node["node"],
                    role=node["role"],
                    cluster_id=cluster["id"],
                    cluster_name=cluster["name"],
                    ca=cluster["ca"],
                    version=node["version"],
                    addresses=tuple(node["addresses"]),
                    port=node["port"],
                )
                for node in cluster["nodes"]
            ]
    except (ValueError, KeyError, TypeError):
        return []
    return heard


class ServerFinder:
    """Finds a member's servers again once none of the known addresses answers, for instance after a new DHCP lease."""

    def __init__(
        self,
        servers: ServerAddresses,
        cluster_id: str,
        authorities: Callable[[], str],
        *,
        listen: Callable[[], Awaitable[list[Announcement]]] = look_around,
        prove: Callable[[Address, str], Awaitable[None]] = prove_under,
    ) -> None:
        """``authorities``: PEM of the CAs that are trusted now. ``prove`` raises when who is there is none of theirs."""
        self._listen = listen
        self._prove = prove
        self._servers = servers
        self._cluster_id = cluster_id
        self._authorities = authorities
        self._lost = trio.Event()
        self._failed_at: list[float] = []

    def unreachable(self, address: Address) -> None:
        """A Target's ``unreachable``."""
        self._servers.unreachable(address)
        now = trio.current_time()
        self._failed_at = [moment for moment in self._failed_at if now - moment < limits.FIND_MEMORY_SECONDS] + [now]
        self._failed_at = self._failed_at[-limits.FIND_FAILURES_MAX :]
        # Each known address has failed, and a server that only restarts would be back.
        spent = len(self._failed_at) > min(len(self._servers.all()), limits.FIND_FAILURES_MAX - 1)
        if spent and now - self._failed_at[0] >= limits.FIND_GRACE_SECONDS:
            self._lost.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause_seconds = limits.FIND_PAUSE_FIRST_SECONDS
        while True:
            await self._lost.wait()
            addresses = await self._look()
            if addresses:
                await self._take(addresses)
            self._failed_at.clear()
            self._lost = trio.Event()
            await trio.sleep(pause_seconds)
            lost_again = self._lost.is_set()
            pause_seconds = (
                min(2 * pause_seconds, limits.FIND_PAUSE_LAST_SECONDS) if lost_again else limits.FIND_PAUSE_FIRST_SECONDS
            )

    async def _take(self, addresses: Sequence[Address]) -> None:
        """One that proves to be ours: the others may be anybody's."""
        try:
            address, _ = await first_that_works(addresses, lambda address: self._prove(address, self._authorities()))
        except NoneWorked as error:
            log.warning("servers are announced, but none of them is ours: %s", error.__cause__ or "no answer")
            return
        log.info("server found by mDNS address=%s:%d", *address)
        self._servers.offer([address], first=True)

    async def _look(self) -> list[Address]:
        heard = await self._listen()
        trusted = fingerprints(self._authorities())
        mine: list[Address] = []
        for cluster in found(heard):
            if cluster.id != self._cluster_id:
                continue
            if cluster.ca in trusted:
                mine += cluster.addresses
            else:
                where = ",".join(f"{host}:{port}" for host, port in cluster.addresses[:3])
                log.warning("somebody announces this cluster with another CA: not asked ca=%s at=%s", cluster.ca[:16], where)
        return mine
