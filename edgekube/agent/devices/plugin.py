"""One device plugin: a program that serves the devices of one resource.

Enters: the socket that it named when it registered.
Leaves: its options, its devices each time they change, answers to allocations; DeviceProblem in the words that Go's gRPC prints.
Holds: one connection for as long as it lives; when its list ends, the plugin is gone until it registers again.
Bound: limits.DEVICE_PLUGIN_CALL_SECONDS a call; of a list limits.DEVICES_PER_RESOURCE_MAX devices.
Source: k8s.io/kubelet deviceplugin/v1beta1.
Next: agent.devices.allotment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgekube.agent._generated import deviceplugin_pb2 as messages
from edgekube.agent.devices.ledger import Offer
from edgekube.agent.devices.model import DeviceProblem, Given
from edgekube.containerd.model import Device, Mount, RuntimeFailure
from edgekube.containerd.rpc import Rpc
from edgekube.limits import DEVICE_PLUGIN_CALL_SECONDS, DEVICES_PER_RESOURCE_MAX

VERSION: Final = "v1beta1"
HEALTHY: Final = "Healthy"
_SERVICE: Final = messages.DESCRIPTOR.services_by_name["DevicePlugin"]


def _text(failure: RuntimeFailure) -> str:
    return f"rpc error: code = {failure.code.title().replace('_', '')} desc = {failure.message}"


def offer_of(message: Any) -> Offer:
    """Of a ListAndWatchResponse."""
    devices = message.devices[:DEVICES_PER_RESOURCE_MAX]
    healthy = frozenset(device.ID for device in devices if device.health == HEALTHY)
    return Offer(healthy, frozenset(device.ID for device in devices) - healthy)


def given_of(message: Any) -> Given:
    """Of a ContainerAllocateResponse."""
    return Given(
        env=dict(message.envs),
        mounts=tuple(Mount(item.container_path, item.host_path, readonly=item.read_only) for item in message.mounts),
        devices=tuple(Device(item.container_path, item.host_path, item.permissions) for item in message.devices),
        annotations=dict(message.annotations),
        cdi_devices=tuple(item.name for item in message.cdi_devices),
    )


class Plugin:
    changes = False

    def __init__(self, resource: str, socket: Path) -> None:
        self.resource = resource
        self.socket = socket
        self.pre_start_required = False
        self.preference_available = False
        self._rpc = Rpc(socket)
        self._stopped = False

    async def _call(self, method: str, request: Any, seconds: float = DEVICE_PLUGIN_CALL_SECONDS) -> Any:
        if self._stopped:
            raise DeviceProblem(f"endpoint {self.resource} has been stopped")
        try:
            return await self._rpc.call(_SERVICE, method, request, seconds)
        except RuntimeFailure as failure:
            raise DeviceProblem(_text(failure)) from None

    async def connect(self) -> None:
        """Raises DeviceProblem."""
        try:
            options = await self._call("GetDevicePluginOptions", messages.Empty())
        except DeviceProblem as problem:
            raise DeviceProblem(f"failed to get device plugin options: {problem}") from None
        self.pre_start_required = options.pre_start_required
        self.preference_available = options.get_preferred_allocation_available

    async def watch(self, changed: Callable[[Offer], Awaitable[None]]) -> None:
        """Until it goes away."""
        async with self._rpc.stream(_SERVICE, "ListAndWatch", messages.Empty()) as lists:
            async for message in lists:
                await changed(offer_of(message))

    def close(self) -> None:
        self._stopped = True
        self._rpc.close()

    async def allocate(self, ids: Sequence[str]) -> Given:
        request = messages.AllocateRequest(container_requests=[{"devices_ids": list(ids)}])
        reply = await self._call("Allocate", request)
        if not reply.container_responses:
            raise DeviceProblem("no containers return in allocation response")
        return given_of(reply.container_responses[0])

    async def preferred(self, available: Sequence[str], included: Sequence[str], size: int) -> frozenset[str]:
        wanted = messages.ContainerPreferredAllocationRequest(
            available_deviceIDs=list(available), must_include_deviceIDs=list(included), allocation_size=size
        )
        request = messages.PreferredAllocationRequest(container_requests=[wanted])
        try:
            reply = await self._call("GetPreferredAllocation", request)
        except DeviceProblem as problem:
            raise DeviceProblem(f"device plugin GetPreferredAllocation rpc failed with err: {problem}") from None
        return frozenset(reply.container_responses[0].deviceIDs) if reply.container_responses else frozenset()

    async def pre_start(self, ids: Sequence[str]) -> None:
        try:
            await self._call("PreStartContainer", messages.PreStartContainerRequest(devices_ids=list(ids)))
        except DeviceProblem as problem:
            raise DeviceProblem(f"device plugin PreStartContainer rpc failed with err: {problem}") from None
