"""Listen to who is on the LAN.

Enters: a Seen to fill.
Leaves: a Seen that follows what is announced, for the length of a ``with``; ``changed`` wakes whoever waits for news.
Holds: a change of this machine's addresses is followed; a flood pauses listening, and what was heard stays.
Next: cli.discover, discovery.servers, daemon.agent.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from edgekube import limits
from edgekube.discovery.announcement import Announcement
from edgekube.discovery.interfaces import Reachable, reachable
from edgekube.discovery.mdns import MdnsUnavailable, open_mdns
from edgekube.discovery.seen import Seen
from edgekube.network.address_changes import AddressChanges, address_changes

log = logging.getLogger("edgekube.discovery")


class Browsing:
    def __init__(self, seen: Seen) -> None:
        self.seen = seen
        #: Why nothing can be heard now; "" when all is well.
        self.problem = ""
        self._news = trio.Event()

    async def changed(self) -> None:
        """Until there is news; look at ``seen`` before and after."""
        await self._news.wait()

    async def settled(self, quiet_seconds: float) -> None:
        """Until something was heard, and then nothing new for so long."""
        while True:
            news = self._news
            with trio.move_on_after(quiet_seconds if len(self.seen) else float("inf")) as quiet:
                await news.wait()
            if quiet.cancelled_caught:
                return

    def wake(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def browse(seen: Seen, *, avoid: Sequence[str] = ()) -> AsyncIterator[Browsing]:
    browsing = Browsing(seen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_keep_browsing, browsing, avoid)
        yield browsing
        nursery.cancel_scope.cancel()


async def _keep_browsing(browsing: Browsing, avoid: Sequence[str]) -> None:
    pause_seconds = limits.MDNS_PAUSE_FIRST_SECONDS
    async with address_changes() as changes:
        while True:
            here = await trio.to_thread.run_sync(lambda: reachable(avoid=avoid))
            try:
                flooded = await _listen(browsing, here, changes, avoid)
            except MdnsUnavailable as error:
                _tell_problem(browsing, str(error))
                with trio.move_on_after(limits.MDNS_RETRY_SECONDS):
                    await anext(changes)
                continue
            if flooded:
                _tell_problem(browsing, f"mDNS is flooded by somebody on this LAN: not listening for {pause_seconds:g} s")
                await trio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, limits.MDNS_PAUSE_LAST_SECONDS)
            else:
                pause_seconds = limits.MDNS_PAUSE_FIRST_SECONDS


def _tell_problem(browsing: Browsing, problem: str) -> None:
    if problem != browsing.problem:
        log.warning("%s", problem)
    browsing.problem = problem
    browsing.wake()


async def _listen(browsing: Browsing, here: Reachable, changes: AddressChanges, avoid: Sequence[str]) -> bool:
    """Until the addresses changed (False) or a flood came (True)."""
    flooded = False

    def tell(instance: str, announcement: Announcement | None) -> None:
        if announcement is None:
            news = browsing.seen.remove(instance)
        else:
            news = browsing.seen.put(instance, announcement)
        if news:
            browsing.wake()

    async with open_mdns(here) as mdns:
        browsing.problem = ""
        await mdns.browse(tell)

        async def until_flooded(scope: trio.CancelScope) -> None:
            nonlocal flooded
            await mdns.flooded.wait()
            flooded = True
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_flooded, nursery.cancel_scope)
            async for _ in changes:
                if await trio.to_thread.run_sync(lambda: reachable(avoid=avoid)) != here:
                    break
            nursery.cancel_scope.cancel()
    return flooded
