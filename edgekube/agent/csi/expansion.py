"""Volumes that grew: the node's part of it, done by the driver while the volume is in use.

Enters: volumes of claims that pods use and whose driver expands on the node.
Leaves: NodeExpandVolume calls; the claim's status.
Holds: nothing is asked of a driver unless the claim's status says that it is the node's turn (a resizer wrote that). What can
never be is written there and not tried again, and so is what failed for good while its claim asks for another size by now: the
resizer then begins anew.
Bound: one read of a claim per limits.CSI_EXPAND_CHECK_SECONDS and volume: nobody may tell a node of claims as they change.
Source: Kubernetes documentation, "Expanding Persistent Volumes Claims"; KEP-1790.
Next: agent.csi.volumes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from msgspec import Struct

from edgekube.agent.csi.client import CsiFailure
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes.source import VolumeSource
from edgekube.api import quantities, times
from edgekube.api.errors import StatusError
from edgekube.api.kinds import PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object, namespace_of, revision_of
from edgekube.api.verbs import Verbs
from edgekube.limits import CSI_EXPAND_CHECK_SECONDS

log = logging.getLogger("edgekube.agent")

_PENDING: Final = ("NodeResizePending", "NodeResizeInProgress")
#: gRPC codes that say: not this size, ever.
_INFEASIBLE: Final = ("INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND", "UNIMPLEMENTED")
#: Conditions of a claim that tell of a resize under way.
_RESIZING: Final = ("Resizing", "FileSystemResizePending", "ControllerResizeError", "NodeResizeError")


class InUse(Struct, frozen=True):
    """A volume as one pod has it."""

    pod: Object
    claim: str
    source: VolumeSource
    #: Asks the driver for so many bytes.
    expand: Callable[[int], Awaitable[None]]
    #: (about, kind, reason, message)
    tell: Callable[[Object, str, str, str], None]


def is_nodes_turn(claim: Object, persistent: Object) -> bool:
    """A resizer has done its part, and said so."""
    status: Object = claim.get("status") or {}
    if (status.get("allocatedResourceStatuses") or {}).get("storage") not in _PENDING:
        return False
    has = (status.get("capacity") or {}).get("storage") or "0"
    return quantities.compare(_size(persistent), has) > 0


def asks_for_another(claim: Object, persistent: Object) -> bool:
    """Another size than the volume is to have: somebody has changed the claim since."""
    wanted = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return bool(quantities.compare(wanted.get("storage") or "0", _size(persistent)))


def _size(persistent: Object) -> str:
    return str(((persistent.get("spec") or {}).get("capacity") or {}).get("storage") or "0")


def _with_storage_status(claim: Object, state: str | None) -> Object:
    return {"metadata": {"resourceVersion": revision_of(claim)}, "status": {"allocatedResourceStatuses": {"storage": state}}}


def in_progress(claim: Object) -> Object:
    """These three are merge patches of the claim's status."""
    return _with_storage_status(claim, "NodeResizeInProgress")


def finished(claim: Object, persistent: Object) -> Object:
    patch = _with_storage_status(claim, None)
    rest = [item for item in (claim.get("status") or {}).get("conditions") or [] if item.get("type") not in _RESIZING]
    patch["status"] |= {"capacity": {"storage": _size(persistent)}, "conditions": rest}
    return patch


def failed(claim: Object, why: str, *, infeasible: bool, now: float) -> Object:
    patch = _with_storage_status(claim, "NodeResizeInfeasible" if infeasible else "NodeResizeInProgress")
    error = {
        "type": "NodeResizeError",
        "status": "True",
        "lastTransitionTime": times.rfc3339(now),
        "message": f"failed to expand pvc with {why}",
    }
    before = [item for item in (claim.get("status") or {}).get("conditions") or [] if item.get("type") != "NodeResizeError"]
    patch["status"]["conditions"] = [*before, error]
    return patch


class Expansions:
    def __init__(self, verbs: Verbs, node_name: str, clock: Callable[[], float]) -> None:
        self._verbs = verbs
        self._node_name = node_name
        self._clock = clock
        self._in_use: dict[tuple[str, str], InUse] = {}
        #: Persistent volumes whose expansion failed for good the last time.
        self._failed: set[str] = set()
        self._news = trio.Event()

    def follow(self, uid: str, in_use: InUse) -> None:
        if (uid, in_use.source.name) not in self._in_use:
            self._in_use[uid, in_use.source.name] = in_use
            self._news.set()

    def forget(self, uid: str, name: str) -> None:
        known = self._in_use.pop((uid, name), None)
        if known is not None:
            self._failed.discard(known.source.volume)

    async def run(self) -> None:
        """For ever; asleep while no such volume is in use."""
        while True:
            self._news = trio.Event()
            for in_use in list(self._in_use.values()):
                try:
                    await self._look(in_use)
                except StatusError as error:
                    log.debug("a claim's size is not known claim=%s error=%s", in_use.claim, error.message)
            with trio.move_on_after(CSI_EXPAND_CHECK_SECONDS if self._in_use else float("inf")):
                await self._news.wait()

    async def _look(self, in_use: InUse) -> None:
        namespace = namespace_of(in_use.pod)
        claim = await self._verbs.get(PERSISTENTVOLUMECLAIM, namespace, in_use.claim)
        if (claim.get("status") or {}).get("allocatedResourceStatuses") is None:
            return
        persistent = await self._verbs.get(PERSISTENTVOLUME, "", in_use.source.volume)
        if not is_nodes_turn(claim, persistent):
            return
        claim = await self._verbs.patch(PERSISTENTVOLUMECLAIM, namespace, in_use.claim, in_progress(claim), subresource="status")
        try:
            await in_use.expand(quantities.to_bytes(_size(persistent)))
        except CsiFailure as failure:
            begin = f'NodeExpandVolume.NodeExpandVolume failed for volume "{in_use.source.volume}" : Expander.NodeExpand failed'
            in_use.tell(in_use.pod, "Warning", "VolumeResizeFailed", f"{begin} to expand the volume : {failure.message}")
            if failure.is_final:
                given_up = in_use.source.volume in self._failed and asks_for_another(claim, persistent)
                self._failed.add(in_use.source.volume)
                patch = failed(claim, failure.message, infeasible=given_up or failure.code in _INFEASIBLE, now=self._clock())
                await self._verbs.patch(PERSISTENTVOLUMECLAIM, namespace, in_use.claim, patch, subresource="status")
            return
        except VolumeProblem as problem:
            log.info("a volume does not grow yet volume=%s why=%s", in_use.source.volume, problem.message)
            return
        self._failed.discard(in_use.source.volume)
        message = f'MountVolume.NodeExpandVolume succeeded for volume "{in_use.source.volume}" {self._node_name}'
        for about in (in_use.pod, claim):
            in_use.tell(about, "Normal", "FileSystemResizeSuccessful", message)
        await self._verbs.patch(PERSISTENTVOLUMECLAIM, namespace, in_use.claim, finished(claim, persistent), subresource="status")
