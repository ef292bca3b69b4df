"""Keep the kernel's way to the other nodes' pods true to the plan.

Enters: word that Nodes or addresses changed (touch); the kernel's own news of links, addresses and our routes.
Leaves: routes, the tunnel and its table of rules, in this network namespace.
Holds: what is there already is not touched, so a healthy connection notices nothing; what somebody removed comes back; routes
of others are never looked at. They stay when edgekube ends, because pods do.
Bound: changes are collected while the last ones are being applied; a look costs six short processes.
Next: network.peers decides, network.forwarding compares.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import trio
from msgspec import Struct

from edgekube import limits
from edgekube.network import forwarding, nft, node_rules
from edgekube.network.forwarding import DEVICE, NO_CHANGE, PROTOCOL, State
from edgekube.network.peers import Member, Network, admitted, plan

log = logging.getLogger("edgekube.network")


class Wishes(Struct, frozen=True):
    """What is known now: this node, all nodes, the ranges of all pods and of Services."""

    own: Member
    nodes: tuple[Member, ...]
    cluster: tuple[Network, ...]
    services: tuple[Network, ...] = ()


class PeerRoutes:
    """``command`` may enter another network namespace first."""

    def __init__(self, wishes: Callable[[], Wishes], command: Sequence[str] = ()) -> None:
        self._wishes = wishes
        self._command = tuple(command)
        self._wake = trio.Event()
        self._rules = ""
        self._complaint = ""
        #: Counts what was applied, for tests and metrics.
        self.applied = 0

    def touch(self) -> None:
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled; started once the first plan has been applied, as far as the kernel took it."""
        started = False
        while True:
            self._wake = trio.Event()
            whole = await self.apply()
            if not started:
                started = True
                task_status.started()
            pause_seconds = limits.ROUTES_LOOK_SECONDS if whole else limits.ROUTES_RETRY_SECONDS
            with trio.move_on_after(pause_seconds):
                await self._wake.wait()
                await trio.sleep(limits.ROUTES_SETTLE_SECONDS)

    async def apply(self) -> bool:
        """Look, compare, and change what differs; whether the kernel took it all."""
        wishes = self._wishes()
        try:
            links = await self._show("ip", "-d", "address", "show")
            wanted = plan(wishes.own, wishes.nodes, links, wishes.cluster, wishes.services)
            present = await self._present(links)
            failures = await self._change(present, wanted)
            await self._apply_rules(wishes)
        except (OSError, ValueError, nft.NftFailed) as error:
            failures = str(error)
        if failures and failures != self._complaint:
            log.error("routes to other nodes' pods are not complete, trying again: %s", failures)
        elif self._complaint and not failures:
            log.info("routes to other nodes' pods are complete")
        self._complaint = failures
        return not failures

    async def _present(self, links: list[dict[str, Any]]) -> State:
        routes = await self._show("ip", "-4", "route", "show", "proto", str(PROTOCOL))
        routes += await self._show("ip", "-6", "route", "show", "proto", str(PROTOCOL))
        forwards: list[dict[str, Any]] = []
        neighbours: list[dict[str, Any]] = []
        if any(link.get("ifname") == DEVICE for link in links):
            forwards = await self._show("bridge", "fdb", "show", "dev", DEVICE)
            neighbours = await self._show("ip", "neighbour", "show", "dev", DEVICE, "nud", "permanent")
        return forwarding.read(links, routes, forwards, neighbours)

    async def _change(self, present: State, wanted: State) -> str:
        """What the kernel refused, in the words of the tools."""
        change = forwarding.difference(present, wanted)
        if change == NO_CHANGE:
            return ""
        said = [
            await self._batch("ip", forwarding.device_lines(change)),
            await self._batch("bridge", forwarding.bridge_lines(change)),
            await self._batch("ip", forwarding.route_lines(change)),
        ]
        self.applied += 1
        log.info("routes to other nodes' pods changed: %d put, %d removed", len(change.put_routes), len(change.remove_routes))
        return "; ".join(text for text in said if text)

    async def _apply_rules(self, wishes: Wishes) -> None:
        peers = admitted(wishes.own, wishes.nodes, wishes.cluster, wishes.services)
        rules = node_rules.table((address for peer in peers for address in peer.addresses), wishes.cluster)
        if rules == self._rules and await self._is_there():
            return
        await nft.apply(rules, [*self._command, "nft"])
        self._rules = rules
        self.applied += 1

    async def _is_there(self) -> bool:
        command = [*self._command, "nft", "list", "set", *node_rules.TABLE.split(), "nodes"]
        return (await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)).returncode == 0

    async def _show(self, tool: str, *arguments: str) -> list[dict[str, Any]]:
        command = [*self._command, tool, "-j", *arguments]
        done = await trio.run_process(command, check=False, capture_stdout=True, capture_stderr=True)
        if done.returncode != 0:
            raise OSError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()[:500]}")
        # Nothing to show is nothing at all, or an empty object in the list.
        parsed: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
        return [entry for entry in parsed if entry]

    async def _batch(self, tool: str, lines: list[str]) -> str:
        if not lines:
            return ""
        done = await trio.run_process(
            [*self._command, tool, "-force", "-batch", "-"],
            stdin=("\n".join(lines) + "\n").encode(),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        return "" if done.returncode == 0 else " ".join(done.stderr.decode(errors="replace").split())[:500]


def forget(command: Sequence[str] = ()) -> None:
    """For uninstall, where no event loop runs: what is not there is fine."""
    lines = [f"-{version} route flush proto {PROTOCOL}" for version in (4, 6)]
    for line in [*lines, f"link delete {DEVICE}"]:
        subprocess.run([*command, "ip", *line.split()], check=False, capture_output=True)
    subprocess.run([*command, "nft", "delete", "table", *node_rules.TABLE.split()], check=False, capture_output=True)
