"""Read image archives: OCI layouts and what ``docker save`` writes, as tar files, plain or compressed (gzip, bzip2, xz, zstd).

Enters: an archive's path, and a sink that stores blobs by digest.
Leaves: the images that the archive names for this machine, with what each blob refers to.
Holds: the file is read once, front to back, so it may be larger than memory; every blob that an image needs was digest-checked
or is already in the sink. Nothing is unpacked to a path, and members with paths that lead outside are refused all the same:
such an archive is not an image. Every fault of the archive is a RuntimeFailure INVALID_ARGUMENT that names the file and the
fault.
Bound: limits.IMAGE_ARCHIVE_MEMBERS_MAX members, limits.IMAGE_METADATA_BYTES_MAX per JSON document.
Next: containerd.image_store.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Protocol, TypeAlias

import orjson
from msgspec import Struct, field

from edgekube import limits
from edgekube.containerd import oci, zstd
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.pause import ARCHITECTURES
from edgekube.containerd.reference import normalize

_CHUNK_BYTES: Final = 1024 * 1024
_BLOB: Final = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
_INDEXES: Final = (oci.INDEX, _DOCKER_INDEX)
_MANIFESTS: Final = (oci.MANIFEST, _DOCKER_MANIFEST)
#: Nested indexes: an index of an index is already unusual.
_DEPTH_MAX: Final = 4


#: Bytes of the file that were read, and how many it has.
Progress: TypeAlias = Callable[[int, int], None]


class Sink(Protocol):
    """Where blobs go."""

    def write(self, expected: str, size_bytes: int, chunks: Iterator[bytes]) -> str:
        """Store a blob and check its digest; ``expected`` may be empty. The digest."""
        ...

    def size_bytes(self, digest: str) -> int | None: ...

    def read(self, digest: str) -> bytes: ...


class Found(Struct, frozen=True):
    """An image that an archive names, complete in the sink."""

    reference: str
    media_type: str
    digest: str
    size_bytes: int
    #: Blob → (label suffix → digest it refers to), as containerd's garbage collection wants it.
    links: Mapping[str, Mapping[str, str]]


class _Broken(Exception):
    """What is wrong with the archive, without its name."""


class _Contents(Struct):
    """What one pass over the archive left: JSON documents, and digests of everything that was stored, by member name."""

    documents: dict[str, bytes] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    gzipped: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)


def read(archive: Path, sink: Sink, machine: str, progress: Progress = lambda done, total: None) -> list[Found]:
    """Store the archive's blobs in ``sink`` and find its images for ``machine``. Raises RuntimeFailure."""
    try:
        with archive.open("rb") as file, _plain(file) as plain:
            total = archive.stat().st_size
            contents = _scan(plain, sink, lambda: progress(min(file.tell(), total), total))
        return _images(contents, sink, ARCHITECTURES[machine])
    except FileNotFoundError:
        raise RuntimeFailure("NOT_FOUND", f"no archive {archive}") from None
    except (_Broken, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, zstd.Damaged) as error:
        raise RuntimeFailure("INVALID_ARGUMENT", f"{archive.name} is not a usable image archive: {error}") from None
    except OSError as error:  # bad gzip and bzip2 data are OSErrors too
        raise RuntimeFailure("INVALID_ARGUMENT", f"{archive.name} cannot be read: {error}") from None


