"""The service proxy: follow Services, EndpointSlices, ServiceCIDRs and this node's pods, and keep the packet filter true to them.

Enters: a View, and word of what changed (touch_*), in any order and as often as it comes.
Leaves: nft transactions; tracked UDP flows of removed targets are forgotten; what health check node ports have to tell.
Holds: one owner's rules are planned from the view alone; a script that fails is followed by a table made anew;
until the first plan of a start is applied, the rules of the run before stay, and sticky clients stay known over it.
Bound: changes are collected while a script is being applied, so a flood of changes costs one script at a time.
Next: network.ruleset, network.kernel, network.health.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import trio

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, NODE, POD, SERVICE, SERVICECIDR
from edgekube.api.objects import Object, labels_of, name_of, namespace_of
from edgekube.api.view import View
from edgekube.network import conntrack
from edgekube.network.endpoints import HealthCheck, Place, Target, health_check, service_ports
from edgekube.network.health import HealthPorts
from edgekube.network.kernel import Kernel
from edgekube.network.nft import NftFailed
from edgekube.network.ranges import Ranges
from edgekube.network.ruleset import TABLES, Ruleset, frame, others, removal
from edgekube.network.service_rules import NOTHING, Contribution, Door, of_pod, of_ranges, of_service
from edgekube.network.slices import SliceIndex
from edgekube.network.table_losses import wait_for_loss

log = logging.getLogger("edgekube.network")

#: ("service" or "pod", namespace, name)
Owner: TypeAlias = tuple[str, str, str]
#: All ServiceCIDRs together: they may overlap.
_RANGES: Owner = ("ranges", "", "")
_ZONE = "topology.kubernetes.io/zone"


class _Family:
    """What one address family's table holds."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.table = TABLES[ranges.family]
        self.rules = Ruleset(ranges.family)
        self.targets_max = limits.PROXY_TARGETS_FIRST
        #: Who has UDP doors, and which; kept when the table is made anew.
        self.doors: dict[Owner, dict[Door, frozenset[Target]]] = {}


