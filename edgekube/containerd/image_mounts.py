"""An image as a directory: its layers, unpacked, as a mount that nobody can write to.

Enters: an image that the CRI has, a key of the caller's.
Leaves: what to mount (kind, source, options); the view is kept until it is released by its key.
Holds: asked twice with one key it answers the same; releasing what is not there succeeds. containerd keeps the layers while the
view is there. The CRI of containerd 1.x cannot mount an image, so this asks containerd's own services.
Bound: limits.IMAGE_METADATA_BYTES_MAX for a config or manifest.
Next: agent.volumes.image mounts it.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
import trio

from edgekube.containerd._generated import diff_pb2, images_pb2, snapshots_pb2
from edgekube.containerd.image_store import Store, lease
from edgekube.containerd.model import ImageMount, RuntimeFailure
from edgekube.containerd.rpc import NAMESPACE, Rpc

log = logging.getLogger("edgekube.containerd")

_SNAPSHOTS: Final = snapshots_pb2.DESCRIPTOR.services_by_name["Snapshots"]
_DIFF: Final = diff_pb2.DESCRIPTOR.services_by_name["Diff"]
_IMAGES: Final = images_pb2.DESCRIPTOR.services_by_name["Images"]
_NAMESPACE: Final = (("containerd-namespace", NAMESPACE),)
_CALL_SECONDS: Final = 60.0
#: A layer on a slow card.
_UNPACK_SECONDS: Final = 600.0
_KEPT: Final = {"containerd.io/gc.root": "edgekube"}


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """What a snapshot of the first, the first two... layers is called (OCI image-spec, "Layer ChainID")."""
    found: list[str] = []
    for diff_id in diff_ids:
        found.append(diff_id if not found else f"sha256:{hashlib.sha256(f'{found[-1]} {diff_id}'.encode()).hexdigest()}")
    return found


async def view(rpc: Rpc, snapshotter: str, image_id: str, names: Sequence[str], key: str) -> list[ImageMount]:
    """``names``: the image's own, for a layer that is not unpacked yet. Raises RuntimeFailure."""
    return await trio.to_thread.run_sync(partial(_view, rpc, snapshotter, image_id, names, key))


async def release(rpc: Rpc, snapshotter: str, key: str) -> None:
    request = snapshots_pb2.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
    try:
        await rpc.call(_SNAPSHOTS, "Remove", request, _CALL_SECONDS, _NAMESPACE)
    except RuntimeFailure as failure:
        if failure.code != "NOT_FOUND":
            raise


def _view(rpc: Rpc, snapshotter: str, image_id: str, names: Sequence[str], key: str) -> list[ImageMount]:
    with lease(rpc) as store:
        diff_ids = (orjson.loads(store.read(image_id)).get("rootfs") or {}).get("diff_ids") or []
        chain = chain_ids(diff_ids)
        parent = chain[-1] if chain else ""
        request = snapshots_pb2.ViewSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent, labels=_KEPT)
        try:
            mounts = store.call(_SNAPSHOTS, "View", request, _CALL_SECONDS).mounts
        except RuntimeFailure as failure:
            if failure.code == "ALREADY_EXISTS":
                known = snapshots_pb2.MountsRequest(snapshotter=snapshotter, key=key)
                mounts = store.call(_SNAPSHOTS, "Mounts", known, _CALL_SECONDS).mounts
            elif failure.code == "NOT_FOUND":
                _unpack(store, snapshotter, image_id, names, diff_ids, chain)
                mounts = store.call(_SNAPSHOTS, "View", request, _CALL_SECONDS).mounts
            else:
                raise
    return [ImageMount(mount.type, mount.source, tuple(mount.options)) for mount in mounts]


def _unpack(
    store: Store, snapshotter: str, image_id: str, names: Sequence[str], diff_ids: Sequence[str], chain: Sequence[str]
) -> None:
    """Layer by layer; what is unpacked already is left."""
    layers = _layers(store, image_id, names)
    if len(layers) != len(diff_ids):
        raise RuntimeFailure("FAILED_PRECONDITION", f"image {image_id} has {len(layers)} layers and speaks of {len(diff_ids)}")
    parent = ""
    for layer, name in zip(layers, chain, strict=True):
        key = f"edgekube-unpack-{secrets.token_hex(8)}"
        prepare = snapshots_pb2.PrepareSnapshotRequest(snapshotter=snapshotter, key=key, parent=parent)
        mounts = store.call(_SNAPSHOTS, "Prepare", prepare, _CALL_SECONDS).mounts
        given = [diff_pb2.Mount(type=item.type, source=item.source, options=item.options) for item in mounts]
        descriptor = diff_pb2.Descriptor(media_type=layer["mediaType"], digest=layer["digest"], size=layer["size"])
        try:
            store.call(_DIFF, "Apply", diff_pb2.ApplyRequest(diff=descriptor, mounts=given), _UNPACK_SECONDS)
            commit = snapshots_pb2.CommitSnapshotRequest(snapshotter=snapshotter, name=name, key=key)
            store.call(_SNAPSHOTS, "Commit", commit, _CALL_SECONDS)
        except RuntimeFailure as failure:
            remove = snapshots_pb2.RemoveSnapshotRequest(snapshotter=snapshotter, key=key)
            store.call(_SNAPSHOTS, "Remove", remove, _CALL_SECONDS)
            if failure.code != "ALREADY_EXISTS":
                raise
        parent = name
    store.label(image_id, {f"containerd.io/gc.ref.snapshot.{snapshotter}": parent})


def _layers(store: Store, image_id: str, names: Sequence[str]) -> list[Any]:
    """Of the manifest that the image's config belongs to."""
    for name in names:
        try:
            found = store.call(_IMAGES, "Get", images_pb2.GetImageRequest(name=name), _CALL_SECONDS).image
        except RuntimeFailure:
            continue
        waiting = [found.target.digest]
        while waiting:
            try:
                document = orjson.loads(store.read(waiting.pop()))
            except RuntimeFailure:
                continue  # another machine's part of an index is not here
            if (document.get("config") or {}).get("digest") == image_id:
                layers: list[Any] = document["layers"]
                return layers
            waiting.extend(row["digest"] for row in document.get("manifests") or ())
    raise RuntimeFailure("NOT_FOUND", f"no manifest of image {image_id} is here")
