"""Devices of this node, given to containers: the ledger joined to plugins, to the board and to the disk.

Enters: plugins as they register, the board's own devices, pods that are admitted and containers that start.
Leaves: the extended resources of the Node, what a container gets with its devices, DeviceProblem in the kubelet's words.
Holds: a pod is given its devices one container after the other before it is admitted, and the disk knows it before anybody else;
a container that starts is given what it has already. Pods that no longer count lose theirs at the next admission. A plugin that
goes away keeps its place for limits.DEVICE_PLUGIN_GRACE_SECONDS; pods that hold its devices wait for it after a boot.
Source: Kubernetes documentation, "Device Plugins"; docs/adr/0062.
Next: agent.entry (admit), agent.execute (give), agent.node (shown).
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeAlias

import trio
from msgspec import Struct

from edgekube.agent.devices import checkpoint
from edgekube.agent.devices.ledger import Offer
from edgekube.agent.devices.model import NOTHING, DeviceProblem, Given, Source
from edgekube.agent.devices.plugin import Plugin
from edgekube.agent.podspec import containers_of, init_containers_of
from edgekube.api import quantities
from edgekube.api.objects import Object, uid_of
from edgekube.limits import DEVICE_PLUGIN_GRACE_SECONDS, DEVICE_PLUGINS_MAX

log = logging.getLogger("edgekube.agent")

#: uids of the pods that count; None while nobody can tell, for the API has not spoken yet.
Active: TypeAlias = Callable[[], Collection[str] | None]


class _Place(Struct):
    source: Source
    gone_at: float = math.inf


def wanted_of(container: Object) -> dict[str, int]:
    """Whole numbers by resource, of whatever may be a device: extended resources cannot be overcommitted, limits say it all."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return {name: int(quantities.to_bytes(amount)) for name, amount in sorted(limits.items()) if "/" in name}


