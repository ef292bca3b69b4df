"""Volume files on the real file system: whole or not at all, and never outside."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube.agent.execute import make_pods_directory
from edgekube.agent.fieldrefs import Surroundings
from edgekube.agent.problems import ConfigProblem, VolumeProblem
from edgekube.agent.volumes import mounts
from edgekube.agent.volumes.atomic import VolumeFile, check_path, write_volume
from edgekube.agent.volumes.hostpath import check_host_path
from edgekube.agent.volumes.ownership import apply_fs_group
from edgekube.agent.volumes.payload import volume_files, wanted_tokens
from edgekube.agent.volumes.removal import remove_tree
from edgekube.agent.volumes.subpath import bind_subpath
from edgekube.api.kinds import CONFIGMAP, SECRET
from edgekube.api.objects import Object
from tests.agent.test_removal import dig


def contents(volume: Path) -> dict[str, bytes]:
    return {
        str(Path(folder, name).relative_to(volume)): Path(folder, name).read_bytes()
        for folder, folders, names in os.walk(volume, followlinks=True)
        if not [part for part in Path(folder).relative_to(volume).parts if part.startswith("..")]
        for name in names
        if not name.startswith("..")
    }


_PAYLOADS = st.dictionaries(st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"]), st.binary(max_size=20), max_size=5)


@settings(max_examples=40, deadline=None)
@given(payloads=st.lists(_PAYLOADS, min_size=1, max_size=4))
def test_the_volume_holds_what_was_written_last(
    payloads: list[dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    volume = tmp_path_factory.mktemp("volume")
    for payload in payloads:
        files = {name: VolumeFile(data) for name, data in payload.items()}
        write_volume(volume, files)
        assert contents(volume) == payload
        assert not write_volume(volume, files), "the same again changes nothing"
        assert len(list(volume.glob("..edgekube_*"))) == 1


def test_a_reader_never_sees_old_and_new_together(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    write_volume(volume, {"a": VolumeFile(b"0"), "b": VolumeFile(b"0")})
    torn: list[tuple[bytes, bytes]] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                folder = os.open(volume / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                pair = []
                for name in ("a", "b"):
                    descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
                    pair.append(os.read(descriptor, 10))
                    os.close(descriptor)
                if pair[0] != pair[1]:
                    torn.append((pair[0], pair[1]))
            except FileNotFoundError:
                continue  # the directory that was opened is gone: the reader opens anew, as kubelet's readers must
            finally:
                os.close(folder)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(200):
            text = str(number).encode()
            write_volume(volume, {"a": VolumeFile(text), "b": VolumeFile(text)})
    finally:
        stop.set()
        reader.join()
    assert torn == []


@pytest.mark.root
def test_modes_and_groups(tmp_path: Path) -> None:
    write_volume(tmp_path / "v", {"key": VolumeFile(b"x", 0o400)}, 2000)
    found = (tmp_path / "v" / "key").stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o440, 2000)
    write_volume(tmp_path / "w", {"key": VolumeFile(b"x", 0o600, 1000)})
    assert (tmp_path / "w" / "key").stat().st_uid == 1000

    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").touch(0o600)
    (tree / "link").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd").st_gid
    apply_fs_group(tree, 3000)
    assert (tree / "sub").stat().st_mode & 0o2770 == 0o2770
    assert (tree / "sub" / "file").stat().st_gid == 3000
    assert os.stat("/etc/passwd").st_gid == before


@pytest.mark.root
def test_a_volume_deeper_than_any_stack_is_handed_over_with_few_descriptors(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    dig(root, 1500)
    (root / "b").mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        apply_fs_group(root, 3000)
        descriptor = os.open(root, os.O_RDONLY)
        for _ in range(1500):
            below = os.open("a", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        assert os.fstat(descriptor).st_gid == os.stat("file", dir_fd=descriptor).st_gid == 3000
        os.close(descriptor)
        assert {(path.stat().st_gid, path.stat().st_mode & 0o2070) for path in (root, root / "b")} == {(3000, 0o2070)}
        remove_tree(root)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_path_of_many_levels_is_refused(tmp_path: Path) -> None:
    deep = "a/" * 249 + "key"
    write_volume(tmp_path / "v", {deep: VolumeFile(b"x")})
    assert (tmp_path / "v" / deep).read_bytes() == b"x"
    with pytest.raises(ValueError, match="a path in a volume has more than 250 levels"):
        write_volume(tmp_path / "w", {"a/" + deep: VolumeFile(b"x")})


@pytest.mark.root
def test_a_directory_that_becomes_a_link_meanwhile_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container can do that has the volume already."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    for folder in (tree / "sub", outside):
        folder.mkdir(parents=True)
        for name in ("a", "b", "c"):
            (folder / name).touch(0o600)
    chown = os.chown

    def swap(*arguments: Any, **more: Any) -> None:
        if not (tree / "sub").is_symlink():
            (tree / "sub").rename(tree / "moved")
            (tree / "sub").symlink_to(outside)
            (tree / "moved" / "c").unlink()
        chown(*arguments, **more)

    monkeypatch.setattr(os, "chown", swap)
    apply_fs_group(tree, 3000)
    assert {(path.stat().st_gid, path.stat().st_mode & 0o777) for path in (outside, *outside.iterdir())} == {
        (0, 0o755),
        (0, 0o600),
    }
    assert {(path.stat().st_gid, path.stat().st_mode & 0o777) for path in (tree / "moved").iterdir()} == {(3000, 0o660)}


def test_other_users_of_the_machine_do_not_get_at_what_pods_hold(tmp_path: Path) -> None:
    pods = tmp_path / "agent" / "pods"
    for _ in range(2):
        make_pods_directory(pods)
        assert pods.stat().st_mode & 0o777 == 0o750
        pods.chmod(0o755)  # as earlier versions had it


def test_names_that_lead_elsewhere() -> None:
    for path in ("/abs", "a/../../b", "..data", "", "..x/y"):
        with pytest.raises(ValueError, match="invalid path"):
            check_path(path)


@pytest.mark.root
def test_a_subpath_stays_in_its_volume(tmp_path: Path) -> None:
    volume, target = tmp_path / "volume", tmp_path / "pod" / "0"
    (volume / "in").mkdir(parents=True)
    (volume / "in" / "file").write_text("mine")
    (tmp_path / "outside").mkdir()
    (volume / "out").symlink_to(tmp_path / "outside")
    (volume / "alias").symlink_to("in")
    try:
        bind_subpath(volume, "alias", target)
        assert (target / "file").read_text() == "mine"
        volume.chmod(0o2777)
        bind_subpath(volume, "new/deep", tmp_path / "pod" / "1")
        assert (volume / "new" / "deep").is_dir()
        assert (volume / "new" / "deep").stat().st_mode & 0o7777 == 0o2777, "as open as the volume is"
        for path in ("out", "out/x", "../outside", "/etc", "in/../../outside"):
            with pytest.raises(ConfigProblem):
                bind_subpath(volume, path, tmp_path / "pod" / "2")
        assert list((tmp_path / "outside").iterdir()) == []
    finally:
        mounts.unmount_under(tmp_path)
    assert mounts.mounted_under(tmp_path) == []


@pytest.mark.root
def test_tmpfs_with_a_strange_name_comes_and_goes(tmp_path: Path) -> None:
    place = tmp_path / "a b\\c"
    place.mkdir()
    mounts.mount_tmpfs(place, 1 << 20, 0o700)
    try:
        assert mounts.mounted_under(tmp_path) == [place]
    finally:
        mounts.unmount_under(tmp_path)
    mounts.unmount(place)
    assert not place.is_mount()


def test_host_paths(tmp_path: Path) -> None:
    check_host_path(str(tmp_path), "Directory")
    check_host_path(str(tmp_path / "anything"), "")
    check_host_path(str(tmp_path / "made"), "DirectoryOrCreate")
    assert (tmp_path / "made").is_dir()
    check_host_path(str(tmp_path / "file"), "FileOrCreate")
    with pytest.raises(VolumeProblem, match="is not a directory"):
        check_host_path(str(tmp_path / "file"), "Directory")
    with pytest.raises(VolumeProblem, match="is not a socket file"):
        check_host_path(str(tmp_path / "none"), "Socket")


POD: Object = {
    "metadata": {"name": "web", "namespace": "default", "uid": "u", "labels": {"b": '2"', "a": "1"}},
    "spec": {"containers": [{"name": "web", "resources": {"limits": {"memory": "64Mi"}}}]},
}
NONE = Surroundings()


def test_what_volumes_hold() -> None:
    objects = {
        (CONFIGMAP, "default", "cm"): {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AA=="}},
        (SECRET, "default", "s"): {"data": {"k": "eA=="}},
    }

    def files(volume: Object) -> dict[str, tuple[bytes, int]]:
        return {name: (file.data, file.mode) for name, file in volume_files(POD, volume, objects, tokens, NONE).items()}

    tokens = {("vault", 600): "tok"}
    assert files({"configMap": {"name": "cm"}}) == {"a": (b"1", 0o644), "b": (b"2", 0o644), "c": (b"\0", 0o644)}
    picked = {"configMap": {"name": "cm", "defaultMode": 0o400, "items": [{"key": "a", "path": "x/y", "mode": 0o755}]}}
    assert files(picked) == {"x/y": (b"1", 0o755)}
    assert files({"configMap": {"name": "none", "optional": True}}) == {}
    projected: Object = {
        "projected": {
            "sources": [
                {"secret": {"name": "s"}},
                {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}},
                {"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {
                    "downwardAPI": {
                        "items": [{"path": "m", "resourceFieldRef": {"containerName": "web", "resource": "limits.memory"}}]
                    }
                },
            ]
        }
    }
    assert wanted_tokens(POD, projected) == {("vault", 600)}
    assert {name: data for name, (data, _) in files(projected).items()} == {
        "k": b"x",
        "t": b"tok",
        "l": b'a="1"\nb="2\\""',
        "m": b"67108864",
    }
    for volume, words in (
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "s", "items": [{"key": "z", "path": "z"}]}}, "references non-existent secret key: z"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "clusterTrustBundle is not supported by this node"),
    ):
        with pytest.raises(VolumeProblem, match=words):
            files(volume)
