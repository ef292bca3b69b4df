"""This machine's own side of the pod network: addresses on the loopback interface, the way to Services, the runtime's file.

Enters: Settings, the node's addresses as they change, its ranges for pods.
Leaves: what the kernel and the runtime have to know; done again when an address or a link changed.
Holds: what is right is not touched. The kernel takes the way to Services away together with the node's address, so that is looked
at after every change of a link or an address, also when the same address is back in the end.
Next: network.addresses, network.cni.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_network

import trio

from edgekube.network import addresses, cni
from edgekube.network.address_changes import address_changes
from edgekube.network.node_addresses import NodeAddresses
from edgekube.settings import Settings

log = logging.getLogger("edgekube.network")


class HostNetwork:
    def __init__(self, settings: Settings, node: NodeAddresses, pod_cidrs: Sequence[str]) -> None:
        self._settings = settings
        self._node = node
        self._pod_cidrs = tuple(pod_cidrs)
        self._wake = trio.Event()

    def prepare(self) -> None:
        """Before anything is reached. Blocks for some milliseconds."""
        refused = addresses.write_sysctls()
        if self._services_ipv6:
            # Before forwarding: with it, the kernel would forget what a router told it.
            addresses.accept_router_advice(addresses.uplinks())
            refused += addresses.write_sysctls(settings=addresses.SYSCTLS_IPV6)
        if refused:
            log.warning("the kernel refused settings, pods may not reach each other: %s", ", ".join(refused))
        addresses.batch(self._commands())

    def remember_half_closed(self) -> None:
        """Once the table of Services stands, which makes the kernel track connections."""
        if refused := addresses.write_sysctls(settings=addresses.SYSCTLS_TRACKING):
            log.warning("the kernel refused settings, half-closed connections may be reset: %s", ", ".join(refused))

    def give_up_former_ranges(self) -> bool:
        """Before anything else: no pod gets an address that belongs to another node by now. True when there were such ranges."""
        former = cni.configured(self._settings.cni_conf_dir)
        if not former or former == self._pod_cidrs:
            return False
        log.warning("this node's pods have other ranges now: %s (before: %s)", ",".join(self._pod_cidrs), ",".join(former))
        cni.forget(self._settings.cni_conf_dir)
        # The gateways of the former ranges; what else was said of them is replaced.
        addresses.batch(addresses.removal_commands(pod_cidrs=former, service_cidrs=[], cluster_dns=[]))
        return True

    def write_cni(self) -> None:
        """The runtime takes pods as soon as it sees this file."""
        settings = self._settings
        mtu = addresses.interface_mtu(self._node.current[0])
        text = cni.conflist(pod_cidrs=self._pod_cidrs, mtu=mtu, leases_dir=settings.data_dir / "cni" / "addresses")
        if cni.write(settings.cni_conf_dir, text):
            log.info("pods to come have mtu=%d", mtu)

    async def run(self) -> None:
        """Follow addresses and links until cancelled."""
        async with address_changes() as changes, trio.open_nursery() as nursery:
            nursery.start_soon(self._hear_of_addresses)
            nursery.start_soon(self._keep)
            async for _ in changes:
                self._wake.set()

    async def _hear_of_addresses(self) -> None:
        known = self._node.current
        while True:
            known = await self._node.wait_for_other_than(known)
            self._wake.set()

    async def _keep(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            await trio.to_thread.run_sync(self._look)

    def _look(self) -> None:
        # Only when something is missing: the kernel tells of every address that is set, also if it was set before.
        there = addresses.has_way_to(str(self._settings.service_networks[0]), self._node.current[0])
        if self._services_ipv6:
            addresses.accept_router_advice(addresses.uplinks())
            there = there and addresses.has_way_to(self._services_ipv6, self._source_ipv6(), self._device_ipv6())
        if not there:
            addresses.batch(self._commands())
        self.write_cni()

    # --- IPv6, where this node has a range of it

    @property
    def _pod_cidr_ipv6(self) -> str:
        return next((cidr for cidr in self._pod_cidrs if ":" in cidr), "")

    @property
    def _services_ipv6(self) -> str:
        ranges = [str(network) for network in self._settings.service_networks if network.version == 6]
        return ranges[0] if ranges and self._pod_cidr_ipv6 else ""

    def _source_ipv6(self) -> str:
        """What pods see of this host."""
        own = next((address for address in self._node.current if ":" in address), "")
        return own or str(ip_network(self._pod_cidr_ipv6)[1])

    def _device_ipv6(self) -> str:
        device = addresses.device_of(self._node.current[0])
        return "" if device == "lo" else device

    def _commands(self) -> list[str]:
        settings = self._settings
        commands = addresses.host_commands(
            node_ip=self._node.current[0],
            pod_cidr=self._pod_cidrs[0],
            service_cidr=str(settings.service_networks[0]),
            cluster_dns=settings.cluster_dns,
        )
        if self._services_ipv6:
            commands += addresses.host_commands_ipv6(
                source=self._source_ipv6(),
                pod_cidr=self._pod_cidr_ipv6,
                service_cidr=self._services_ipv6,
                cluster_dns=settings.cluster_dns_addresses[1],
                device=self._device_ipv6(),
            )
        return commands