class NodeDevices:
    def __init__(self, path: Path, active: Active = lambda: None, changed: Callable[[], None] = lambda: None) -> None:
        """``path``: of the checkpoint. ``changed`` is called when the Node's amounts are others."""
        self._path = path
        self._active = active
        self._changed = changed
        self.ledger = checkpoint.read(path)
        self._places: dict[str, _Place] = {}
        self._turn = trio.Lock()
        self._writing = trio.Lock()
        # What was registered before this start: it has its place for a while, and shows no devices.
        self._absent_since = dict.fromkeys(self.ledger.offers, trio.current_time())
        self._stirred = trio.Event()

    # --- sources ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """For ever: resources whose source has been away for too long go."""
        while True:
            now = trio.current_time()
            late = [name for name, since in self._absent_since.items() if since + DEVICE_PLUGIN_GRACE_SECONDS <= now]
            for name in late:
                log.info("resource is given up, its device plugin does not come back resource=%s", name)
                del self._absent_since[name]
                self.ledger.offers.pop(name, None)
                self.ledger.given_up.add(name)
                self._places.pop(name, None)
            if late:
                await self._save_when_possible()
                self._changed()
            self._stirred = trio.Event()
            next_at = min(self._absent_since.values(), default=math.inf) + DEVICE_PLUGIN_GRACE_SECONDS
            with trio.move_on_at(next_at):
                await self._stirred.wait()

    async def offered(self, resource: str, source: Source, offer: Offer) -> None:
        """The devices of a source, all of them, each time they change."""
        place = self._places.get(resource)
        known = self.ledger.offers.get(resource)
        if place is None or place.source is not source:
            self._places[resource] = _Place(source)
        self._absent_since.pop(resource, None)
        self.ledger.given_up.discard(resource)
        self.ledger.offers[resource] = offer
        if known is None:
            await self._save_when_possible()
        if known != offer:
            log.info("devices resource=%s healthy=%d unhealthy=%d", resource, len(offer.healthy), len(offer.unhealthy))
            self._changed()

    def gone(self, resource: str, source: Source) -> None:
        """Its source no longer answers. Somebody who took its place is not touched."""
        place = self._places.get(resource)
        if place is None or place.source is not source:
            return
        self.ledger.offers[resource] = self.ledger.offers.get(resource, Offer()).gone()
        self._absent_since[resource] = trio.current_time()
        self._stirred.set()
        self._changed()

    async def keep_plugin(self, plugin: Plugin) -> None:
        """For as long as it lives."""
        try:
            await plugin.watch(functools.partial(self.offered, plugin.resource, plugin))
        finally:
            self.gone(plugin.resource, plugin)
            plugin.close()

    def plugin_for(self, resource: str, socket: Path) -> Plugin:
        """Raises DeviceProblem."""
        place = self._places.get(resource)
        if place is not None and not isinstance(place.source, Plugin):
            raise DeviceProblem(f"the resource {resource} is one of this node's own (setting device)")
        if place is None and len(self._places) >= DEVICE_PLUGINS_MAX:
            raise DeviceProblem(f"this node has {DEVICE_PLUGINS_MAX} resources of device plugins already")
        if place is not None and isinstance(place.source, Plugin):
            place.source.close()
        return Plugin(resource, socket)

    # --- what the Node shows ------------------------------------------------------------------------------------------

    def shown(self, before: Object) -> tuple[dict[str, str | None], dict[str, str | None]]:
        """Capacity and allocatable, for the Node's status; None for what is to go.

        An extended resource that people wrote into the capacity is allocatable as a whole, as a kubelet shows it.
        """
        capacity: dict[str, str | None] = {name: str(count) for name, count in self.ledger.capacity().items()}
        allocatable: dict[str, str | None] = {name: str(count) for name, count in self.ledger.allocatable().items()}
        for name, amount in (before.get("capacity") or {}).items():
            if name in self.ledger.given_up:
                capacity[name] = None
            elif "/" in name and name not in capacity:
                allocatable[name] = amount
        for name in before.get("allocatable") or {}:
            if "/" in name and name not in allocatable:
                allocatable[name] = None
        return capacity, allocatable

    def amounts(self, shown: Mapping[str, str]) -> dict[str, str]:
        """Of resources of which pods hold more than the Node shows: as many, for a plugin that is away must not cost them."""
        held = self.ledger.amounts_held()
        return {name: str(count) for name, count in held.items() if count > quantities.to_bytes(shown.get(name, "0"))}

    # --- pods ---------------------------------------------------------------------------------------------------------

    async def admit(self, pod: Object) -> None:
        """Give each container what it asks for. Raises DeviceProblem."""
        containers = [*init_containers_of(pod), *containers_of(pod)]
        if not any(self._wanted(container) for container in containers):
            return
        async with self._turn:
            active = self._active()
            if active is not None:
                self.ledger.keep_only({*active, uid_of(pod)})
            before = {name: dict(of) for name, of in self.ledger.held.get(uid_of(pod), {}).items()}
            try:
                for container in containers:
                    await self._allocate(pod, container)
            except DeviceProblem as problem:
                self.ledger.held[uid_of(pod)] = before
                raise DeviceProblem(f"Allocate failed due to {problem}, which is unexpected") from None
            await self._save()

    async def give(self, pod: Object, container: Object) -> Given:
        """To a container that is about to start. Raises DeviceProblem."""
        wanted = self._wanted(container)
        if not wanted:
            return NOTHING
        uid, name = uid_of(pod), container["name"]
        self.ledger.ready(pod, name, wanted)
        if any(self.ledger.holding(uid, name, resource) is None for resource in wanted):
            async with self._turn:
                await self._allocate(pod, container)
                await self._save()
        for resource in wanted:
            place, holding = self._places.get(resource), self.ledger.holding(uid, name, resource)
            if place is None or holding is None:
                continue
            if place.source.changes:
                self.ledger.hold(uid, name, resource, holding.ids, await place.source.allocate(sorted(holding.ids)))
            if place.source.pre_start_required:
                await place.source.pre_start(sorted(holding.ids))
        return self.ledger.given(uid, name)

    def into_status(self, pod: Object, status: Object) -> None:
        """Whether the devices that its containers hold are well (allocatedResourcesStatus)."""
        held = self.ledger.held.get(uid_of(pod))
        for container in (status.get("containerStatuses") or []) if held else ():
            shown = [
                {
                    "name": resource,
                    "resources": [
                        {"resourceID": name, "health": "Healthy" if self._is_well(resource, name) else "Unhealthy"}
                        for name in sorted(holding.ids)
                    ],
                }
                for resource, holding in sorted((held or {}).get(container["name"], {}).items())
            ]
            if shown:
                container["allocatedResourcesStatus"] = shown

    def _is_well(self, resource: str, name: str) -> bool:
        offer = self.ledger.offers.get(resource)
        # What nobody speaks of is not known to be ill.
        return offer is None or name not in offer.unhealthy

    async def release(self, uid: str) -> None:
        """Of a pod that was not admitted after all."""
        if self.ledger.release(uid):
            await self._save_when_possible()

    def _wanted(self, container: Object) -> Mapping[str, int]:
        return {name: count for name, count in wanted_of(container).items() if count and self.ledger.knows(name)}

    async def _allocate(self, pod: Object, container: Object) -> None:
        for resource, count in self._wanted(container).items():
            choice = self.ledger.choose(pod, container["name"], resource, count)
            if choice is None:
                continue
            source = self._places[resource].source
            preferred: Collection[str] = ()
            if choice.missing and source.preference_available:
                available = sorted(choice.free | choice.taken)
                preferred = await source.preferred(available, sorted(choice.taken), count)
            ids = choice.filled(preferred)
            self.ledger.hold(uid_of(pod), container["name"], resource, ids, await source.allocate(sorted(ids)))

    async def _save_when_possible(self) -> None:
        """Of what is offered: the next admission writes it again, and a full disk must not end the node."""
        try:
            await self._save()
        except OSError as error:
            log.warning("checkpoint of devices not written path=%s error=%s", self._path, error)

    async def _save(self) -> None:
        with trio.CancelScope(shield=True):
            async with self._writing:
                await trio.to_thread.run_sync(checkpoint.write, self._path, checkpoint.packed(self.ledger))
