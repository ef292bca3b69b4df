"""Reading archives, against a store in memory; what a real containerd makes of them is in test_images.py."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.containerd import archive, oci
from edgekube.containerd.model import RuntimeFailure
from edgekube.containerd.oci import Assembled, Entry, Run
from edgekube.containerd.reference import normalize


class MemorySink:
    """archive.Sink over a dictionary; refuses what does not hash, as containerd does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def write(self, expected: str, size_bytes: int, chunks: Iterator[bytes]) -> str:
        data = b"".join(chunks)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if (expected and digest != expected) or len(data) != size_bytes:
            raise RuntimeFailure("FAILED_PRECONDITION", f"unexpected commit digest {digest}, expected {expected}")
        self.blobs[digest] = data
        return digest

    def size_bytes(self, digest: str) -> int | None:
        return len(self.blobs[digest]) if digest in self.blobs else None

    def read(self, digest: str) -> bytes:
        return self.blobs[digest]


def image(text: str = "hello", machine: str = "x86_64") -> Assembled:
    return oci.assemble([oci.layer([Entry("greeting", text.encode())])], Run(command=["cat", "/greeting"]), machine)


def layout(rows: list[dict[str, object]], *blobs: Mapping[str, bytes], leave_out: str = "") -> dict[str, bytes]:
    """Members of an OCI layout."""
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": orjson.dumps({"manifests": rows})}
    for group in blobs:
        members |= {f"blobs/sha256/{digest[7:]}": data for digest, data in group.items() if digest != leave_out}
    return members


def row(made: Assembled, **annotations: str) -> dict[str, object]:
    return {
        "mediaType": oci.MANIFEST,
        "digest": made.manifest,
        "size": len(made.blobs[made.manifest]),
        "annotations": annotations,
    }


def docker_save(made: Assembled, tags: list[str]) -> dict[str, bytes]:
    """Members as docker save wrote them before version 25."""
    manifest = orjson.loads(made.blobs[made.manifest])
    config = manifest["config"]["digest"]
    [layer] = [made.blobs[item["digest"]] for item in manifest["layers"]]
    listing = [{"Config": f"{config[7:]}.json", "RepoTags": tags, "Layers": ["aaaa/layer.tar"]}]
    return {
        "aaaa/VERSION": b"1.0",
        "aaaa/json": b"{}",
        "aaaa/layer.tar": layer,
        f"{config[7:]}.json": made.blobs[config],
        "manifest.json": orjson.dumps(listing),
        "repositories": b"{}",
    }


def tar(members: Mapping[str, bytes]) -> bytes:
    return oci.layer([Entry(name, data) for name, data in members.items()])


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., list[archive.Found]]:
    def read(data: bytes, machine: str = "x86_64", sink: MemorySink | None = None) -> list[archive.Found]:
        path = tmp_path / "image.tar"
        path.write_bytes(data)
        return archive.read(path, sink or MemorySink(), machine)

    return read


Load = Callable[..., list[archive.Found]]


def refusal(load: Load, data: bytes, machine: str = "x86_64") -> str:
    with pytest.raises(RuntimeFailure) as refused:
        load(data, machine)
    assert refused.value.code == "INVALID_ARGUMENT"
    assert "image.tar" in refused.value.message
    return refused.value.message


NAMED = {oci.NAME_ANNOTATION: "docker.io/library/greeter:1"}


def test_what_we_write_we_read(load: Load, tmp_path: Path) -> None:
    made = image()
    oci.write_archive(tmp_path / "out.tar", {"edgekube.local/greeter:1": made})
    [found] = load((tmp_path / "out.tar").read_bytes())
    assert (found.reference, found.digest) == ("edgekube.local/greeter:1", made.manifest)
    manifest = orjson.loads(made.blobs[made.manifest])
    assert found.links == {made.manifest: {"config": manifest["config"]["digest"], "l.0": manifest["layers"][0]["digest"]}}


