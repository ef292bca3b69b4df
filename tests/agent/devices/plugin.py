"""A device plugin as a vendor writes one: it serves its resource on a socket and registers with the kubelet.

It speaks the contract by a copy of its own of the messages (field numbers as k8s.io/kubelet has them), through grpcio's server.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc

from edgekube.agent._generated import deviceplugin_pb2 as messages

_SERVICE: Final = "v1beta1.DevicePlugin"


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())


class VendorPlugin:
    def __init__(self, directory: Path, resource: str = "vendor.example/lamp", endpoint: str = "lamp.sock") -> None:
        self.directory = directory
        self.resource = resource
        self.endpoint = endpoint
        self.devices: dict[str, bool] = {}
        self.prefers: list[str] = []
        self.fails = ""
        self.options = messages.DevicePluginOptions()
        #: (method, ids) in the order in which they were asked.
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.answer: Any = None
        self._lists: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._server = grpc.server(ThreadPoolExecutor(4, "vendor-plugin"))
        one = grpc.unary_unary_rpc_method_handler
        methods = {
            "GetDevicePluginOptions": one(lambda request, context: self.options, messages.Empty.FromString, _serialize),
            "ListAndWatch": grpc.unary_stream_rpc_method_handler(self._watch, messages.Empty.FromString, _serialize),
            "GetPreferredAllocation": one(self._preferred, messages.PreferredAllocationRequest.FromString, _serialize),
            "Allocate": one(self._allocate, messages.AllocateRequest.FromString, _serialize),
            "PreStartContainer": one(self._pre_start, messages.PreStartContainerRequest.FromString, _serialize),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        assert self._server.add_insecure_port(f"unix:{directory / endpoint}")

    def offer(self, **devices: bool) -> None:
        """All devices that there are now, and whether each is well."""
        self.devices = devices
        listed = [{"ID": name, "health": "Healthy" if well else "Unhealthy"} for name, well in devices.items()]
        self._lists.put(messages.ListAndWatchResponse(devices=listed))

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._lists.put(None)
        self._server.stop(None).wait()

    def register(self, version: str = "v1beta1") -> None:
        """Raises grpc.RpcError when the kubelet does not want it."""
        with grpc.insecure_channel(f"unix:{self.directory / 'kubelet.sock'}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(
                "/v1beta1.Registration/Register", request_serializer=_serialize, response_deserializer=messages.Empty.FromString
            )
            call(
                messages.RegisterRequest(version=version, endpoint=self.endpoint, resource_name=self.resource),
                timeout=30,
                wait_for_ready=True,
            )

    def _watch(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        while (message := self._lists.get()) is not None:
            yield message

    def _allocate(self, request: Any, context: grpc.ServicerContext) -> Any:
        [wanted] = request.container_requests
        self.calls.append(("Allocate", tuple(wanted.devices_ids)))
        if self.fails:
            context.abort(grpc.StatusCode.UNKNOWN, self.fails)
        if self.answer is not None:
            return messages.AllocateResponse(container_responses=[self.answer])
        return messages.AllocateResponse(container_responses=[given(LAMPS=",".join(wanted.devices_ids))])

    def _preferred(self, request: Any, context: grpc.ServicerContext) -> Any:
        [wanted] = request.container_requests
        self.calls.append(("GetPreferredAllocation", tuple(wanted.available_deviceIDs)))
        chosen = self.prefers[: wanted.allocation_size]
        return messages.PreferredAllocationResponse(container_responses=[{"deviceIDs": chosen}])

    def _pre_start(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.calls.append(("PreStartContainer", tuple(request.devices_ids)))
        return messages.PreStartContainerResponse()


def given(
    mounts: Mapping[str, str] | None = None,
    devices: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    cdi: tuple[str, ...] = (),
    **envs: str,
) -> Any:
    """What a container gets. ``mounts`` and ``devices``: path in the container -> path of the host."""
    return messages.ContainerAllocateResponse(
        envs=envs,
        mounts=[{"container_path": inside, "host_path": host, "read_only": True} for inside, host in (mounts or {}).items()],
        devices=[{"container_path": inside, "host_path": host, "permissions": "r"} for inside, host in (devices or {}).items()],
        annotations=dict(annotations or {}),
        cdi_devices=[{"name": name} for name in cdi],
    )
