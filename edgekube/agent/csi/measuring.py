"""Drivers that want to be asked now and then how many volumes this node may have.

Enters: CSIDrivers with nodeAllocatableUpdatePeriodSeconds, by a watch that begins when the first driver is registered.
Leaves: NodeGetInfo calls, each followed by the CSINode.
Holds: a driver without a period is asked when it registers and never again; nothing wakes while no driver has one.
Source: Kubernetes documentation, "Node-specific Volume Limits", mutable CSI node allocatable count.
Next: agent.csi.drivers.
"""

from __future__ import annotations

import trio

from edgekube.agent.csi.drivers import CsiDrivers
from edgekube.agent.csi.options import update_seconds
from edgekube.api.kinds import CSIDRIVER
from edgekube.api.verbs import Verbs
from edgekube.reconcile.by_name import ByName
from edgekube.reconcile.follow import follow


class Measuring:
    def __init__(self, verbs: Verbs, drivers: CsiDrivers) -> None:
        self._verbs = verbs
        self._drivers = drivers
        self._came = trio.Event()
        self._objects = ByName(lambda: self._came.set())
        #: Driver -> its period, and when it is asked next.
        self._due: dict[str, tuple[int, float]] = {}

    def driver_came(self) -> None:
        self._came.set()

    async def run(self) -> None:
        """For ever."""
        await self._came.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow, self._verbs, CSIDRIVER, self._objects)
            while True:
                self._came = trio.Event()
                self._schedule()
                for name in [name for name, (_, at) in self._due.items() if at <= trio.current_time()]:
                    await self._drivers.measure(name)
                    period = self._due[name][0]
                    self._due[name] = period, trio.current_time() + period
                with trio.move_on_at(min((at for _, at in self._due.values()), default=float("inf"))):
                    await self._came.wait()

    def _schedule(self) -> None:
        periods = {name: update_seconds(self._objects.objects.get(name)) for name in self._drivers.names()}
        for name, period in periods.items():
            if period != self._due.get(name, (0, 0.0))[0]:
                self._due[name] = period, trio.current_time() + period
        self._due = {name: row for name, row in self._due.items() if periods.get(name)}