def manifest_links(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What a manifest refers to, as label suffixes."""
    links = {"config": str(manifest["config"]["digest"])}
    for number, layer in enumerate(manifest["layers"]):
        links[f"l.{number}"] = str(layer["digest"])
    return links


# --- the pass over the tar file


@contextmanager
def _plain(file: io.BufferedReader) -> Iterator[IO[bytes]]:
    """tarfile knows every compression but zstd by itself."""
    if not file.peek(len(zstd.MAGIC)).startswith(zstd.MAGIC):
        yield file
        return
    with zstd.ZstdReader(file) as reader, io.BufferedReader(reader) as plain:
        yield plain


def _scan(file: IO[bytes], sink: Sink, read_on: Callable[[], None]) -> _Contents:
    contents = _Contents()
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for count, member in enumerate(tar):
            if count >= limits.IMAGE_ARCHIVE_MEMBERS_MAX:
                raise _Broken(f"more than {limits.IMAGE_ARCHIVE_MEMBERS_MAX} members")
            name = _safe(member.name)
            if member.issym():
                contents.links[name] = _safe(str(PurePosixPath(name).parent / member.linkname), join=True)
            elif member.isfile():
                data = tar.extractfile(member)
                assert data is not None
                _take(contents, name, member.size, data, sink, read_on)
            elif not member.isdir():
                raise _Broken(f"member {name} is neither file, directory nor symbolic link")
    return contents


def _safe(name: str, *, join: bool = False) -> str:
    """The member's name without ./, or with .. resolved when it came from a link. Raises _Broken when it leads outside."""
    if name.startswith("/") or "\0" in name or len(name) > 1024:
        raise _Broken(f"member {name[:80]!r} has a path that no image has")
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not join or not parts:
                raise _Broken(f"member {name[:80]!r} leads outside of the archive")
            parts.pop()
            continue
        parts.append(part)
    return "/".join(parts)


def _take(contents: _Contents, name: str, size_bytes: int, data: IO[bytes], sink: Sink, read_on: Callable[[], None]) -> None:
    if "/" not in name and name in ("index.json", "manifest.json", "oci-layout"):
        if size_bytes > limits.IMAGE_METADATA_BYTES_MAX:
            raise _Broken(f"{name} is larger than {limits.IMAGE_METADATA_BYTES_MAX} bytes")
        contents.documents[name] = data.read()
        return
    if name in ("repositories",) or name.endswith(("/VERSION", "/json")):
        return  # of Docker 1.9 and older, beside what we read
    blob = _BLOB.fullmatch(name)
    if blob is None and not name.endswith((".tar", ".json", ".tar.gz")):
        return
    if size_bytes == 0 and blob is None:
        return
    contents.sizes[name] = size_bytes
    chunks = _chunks(data, size_bytes, read_on)
    first = next(chunks, b"")
    if first[:2] == b"\x1f\x8b":
        contents.gzipped.add(name)
    expected = f"sha256:{blob[1]}" if blob else ""
    try:
        contents.digests[name] = sink.write(expected, size_bytes, _prepend(first, chunks))
    except RuntimeFailure as failure:
        if failure.code == "FAILED_PRECONDITION":
            raise _Broken(f"{name} is damaged: {failure.message}") from None
        raise


def _prepend(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _chunks(data: IO[bytes], size_bytes: int, read_on: Callable[[], None]) -> Iterator[bytes]:
    left = size_bytes
    while left:
        chunk = data.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise _Broken("the file ends in the middle of a member")
        left -= len(chunk)
        read_on()
        yield chunk


# --- what it means


def _images(contents: _Contents, sink: Sink, platform: tuple[str, str]) -> list[Found]:
    if not contents.documents.keys() & {"index.json", "manifest.json"}:
        raise _Broken("it has neither index.json (OCI layout) nor manifest.json (docker save); is it cut short?")
    tags = _docker_tags(contents)
    if "index.json" in contents.documents:
        found = _oci_images(contents, tags, sink, platform)
    else:
        found = _docker_images(contents, sink, platform)
    if not found:
        raise _Broken(
            "it names no image: the index needs the annotation io.containerd.image.name or org.opencontainers.image.ref.name "
            "(docker save NAME:TAG and skopeo copy … oci-archive:FILE:NAME:TAG write one)"
        )
    return found


def _document(contents: _Contents, name: str, kind: type) -> Any:
    try:
        document = orjson.loads(contents.documents[name])
    except orjson.JSONDecodeError as error:
        raise _Broken(f"{name} is not JSON: {error}") from None
    if not isinstance(document, kind):
        raise _Broken(f"{name} has the wrong shape")
    return document


def _docker_tags(contents: _Contents) -> dict[str, list[str]]:
    """Config digest → RepoTags; Docker 25 and newer writes both kinds of index, and only this one has whole names."""
    if "manifest.json" not in contents.documents:
        return {}
    tags: dict[str, list[str]] = {}
    for row in _document(contents, "manifest.json", list):
        if isinstance(row, dict) and isinstance(row.get("Config"), str):
            digest = contents.digests.get(_resolve(contents, row["Config"]), "")
            tags.setdefault(digest, []).extend(str(tag) for tag in row.get("RepoTags") or [])
    return tags


def _resolve(contents: _Contents, name: str) -> str:
    for _ in range(8):
        if name not in contents.links:
            break
        name = contents.links[name]
    return name


def _oci_images(contents: _Contents, tags: Mapping[str, list[str]], sink: Sink, platform: tuple[str, str]) -> list[Found]:
    index = _document(contents, "index.json", dict)
    found: list[Found] = []
    named: set[str] = set()
    rows = [_descriptor(row) for row in index.get("manifests") or []]
    rows.sort(key=lambda row: not _fits(row.get("platform"), platform))
    for row in rows:
        if row.get("platform") and not _fits(row["platform"], platform) and row.get("mediaType") in _MANIFESTS:
            continue
        links: dict[str, Mapping[str, str]] = {}
        config = _walk(row, sink, platform, links, _DEPTH_MAX)
        if config is None:
            continue
        for reference in _names(row, tags.get(config, [])):
            if reference not in named:
                named.add(reference)
                found.append(Found(reference, str(row["mediaType"]), str(row["digest"]), int(row["size"]), links))
    if rows and not found and any(_names(row, []) for row in rows):
        raise _Broken(f"it has no image for linux/{'/'.join(filter(None, platform))}")
    return found


def _names(row: Mapping[str, Any], tags: list[str]) -> list[str]:
    annotations = row.get("annotations") or {}
    full, short = annotations.get(oci.NAME_ANNOTATION), annotations.get(oci.REF_ANNOTATION)
    names = [full] if full else list(tags)
    # The second annotation holds a whole name, or (Docker, buildah) the tag alone, which names nothing by itself.
    if not names and short and not re.fullmatch(r"latest|v?\d[\w.-]*", short):
        names = [short]
    return [_normal(str(name)) for name in names]


def _normal(name: str) -> str:
    try:
        return normalize(name)
    except ValueError as error:
        raise _Broken(str(error)) from None


def _descriptor(row: Any) -> dict[str, Any]:
    if (
        isinstance(row, dict)
        and isinstance(row.get("digest"), str)
        and re.fullmatch(r"sha256:[0-9a-f]{64}", row["digest"])
        and isinstance(row.get("size"), int)
    ):
        return row
    raise _Broken("a descriptor lacks a sha256 digest or a size")


def _fits(platform: Any, wanted: tuple[str, str]) -> bool:
    """Whether an image for ``platform`` runs here. A descriptor without one is judged later, by its config."""
    if not isinstance(platform, dict):
        return False
    architecture, variant = wanted
    theirs = platform.get("variant") or ""
    if platform.get("os", "linux") != "linux" or platform.get("architecture") != architecture:
        return False
    if architecture == "arm":  # a v7 core runs v6 and v5 code
        return theirs in ("", "v5", "v6", "v7")
    return theirs in ("", variant) or (architecture == "amd64" and theirs == "v1")


def _load(digest: str, sink: Sink) -> dict[str, Any]:
    if sink.size_bytes(digest) is None:
        raise _Broken(f"blob {digest} is missing")
    try:
        document = orjson.loads(sink.read(digest))
    except orjson.JSONDecodeError as error:
        raise _Broken(f"blob {digest} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise _Broken(f"blob {digest} has the wrong shape")
    return document


def _walk(
    row: dict[str, Any], sink: Sink, platform: tuple[str, str], links: dict[str, Mapping[str, str]], depth: int
) -> str | None:
    """Check that everything below a descriptor is there; its config's digest, or None when nothing in it is for this platform."""
    media_type, digest = row.get("mediaType"), row["digest"]
    if media_type in _INDEXES:
        if depth == 0:
            raise _Broken("indexes are nested too deeply")
        children = [_descriptor(child) for child in _load(digest, sink).get("manifests") or []]
        links[digest] = {f"m.{number}": child["digest"] for number, child in enumerate(children)}
        for child in children:
            fits = child.get("platform") is None or _fits(child["platform"], platform)
            if fits and (config := _walk(child, sink, platform, links, depth - 1)):
                return config
        return None
    if media_type not in _MANIFESTS:
        raise _Broken(f"{digest} has the media type {media_type!r}, which is neither manifest nor index")
    manifest = _load(digest, sink)
    configured = _descriptor(manifest.get("config"))
    layers = [_descriptor(layer) for layer in manifest.get("layers") or []]
    described = _load(configured["digest"], sink)
    theirs = {"os": described.get("os", "linux"), "architecture": described.get("architecture")}
    if not _fits(theirs, platform):
        return None
    for blob in (configured, *layers):
        size = sink.size_bytes(blob["digest"])
        if size is None:
            raise _Broken(f"blob {blob['digest']} is missing; is the file cut short?")
        if size != blob["size"]:
            raise _Broken(f"blob {blob['digest']} has {size} bytes and not {blob['size']}")
    links[digest] = manifest_links(manifest)
    return str(configured["digest"])


def _docker_images(contents: _Contents, sink: Sink, platform: tuple[str, str]) -> list[Found]:
    """docker save before version 25: configs and layers by member name, and no manifest, so one is written."""
    found: list[Found] = []
    foreign = 0
    for row in _document(contents, "manifest.json", list):
        if not isinstance(row, dict) or not isinstance(row.get("Config"), str) or not isinstance(row.get("Layers"), list):
            raise _Broken("manifest.json has the wrong shape")
        config_name = _resolve(contents, row["Config"])
        config_digest = _stored(contents, config_name)
        config = _load(config_digest, sink)
        if not _fits({"os": config.get("os", "linux"), "architecture": config.get("architecture")}, platform):
            foreign += 1
            continue
        layers = [_resolve(contents, str(name)) for name in row["Layers"]]
        diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
        if len(diff_ids) != len(layers):
            raise _Broken(f"{row['Config']} speaks of {len(diff_ids)} layers, manifest.json of {len(layers)}")
        for name, diff_id in zip(layers, diff_ids, strict=True):
            if name not in contents.gzipped and _stored(contents, name) != diff_id:
                raise _Broken(f"layer {name} is damaged: its digest is not {diff_id}")
        manifest = orjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _DOCKER_MANIFEST,
                "config": {"mediaType": _DOCKER_CONFIG, "digest": config_digest, "size": contents.sizes[config_name]},
                "layers": [
                    {
                        "mediaType": _DOCKER_LAYER + (".gzip" if name in contents.gzipped else ""),
                        "digest": _stored(contents, name),
                        "size": contents.sizes[name],
                    }
                    for name in layers
                ],
            }
        )
        digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
        sink.write(digest, len(manifest), iter([manifest]))
        links = {digest: manifest_links(orjson.loads(manifest))}
        found += [Found(_normal(str(tag)), _DOCKER_MANIFEST, digest, len(manifest), links) for tag in row.get("RepoTags") or []]
    if foreign and not found:
        raise _Broken(f"it has no image for linux/{'/'.join(filter(None, platform))}")
    return found


def _stored(contents: _Contents, name: str) -> str:
    try:
        return contents.digests[name]
    except KeyError:
        raise _Broken(f"{name} is missing; is the file cut short?") from None
