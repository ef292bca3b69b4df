"""The socket at which device plugins introduce themselves: device-plugins/kubelet.sock.

Enters: Register calls; who takes a plugin on.
Leaves: plugins, held against the contract first; refusals in the kubelet's words.
Holds: sockets of an earlier life are removed before this one is there: plugins watch for that, and register again.
Bound: limits.DEVICE_PLUGIN_REGISTRATION_THREADS_MAX threads while plugins register, none when they do not.
Source: Kubernetes documentation, "Device Plugins" (registration); k8s.io/kubelet deviceplugin/v1beta1.
Next: agent.devices.allotment.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
import trio

from edgekube.agent._generated import deviceplugin_pb2 as messages
from edgekube.agent.devices.model import DeviceProblem
from edgekube.agent.devices.plugin import VERSION
from edgekube.limits import DEVICE_PLUGIN_REGISTRATION_THREADS_MAX

log = logging.getLogger("edgekube.agent")

SOCKET: Final = "kubelet.sock"
_SERVICE: Final = "v1beta1.Registration"

#: Resource and socket. Raises DeviceProblem.
Take: TypeAlias = Callable[[str, Path], Awaitable[None]]


def check(version: str, endpoint: str, resource: str) -> None:
    """Raises DeviceProblem."""
    from edgekube.api.validation.resources import is_extended

    if version != VERSION:
        raise DeviceProblem(f'requested API version "{version}" is not supported by kubelet. Supported version is ["{VERSION}"]')
    if not is_extended(resource):
        raise DeviceProblem(f'the ResourceName "{resource}" is invalid')
    if not endpoint or "/" in endpoint or endpoint in (".", "..", SOCKET):
        raise DeviceProblem(f'the endpoint "{endpoint}" is not the name of a socket in this directory')


def _clear(directory: Path) -> None:
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.is_socket():
            path.unlink(missing_ok=True)


async def serve_registrations(directory: Path, take: Take, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """For ever. OSError when there can be no socket."""
    token = trio.lowlevel.current_trio_token()

    async def take_on(request: Any) -> str:
        try:
            check(request.version, request.endpoint, request.resource_name)
            await take(request.resource_name, directory / request.endpoint)
        except DeviceProblem as problem:
            log.warning("device plugin refused resource=%s endpoint=%s why=%s", request.resource_name, request.endpoint, problem)
            return str(problem)
        return ""

    def register(request: Any, context: grpc.ServicerContext) -> Any:
        why = trio.from_thread.run(take_on, request, trio_token=token)
        if why:
            context.abort(grpc.StatusCode.UNKNOWN, why)
        return messages.Empty()

    await trio.to_thread.run_sync(_clear, directory)
    handler = grpc.unary_unary_rpc_method_handler(
        register,
        request_deserializer=messages.RegisterRequest.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    server = grpc.server(ThreadPoolExecutor(DEVICE_PLUGIN_REGISTRATION_THREADS_MAX, "device-plugins"))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Register": handler}),))
    # By way of a descriptor: a socket's path may not be longer than 107 bytes, a directory's may.
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _listen(server, f"/proc/self/fd/{descriptor}/{SOCKET}", directory)
        server.start()
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            server.stop(None)
            (directory / SOCKET).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _listen(server: grpc.Server, path: str, directory: Path) -> None:
    try:
        listening = server.add_insecure_port(f"unix:{path}")
    except RuntimeError:  # what newer grpcio says
        listening = 0
    if not listening:
        raise OSError(f"cannot listen on {directory / SOCKET}")
