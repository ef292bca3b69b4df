"""The driver's three services, and its registration with the node.

Enters: requests over gRPC.
Leaves: bind mounts, loop devices; a list of the calls as they came, for tests to read.
Holds: each call may come twice. What ``fail`` was told of fails, once or until told otherwise.
Next: tests.csi_driver.__main__ runs it as a process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message_factory import GetMessageClass

from edgekube.agent._generated import csi_pb2 as csi
from edgekube.agent._generated import pluginregistration_pb2 as registration

STAGE, STATS, EXPAND, SINGLE_WRITERS, GROUP = 1, 2, 3, 5, 6
ATTACH, CREATE, CAPACITY, CONTROLLER_EXPAND = 2, 1, 4, 9


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def mounted(path: str | Path) -> bool:
    return any(line.split(" ")[1] == str(path) for line in Path("/proc/mounts").read_text().splitlines())


@dataclass
class Refusal:
    code: grpc.StatusCode
    details: str
    times: int


@dataclass
class Driver:
    name: str
    #: Volumes live here.
    state: Path
    node_id: str = "node-1"
    node_capabilities: tuple[int, ...] = (STAGE, STATS, EXPAND)
    controller_capabilities: tuple[int, ...] = (CREATE, ATTACH, CAPACITY, CONTROLLER_EXPAND)
    topology: dict[str, str] = field(default_factory=dict)
    volumes_max: int = 0
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    #: What the node said of our registration: (registered, error).
    told: list[tuple[bool, str]] = field(default_factory=list)
    _refusals: dict[str, Refusal] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, code: grpc.StatusCode, details: str, times: int = 1_000_000) -> None:
        self._refusals[method] = Refusal(code, details, times)

    def mend(self) -> None:
        self._refusals.clear()

    def called(self, method: str) -> list[dict[str, Any]]:
        return [request for name, request in self.calls if name == method]

    def volume(self, handle: str) -> Path:
        path = self.state / "volumes" / handle
        path.mkdir(parents=True, exist_ok=True)
        return path

    def answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self.calls.append((method, MessageToDict(request, preserving_proto_field_name=True)))
            refusal = self._refusals.get(method)
            if refusal is not None and refusal.times > 0:
                refusal.times -= 1
                context.abort(refusal.code, refusal.details)
            try:
                return getattr(self, f"_{method}")(request)
            except (OSError, RuntimeError) as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))

    # --- Identity

    def _GetPluginInfo(self, request: Any) -> Any:
        return csi.GetPluginInfoResponse(name=self.name, vendor_version="1")

    def _GetPluginCapabilities(self, request: Any) -> Any:
        kinds = [1, 2] if self.topology else [1]
        return csi.GetPluginCapabilitiesResponse(capabilities=[{"service": {"type": kind}} for kind in kinds])

    def _Probe(self, request: Any) -> Any:
        return csi.ProbeResponse(ready={"value": True})

    # --- Controller

    def _ControllerGetCapabilities(self, request: Any) -> Any:
        rows = [{"rpc": {"type": kind}} for kind in self.controller_capabilities]
        return csi.ControllerGetCapabilitiesResponse(capabilities=rows)

    def _CreateVolume(self, request: Any) -> Any:
        self.volume(request.name)
        places = [{"segments": self.topology}] if self.topology else []
        size = request.capacity_range.required_bytes
        made = {"volume_id": request.name, "capacity_bytes": size, "accessible_topology": places}
        return csi.CreateVolumeResponse(volume={**made, "volume_context": dict(request.parameters)})

    def _DeleteVolume(self, request: Any) -> Any:
        shutil.rmtree(self.state / "volumes" / request.volume_id, ignore_errors=True)
        return csi.DeleteVolumeResponse()

    def _ControllerPublishVolume(self, request: Any) -> Any:
        return csi.ControllerPublishVolumeResponse(publish_context={"attached-to": request.node_id})

    def _ControllerUnpublishVolume(self, request: Any) -> Any:
        return csi.ControllerUnpublishVolumeResponse()

    def _ValidateVolumeCapabilities(self, request: Any) -> Any:
        return csi.ValidateVolumeCapabilitiesResponse(confirmed={"volume_capabilities": request.volume_capabilities})

    def _GetCapacity(self, request: Any) -> Any:
        return csi.GetCapacityResponse(available_capacity=shutil.disk_usage(self.state).free)

    def _ControllerExpandVolume(self, request: Any) -> Any:
        size = request.capacity_range.required_bytes
        return csi.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=EXPAND in self.node_capabilities)

    # --- Node

    def _NodeGetInfo(self, request: Any) -> Any:
        topology = {"segments": self.topology} if self.topology else None
        return csi.NodeGetInfoResponse(node_id=self.node_id, max_volumes_per_node=self.volumes_max, accessible_topology=topology)

    def _NodeGetCapabilities(self, request: Any) -> Any:
        return csi.NodeGetCapabilitiesResponse(capabilities=[{"rpc": {"type": kind}} for kind in self.node_capabilities])

    def _NodeStageVolume(self, request: Any) -> Any:
        volume = self.volume(request.volume_id)
        if request.volume_capability.HasField("mount") and not mounted(request.staging_target_path):
            _run("mount", "--bind", str(volume), request.staging_target_path)
        return csi.NodeStageVolumeResponse()

    def _NodeUnstageVolume(self, request: Any) -> Any:
        if mounted(request.staging_target_path):
            _run("umount", request.staging_target_path)
        return csi.NodeUnstageVolumeResponse()

    def _NodePublishVolume(self, request: Any) -> Any:
        target = Path(request.target_path)
        if request.volume_capability.HasField("block"):
            self._publish_block(request.volume_id, target)
        elif not mounted(target):
            target.mkdir(exist_ok=True)
            _run("mount", "--bind", request.staging_target_path or str(self.volume(request.volume_id)), str(target))
            if request.readonly:
                _run("mount", "-o", "remount,bind,ro", str(target))
        for name, text in request.volume_context.items():
            if name == "write":
                (target / "written").write_text(text)
        return csi.NodePublishVolumeResponse()

    def _publish_block(self, handle: str, target: Path) -> None:
        disk = self.volume(handle) / "disk"
        if not disk.exists():
            with disk.open("wb") as stream:
                stream.truncate(1 << 20)
        device = _run("losetup", "--noheadings", "-O", "NAME", "-j", str(disk))
        device = device or _run("losetup", "--find", "--show", str(disk))
        if not mounted(target):
            target.touch()
            _run("mount", "--bind", device.splitlines()[0], str(target))

    def _NodeUnpublishVolume(self, request: Any) -> Any:
        target = Path(request.target_path)
        if mounted(target):
            _run("umount", str(target))
        disk = self.state / "volumes" / request.volume_id / "disk"
        if disk.exists():
            for device in _run("losetup", "--noheadings", "-O", "NAME", "-j", str(disk)).split():
                _run("losetup", "--detach", device)
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        return csi.NodeUnpublishVolumeResponse()

    def _NodeGetVolumeStats(self, request: Any) -> Any:
        usage = shutil.disk_usage(request.volume_path)
        row = {"unit": 1, "total": usage.total, "used": usage.used, "available": usage.free}
        return csi.NodeGetVolumeStatsResponse(usage=[row, {"unit": 2, "total": 1000, "used": 10, "available": 990}])

    def _NodeExpandVolume(self, request: Any) -> Any:
        return csi.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    # --- registration

    def _GetInfo(self, request: Any, endpoint: str, versions: tuple[str, ...], kind: str) -> Any:
        return registration.PluginInfo(type=kind, name=self.name, endpoint=endpoint, supported_versions=versions)


def _handlers(pool: Any, answer: Any) -> list[Any]:
    made = []
    for service in pool.services_by_name.values():
        methods = {
            method.name: grpc.unary_unary_rpc_method_handler(
                lambda request, context, name=method.name: answer(name, request, context),
                request_deserializer=GetMessageClass(method.input_type).FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for method in service.methods
        }
        made.append(grpc.method_handlers_generic_handler(service.full_name, methods))
    return made


class Serving:
    """A driver at its socket, and in a node's registry."""

    def __init__(self, driver: Driver, socket: Path, *, versions: tuple[str, ...] = ("1.0.0",), kind: str = "CSIPlugin") -> None:
        self.driver = driver
        self.socket = socket
        self._versions = versions
        self._kind = kind
        self._servers: list[Any] = []
        self._registered: Path | None = None
        socket.parent.mkdir(parents=True, exist_ok=True)
        self._serve(socket, _handlers(csi.DESCRIPTOR, driver.answer))

    def _serve(self, socket: Path, handlers: list[Any]) -> None:
        socket.unlink(missing_ok=True)
        server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="csi-driver"))
        server.add_generic_rpc_handlers(handlers)
        server.add_insecure_port(f"unix:{socket}")
        server.start()
        self._servers.append(server)

    def register(self, registry: Path, *, endpoint: str = "") -> None:
        """As node-driver-registrar does. ``endpoint``: our socket as the node knows it."""

        def answer(name: str, request: Any, context: grpc.ServicerContext) -> Any:
            if name == "GetInfo":
                return self.driver._GetInfo(request, endpoint or str(self.socket), self._versions, self._kind)
            self.driver.told.append((request.plugin_registered, request.error))
            return registration.RegistrationStatusResponse()

        registry.mkdir(parents=True, exist_ok=True)
        self._registered = registry / f"{self.driver.name}-reg.sock"
        self._serve(self._registered, _handlers(registration.DESCRIPTOR, answer))

    def close(self) -> None:
        for server in self._servers:
            server.stop(None).wait()
        for socket in (self._registered, self.socket):
            if socket is not None:
                socket.unlink(missing_ok=True)
