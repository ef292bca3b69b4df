"""What the agent asks of a container runtime (CRI v1, RuntimeService and ImageService, as far as we use them).

Enters: values of containerd.model.
Leaves: values of containerd.model; every failure is a RuntimeFailure.
Holds: all verbs but create and run are idempotent, as CRI demands; stopping or removing what is gone succeeds.
Next: containerd.cri, the real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

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
    RuntimeFeatures,
    Sandbox,
    SandboxConfig,
    SandboxStatus,
    Write,
)


class Runtime(Protocol):
    async def version(self) -> str:
        """``containerd://1.6.20``: what node.status.nodeInfo.containerRuntimeVersion shows."""
        ...

    async def conditions(self) -> dict[str, tuple[bool, str]]:
        """RuntimeReady and NetworkReady, each with a reason when False (CRI Status)."""
        ...

    async def features(self) -> RuntimeFeatures:
        """Its handlers, and what it supports beyond the first version of the CRI (CRI Status)."""
        ...

    async def writable_layers(self) -> dict[str, tuple[int, int]]:
        """Container id -> bytes and inodes of what it wrote beside its volumes, at most a minute old."""
        ...

    async def writes(self) -> list[Write]:
        """Content that is being fetched."""
        ...

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """The sandbox id."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None: ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def list_sandboxes(self) -> list[Sandbox]: ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        """The container id."""
        ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, timeout_seconds: int, signal: str = "") -> None:
        """This signal (or the image's stop signal, or SIGTERM), then SIGKILL after the timeout; returns when it has exited."""
        ...

    async def remove_container(self, container_id: str) -> None: ...

    async def list_containers(self) -> list[Container]: ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout_seconds: int) -> ExecResult:
        """RuntimeFailure DEADLINE_EXCEEDED when the command outlives the timeout (it is killed then)."""
        ...

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        """A single-use URL on the runtime's loopback stream server."""
        ...

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str: ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def pull_image(self, reference: str, auth: RegistryAuth | None = None) -> str:
        """The image id."""
        ...

    async def image_status(self, reference: str) -> Image | None: ...

    async def list_images(self) -> list[Image]: ...

    async def remove_image(self, reference: str) -> None:
        """Removes the image with every name that it has, as the CRI does."""
        ...

    async def view_image(self, image: Image, snapshotter: str, key: str) -> list[ImageMount]:
        """What to mount to see the image's files. ``key`` names the view until release_image; the same key, the same view."""
        ...

    async def release_image(self, snapshotter: str, key: str) -> None: ...

    async def import_archive(self, archive: Path) -> list[str]:
        """Import an OCI layout or docker-save archive (plain or gzip tar); the references it brought."""
        ...

    def events(self) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        """A stream of hints; ends when the runtime goes away."""
        ...
