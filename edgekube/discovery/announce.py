"""Say on the LAN that this machine is here, for as long as it runs.

Enters: what to say, as a function of the addresses that this machine has now.
Leaves: an mDNS service; a new one when an address changed (an instance that outlives its address is heard by nobody).
Holds: never a reason for anything else to fail: without a network, or under a flood, it waits and tries again.
Bound: one warning per flood; pauses double from MDNS_PAUSE_FIRST_SECONDS to MDNS_PAUSE_LAST_SECONDS.
Next: discovery.mdns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import trio

from edgekube import limits
from edgekube.discovery.announcement import Announcement
from edgekube.discovery.interfaces import Reachable, reachable
from edgekube.discovery.lan_names import WantedNames, keep_names
from edgekube.discovery.mdns import MdnsUnavailable, open_mdns
from edgekube.network.address_changes import AddressChanges, address_changes

log = logging.getLogger("edgekube.discovery")

#: Addresses of this machine to what is said of it.
Describe = Callable[[tuple[str, ...]], Announcement]


async def announce(describe: Describe, *, avoid: Sequence[str] = (), names: WantedNames | None = None) -> None:
    """Until cancelled. ``avoid``: networks whose addresses are not told (pods and services). ``names``: of Services, told
    beside."""
    pause_seconds = limits.MDNS_PAUSE_FIRST_SECONDS
    async with address_changes() as changes:
        while True:
            here = await trio.to_thread.run_sync(lambda: reachable(avoid=avoid))
            try:
                flooded = await _announce_from(here, describe, changes, avoid, names)
            except MdnsUnavailable as error:
                log.info("not announced: %s", error)
                with trio.move_on_after(limits.MDNS_RETRY_SECONDS):
                    await _moved(changes, here, avoid)
                continue
            if flooded:
                log.warning("mDNS is flooded: silent for %g s; who knows this machine's address is not affected", pause_seconds)
                await trio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, limits.MDNS_PAUSE_LAST_SECONDS)
            else:
                pause_seconds = limits.MDNS_PAUSE_FIRST_SECONDS


async def _announce_from(
    here: Reachable, describe: Describe, changes: AddressChanges, avoid: Sequence[str], names: WantedNames | None
) -> bool:
    """Until there is something else to say (False) or a flood came (True)."""
    flooded = False
    async with open_mdns(here) as mdns:
        announcement = describe(here.addresses)
        name = await mdns.register(announcement)
        log.info("announced instance=%s addresses=%s port=%d", name, ",".join(here.addresses), announcement.port)

        async def until_flooded(scope: trio.CancelScope) -> None:
            nonlocal flooded
            await mdns.flooded.wait()
            flooded = True
            scope.cancel()

        async def until_said_otherwise(scope: trio.CancelScope) -> None:
            while True:
                await trio.sleep(limits.ANNOUNCEMENT_LOOK_SECONDS)
                if describe(here.addresses) != announcement:
                    scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_flooded, nursery.cancel_scope)
            if names is not None:
                nursery.start_soon(keep_names, mdns, names)
            nursery.start_soon(until_said_otherwise, nursery.cancel_scope)
            await _moved(changes, here, avoid)
            nursery.cancel_scope.cancel()
    return flooded


async def _moved(changes: AddressChanges, here: Reachable, avoid: Sequence[str]) -> None:
    """Until this machine is reachable otherwise than ``here``."""
    async for _ in changes:
        if await trio.to_thread.run_sync(lambda: reachable(avoid=avoid)) != here:
            return
