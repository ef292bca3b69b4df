"""Image volumes: an image's files, read-only, in the pod's own directory.

Enters: an image that is present, and may be this pod's (agent.images).
Leaves: a mount of its unpacked layers; gone when the pod is.
Holds: mounted once per pod; after a boot the same view is mounted again. Nothing is copied.
Source: Kubernetes documentation, "Use an Image Volume With a Pod" (KEP-4639).
Next: volumes.setup; containerd.image_mounts.
"""

from __future__ import annotations

from pathlib import Path

import trio

from edgekube.agent.problems import ConfigProblem
from edgekube.agent.volumes import mounts
from edgekube.containerd.model import Image, ImageMount, RuntimeFailure
from edgekube.containerd.protocol import Runtime


def key_of(uid: str, name: str) -> str:
    """What containerd knows the view by."""
    return f"edgekube-volume-{uid}-{name}"


def snapshotter_of(containerd_root: Path) -> str:
    """What our own containerd was given; another's is taken to use its default."""
    try:
        return (containerd_root / "snapshotter").read_text().strip() or "overlayfs"
    except OSError:
        return "overlayfs"


async def mount_image(runtime: Runtime, image: Image, snapshotter: str, key: str, target: Path) -> None:
    """ConfigProblem when it cannot be."""
    if await trio.to_thread.run_sync(target.is_mount):
        return
    try:
        found = await runtime.view_image(image, snapshotter, key)
        await trio.to_thread.run_sync(_mount, found, target)
    except (RuntimeFailure, OSError) as error:
        raise ConfigProblem(f"failed to mount image volume: {error}") from None


def _mount(found: list[ImageMount], target: Path) -> None:
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    for item in found:
        mounts.mount_given(item.kind, item.source, target, item.options)


async def unmount_image(runtime: Runtime, snapshotter: str, key: str, target: Path) -> None:
    """OSError when it stays."""
    await trio.to_thread.run_sync(mounts.unmount_under, target)
    try:
        await runtime.release_image(snapshotter, key)
    except RuntimeFailure as failure:
        raise OSError(f"image volume {key} is not released: {failure.message}") from None
