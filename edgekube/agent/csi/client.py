"""One CSI driver's Identity and Node services, as awaits.

Enters: a driver's socket; values.
Leaves: values; CsiFailure, whose text is what Go's gRPC would print, for people know it.
Holds: capabilities are asked once. Secrets go into requests and nowhere else.
Bound: limits.CSI_CALL_SECONDS a call.
Next: agent.csi.drivers keeps the clients, agent.csi.volumes calls them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from edgekube.agent._generated import csi_pb2 as messages
from edgekube.agent.problems import VolumeProblem
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.rpc import Rpc
from edgekube.limits import CSI_CALL_SECONDS

_NODE: Final = messages.DESCRIPTOR.services_by_name["Node"]

STAGE_UNSTAGE, GET_STATS, EXPAND, SINGLE_NODE_MULTI_WRITER, MOUNT_GROUP = 1, 2, 3, 5, 6
#: gRPC's names of codes that Go spells in another way than the rest.
_SPELLINGS: Final = {"CANCELLED": "Canceled", "OK": "OK"}


def code_name(code: str) -> str:
    """``DEADLINE_EXCEEDED`` as Go prints it: ``DeadlineExceeded``."""
    return _SPELLINGS.get(code) or code.title().replace("_", "")


class CsiFailure(VolumeProblem):
    """The driver refused or failed."""

    def __init__(self, code: str, details: str, *, stage: str = "MountVolume.SetUp") -> None:
        super().__init__(f"rpc error: code = {code_name(code)} desc = {details}", stage=stage)
        self.code = code

    @property
    def is_final(self) -> bool:
        """False while it may still be under way at the driver."""
        return self.code not in ("CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")


class NodeInfo(Struct, frozen=True):
    node_id: str
    volumes_max: int
    topology: Mapping[str, str]


class Use(Struct, frozen=True):
    """How a volume is to be used: CSI's VolumeCapability."""

    access_mode: str = "ReadWriteOnce"
    fs_type: str = ""
    mount_flags: tuple[str, ...] = ()
    group: str = ""
    block: bool = False


def access_mode(mode: str, *, single_writers: bool) -> int:
    """CSI's number for an access mode. ``single_writers``: the driver tells one writer from several on one node."""
    modes = messages.VolumeCapability.AccessMode
    match mode:
        case "ReadOnlyMany":
            name = "MULTI_NODE_READER_ONLY"
        case "ReadWriteMany":
            name = "MULTI_NODE_MULTI_WRITER"
        case "ReadWriteOnce" if single_writers:
            name = "SINGLE_NODE_MULTI_WRITER"
        case "ReadWriteOncePod" if single_writers:
            name = "SINGLE_NODE_SINGLE_WRITER"
        case _:
            name = "SINGLE_NODE_WRITER"
    return int(modes.DESCRIPTOR.enum_types_by_name["Mode"].values_by_name[name].number)


def capability(use: Use, *, single_writers: bool) -> Any:
    made = messages.VolumeCapability(access_mode={"mode": access_mode(use.access_mode, single_writers=single_writers)})
    if use.block:
        made.block.SetInParent()
    else:
        made.mount.fs_type = use.fs_type
        made.mount.mount_flags.extend(use.mount_flags)
        made.mount.volume_mount_group = use.group
        made.mount.SetInParent()
    return made


class CsiClient:
    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._rpc = Rpc(endpoint)
        self._capabilities: frozenset[int] | None = None

    def close(self) -> None:
        self._rpc.close()

    async def _call(self, method: str, request: Any) -> Any:
        try:
            return await self._rpc.call(_NODE, method, request, CSI_CALL_SECONDS)
        except RuntimeFailure as failure:
            raise CsiFailure(failure.code, failure.message) from None

    async def info(self) -> NodeInfo:
        reply = await self._call("NodeGetInfo", messages.NodeGetInfoRequest())
        return NodeInfo(reply.node_id, reply.max_volumes_per_node, dict(reply.accessible_topology.segments))

    async def can(self, what: int) -> bool:
        if self._capabilities is None:
            reply = await self._call("NodeGetCapabilities", messages.NodeGetCapabilitiesRequest())
            self._capabilities = frozenset(item.rpc.type for item in reply.capabilities)
        return what in self._capabilities

    async def _capability(self, use: Use) -> Any:
        return capability(use, single_writers=await self.can(SINGLE_NODE_MULTI_WRITER))

    async def stage(
        self,
        handle: str,
        path: str,
        use: Use,
        context: Mapping[str, str],
        published: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> None:
        request = messages.NodeStageVolumeRequest(
            volume_id=handle,
            staging_target_path=path,
            volume_capability=await self._capability(use),
            volume_context=dict(context),
            publish_context=dict(published),
            secrets=dict(secrets),
        )
        await self._call("NodeStageVolume", request)

    async def unstage(self, handle: str, path: str) -> None:
        await self._call("NodeUnstageVolume", messages.NodeUnstageVolumeRequest(volume_id=handle, staging_target_path=path))

    async def publish(
        self,
        handle: str,
        staging_path: str,
        path: str,
        use: Use,
        context: Mapping[str, str],
        published: Mapping[str, str],
        secrets: Mapping[str, str],
        *,
        read_only: bool,
    ) -> None:
        request = messages.NodePublishVolumeRequest(
            volume_id=handle,
            staging_target_path=staging_path,
            target_path=path,
            volume_capability=await self._capability(use),
            readonly=read_only,
            volume_context=dict(context),
            publish_context=dict(published),
            secrets=dict(secrets),
        )
        await self._call("NodePublishVolume", request)

    async def unpublish(self, handle: str, path: str) -> None:
        await self._call("NodeUnpublishVolume", messages.NodeUnpublishVolumeRequest(volume_id=handle, target_path=path))

    async def expand(
        self, handle: str, path: str, staging_path: str, use: Use, size_bytes: int, secrets: Mapping[str, str]
    ) -> None:
        request = messages.NodeExpandVolumeRequest(
            volume_id=handle,
            volume_path=path,
            staging_target_path=staging_path,
            capacity_range={"required_bytes": size_bytes},
            volume_capability=await self._capability(use),
            secrets=dict(secrets),
        )
        await self._call("NodeExpandVolume", request)

    async def stats(self, handle: str, path: str) -> Sequence[tuple[str, int, int, int]]:
        """(unit, available, total, used) for BYTES and INODES."""
        reply = await self._call("NodeGetVolumeStats", messages.NodeGetVolumeStatsRequest(volume_id=handle, volume_path=path))
        units = ("UNKNOWN", "BYTES", "INODES")
        return [(units[usage.unit], usage.available, usage.total, usage.used) for usage in reply.usage]