def test_archives_are_deterministic(tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        oci.write_archive(tmp_path / name, {"edgekube.local/greeter:1": image()})
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize(
    ("annotations", "reference"),
    [
        ({oci.NAME_ANNOTATION: "busybox"}, "docker.io/library/busybox:latest"),
        ({oci.REF_ANNOTATION: "busybox:1.36"}, "docker.io/library/busybox:1.36"),
        ({oci.REF_ANNOTATION: "registry.example:5000/team/app:2"}, "registry.example:5000/team/app:2"),
        ({oci.NAME_ANNOTATION: "docker.io/library/app:3", oci.REF_ANNOTATION: "3"}, "docker.io/library/app:3"),
    ],
)
def test_names_come_from_annotations(load: Load, annotations: dict[str, str], reference: str) -> None:
    made = image()
    [found] = load(tar(layout([row(made, **annotations)], made.blobs)))
    assert found.reference == reference


def test_gzip_and_xz_archives(load: Load) -> None:
    import lzma

    made = image()
    plain = tar(layout([row(made, **NAMED)], made.blobs))
    assert load(gzip.compress(plain)) == load(lzma.compress(plain)) == load(plain)


def compressed(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


def test_zstd_archives(load: Load) -> None:
    made = image()
    plain = tar(layout([row(made, **NAMED)], made.blobs))
    data = compressed(plain)
    assert load(data) == load(plain)
    assert load(compressed(plain[:1000]) + compressed(plain[1000:])) == load(plain), "two frames, one after the other"
    assert "cut short" in refusal(load, data[:-20])
    assert "not a usable image archive" in refusal(load, data[:50] + b"x" * 50 + data[100:])


def test_how_far_it_is(tmp_path: Path) -> None:
    made = image()
    path = tmp_path / "image.tar"
    path.write_bytes(tar(layout([row(made, **NAMED)], made.blobs)))
    seen: list[tuple[int, int]] = []
    archive.read(path, MemorySink(), "x86_64", lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] <= seen[-1][1] == path.stat().st_size


def test_docker_save(load: Load) -> None:
    sink = MemorySink()
    [first, second] = load(tar(docker_save(image(), ["greeter:1", "greeter:2"])), sink=sink)
    assert (first.reference, second.reference) == ("docker.io/library/greeter:1", "docker.io/library/greeter:2")
    assert first.digest == second.digest
    assert set(first.links[first.digest].values()) < set(sink.blobs)


def test_docker_save_with_linked_layers(load: Load) -> None:
    members = docker_save(image(), ["greeter:1"])
    data = members.pop("aaaa/layer.tar")
    entries = [Entry("bbbb/layer.tar", data), Entry("aaaa/layer.tar", target="../bbbb/layer.tar")]
    archive_bytes = oci.layer([*entries, *(Entry(name, data) for name, data in members.items())])
    assert [found.reference for found in load(archive_bytes)] == ["docker.io/library/greeter:1"]


def test_docker_25_has_both_indexes_and_names_in_one(load: Load) -> None:
    made = image()
    manifest = orjson.loads(made.blobs[made.manifest])
    names = [{"Config": f"blobs/sha256/{manifest['config']['digest'][7:]}", "RepoTags": ["greeter:1"], "Layers": []}]
    members = layout([row(made, **{oci.REF_ANNOTATION: "1"})], made.blobs) | {"manifest.json": orjson.dumps(names)}
    assert [found.reference for found in load(tar(members))] == ["docker.io/library/greeter:1"]


def index_of(*images: Assembled) -> bytes:
    children = [row(made) | {"platform": {"os": "linux", "architecture": made.architecture}} for made in images]
    return orjson.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": children})


def test_of_several_platforms_ours_is_needed_only(load: Load) -> None:
    intel, arm = image(machine="x86_64"), image(machine="aarch64")
    index = index_of(intel, arm)
    digest = oci.digest_of(index)
    top: dict[str, object] = {"mediaType": oci.INDEX, "digest": digest, "size": len(index), "annotations": NAMED}
    without_arm = tar(layout([top], intel.blobs, {digest: index}))
    [found] = load(without_arm)
    assert (found.digest, found.media_type) == (digest, oci.INDEX)
    assert set(found.links) == {digest, intel.manifest}
    assert "is missing" in refusal(load, without_arm, "aarch64")


def test_an_image_for_another_machine_is_refused_by_name(load: Load) -> None:
    made = image(machine="aarch64")
    assert "no image for linux/amd64" in refusal(load, tar(layout([row(made, **NAMED)], made.blobs)))
    assert "no image for linux/amd64" in refusal(load, tar(docker_save(made, ["greeter:1"])))


def test_missing_blob(load: Load) -> None:
    made = image()
    for digest in made.blobs:
        assert "is missing" in refusal(load, tar(layout([row(made, **NAMED)], made.blobs, leave_out=digest)))


def test_damaged_blob(load: Load) -> None:
    made = image()
    for digest in made.blobs:
        blobs = dict(made.blobs) | {digest: made.blobs[digest] + b"!"}
        assert "damaged" in refusal(load, tar(layout([row(made, **NAMED)], blobs)))


def test_damaged_docker_layer(load: Load) -> None:
    members = docker_save(image(), ["greeter:1"])
    members["aaaa/layer.tar"] = oci.layer([Entry("greeting", b"something else")])
    assert "damaged" in refusal(load, tar(members))


def test_no_name(load: Load) -> None:
    made = image()
    assert "names no image" in refusal(load, tar(layout([row(made)], made.blobs)))
    assert "names no image" in refusal(load, tar(layout([row(made, **{oci.REF_ANNOTATION: "latest"})], made.blobs)))
    assert "names no image" in refusal(load, tar(docker_save(made, [])))


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "blobs/../../x"])
def test_paths_that_lead_outside(load: Load, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        info = tarfile.TarInfo(name)
        info.size = 4
        made.addfile(info, io.BytesIO(b"evil"))
    assert "leads outside" in refusal(load, buffer.getvalue()) or "no image has" in refusal(load, buffer.getvalue())


@pytest.mark.parametrize(("kind", "link"), [(tarfile.SYMTYPE, "../../etc/shadow"), (tarfile.CHRTYPE, ""), (tarfile.LNKTYPE, "x")])
def test_members_that_no_image_has(load: Load, kind: bytes, link: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        info = tarfile.TarInfo("aaaa/layer.tar")
        info.type, info.linkname = kind, link
        made.addfile(info)
    assert refusal(load, buffer.getvalue())


@pytest.mark.parametrize(
    "data", [b"", b"not a tar file at all" * 100, gzip.compress(b"nor this", mtime=0), b"\x1f\x8b\x08\x00broken"]
)
def test_not_an_archive(load: Load, data: bytes) -> None:
    assert refusal(load, data)


def test_a_tar_file_of_something_else(load: Load) -> None:
    assert "neither index.json" in refusal(load, tar({"README": b"hello"}))


@pytest.mark.parametrize("document", [b"{", b"[]", b'{"manifests":[{"digest":"md5:x"}]}', b'{"manifests":[1]}'])
def test_broken_index(load: Load, document: bytes) -> None:
    assert refusal(load, tar({"index.json": document}))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure) as missing:
        archive.read(tmp_path / "nosuch.tar", MemorySink(), "x86_64")
    assert missing.value.code == "NOT_FOUND"


def test_too_many_members(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "IMAGE_ARCHIVE_MEMBERS_MAX", 3)
    made = image()
    assert "more than 3 members" in refusal(load, tar(layout([row(made, **NAMED)], made.blobs)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cut=st.integers(0, 5000), compress=st.booleans())
def test_cut_short_it_is_refused_or_whole(load: Load, cut: int, compress: bool) -> None:
    """Whatever the length that arrived: a clear error, or an image with all its blobs."""
    made = image()
    whole = tar(layout([row(made, **NAMED)], made.blobs))
    data = gzip.compress(whole, mtime=0) if compress else whole
    sink = MemorySink()
    try:
        [found] = load(data[: min(cut, len(data))], sink=sink)
    except RuntimeFailure as failure:
        assert failure.code == "INVALID_ARGUMENT"
    else:
        assert set(made.blobs) <= set(sink.blobs)
        assert found.digest == made.manifest


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(position=st.integers(0, 8000), value=st.integers(0, 255))
def test_one_wrong_byte_never_brings_a_wrong_image(load: Load, position: int, value: int) -> None:
    made = image()
    data = bytearray(tar(layout([row(made, **NAMED)], made.blobs)))
    data[position % len(data)] = value
    sink = MemorySink()
    try:
        found = load(bytes(data), sink=sink)
    except RuntimeFailure as failure:
        assert failure.code == "INVALID_ARGUMENT"
    else:
        for image_found in found:
            assert image_found.digest in sink.blobs
            assert all(oci.digest_of(blob) == digest for digest, blob in sink.blobs.items())


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("edgekube.local/pause:1", "edgekube.local/pause:1"),
        ("app@sha256:" + "a" * 64, "docker.io/library/app@sha256:" + "a" * 64),
    ],
)
def test_references(written: str, full: str) -> None:
    assert normalize(written) == full
    assert normalize(full) == full


@pytest.mark.parametrize("written", ["", "UPPER", "a b", "app:", "app:t@g", "-x", "a//b", "app:" + "t" * 200, "x" * 300])
def test_no_references(written: str) -> None:
    with pytest.raises(ValueError, match="not an image reference"):
        normalize(written)