class ServiceProxy:
    def __init__(self, view: View, *, node_name: str, ranges: Sequence[Ranges], kernel: Kernel | None = None) -> None:
        self._kernel = kernel or Kernel()
        self._view = view
        self._node_name = node_name
        self._families = [_Family(each) for each in ranges]
        self._slices = SliceIndex()
        self._dirty: set[Owner] = set()
        self._place = Place(node_name)
        self._wake = trio.Event()
        #: Changes told so far, those that the kernel has, and the event of the next of these.
        self._told = 0
        self._kept = 0
        self._passed = trio.Event()
        #: Somebody deleted a table.
        self._lost = False
        self.health = HealthPorts()
        #: Counts applied scripts, for tests and metrics.
        self.applied = 0

    # Word of changes. Cheap and synchronous: they are called from the view's own loop.

    def touch_service(self, namespace: str, name: str) -> None:
        self._touch(("service", namespace, name))

    def touch_slice(self, old: Object | None, new: Object | None) -> None:
        for namespace, service in self._slices.touch(old, new):
            self.touch_service(namespace, service)

    def touch_pod(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and (obj.get("spec") or {}).get("nodeName") == self._node_name and _has_host_ports(obj):
            self._touch(("pod", namespace_of(obj), name_of(obj)))

    def touch_ranges(self) -> None:
        """ServiceCIDRs came or went."""
        self._touch(_RANGES)

    def touch_node(self, new: Object | None) -> None:
        """Only this node's zone matters: it says which endpoints are near."""
        if new is not None and name_of(new) == self._node_name and labels_of(new).get(_ZONE, "") != self._place.zone:
            self._place = Place(self._node_name, labels_of(new).get(_ZONE, ""))
            self._mark_everything()
            self._touch()

    def _touch(self, *owners: Owner) -> None:
        self._dirty.update(owners)
        self._told += 1
        self._wake.set()

    async def settled(self) -> None:
        """Returns once the kernel has everything that was told until now."""
        goal = self._told
        while self._kept < goal:
            await self._passed.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply until cancelled; started once the first complete tables are in the kernel. The view must be filled."""
        node = self._view.get(NODE, "", self._node_name)
        if node is not None:
            self._place = Place(self._node_name, labels_of(node).get(_ZONE, ""))
        self._mark_everything()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.health.run)
            nursery.start_soon(self._watch_tables)
            await self._keep_applying(task_status)

    async def _watch_tables(self) -> None:
        """Tables that somebody deletes are made anew at once, not when the next change fails."""
        tables = {family.table for family in self._families}
        with self._kernel.news() as news:
            while True:
                await wait_for_loss(news, tables)
                if all([await self._kernel.has(table) for table in tables]):
                    continue
                log.warning("a table of ours was deleted by somebody, making it anew")
                self._lost = True
                self._mark_everything()
                self._touch()
                await trio.sleep(limits.NFT_RETRY_SECONDS)

    async def _keep_applying(self, task_status: trio.TaskStatus[None]) -> None:
        fresh, apart = True, False
        started = False
        while True:
            fresh, self._lost = fresh or self._lost, False
            dirty, self._dirty = self._dirty, set()
            told, self._wake = self._told, trio.Event()
            try:
                await self._apply(dirty, fresh=fresh, apart=apart)
                fresh, apart = False, False
                self.health.proxy_healthy = True
            except NftFailed as error:
                log.error("nft refused a script, making the table anew: %s", error)
                self.health.proxy_healthy = False
                self._dirty |= dirty
                self._mark_everything()
                fresh, apart = True, fresh  # the whole table refused: find out because of whom
                await trio.sleep(limits.NFT_RETRY_SECONDS)
                continue
            self._kept = told
            self._passed.set()
            self._passed = trio.Event()
            if not started:
                task_status.started()
                started = True
            # The first change goes at once; those that follow it closely go together.
            applied_at = trio.current_time()
            await self._wake.wait()
            await trio.sleep_until(applied_at + limits.PROXY_SETTLE_SECONDS)

    def _mark_everything(self) -> None:
        self._dirty.add(_RANGES)
        self._dirty.update(("service", namespace_of(s), name_of(s)) for s in self._view.list(SERVICE))
        for piece in self._view.list(ENDPOINTSLICE):
            self._slices.touch(None, piece)
        pods = self._view.pods_on(self._node_name)
        self._dirty.update(("pod", namespace_of(pod), name_of(pod)) for pod in pods if _has_host_ports(pod))

    async def _apply(self, dirty: set[Owner], *, fresh: bool, apart: bool = False) -> None:
        plans = await self._plans(dirty)
        if self._grow(plans) and not fresh:
            self._mark_everything()
            everything, self._dirty = self._dirty | dirty, set()
            plans = await self._plans(everything)
            fresh = True
        clients = [await self._kernel.clients(family.table) if fresh else {} for family in self._families]
        parts = [self._frames()] if fresh else []
        if apart:
            await self._apply_apart(parts[0], plans)
            parts = []
        else:
            parts += self._changes(plans)
        parts += [_known_again(family, known) for family, known in zip(self._families, clients, strict=True)]
        script = "\n".join(part for part in parts if part)
        if script:
            await self._kernel.apply(script)
            self.applied += 1
        for number, family in enumerate(self._families):
            await self._forget_flows(family, [(owner, contributions[number]) for owner, (contributions, _) in plans])
        for owner, (_, health) in plans:
            self.health.set(owner, health)

    def _frames(self) -> str:
        """New tables, and the end of those of families that are no longer served."""
        for family in self._families:
            family.rules.restart()
        frames = [frame(family.ranges, targets_max=family.targets_max) for family in self._families]
        return removal(others(family.ranges for family in self._families)) + "".join(frames)

    def _changes(self, plans: Sequence[tuple[Owner, _Plan]]) -> list[str]:
        return [
            family.rules.change((owner, contributions[number]) for owner, (contributions, _) in plans)
            for number, family in enumerate(self._families)
        ]

    async def _apply_apart(self, frames: str, plans: Sequence[tuple[Owner, _Plan]]) -> None:
        """One owner after the other: who has something that nft refuses is left out, and nobody else for his sake."""
        await self._kernel.apply(frames)
        for plan in plans:
            script = "\n".join(part for part in self._changes([plan]) if part)
            try:
                if script:
                    await self._kernel.apply(script)
            except NftFailed as error:
                log.error("left out, because nft refuses it: %s %s/%s: %s", *plan[0], error)
                for family in self._families:
                    family.rules.forget(plan[0])

    def _grow(self, plans: Sequence[tuple[Owner, _Plan]]) -> bool:
        """Whether a table needs more chains than it has; they double until they are enough."""
        grown = False
        for number, family in enumerate(self._families):
            needed = max((contributions[number].targets_max for _, (contributions, _) in plans), default=0)
            while family.targets_max < needed:
                family.targets_max *= 2
                grown = True
        return grown

    async def _forget_flows(self, family: _Family, changes: Sequence[tuple[Owner, Contribution]]) -> None:
        doors: dict[Door, frozenset[Target]] = {}
        for owner, new in changes:
            doors |= conntrack.changed_doors(family.doors.get(owner, {}), new.udp_doors)
            if new.udp_doors:
                family.doors[owner] = new.udp_doors
            else:
                family.doors.pop(owner, None)
        if not doors:
            return
        ports = {port for _, port in doors}
        lines = await self._kernel.udp_flows(family.ranges.family, ports.pop() if len(ports) == 1 else None)
        # A full table of flows is long; reading it must not hold up the event loop.
        leftovers = await trio.to_thread.run_sync(conntrack.deletions, lines, doors, family.ranges.family)
        if leftovers:
            await self._kernel.forget_flows(leftovers)

    async def _plans(self, owners: set[Owner]) -> list[tuple[Owner, _Plan]]:
        """Others get their turn meanwhile; an owner that changes again after its plan is dirty again."""
        plans = []
        for number, owner in enumerate(sorted(owners)):
            plans.append((owner, self._plan(*owner)))
            if number % limits.PROXY_PLANS_A_TURN_MAX == limits.PROXY_PLANS_A_TURN_MAX - 1:
                await trio.lowlevel.checkpoint()
        return plans

    def _plan(self, what: str, namespace: str, name: str) -> _Plan:
        if what == "pod":
            pod = self._view.get(POD, namespace, name)
            return [NOTHING if pod is None else of_pod(pod, family.ranges) for family in self._families], None
        if what == "ranges":
            cidrs = [cidr for each in self._view.list(SERVICECIDR) for cidr in (each.get("spec") or {}).get("cidrs") or ()]
            return [of_ranges(cidrs, family.ranges) for family in self._families], None
        service = self._view.get(SERVICE, namespace, name)
        if service is None:
            return [NOTHING] * len(self._families), None
        slices = self._slices.slices(self._view, namespace, name)
        contributions = [
            of_service(service_ports(service, slices, self._place, family.ranges.family), family.ranges)
            for family in self._families
        ]
        return contributions, health_check(service, slices, self._place)


#: A contribution for each family's table, and what its health check node port tells.
_Plan: TypeAlias = tuple[list[Contribution], HealthCheck | None]


def _known_again(family: _Family, clients: Mapping[str, Sequence[tuple[str, int]]]) -> str:
    """The clients that the table remembered before it is made anew, for as long as they still had."""
    lines = []
    for name in sorted(family.rules.client_sets() & clients.keys()):
        for start in range(0, len(clients[name]), limits.PROXY_BATCH_CLIENTS_MAX):
            batch = clients[name][start : start + limits.PROXY_BATCH_CLIENTS_MAX]
            elements = ", ".join(f"{address} timeout {seconds}s" for address, seconds in batch)
            lines.append(f"add element {family.table} {name} {{ {elements} }}")
    return "\n".join(lines)


def _has_host_ports(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return any(port.get("hostPort") for container in containers for port in container.get("ports") or ())
