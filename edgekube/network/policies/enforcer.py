"""Policies in force: keep the packet filter true to the planner, and hold a new pod until it is judged as it must be.

Enters: word that the planner has changed; pods that are about to start, from the agent.
Leaves: nft transactions; the agent's leave to start.
Holds: until the first plan of a start is in the kernel, the table of the run before stands, whole. A pod whose policies are
not in force yet does not start; one that no policy isolates waits for nothing. A script that fails, and a table that somebody
deletes, is followed by a table made anew, in one transaction. While the API is silent, what was known before counts.
Bound: changes are collected while a script is being applied, so a flood of changes costs one script at a time.
Next: network.policies.table, network.nft.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import orjson
import trio

from edgekube import limits
from edgekube.api.objects import Object
from edgekube.api.pod_address import read
from edgekube.network import nft
from edgekube.network.kernel import Kernel
from edgekube.network.policies.planner import Planner
from edgekube.network.policies.remembered import NOTHING, Unreadable, recall, remember
from edgekube.network.policies.sources import NamespaceTarget, PodTarget, PolicyTarget, Source
from edgekube.network.policies.table import TABLE, Script
from edgekube.network.table_losses import wait_for_loss
from edgekube.pki.files import PRIVATE, write_durably

log = logging.getLogger("edgekube.network")


class Enforcer:
    def __init__(self, planner: Planner, kernel: Kernel | None = None, memory: Path | None = None) -> None:
        """``memory``: the file of what is known, for a start at which the API is silent."""
        self.planner = planner
        self._memory = memory
        #: Set once what is known is on disk.
        self.remembered = trio.Event()
        self._kernel = kernel or Kernel()
        #: Somebody deleted the table.
        self._lost = False
        self._unlisted = {"pods", "namespaces", "policies"}
        self._known = trio.Event()
        self._wake = trio.Event()
        self._applied = trio.Event()
        #: Whose isolation the script changes that is being applied.
        self._in_flight: frozenset[str] = frozenset()
        #: Counts applied scripts, for tests and metrics.
        self.applied = 0
        self.pods = self._source("pods", PodTarget(planner))
        self.namespaces = self._source("namespaces", NamespaceTarget(planner))
        self.policies = self._source("policies", PolicyTarget(planner))

    def _source(self, name: str, target: PodTarget | NamespaceTarget | PolicyTarget) -> Source:
        def listed() -> None:
            self._unlisted.discard(name)
            if not self._unlisted:
                self._known.set()

        return Source(target, self.touch, listed)

    def touch(self) -> None:
        self._wake.set()

    async def protect(self, pod: Object, addresses: Sequence[str]) -> None:
        """Return once connections from and to the pod's addresses are judged by its policies, of which there may be none."""
        told = read(orjson.dumps(pod))
        if told.hostNetwork:
            return
        await self._known.wait()
        self.planner.claim_pod(told, tuple(addresses))
        wanted = frozenset(addresses)
        self.touch()
        while wanted & (self.planner.unsettled() | self._in_flight):
            await self._applied.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Apply until cancelled; started once everything was listed and is in force."""
        await self._know()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_table)
            nursery.start_soon(self._keep_remembering)
            await self._keep_applying(task_status)

    async def _know(self) -> None:
        """Wait for the API; while it is silent, go by what was known before."""
        with trio.move_on_after(limits.POLICY_SILENCE_SECONDS):
            await self._known.wait()
        if self._known.is_set() or self._memory is None:
            await self._known.wait()
            return
        try:
            recall(self.planner, await trio.Path(self._memory).read_bytes())
            log.info("the API is silent: policies as they were known before")
        except FileNotFoundError:
            pass  # there were none here
        except (OSError, Unreadable) as error:
            log.error("what was known of policies cannot be read, pods wait for the API path=%s: %s", self._memory, error)
            await self._known.wait()
        self._known.set()

    async def _keep_remembering(self) -> None:
        """Now and then, and only when something changed that would matter."""
        if self._memory is None:
            return
        path = trio.Path(self._memory)
        written = await path.read_bytes() if await path.exists() else NOTHING
        again_at = 0.0
        while True:
            applied = self._applied
            if not self._unlisted and (data := remember(self.planner)) != written:
                try:
                    await trio.to_thread.run_sync(write_durably, self._memory, data, PRIVATE)
                    written = data
                    self.remembered.set()
                    again_at = trio.current_time() + limits.POLICY_MEMORY_SECONDS
                except OSError as error:
                    log.warning("what is known of policies cannot be kept path=%s: %s", path, error)
            await applied.wait()
            await trio.sleep_until(max(again_at, trio.current_time() + limits.POLICY_LOOK_SECONDS))

    async def _watch_table(self) -> None:
        """A table that somebody deletes is made anew at once: until then everybody talks to everybody."""
        with self._kernel.news() as news:
            while True:
                await wait_for_loss(news, {TABLE})
                if not await self._kernel.has(TABLE):
                    log.warning("the table of policies was deleted by somebody, making it anew")
                    self._lost = True
                    self.touch()
                    await trio.sleep(limits.NFT_RETRY_SECONDS)

    async def _keep_applying(self, task_status: trio.TaskStatus[None]) -> None:
        fresh = True
        while True:
            self._wake = trio.Event()
            fresh, self._lost = fresh or self._lost, False
            script = self.planner.everything() if fresh else self.planner.script()
            try:
                await self._apply(script)
            except nft.NftFailed as error:
                log.error("nft refused a script for policies, making the table anew: %s", error)
                fresh = True
                await trio.sleep(limits.NFT_RETRY_SECONDS)
                continue
            if fresh:
                fresh = False
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
            # The first change after a while goes at once, those that follow closely together.
            settled_at = trio.current_time() + limits.POLICY_SETTLE_SECONDS
            await self._wake.wait()
            await trio.sleep_until(settled_at)

    async def _apply(self, script: Script) -> None:
        # A script that fails leaves its addresses in flight: whoever waits for them waits for the one that does not.
        self._in_flight |= script.addresses
        if script.text:
            await self._kernel.apply(script.text)
            self.applied += 1
        self._in_flight = frozenset()
        self._applied.set()
        self._applied = trio.Event()
