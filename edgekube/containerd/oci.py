"""Images made of files in memory, and archives of them. Pure but for write_archive.

Enters: files, and what to run.
Leaves: an Assembled image (blobs by digest); an OCI image layout in a tar file (image-spec image-layout.md).
Holds: the same input gives the same bytes: no clock, no user names, members in the order given.
Next: containerd.image_store, which reads them; containerd.pause_image.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from msgspec import Struct, field

from edgekube.containerd.pause import ARCHITECTURES

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
#: Annotations that carry a name (image-spec annotations.md; containerd's and Docker's own).
NAME_ANNOTATION: Final = "io.containerd.image.name"
REF_ANNOTATION: Final = "org.opencontainers.image.ref.name"

#: A moment that every image here was made at: the file times in a layer must not depend on the clock.
_EPOCH: Final = "1970-01-01T00:00:00Z"


class Entry(Struct, frozen=True):
    """A file, or a symbolic link when ``target`` is given, or a directory when ``path`` ends in a slash."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    target: str = ""


class Run(Struct, frozen=True):
    """What a container of the image does when the pod says nothing (image-spec config.md)."""

    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    user: str = ""
    exposed_tcp_ports: Sequence[int] = ()
    stop_signal: str = ""


class Assembled(Struct, frozen=True):
    """One image: its manifest's digest, and every blob by digest. The manifest is among the blobs."""

    manifest: str
    blobs: Mapping[str, bytes]
    architecture: str
    variant: str


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def this_machine() -> str:
    """``uname -m`` of what containers here run on: a 32-bit user space below a 64-bit kernel counts as 32-bit."""
    import struct

    machine = os.uname().machine
    return "armv7l" if machine == "aarch64" and struct.calcsize("P") == 4 else machine


def layer(entries: Iterable[Entry]) -> bytes:
    """An uncompressed layer. Parent directories must be listed before what is in them."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path.strip("/"))
            info.mode = entry.mode
            if entry.path.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, entry.mode | 0o111
            elif entry.target:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
            else:
                info.size = len(entry.data)
            tar.addfile(info, io.BytesIO(entry.data) if info.size else None)
    return buffer.getvalue()


def assemble(layers: Sequence[bytes], run: Run, machine: str | None = None) -> Assembled:
    """An image of uncompressed ``layers`` for ``machine`` (``uname -m``; this one if not given). KeyError if unknown."""
    architecture, variant = ARCHITECTURES[machine or this_machine()]
    blobs = {digest_of(data): data for data in layers}
    config: dict[str, Any] = {
        "created": _EPOCH,
        "architecture": architecture,
        "os": "linux",
        "config": {
            key: value
            for key, value in {
                "Entrypoint": list(run.entrypoint),
                "Cmd": list(run.command),
                "Env": [f"{name}={value}" for name, value in run.env.items()],
                "WorkingDir": run.working_dir,
                "User": run.user,
                "ExposedPorts": {f"{port}/tcp": {} for port in run.exposed_tcp_ports},
                "StopSignal": run.stop_signal,
            }.items()
            if value
        },
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in layers]},
        "history": [{"created": _EPOCH, "created_by": "edgekube"} for _ in layers],
    }
    if variant:
        config["variant"] = variant
    config_bytes = orjson.dumps(config)
    manifest = orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config_bytes), "size": len(config_bytes)},
            "layers": [{"mediaType": LAYER, "digest": digest_of(data), "size": len(data)} for data in layers],
        }
    )
    blobs[digest_of(config_bytes)] = config_bytes
    blobs[digest_of(manifest)] = manifest
    return Assembled(digest_of(manifest), blobs, architecture, variant)


def write_archive(out: Path, images: Mapping[str, Assembled]) -> None:
    """An OCI layout in a tar file at ``out`` (replaced in one step) with ``images`` by full reference."""
    descriptors = []
    blobs: dict[str, bytes] = {}
    for reference, image in images.items():
        blobs |= image.blobs
        platform = {"os": "linux", "architecture": image.architecture} | ({"variant": image.variant} if image.variant else {})
        descriptors.append(
            {
                "mediaType": MANIFEST,
                "digest": image.manifest,
                "size": len(image.blobs[image.manifest]),
                "platform": platform,
                "annotations": {NAME_ANNOTATION: reference, REF_ANNOTATION: reference},
            }
        )
    members = [
        Entry("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        Entry("index.json", orjson.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors})),
        Entry("blobs/", mode=0o755),
        Entry("blobs/sha256/", mode=0o755),
        *(Entry(f"blobs/sha256/{digest.removeprefix('sha256:')}", blobs[digest]) for digest in sorted(blobs)),
    ]
    scratch = out.with_name(f".{out.name}.new")
    scratch.write_bytes(layer(members))
    scratch.replace(out)
