"""The container runtime over CRI v1: containerd.protocol.Runtime, the real one.

Enters: values of containerd.model.
Leaves: values of containerd.model; RuntimeFailure with the gRPC status name.
Holds: stopping or removing what is gone succeeds on every containerd (1.6 answers NOT_FOUND to some of them), and what is just
going as well: a shim that ends during the call makes it fail, and the same call a moment later says how it is.
Bound: a deadline per verb, generous enough for a Raspberry Pi with a slow card; none for pulls, whose caller decides.
SHIM_GONE_PAUSES_SECONDS for repetitions.
Next: agent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio

from edgekube.containerd import cri_messages as messages
from edgekube.containerd._generated import cri_pb2, events_pb2
from edgekube.containerd.model import (
    Container,
    ContainerConfig,
    ContainerStatus,
    ExecResult,
    Image,
    ImageMount,
    RegistryAuth,
    Resources,
    RuntimeEvent,
    RuntimeFailure,
    RuntimeFeatures,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    Write,
)
from edgekube.containerd.rpc import NAMESPACE, SHIM_GONE, Rpc

_RUNTIME: Final = cri_pb2.DESCRIPTOR.services_by_name["RuntimeService"]
_IMAGES: Final = cri_pb2.DESCRIPTOR.services_by_name["ImageService"]
_EVENTS: Final = events_pb2.DESCRIPTOR.services_by_name["Events"]

#: Seconds. Looking something up takes a millisecond; a minute means that containerd hangs.
_LOOK_SECONDS: Final = 60.0
#: Seconds. Starting a sandbox or container forks runc and may unpack an image on an SD card.
_CHANGE_SECONDS: Final = 240.0
#: Seconds that a call may take beyond the time it was given (kill, reap, answer).
_MARGIN_SECONDS: Final = 120.0

#: Before each repetition of a call whose shim went away meanwhile: until containerd has buried it, which takes a fork of runc.
SHIM_GONE_PAUSES_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)

_TOPICS: Final = ("/tasks/start", "/tasks/exit", "/tasks/oom")


class _Hints:
    """The envelopes that say something about a container, as events."""

    def __init__(self, envelopes: AsyncIterator[Any]) -> None:
        self._envelopes = envelopes

    def __aiter__(self) -> AsyncIterator[RuntimeEvent]:
        return self

    async def __anext__(self) -> RuntimeEvent:
        while True:
            event = messages.event(await self._envelopes.__anext__())
            if event is not None:
                return event


class CriRuntime:
    """See containerd.protocol.Runtime for what each verb promises."""

    def __init__(self, rpc: Rpc) -> None:
        self.rpc = rpc

    async def _ask(self, method: str, request: Any, timeout_seconds: float | None) -> Any:
        return await self.rpc.call(_RUNTIME, method, request, timeout_seconds)

    async def _ask_images(self, method: str, request: Any, timeout_seconds: float | None) -> Any:
        return await self.rpc.call(_IMAGES, method, request, timeout_seconds)

    async def _undo(self, method: str, request: Any, timeout_seconds: float) -> None:
        """Idempotent, so that it can be asked again."""
        for pause_seconds in (*SHIM_GONE_PAUSES_SECONDS, None):
            try:
                await self._ask(method, request, timeout_seconds)
                return
            except RuntimeFailure as failure:
                if failure.code == "NOT_FOUND":
                    return
                if pause_seconds is None or SHIM_GONE not in failure.message:
                    raise
            await trio.sleep(pause_seconds)

    # --- the runtime itself

    async def version(self) -> str:
        reply = await self._ask("Version", cri_pb2.VersionRequest(version="v1"), _LOOK_SECONDS)
        return f"{reply.runtime_name}://{reply.runtime_version.removeprefix('v')}"

    async def conditions(self) -> dict[str, tuple[bool, str]]:
        reply = await self._ask("Status", cri_pb2.StatusRequest(), _LOOK_SECONDS)
        return {
            condition.type: (condition.status, "" if condition.status else condition.message or condition.reason)
            for condition in reply.status.conditions
        }

    async def features(self) -> RuntimeFeatures:
        return messages.features(await self._ask("Status", cri_pb2.StatusRequest(), _LOOK_SECONDS))

    async def writable_layers(self) -> dict[str, tuple[int, int]]:
        reply = await self._ask("ListContainerStats", cri_pb2.ListContainerStatsRequest(), _LOOK_SECONDS)
        return {
            row.attributes.id: (row.writable_layer.used_bytes.value, row.writable_layer.inodes_used.value) for row in reply.stats
        }

    async def writes(self) -> list[Write]:
        from edgekube.containerd._generated import content_pb2  # only while something is fetched for long

        service = content_pb2.DESCRIPTOR.services_by_name["Content"]
        metadata = (("containerd-namespace", NAMESPACE),)
        reply = await self.rpc.call(service, "ListStatuses", content_pb2.ListStatusesRequest(), _LOOK_SECONDS, metadata)
        return [Write(row.ref, row.offset, row.total) for row in reply.statuses]

    # --- sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        request = cri_pb2.RunPodSandboxRequest(config=messages.sandbox_config(config), runtime_handler=config.runtime_handler)
        reply = await self._ask("RunPodSandbox", request, _CHANGE_SECONDS)
        return str(reply.pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        await self._undo("StopPodSandbox", cri_pb2.StopPodSandboxRequest(pod_sandbox_id=sandbox_id), _CHANGE_SECONDS)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._undo("RemovePodSandbox", cri_pb2.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id), _CHANGE_SECONDS)

    async def list_sandboxes(self) -> list[Sandbox]:
        reply = await self._ask("ListPodSandbox", cri_pb2.ListPodSandboxRequest(), _LOOK_SECONDS)
        return [messages.sandbox(item) for item in reply.items]

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus:
        request = cri_pb2.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        reply = await self._ask("PodSandboxStatus", request, _LOOK_SECONDS)
        return messages.sandbox_status(reply.status)

    # --- containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        request = cri_pb2.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=messages.container_config(config), sandbox_config=messages.sandbox_config(sandbox)
        )
        reply = await self._ask("CreateContainer", request, _CHANGE_SECONDS)
        return str(reply.container_id)

    async def start_container(self, container_id: str) -> None:
        await self._ask("StartContainer", cri_pb2.StartContainerRequest(container_id=container_id), _CHANGE_SECONDS)

    async def stop_container(self, container_id: str, timeout_seconds: int, signal: str = "") -> None:
        if signal and timeout_seconds > 0:
            from edgekube.containerd import stop_signals  # few containers choose theirs

            number = stop_signals.number_of(signal)
            if number is not None:
                await stop_signals.ends_of(self.rpc, container_id, number, timeout_seconds)
                timeout_seconds = 0  # it has had its time
        request = cri_pb2.StopContainerRequest(container_id=container_id, timeout=timeout_seconds)
        await self._undo("StopContainer", request, timeout_seconds + _MARGIN_SECONDS)

    async def remove_container(self, container_id: str) -> None:
        await self._undo("RemoveContainer", cri_pb2.RemoveContainerRequest(container_id=container_id), _CHANGE_SECONDS)

    async def list_containers(self) -> list[Container]:
        reply = await self._ask("ListContainers", cri_pb2.ListContainersRequest(), _LOOK_SECONDS)
        return [messages.container(item) for item in reply.containers]

    async def container_status(self, container_id: str) -> ContainerStatus:
        request = cri_pb2.ContainerStatusRequest(container_id=container_id)
        reply = await self._ask("ContainerStatus", request, _LOOK_SECONDS)
        return messages.container_status(reply.status)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        request = cri_pb2.UpdateContainerResourcesRequest(container_id=container_id, linux=messages.resources(resources))
        await self._ask("UpdateContainerResources", request, _CHANGE_SECONDS)

    async def reopen_log(self, container_id: str) -> None:
        await self._ask("ReopenContainerLog", cri_pb2.ReopenContainerLogRequest(container_id=container_id), _LOOK_SECONDS)

    # --- in a container

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> ExecResult:
        request = cri_pb2.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=timeout_seconds)
        # Zero means no limit to the CRI, so there is none for the call either.
        deadline = timeout_seconds + _MARGIN_SECONDS if timeout_seconds > 0 else None
        reply = await self._ask("ExecSync", request, deadline)
        return ExecResult(reply.exit_code, reply.stdout, reply.stderr)

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        request = cri_pb2.ExecRequest(
            container_id=container_id, cmd=list(command), stdin=stdin, stdout=stdout, stderr=stderr, tty=tty
        )
        return str((await self._ask("Exec", request, _LOOK_SECONDS)).url)

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str:
        request = cri_pb2.AttachRequest(container_id=container_id, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)
        return str((await self._ask("Attach", request, _LOOK_SECONDS)).url)

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        request = cri_pb2.PortForwardRequest(pod_sandbox_id=sandbox_id, port=list(ports))
        return str((await self._ask("PortForward", request, _LOOK_SECONDS)).url)

    # --- images

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        request = cri_pb2.PullImageRequest(image={"image": reference}, auth=messages.auth(auth) if auth else None)
        reply = await self._ask_images("PullImage", request, None)
        return str(reply.image_ref)

    async def image_status(self, reference: str) -> Image | None:
        reply = await self._ask_images("ImageStatus", cri_pb2.ImageStatusRequest(image={"image": reference}), _LOOK_SECONDS)
        return messages.image(reply.image) if reply.HasField("image") else None

    async def list_images(self) -> list[Image]:
        reply = await self._ask_images("ListImages", cri_pb2.ListImagesRequest(), _LOOK_SECONDS)
        return [messages.image(item) for item in reply.images]

    async def remove_image(self, reference: str) -> None:
        request = cri_pb2.RemoveImageRequest(image={"image": reference})
        try:
            await self._ask_images("RemoveImage", request, _CHANGE_SECONDS)
        except RuntimeFailure as failure:
            if failure.code != "NOT_FOUND":
                raise

    async def image_usage_bytes(self) -> tuple[str, int]:
        """Where the image file system is and the bytes that images and writable layers use there (CRI ImageFsInfo)."""
        reply = await self._ask_images("ImageFsInfo", cri_pb2.ImageFsInfoRequest(), _LOOK_SECONDS)
        rows = reply.image_filesystems
        return (rows[0].fs_id.mountpoint if rows else "", sum(row.used_bytes.value for row in rows))

    async def remove_name(self, reference: str) -> None:
        """One name; the image goes with its last one. Raises RuntimeFailure NOT_FOUND."""
        from edgekube.containerd import image_store

        await image_store.remove_name(self.rpc, reference)

    async def import_archive(self, archive: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        from edgekube.containerd import image_store  # tarfile and its kin are needed now and then only

        references = await image_store.import_archive(self.rpc, archive, progress)
        await self.wait_for_images(references)
        return references

    async def wait_for_images(self, references: Sequence[str]) -> None:
        """The CRI learns of an image that was written beside it by an event of its own, milliseconds later."""
        with trio.move_on_after(_LOOK_SECONDS) as patience:
            for reference in references:
                while await self.image_status(reference) is None:  # noqa: ASYNC110 (another process decides)
                    await trio.sleep(0.01)
        if patience.cancelled_caught:
            raise RuntimeFailure("DEADLINE_EXCEEDED", f"containerd took the image but its CRI does not list it: {references}")

    async def view_image(self, image: Image, snapshotter: str, key: str) -> list[ImageMount]:
        from edgekube.containerd import image_mounts  # and with it what reads archives

        return await image_mounts.view(self.rpc, snapshotter, image.id, (*image.tags, *image.digests), key)

    async def release_image(self, snapshotter: str, key: str) -> None:
        from edgekube.containerd import image_mounts

        await image_mounts.release(self.rpc, snapshotter, key)

    # --- events

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        return self._events()

    @asynccontextmanager
    async def _events(self) -> AsyncIterator[AsyncIterator[RuntimeEvent]]:
        # containerd's own stream: it exists in every version, and the CRI's GetContainerEvents only since 1.7.
        filters = [f'namespace=={NAMESPACE},topic=="{topic}"' for topic in _TOPICS]
        async with self.rpc.stream(_EVENTS, "Subscribe", events_pb2.SubscribeRequest(filters=filters)) as envelopes:
            yield _Hints(envelopes)


@asynccontextmanager
async def connect(address: Path | str) -> AsyncIterator[CriRuntime]:
    """A runtime on the socket at ``address`` (a path or unix:// URL). Does not touch the socket before the first verb."""
    rpc = Rpc(address)
    try:
        yield CriRuntime(rpc)
    finally:
        rpc.close()
