"""Write images into containerd beside its CRI: content, garbage-collection labels, names.

Enters: an archive's path, or an assembled image.
Leaves: images in containerd's store, in the CRI's namespace; the CRI notices them by its own events.
Holds: names are written last, when every blob they need is there and has the right digest, so a broken archive leaves no image
behind; its blobs hang on a lease that is dropped, and containerd collects them.
Bound: one chunk of an archive in memory (_CHUNK_BYTES), limits.IMAGE_METADATA_BYTES_MAX of JSON at a time.
Next: containerd.archive, which reads archives.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from edgekube import limits
from edgekube.containerd import archive as archives
from edgekube.containerd import oci
from edgekube.containerd._generated import content_pb2, images_pb2, leases_pb2
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.rpc import NAMESPACE, Rpc
from edgekube.version import RELEASE_DATE

_CONTENT: Final = content_pb2.DESCRIPTOR.services_by_name["Content"]
_IMAGES: Final = images_pb2.DESCRIPTOR.services_by_name["Images"]
_LEASES: Final = leases_pb2.DESCRIPTOR.services_by_name["Leases"]

_STAT, _WRITE, _COMMIT = 0, 1, 2
_CHUNK_BYTES: Final = 1024 * 1024
_CALL_SECONDS: Final = 60.0
#: Seconds after which containerd drops the lease of an import that was cut short by a power-off.
_LEASE_SECONDS: Final = 3600
#: The same while the clock is known to be wrong: it may be set at any moment, and no import shall end with that.
_LEASE_IN_1970: Final = "2999-01-01T00:00:00Z"


async def import_archive(rpc: Rpc, archive: Path, progress: archives.Progress) -> list[str]:
    """Import ``archive``; the full references it brought. Raises RuntimeFailure; formats: see archives.read."""
    return await trio.to_thread.run_sync(partial(_import, rpc, archive, progress))


async def remove_name(rpc: Rpc, reference: str) -> None:
    """One name; the image goes with its last one. Raises RuntimeFailure NOT_FOUND."""
    request = images_pb2.DeleteImageRequest(name=reference, sync=True)
    await rpc.call(_IMAGES, "Delete", request, _CALL_SECONDS, (("containerd-namespace", NAMESPACE),))


async def store_image(rpc: Rpc, reference: str, image: oci.Assembled, labels: Mapping[str, str]) -> None:
    """Store ``image`` under the full ``reference`` with ``labels`` on its name."""
    await trio.to_thread.run_sync(partial(_store, rpc, reference, image, labels))


def _import(rpc: Rpc, archive: Path, progress: archives.Progress) -> list[str]:
    with lease(rpc) as store:
        found = archives.read(archive, store, oci.this_machine(), progress)
        for image in found:
            for digest, references in image.links.items():
                store.link(digest, references)
        for image in found:
            store.name(image.reference, image.media_type, image.digest, image.size_bytes, {})
    return [image.reference for image in found]


def _store(rpc: Rpc, reference: str, image: oci.Assembled, labels: Mapping[str, str]) -> None:
    import orjson

    with lease(rpc) as store:
        for digest, data in image.blobs.items():
            store.write(digest, len(data), iter([data]))
        manifest = orjson.loads(image.blobs[image.manifest])
        store.link(image.manifest, archives.manifest_links(manifest))
        store.name(reference, oci.MANIFEST, image.manifest, len(image.blobs[image.manifest]), labels)


def lease_ends(now: float) -> str:
    """RFC 3339, by the clock that containerd sees."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + _LEASE_SECONDS))
    return ends if ends > RELEASE_DATE else _LEASE_IN_1970


@contextmanager
def lease(rpc: Rpc) -> Iterator[Store]:
    name = f"edgekube-import-{secrets.token_hex(8)}"
    namespace = (("containerd-namespace", NAMESPACE),)
    request = leases_pb2.CreateRequest(id=name, labels={"containerd.io/gc.expire": lease_ends(time.time())})
    rpc.call_blocking(_LEASES, "Create", request, _CALL_SECONDS, namespace)
    try:
        yield Store(rpc, name, (*namespace, ("containerd-lease", name)))
    finally:
        rpc.call_blocking(_LEASES, "Delete", leases_pb2.DeleteRequest(id=name), _CALL_SECONDS, namespace)


