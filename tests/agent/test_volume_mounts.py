"""Mounts of volumes on this kernel, and what decides about them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekube.agent.kubelet_dir import provide, withdraw
from edgekube.agent.names import PodPaths
from edgekube.agent.problems import ConfigProblem, VolumeProblem
from edgekube.agent.statistics import far
from edgekube.agent.volumes import block, disk, mounts, nfs
from edgekube.agent.volumes.container_mounts import volume_devices, volume_mounts
from edgekube.agent.volumes.hugepages import page_size
from edgekube.agent.volumes.read_only import resolve, shown
from edgekube.agent.volumes.source import Mounted, VolumeSource
from edgekube.api.objects import Object
from edgekube.containerd.image_mounts import chain_ids
from edgekube.containerd.model import Device


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    mounts.unmount_under(tmp_path)


def read_only(**more: object) -> Object:
    return {"name": "v", "mountPath": "/v", "readOnly": True, **more}


@pytest.mark.parametrize(
    ("mount", "able", "outcome"),
    [
        (read_only(), True, "Disabled"),
        (read_only(recursiveReadOnly="Disabled"), True, "Disabled"),
        (read_only(recursiveReadOnly="IfPossible"), True, "Enabled"),
        (read_only(recursiveReadOnly="IfPossible"), False, "Disabled"),
        (read_only(recursiveReadOnly="Enabled"), True, "Enabled"),
    ],
)
def test_what_becomes_of_a_read_only_mount(mount: Object, able: bool, outcome: str) -> None:
    assert resolve(mount, able=able) == (outcome == "Enabled")
    assert shown(mount, able=able) == {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": outcome}


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        (read_only(recursiveReadOnly="Enabled"), "but it is not supported by the runtime"),
        (read_only(recursiveReadOnly="Enabled", readOnly=False), "but it is not read-only"),
        (
            read_only(recursiveReadOnly="Enabled", mountPropagation="HostToContainer"),
            'but it is not compatible with propagation "HostToContainer"',
        ),
    ],
)
def test_what_cannot_be_read_only_all_down(mount: Object, why: str) -> None:
    with pytest.raises(ConfigProblem) as caught:
        resolve(mount, able=False)
    begin = 'failed to resolve recursive read-only mode: volume "v" requested recursive read-only mode, '
    assert caught.value.message == begin + why
    assert shown(mount, able=False).get("recursiveReadOnly") in (None, "Disabled")


def test_a_writable_mount_says_nothing_of_it() -> None:
    assert shown({"name": "v", "mountPath": "/v"}, able=True) == {"name": "v", "mountPath": "/v"}


@pytest.mark.root
def test_a_mount_in_a_read_only_volume_is_read_only_too(place: Path) -> None:
    inner, volume = place / "inner", place / "volume"
    inner.mkdir()
    (volume / "sub").mkdir(parents=True)
    mounts.bind(str(inner), volume / "sub")
    paths = PodPaths(place / "agent", place / "logs", "default", "web", "uid-1")
    container: Object = {"name": "main", "volumeMounts": [read_only(recursiveReadOnly="Enabled")]}
    [mount] = volume_mounts(container, {"v": Mounted(str(volume))}, paths, {})
    assert mount.readonly and mount.propagation == "PRIVATE"
    with pytest.raises(OSError, match="Read-only"):
        (Path(mount.host_path) / "sub" / "x").touch()
    (volume / "sub" / "x").touch()
    [again] = volume_mounts(container, {"v": Mounted(str(volume))}, paths, {})
    assert again == mount and len(mounts.mounted_under(Path(mount.host_path))) == 2, "nothing is stacked"


@pytest.mark.root
def test_mounts_are_found_whatever_their_names_are_made_of(place: Path) -> None:
    """Whoever writes into a volume chooses names, and a subPath is bound by its real one."""
    source, target = place / os.fsdecode(b"a\rb \xff\\"), place / os.fsdecode(b"at\r\xfe")
    source.mkdir()
    target.mkdir()
    mounts.bind(str(source), target)
    assert mounts.is_mounted(target) and mounts.mounted_under(place) == [target]
    mounts.unmount(target)
    assert not mounts.is_mounted(target)


@pytest.mark.root
def test_a_file_is_a_block_device_as_long_as_a_pod_has_it(place: Path) -> None:
    disk = place / "disk"
    disk.write_bytes(b"edge".ljust(1 << 20, b"\0"))
    pods = place / "pods"
    links = [pods / uid / "volumeDevices" / "kubernetes.io~local-volume" / "disk" for uid in ("a", "b")]
    for link in links:
        block.map_device(str(disk), link)
    assert block.map_device(str(disk), links[0]) == links[0]
    device = links[0].resolve()
    assert links[1].resolve() == device and device.read_bytes()[:4] == b"edge"
    [given] = volume_devices(
        {"name": "main", "volumeDevices": [{"name": "disk", "devicePath": "/dev/x"}]},
        {"disk": Mounted(str(links[0]), block=True)},
    )
    assert given == Device("/dev/x", str(device), "mrw")
    block.unmap_device(str(disk), links[0], pods)
    assert block.loop_of(str(disk)) == str(device), "the other pod has it still"
    block.unmap_device(str(disk), links[1], pods)
    assert block.loop_of(str(disk)) == ""
    block.unmap_device(str(disk), links[1], pods)


def test_what_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(VolumeProblem, match="neither a block device nor a file"):
        block.map_device(str(tmp_path), tmp_path / "link")
    with pytest.raises(VolumeProblem, match="does not exist"):
        block.map_device(str(tmp_path / "none"), tmp_path / "link")


def pod_with_pages(*requests: dict[str, str]) -> Object:
    return {"spec": {"containers": [{"name": str(i), "resources": {"requests": asked}} for i, asked in enumerate(requests)]}}


def test_which_huge_pages_a_volume_has() -> None:
    both = pod_with_pages({"hugepages-2Mi": "4Mi"}, {"hugepages-1Gi": "1Gi"})
    assert page_size("HugePages", pod_with_pages({"cpu": "1", "hugepages-2Mi": "4Mi"})) == "2Mi"
    assert page_size("HugePages-1Gi", both) == "1Gi"
    with pytest.raises(VolumeProblem, match="medium: HugePages can't be used if container requests multiple huge page sizes"):
        page_size("HugePages", both)
    why = "medium HugePages-1Gi: hugePages storage requested, but there is no resource request for huge pages"
    with pytest.raises(VolumeProblem, match=why):
        page_size("HugePages-1Gi", pod_with_pages({"hugepages-2Mi": "4Mi"}))


async def test_a_machine_without_nfs_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VolumeProblem, match="this node has no /sbin/mount"):
        await nfs.mount_nfs(VolumeSource("v", "nfs", {"server": "nas", "path": "/x"}), tmp_path / "target")


async def test_a_servers_name_is_no_option_of_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("mount.nfs", ""), ("mount", f'printf "%s\\n" "$@" > {tmp_path}/told')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    await nfs.mount_nfs(VolumeSource("v", "nfs", {"server": "--fstab=/tmp/f", "path": "/x"}, read_only=True), tmp_path / "target")
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["-t", "nfs", "-o", "ro", "--", "--fstab=/tmp/f:/x", str(tmp_path / "target")]


async def test_a_server_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("mount.nfs", ""), ("mount", "exec sleep 1000")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(nfs, "NFS_MOUNT_SECONDS", 0.5)
    with pytest.raises(VolumeProblem, match="mount failed: nas:/x does not answer"):
        await nfs.mount_nfs(VolumeSource("v", "nfs", {"server": "nas", "path": "/x"}), tmp_path / "target")


@pytest.mark.root
def test_a_file_system_that_does_not_answer_holds_nobody_who_asks_for_figures(place: Path) -> None:
    """A fuse mount whose program has not said a word: statvfs waits for it."""
    target = place / "share"
    target.mkdir()
    program = os.open("/dev/fuse", os.O_RDWR)
    try:
        options = [f"fd={program}", "rootmode=40000", "user_id=0", "group_id=0"]
        mounts.mount_given("fuse", "nothing", target, options)
        kinds = mounts.types_by_point()
        assert mounts.is_mounted(target) and not mounts.is_mounted(place)
        assert far.is_far(mounts.type_at(str(target / "below"), kinds)) and not far.is_far(mounts.type_at(str(place), kinds))
        disks = far.FarDisks()
        assert disks.look(str(target)) is None
        before = threading.active_count()
        assert disks.look(str(target)) is None and threading.active_count() <= before, "one thread asks, however often"
    finally:
        os.close(program)
        mounts.unmount(target)
    near = disks.look(str(place))
    assert near is not None and near.f_blocks == os.statvfs(place).f_blocks


def test_names_of_unpacked_layers() -> None:
    """OCI image-spec: ChainID(A) = DiffID(A); ChainID(A|B) = sha256 of "ChainID(A) DiffID(B)"."""
    a, b = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    done = subprocess.run(["sha256sum"], input=f"{a} {b}".encode(), capture_output=True, check=True)
    assert chain_ids([a, b]) == [a, "sha256:" + done.stdout.decode().split()[0]]
    assert chain_ids([]) == []


def test_the_kubelets_directory(tmp_path: Path) -> None:
    agent, kubelet = tmp_path / "agent", tmp_path / "lib" / "kubelet"
    agent.mkdir()
    assert provide(None, agent) == agent
    assert provide(kubelet, agent) == kubelet and kubelet.resolve() == agent
    assert provide(kubelet, agent) == kubelet, "after a restart"
    withdraw(kubelet, agent)
    assert not kubelet.is_symlink()
    kubelet.mkdir()
    assert provide(kubelet, agent) == kubelet, "an empty directory is nobody's"
    withdraw(kubelet, agent)
    (kubelet / "pods").mkdir(parents=True)
    assert provide(kubelet, agent) == agent and not kubelet.is_symlink(), "another kubelet's is left alone"
    withdraw(kubelet, agent)
    assert (kubelet / "pods").is_dir()


@pytest.mark.root
def test_a_blank_disk_becomes_a_file_system_and_no_other_does(place: Path) -> None:
    image, target = place / "image", place / "target"
    with image.open("wb") as stream:
        stream.truncate(16 << 20)
    target.mkdir()
    device = block.map_device(str(image), place / "pods" / "a" / "volumeDevices" / "x" / "disk")
    try:
        with pytest.raises(VolumeProblem, match="cannot mount unformatted disk "):
            disk.mount_disk(str(device), target, "", (), read_only=True)
        disk.mount_disk(str(device), target, "", ("noatime",), read_only=False)
        (target / "kept").write_text("here")
        mounts.unmount(target)
        assert disk.format_of(str(device)) == "ext4"
        disk.mount_disk(str(device), target, "", (), read_only=True)
        assert (target / "kept").read_text() == "here", "it was not formatted again"
        mounts.unmount(target)
        with pytest.raises(VolumeProblem, match="mount failed: exit status"):
            disk.mount_disk(str(device), target, "xfs", (), read_only=False)
        assert disk.format_of(str(device)) == "ext4"
    finally:
        mounts.unmount_under(target)
        block.unmap_device(str(image), device, place / "pods")
    assert block.loop_of(str(image)) == ""
