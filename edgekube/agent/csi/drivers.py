"""The CSI drivers that are registered on this node.

Enters: registrations (agent.plugins_registry); the Node when it is registered anew.
Leaves: a client for each driver; the CSINode and the Node kept true to them; a call when a driver came.
Holds: a driver is known once its CSINode entry is written, as the scheduler goes by that. When a driver goes, its entry goes;
when the agent ends, everything stays, for its drivers run on.
Source: Kubernetes documentation, "Volumes" (CSI), CSINode.
Next: agent.csi.csi_node plans, agent.csi.volumes asks for clients.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

import trio

from edgekube.agent.csi.client import CsiClient, CsiFailure, NodeInfo
from edgekube.agent.csi.csi_node import (
    TopologyCollision,
    is_owned,
    new_csi_node,
    node_patch_with,
    node_patch_without,
    with_driver,
    without_driver,
)
from edgekube.agent.plugins_registry import PluginRefused
from edgekube.agent.problems import VolumeProblem
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CSINODE, NODE
from edgekube.api.objects import Object
from edgekube.api.verbs import Verbs

log = logging.getLogger("edgekube.agent")

_CONFLICTS_MAX: Final = 6
RETRY_SECONDS: Final = 5.0


def _version(versions: Sequence[str]) -> tuple[int, ...]:
    """The highest of major version 1 (0.x was dropped long ago, 2.x is not known); () when there is none."""
    found: list[tuple[int, ...]] = []
    for text in versions:
        try:
            numbers = tuple(int(part) for part in text.removeprefix("v").split("."))
        except ValueError:
            continue
        if numbers and numbers[0] == 1:
            found.append(numbers)
    return max(found, default=())


class CsiDrivers:
    """A PluginHandler."""

    def __init__(self, verbs: Verbs, node_name: str, came: Callable[[str], None]) -> None:
        self._verbs = verbs
        self._node_name = node_name
        self._came = came
        self._clients: dict[str, CsiClient] = {}
        self._infos: dict[str, NodeInfo] = {}
        self._lock = trio.Lock()
        self._anew = trio.Event()

    def get(self, name: str) -> CsiClient | None:
        return self._clients.get(name)

    def need(self, name: str, doing: str, stage: str) -> CsiClient:
        """VolumeProblem while the driver is not registered."""
        client = self._clients.get(name)
        if client is None:
            why = f"driver name {name} not found in the list of registered CSI drivers"
            raise VolumeProblem(f"kubernetes.io/csi: {doing}: {why}", stage=stage)
        return client

    def names(self) -> list[str]:
        return sorted(self._clients)

    async def measure(self, name: str) -> None:
        """Ask the driver again how many volumes this node may have, and tell the API. What cannot be told stays as it was."""
        client = self._clients.get(name)
        if client is None:
            return
        try:
            info = await client.info()
            async with self._lock:
                if self._clients.get(name) is client and info.node_id:
                    await self._show(name, info)
                    self._infos[name] = info
        except (CsiFailure, StatusError, TopologyCollision) as error:
            log.warning("the volumes that a driver allows are not known anew driver=%s error=%s", name, error)

    def node_registered(self) -> None:
        """The Node was made, or made again: its CSINode went with the old one."""
        self._anew.set()

    async def run(self) -> None:
        """For ever: the CSINode is there, with the drivers that are."""
        while True:
            self._anew = trio.Event()
            try:
                async with self._lock:
                    if not self._infos:
                        await self._write(lambda found: None)
                    for name, info in self._infos.items():
                        await self._show(name, info)
            except (StatusError, TopologyCollision) as error:
                log.info("CSINode is not written yet error=%s", error)
                await trio.sleep(RETRY_SECONDS)
                continue
            await self._anew.wait()

    async def register(self, name: str, endpoint: str, versions: Sequence[str]) -> None:
        if not _version(versions):
            listed = " ".join(f'"{version}"' for version in versions)
            raise PluginRefused(
                f"plugin validation failed with err: validation failed for CSI Driver {name} at endpoint {endpoint}: "
                f'kubernetes.io/csi: ValidatePlugin for CSI driver "{name}" failed. '
                f"None of the versions specified [{listed}] are supported."
            )
        client = CsiClient(endpoint)
        try:
            info = await client.info()
            if not info.node_id:
                raise PluginRefused(
                    "plugin registration failed with err: error adding CSI driver node info: driverNodeID must not be empty"
                )
            async with self._lock:
                await self._show(name, info)
        except (CsiFailure, StatusError, TopologyCollision) as error:
            client.close()
            raise PluginRefused(f"plugin registration failed with err: {error}") from None
        except BaseException:
            client.close()
            raise
        old = self._clients.get(name)
        self._clients[name], self._infos[name] = client, info
        if old is not None:
            old.close()
        self._came(name)

    async def removed(self, name: str, endpoint: str) -> None:
        client = self._clients.get(name)
        if client is None or client.endpoint != endpoint:
            return
        del self._clients[name]
        self._infos.pop(name, None)
        client.close()
        log.info("CSI driver is gone name=%s endpoint=%s", name, endpoint)
        try:
            async with self._lock:
                await self._write(lambda found: without_driver(found, name))
                patch = node_patch_without(await self._node(), name)
                if patch:
                    await self._verbs.patch(NODE, "", self._node_name, patch)
        except StatusError as error:
            log.warning("CSINode still names a driver that is gone name=%s error=%s", name, error.message)

    async def _node(self) -> Object:
        return await self._verbs.get(NODE, "", self._node_name)

    async def _show(self, name: str, info: NodeInfo) -> None:
        patch = node_patch_with(await self._node(), name, info)
        if patch:
            await self._verbs.patch(NODE, "", self._node_name, patch)
        await self._write(lambda found: with_driver(found, name, info))

    async def _write(self, change: Callable[[Object], Object | None]) -> None:
        """Apply the change to the CSINode, which is made if need be."""
        for attempt in range(_CONFLICTS_MAX):
            try:
                found = await self._owned()
                changed = change(found)
                if changed is not None:
                    await self._verbs.update(CSINODE, changed)
                return
            except StatusError as error:
                if error.reason not in ("Conflict", "AlreadyExists") or attempt == _CONFLICTS_MAX - 1:
                    raise

    async def _owned(self) -> Object:
        node = await self._node()
        try:
            found = await self._verbs.get(CSINODE, "", self._node_name)
            if is_owned(found, node):
                return found
            await self._verbs.delete(CSINODE, "", self._node_name)
        except StatusError as error:
            if error.reason != "NotFound":
                raise
        return await self._verbs.create(CSINODE, "", new_csi_node(node))
