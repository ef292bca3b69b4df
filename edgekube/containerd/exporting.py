"""Write images of this node into an archive: an OCI layout, which docker load, podman, skopeo and edgekube read.

Enters: names of images, containerd's content.
Leaves: a tar file, plain or gzip; RuntimeFailure when an image is not here, or not whole.
Holds: every blob that is written was asked for by its digest, and its size is checked; of an image for several machines only the
parts that are here are written, and only if this machine's is among them. The file is whole or not there.
Bound: limits.IMAGE_METADATA_BYTES_MAX of JSON at a time, one message of a blob.
Next: cli.image.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import orjson

from edgekube import limits
from edgekube.containerd import oci
from edgekube.containerd._generated import content_pb2, images_pb2
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.reference import normalize
from edgekube.containerd.rpc import NAMESPACE, Rpc

_CONTENT: Final = content_pb2.DESCRIPTOR.services_by_name["Content"]
_IMAGES: Final = images_pb2.DESCRIPTOR.services_by_name["Images"]
_CALL_SECONDS: Final = 60.0
_READ_SECONDS: Final = 3600.0
_METADATA: Final = (("containerd-namespace", NAMESPACE),)
_DEPTH_MAX: Final = 4


class _Blobs:
    """containerd's content. Blocking: for a worker thread."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    def target(self, reference: str) -> Any:
        try:
            found = self._rpc.call_blocking(_IMAGES, "Get", images_pb2.GetImageRequest(name=reference), _CALL_SECONDS, _METADATA)
        except RuntimeFailure as failure:
            if failure.code == "NOT_FOUND":
                raise RuntimeFailure("NOT_FOUND", f"there is no image {reference} on this node") from None
            raise
        return found.image.target

    def size_bytes(self, digest: str) -> int | None:
        try:
            info = self._rpc.call_blocking(_CONTENT, "Info", content_pb2.InfoRequest(digest=digest), _CALL_SECONDS, _METADATA)
        except RuntimeFailure as failure:
            if failure.code == "NOT_FOUND":
                return None
            raise
        return int(info.info.size)

    def parts(self, digest: str) -> Iterator[bytes]:
        request = content_pb2.ReadContentRequest(digest=digest)
        for message in self._rpc.parts_blocking(_CONTENT, "Read", request, _READ_SECONDS, _METADATA):
            yield bytes(message.data)


def export(rpc: Rpc, references: Sequence[str], target: Path, *, compress: bool, progress: Callable[[int, int], None]) -> None:
    """``progress``: bytes written so far, and of how many. Raises RuntimeFailure, OSError; ValueError for what is no name."""
    blobs = _Blobs(rpc)
    wanted: dict[str, int] = {}
    rows = []
    for reference in (normalize(reference) for reference in references):
        row = blobs.target(reference)
        if not _collect(blobs, row.digest, row.media_type, wanted, _DEPTH_MAX):
            raise RuntimeFailure("NOT_FOUND", f"image {reference} is not whole on this node: pull it again")
        rows.append(_row(reference, row))
    scratch = target.with_name(f".{target.name}.new")
    try:
        with scratch.open("wb") as file:
            _write(file, blobs, wanted, rows, compress=compress, progress=progress)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def _row(reference: str, target: Any) -> dict[str, Any]:
    tag = reference.rpartition("/")[2].partition("@")[0].partition(":")[2]
    return {
        "mediaType": target.media_type,
        "digest": target.digest,
        "size": target.size,
        "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag or reference},
    }


def _collect(blobs: _Blobs, digest: str, media_type: str, wanted: dict[str, int], depth: int) -> bool:
    """Add the blob and what it refers to; False when something that must be there is not."""
    size = blobs.size_bytes(digest)
    if size is None:
        return False
    is_index = media_type == oci.INDEX or media_type.endswith("manifest.list.v2+json")
    is_manifest = media_type == oci.MANIFEST or media_type.endswith("distribution.manifest.v2+json")
    if not (is_index or is_manifest):
        wanted[digest] = size
        return True
    if size > limits.IMAGE_METADATA_BYTES_MAX:
        raise RuntimeFailure("INVALID_ARGUMENT", f"{digest} is too large ({size} bytes)")
    document = orjson.loads(b"".join(blobs.parts(digest)))
    if is_manifest:
        children = [document["config"], *document.get("layers", [])]
        found: dict[str, int] = {}
        for child in children:
            if not _collect(blobs, child["digest"], "", found, 0):
                return False
        wanted.update(found)
        wanted[digest] = size
        return True
    if depth == 0:
        return False
    some = [_collect(blobs, child["digest"], child.get("mediaType") or "", wanted, depth - 1) for child in document["manifests"]]
    wanted[digest] = size
    return any(some)


def _write(
    file: IO[bytes],
    blobs: _Blobs,
    wanted: dict[str, int],
    rows: list[dict[str, Any]],
    *,
    compress: bool,
    progress: Callable[[int, int], None],
) -> None:
    total, done = sum(wanted.values()), 0
    outer: IO[bytes] = gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) if compress else file  # type: ignore[assignment]
    with tarfile.open(fileobj=outer, mode="w|") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add(tar, "index.json", orjson.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": rows}))
        for digest, size in wanted.items():
            member = tarfile.TarInfo(f"blobs/{digest.replace(':', '/', 1)}")
            member.size = size
            reader = _Joined(blobs.parts(digest))
            tar.addfile(member, reader)
            if reader.read_bytes != size:
                raise RuntimeFailure("DATA_LOSS", f"blob {digest} has {reader.read_bytes} bytes and not {size}")
            done += size
            progress(done, total)
    if compress:
        outer.close()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


class _Joined(io.RawIOBase):
    """Messages of a stream as a file."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._ready = memoryview(b"")
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._ready:
                part = next(self._parts, None)
                if part is None:
                    break
                self._ready = memoryview(part)
            taken = self._ready if size < 0 else self._ready[: size - len(found)]
            found += taken
            self._ready = self._ready[len(taken) :]
        self.read_bytes += len(found)
        return bytes(found)
