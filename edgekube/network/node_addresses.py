"""This node's addresses as they are now: a lease ends, a cable is plugged in somewhere else, and everybody hears of it.

Enters: what the operator fixed, the cluster's own ranges, the kernel's news.
Leaves: the current addresses, IPv4 first; a wake-up for whoever waits, when they have changed.
Holds: fixed addresses stay as they are; others are kept while they are usable. Without any the last ones are kept for a while,
because a short pull of a cable is no change of address; then the last resort, an address on the loopback interface, keeps the
machine a node to itself. Nobody who waits misses a change.
Next: agent.node, daemon.pod_network, daemon.server.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import trio

from edgekube import limits
from edgekube.network.address_changes import address_changes
from edgekube.network.addresses import NoAddress, node_address, node_ipv6_address
from edgekube.settings import Settings

log = logging.getLogger("edgekube.network")


class NodeAddresses:
    def __init__(
        self, *, fixed: Sequence[str] = (), avoid: Sequence[str] = (), dual_stack: bool = False, last_resort: str = ""
    ) -> None:
        """``avoid``: the cluster's own ranges."""
        self.current: tuple[str, ...] = tuple(fixed)
        self._last_resort = last_resort
        self._fixed = bool(fixed)
        self._avoid = tuple(avoid)
        self._dual_stack = dual_stack
        self._changed = trio.Event()
        #: The last look found no address.
        self._adrift = False

    @classmethod
    def of(cls, settings: Settings) -> NodeAddresses:
        ranges = [str(network) for network in (*settings.cluster_networks, *settings.service_networks)]
        return cls(
            fixed=settings.node_ips, avoid=ranges, dual_stack=len(settings.cluster_networks) > 1, last_resort=settings.cluster_dns
        )

    def look(self) -> None:
        """Ask the kernel, before anybody waits. Blocks for some milliseconds."""
        self.become(self._find(give_up=True))

    def _find(self, *, give_up: bool) -> tuple[str, ...]:
        """What the kernel has; without an address the last resort, or what there was as long as ``give_up`` is not said."""
        if self._fixed:
            return self.current
        before = {4: "", 6: "", **{6 if ":" in address else 4: address for address in self.current}}
        try:
            found = [node_address(avoid=self._avoid, now=before[4])]
        except NoAddress as error:
            self._adrift = True
            if not give_up or not self._last_resort:
                return self.current
            if self.current != (self._last_resort,):
                log.warning("%s; until then %s stands for it", error, self._last_resort)
            return (self._last_resort,)
        self._adrift = False
        if self._dual_stack:
            found.append(node_ipv6_address(beside=found[0], avoid=self._avoid, now=before[6]))
        return tuple(address for address in found if address)

    async def wait_for_other_than(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """The addresses, as soon as they differ from these."""
        while self.current == known:
            await self._changed.wait()
        return self.current

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the kernel until cancelled; started after the first look."""
        async with address_changes() as changes, trio.open_nursery() as nursery:
            await self._look_again(give_up=not self.current)
            task_status.started()
            async for _ in changes:
                await self._look_again(give_up=False)
                if self._adrift:
                    nursery.start_soon(self._give_up_later)

    async def _give_up_later(self) -> None:
        await trio.sleep(limits.ADDRESS_MISSED_SECONDS)
        if self._adrift:
            await self._look_again(give_up=True)

    async def _look_again(self, *, give_up: bool) -> None:
        if found := await trio.to_thread.run_sync(partial(self._find, give_up=give_up)):
            self.become(found)

    def become(self, addresses: tuple[str, ...]) -> None:
        """Whoever waits is woken, when they are others than before."""
        if addresses == self.current:
            return
        if self.current:
            log.info("this node's addresses are now %s (before: %s)", ", ".join(addresses), ", ".join(self.current))
        self.current = addresses
        changed, self._changed = self._changed, trio.Event()
        changed.set()