class Store:
    """containerd's content and names under one lease. Blocking: for a worker thread."""

    def __init__(self, rpc: Rpc, lease: str, metadata: tuple[tuple[str, str], ...]) -> None:
        self._rpc = rpc
        self._lease = lease
        self._metadata = metadata

    def _call(self, service: Any, method: str, request: Any) -> Any:
        return self._rpc.call_blocking(service, method, request, _CALL_SECONDS, self._metadata)

    def call(self, service: Any, method: str, request: Any, timeout_seconds: float) -> Any:
        """Of another of containerd's services, under the same lease."""
        return self._rpc.call_blocking(service, method, request, timeout_seconds, self._metadata)

    def _hold(self, digest: str) -> None:
        """Content that was there before belongs to no lease of ours and could be collected before we name it."""
        resource = leases_pb2.Resource(id=digest, type="content")
        self._call(_LEASES, "AddResource", leases_pb2.AddResourceRequest(id=self._lease, resource=resource))

    def write(self, expected: str, size_bytes: int, chunks: Iterator[bytes]) -> str:
        """Store a blob; its digest. ``expected`` may be empty. Raises RuntimeFailure when digest or size do not match."""
        if expected:
            self._hold(expected)
        exchange = self._rpc.exchange_blocking(_CONTENT, "Write", _LEASE_SECONDS, self._metadata)
        reference = f"{self._lease}-{secrets.token_hex(8)}"
        hashed = hashlib.sha256()
        try:
            exchange.ask(content_pb2.WriteContentRequest(action=_STAT, ref=reference, total=size_bytes, expected=expected))
            offset = 0
            for chunk in chunks:
                trio.from_thread.check_cancelled()
                for start in range(0, len(chunk), _CHUNK_BYTES):
                    piece = chunk[start : start + _CHUNK_BYTES]
                    exchange.ask(content_pb2.WriteContentRequest(action=_WRITE, ref=reference, offset=offset, data=piece))
                    offset += len(piece)
                hashed.update(chunk if not expected else b"")
            commit = content_pb2.WriteContentRequest(
                action=_COMMIT, ref=reference, offset=offset, total=size_bytes, expected=expected
            )
            return str(exchange.ask(commit).digest)
        except RuntimeFailure as failure:
            if failure.code != "ALREADY_EXISTS":
                raise
            digest = expected or "sha256:" + hashed.hexdigest()
            self._hold(digest)
            return digest
        finally:
            exchange.close()

    def size_bytes(self, digest: str) -> int | None:
        """None when there is no such content."""
        try:
            return int(self._call(_CONTENT, "Info", content_pb2.InfoRequest(digest=digest)).info.size)
        except RuntimeFailure as failure:
            if failure.code == "NOT_FOUND":
                return None
            raise

    def read(self, digest: str) -> bytes:
        """A small blob. Raises RuntimeFailure when it is larger than limits.IMAGE_METADATA_BYTES_MAX or absent."""
        size = self.size_bytes(digest)
        if size is None or size > limits.IMAGE_METADATA_BYTES_MAX:
            raise RuntimeFailure("INVALID_ARGUMENT", f"{digest} is {'missing' if size is None else f'too large ({size} bytes)'}")
        return self._rpc.collect_blocking(
            _CONTENT, "Read", content_pb2.ReadContentRequest(digest=digest), _CALL_SECONDS, self._metadata
        )

    def link(self, digest: str, references: Mapping[str, str]) -> None:
        """Say what ``digest`` refers to (label suffix → digest): collection keeps that too (garbage-collection.md)."""
        self.label(digest, {f"containerd.io/gc.ref.content.{suffix}": target for suffix, target in references.items()})

    def label(self, digest: str, labels: Mapping[str, str]) -> None:
        request = content_pb2.UpdateRequest(
            info={"digest": digest, "labels": labels}, update_mask={"paths": [f"labels.{key}" for key in labels]}
        )
        self._call(_CONTENT, "Update", request)

    def name(self, reference: str, media_type: str, digest: str, size_bytes: int, labels: Mapping[str, str]) -> None:
        """Point ``reference`` at a manifest or index; an older image of that name gives way."""
        image = images_pb2.Image(
            name=reference, labels=labels, target={"media_type": media_type, "digest": digest, "size": size_bytes}
        )
        try:
            self._call(_IMAGES, "Create", images_pb2.CreateImageRequest(image=image))
        except RuntimeFailure as failure:
            if failure.code != "ALREADY_EXISTS":
                raise
            mask = {"paths": ["target", *(f"labels.{key}" for key in labels)]}
            self._call(_IMAGES, "Update", images_pb2.UpdateImageRequest(image=image, update_mask=mask))
