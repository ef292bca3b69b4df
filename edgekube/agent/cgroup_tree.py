"""The cgroups above the pods': all pods together, and Burstable and BestEffort ones apart.

Enters: what pods may use together, the requests of the pods that are here.
Leaves: limits of kubepods, shares of kubepods/burstable and kubepods/besteffort, limits of the reservations' own cgroups.
Holds: written when something changed, never otherwise. A limit that the kernel refuses (pods use more at this moment) is tried
again once a minute, and told as an event as the kubelet does.
Source: Kubernetes documentation, "Reserve Compute Resources for System Daemons"; pkg/kubelet/cm.
Next: agent.cgroups.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import trio

from edgekube.agent.cgroups import Cgroups
from edgekube.agent.held import Held
from edgekube.agent.reservations import PodsShare, reserved_share
from edgekube.agent.resources import CPU_SHARES_MIN, cpu_shares
from edgekube.node_rules import NodeRules

log = logging.getLogger("edgekube.agent")

RETRY_SECONDS = 60.0


def burstable_shares(pods: Iterable[Held]) -> int:
    """By what Burstable pods ask for together."""
    milli = sum(held.requests.get("cpu", 0) for held in pods if held.qos == "Burstable")
    return max(CPU_SHARES_MIN, cpu_shares(milli))


class CgroupTree:
    def __init__(
        self,
        cgroups: Cgroups,
        share: PodsShare,
        rules: NodeRules,
        pods: Callable[[], Iterable[Held]],
        tell: Callable[[str, str, str], None],
    ) -> None:
        """``pods``: what each holds that holds resources here. ``tell``: (type, reason, message) about the node."""
        self._cgroups = cgroups
        self._share = share
        self._rules = rules
        self._pods = pods
        self._tell = tell
        self._burstable = 0
        self._look = trio.Event()

    def poke(self) -> None:
        """Pods came or went."""
        self._look.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            events = await trio.to_thread.run_sync(self._enforce)
            for event in events:
                self._tell(*event)
            if events[0][0] == "Normal":
                break
            await trio.sleep(RETRY_SECONDS)
        while True:
            self._look = trio.Event()
            shares = burstable_shares(self._pods())
            # A process that begins knows no pods yet: what its predecessor set stays until it does.
            if shares != self._burstable and (self._burstable or shares > CPU_SHARES_MIN):
                try:
                    await trio.to_thread.run_sync(self._cgroups.share, f"{self._cgroups.parent}/burstable", shares)
                    self._burstable = shares
                except OSError as error:
                    log.warning("shares not set cgroup=burstable error=%s", error)
            await self._look.wait()

    def _enforce(self) -> list[tuple[str, str, str]]:
        """What is to be told; the first says whether it worked."""
        parent = self._cgroups.parent
        try:
            self._cgroups.hold(parent, cpu_shares(self._share.cpu_milli), self._share.memory_bytes, self._share.pids)
            self._cgroups.share(f"{parent}/besteffort", CPU_SHARES_MIN)
            if not self._cgroups.exists(f"{parent}/burstable"):
                self._cgroups.share(f"{parent}/burstable", CPU_SHARES_MIN)
        except OSError as error:
            message = f'Failed to update Node Allocatable Limits ["{parent.strip("/")}"]: {error}'
            log.warning(message)
            return [("Warning", "FailedNodeAllocatableEnforcement", message)]
        events = [("Normal", "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods")]
        rules = self._rules
        for name, title, cgroup, reserved in (
            ("system-reserved", "System", rules.system_reserved_cgroup, rules.system_reserved),
            ("kube-reserved", "Kube", rules.kube_reserved_cgroup, rules.kube_reserved),
        ):
            if name in rules.enforce_allocatable:
                events.append(self._hold_reserved(title, cgroup, reserved_share(reserved)))
        return events

    def _hold_reserved(self, title: str, cgroup: str, share: PodsShare) -> tuple[str, str, str]:
        try:
            if not self._cgroups.exists(cgroup):
                raise OSError(f'"{cgroup}" is not there')
            self._cgroups.hold(cgroup, cpu_shares(share.cpu_milli), share.memory_bytes, share.pids)
        except OSError as error:
            message = f'Failed to enforce {title} Reserved Cgroup Limits on "{cgroup}": {error}'
            log.warning(message)
            return "Warning", "FailedNodeAllocatableEnforcement", message
        return "Normal", "NodeAllocatableEnforced", f"Updated limits on {title.lower()} reserved cgroup {cgroup}"
