"""The service proxy: follow Services, EndpointSlices and this node's pods, and keep the packet filter true to them.

Enters: a View, and word of what changed (touch_*), in any order and as often as it comes.
Leaves: nft transactions; tracked UDP flows of removed targets are forgotten.
Holds: one owner's rules are planned from the view alone; a script that fails is followed by a table made anew;
until the first plan of a start is applied, the rules of the run before stay.
Bound: changes are collected while a script is being applied, so a flood of changes costs one script at a time.
Next: network.ruleset, network.nft.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TypeAlias

import trio

from edgekube import limits
from edgekube.api.kinds import ENDPOINTSLICE, POD, SERVICE
from edgekube.api.objects import Object, name_of, namespace_of
from edgekube.api.view import View
from edgekube.network import conntrack, nft
from edgekube.network.endpoints import Target, service_ports
from edgekube.network.ruleset import Ruleset, frame
from edgekube.network.service_rules import NOTHING, Contribution, of_pod, of_service
from edgekube.network.slices import SliceIndex

log = logging.getLogger("edgekube.network")

#: ("service" or "pod", namespace, name)
Owner: TypeAlias = tuple[str, str, str]


class ServiceProxy:
    def __init__(
        self,
        view: View,
        *,
        node_name: str,
        pod_cidr: str,
        cluster_cidr: str,
        service_cidr: str,
        apply: nft.Apply = nft.apply,
    ) -> None:
        self._apply_script = apply
        self._view = view
        self._node_name = node_name
        self._pod_cidr = pod_cidr
        self._frame = partial(frame, pod_cidr=pod_cidr, cluster_cidr=cluster_cidr, service_cidr=service_cidr)
        self._targets_max = limits.PROXY_TARGETS_FIRST
        self._rules = Ruleset()
        self._slices = SliceIndex()
        self._dirty: set[Owner] = set()
        self._flows: dict[Owner, Contribution] = {}
        self._wake = trio.Event()
        #: Counts applied scripts, for tests and metrics.
        self.applied = 0

    # Word of changes. Cheap and synchronous: they are called from the view's own loop.

    def touch_service(self, namespace: str, name: str) -> None:
        self._dirty.add(("service", namespace, name))
        self._wake.set()

    def touch_slice(self, old: Object | None, new: Object | None) -> None:
        for namespace, service in self._slices.touch(old, new):
            self.touch_service(namespace, service)

    def touch_pod(self, old: Object | None, new: Object | None) -> None:
        obj = new or old
        if obj is not None and (obj.get("spec") or {}).get("nodeName") == self._node_name and _has_host_ports(obj):
            self._dirty.add(("pod", namespace_of(obj), name_of(obj)))
            self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply until cancelled; started once the first complete table is in the kernel. The view must be filled."""
        self._mark_everything()
        fresh = True
        started = False
        while True:
            dirty, self._dirty = self._dirty, set()
            self._wake = trio.Event()
            try:
                await self._apply(dirty, fresh=fresh)
                fresh = False
            except nft.NftFailed as error:
                log.error("nft refused a script, making the table anew: %s", error)
                self._mark_everything()
                fresh = True
                await trio.sleep(limits.NFT_RETRY_SECONDS)
                continue
            if not started:
                task_status.started()
                started = True
            if not self._dirty:
                await self._wake.wait()
                await trio.sleep(limits.PROXY_SETTLE_SECONDS)

    def _mark_everything(self) -> None:
        self._dirty.update(("service", namespace_of(s), name_of(s)) for s in self._view.list(SERVICE))
        for piece in self._view.list(ENDPOINTSLICE):
            self._slices.touch(None, piece)
        pods = self._view.pods_on(self._node_name)
        self._dirty.update(("pod", namespace_of(pod), name_of(pod)) for pod in pods if _has_host_ports(pod))

    async def _apply(self, dirty: set[Owner], *, fresh: bool) -> None:
        changes = [(owner, self._plan(*owner)) for owner in sorted(dirty)]
        needed = max((contribution.targets_max for _, contribution in changes), default=0)
        if needed > self._targets_max:
            while self._targets_max < needed:
                self._targets_max *= 2
            if not fresh:
                self._mark_everything()
                everything, self._dirty = self._dirty, set()
                changes = [(owner, self._plan(*owner)) for owner in sorted(everything)]
                fresh = True
        if fresh:
            self._rules.restart()
        script = self._rules.change(changes)
        if fresh:
            script = self._frame(targets_max=self._targets_max) + script
        if script:
            await self._apply_script(script)
            self.applied += 1
        await self._forget_flows(changes)

    async def _forget_flows(self, changes: list[tuple[Owner, Contribution]]) -> None:
        gone: set[tuple[str, int, Target]] = set()
        for owner, new in changes:
            gone |= self._flows.get(owner, NOTHING).udp_flows - new.udp_flows
            if new.udp_flows:
                self._flows[owner] = new
            else:
                self._flows.pop(owner, None)
        if gone:
            await conntrack.forget(gone)

    def _plan(self, what: str, namespace: str, name: str) -> Contribution:
        if what == "pod":
            pod = self._view.get(POD, namespace, name)
            return NOTHING if pod is None else of_pod(pod, self._pod_cidr)
        service = self._view.get(SERVICE, namespace, name)
        if service is None:
            return NOTHING
        slices = self._slices.slices(self._view, namespace, name)
        return of_service(service_ports(service, slices, self._node_name), self._pod_cidr)


def _has_host_ports(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return any(port.get("hostPort") for container in containers for port in container.get("ports") or ())
