"""Directories of local-path volumes: made once, removed by the node that made them, whatever was interrupted."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from edgekube.agent.local_volumes import Directories, LocalVolumes, endings, node_annotations
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes import project_quota
from edgekube.agent.volumes.mounts import mounted_at
from edgekube.api import local_path
from edgekube.api.kinds import PERSISTENTVOLUME
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.registry.state import Registry
from edgekube.settings import Settings
from edgekube.store.sqlite import open_store

_ADMIN = UserInfo("system:admin", groups=("system:masters",))
_NODE = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(node_name="n1", data_dir=tmp_path)


def volume(settings: Settings, name: str = "pvc-1", policy: str = "Delete", node: str = "n1") -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {local_path.NODE_LABEL: node},
            "annotations": {"pv.kubernetes.io/provisioned-by": local_path.PROVISIONER},
            "finalizers": [local_path.FINALIZER],
        },
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": policy,
            "local": {"path": str(settings.local_path_directory / f"{name}_shop_data")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}},
        },
    }


def test_directories_are_counted_where_the_file_system_counts_by_project(settings: Settings) -> None:
    path = settings.local_path_directory / "pvc-1_shop_data"
    directories = Directories(settings)
    directories.may_hold("pvc-1", 1 << 20)
    directories.make("pvc-1", str(path))
    directories.may_hold("pvc-1", 2 << 20)
    found = mounted_at(str(path))
    assert found is not None and os.path.ismount(found.path)
    counts = not found.options.isdisjoint({"prjquota", "pquota"})
    assert project_quota.device_of(path) == (found.source if counts else "")
    assert project_quota.is_ours(project_quota.project_of(path)) == counts
    project_quota.limit(path.parent, "/dev/null", 1 << 20)  # that is not ours
    directories.remove("pvc-1")
    assert not path.exists()


def test_a_directory_is_for_any_user_of_a_container_and_for_nobody_else(settings: Settings) -> None:
    path = settings.local_path_directory / "pvc-1_shop_data"
    directories = Directories(settings)
    directories.make("pvc-1", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (path / "kept").write_text("yes")
    directories.make("pvc-1", str(path))
    Directories(settings).remove("pvc-1")
    assert not path.exists() and path.parent.exists()
    Directories(settings).remove("pvc-1")


@pytest.mark.parametrize("path", ["/etc/edgekube-not-there", "{base}/other_shop_data", "{base}/pvc-1", "{base}/a/pvc-1_x"])
def test_nothing_is_made_elsewhere(settings: Settings, path: str) -> None:
    with pytest.raises(VolumeProblem, match="does not exist, and is not below"):
        Directories(settings).make("pvc-1", path.format(base=settings.local_path_directory))


def test_what_this_node_did_not_make_is_not_removed(settings: Settings, tmp_path: Path) -> None:
    theirs = settings.local_path_directory / "pvc-1_shop_data"
    theirs.mkdir(parents=True)
    Directories(settings).make("pvc-1", str(theirs))
    Directories(settings).remove("pvc-1")
    assert theirs.is_dir()


@pytest.mark.parametrize("torn", [b"", b"/", b"\0\0\0", b"\xff", b"kept", b"{base}", b"{base}/pvc-10_shop_data"])
def test_a_note_that_a_power_cut_tore_removes_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    other = settings.local_path_directory / "pvc-10_shop_data"
    Directories(settings).make("pvc-10", str(other))
    (tmp_path / "kept").mkdir()
    note = settings.agent_dir / "local-volumes" / "pvc-1"
    note.write_bytes(torn.replace(b"{base}", bytes(settings.local_path_directory)))
    Directories(settings).remove("pvc-1")
    assert other.is_dir() and (tmp_path / "kept").is_dir() and not note.exists()


def test_a_volume_that_a_pod_has_made_deep_goes_as_well(settings: Settings) -> None:
    directories = Directories(settings)
    path = settings.local_path_directory / "pvc-1_shop_data"
    directories.make("pvc-1", str(path))
    below = path
    for _ in range(1200):
        below = below / "a"
        below.mkdir()
    directories.remove("pvc-1")
    assert not path.exists()


def test_what_a_node_says_of_its_room(settings: Settings) -> None:
    said = node_annotations(settings)
    assert said[local_path.DIRECTORY] == str(settings.data_dir / "storage")
    assert int(said[local_path.CAPACITY]) > 0
    assert not settings.local_path_directory.exists(), "looking makes nothing"
    assert node_annotations(Settings(node_name="n1", data_dir=settings.data_dir, disable=frozenset({"local-path"}))) == {}


def test_which_volumes_end(settings: Settings) -> None:
    def one(**metadata: str) -> Object:
        made = volume(settings)
        made["metadata"] |= metadata
        return made

    gone = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    bound = one(**gone) | {"status": {"phase": "Bound"}}
    assert endings([one(), bound]) == []
    assert [
        each.removes for each in endings([one(**gone), {**one(**gone), "spec": volume(settings, policy="Retain")["spec"]}])
    ] == [
        True,
        False,
    ]


@asynccontextmanager
async def api(tmp_path: Path) -> AsyncIterator[tuple[LocalVerbs, LocalVerbs]]:
    """The API as an administrator and as the node has it."""
    async with open_store(tmp_path / "state.db") as store:
        registry = Registry(store)
        await registry.load()
        yield LocalVerbs(registry, _ADMIN), LocalVerbs(registry, _NODE)


async def test_a_volume_that_ends_takes_its_directory_along_even_if_the_node_was_away(settings: Settings, tmp_path: Path) -> None:
    async with api(tmp_path) as (admin, node), trio.open_nursery() as nursery:
        directories = Directories(settings)
        paths = {}
        for name, policy in (("pvc-1", "Delete"), ("pvc-2", "Retain"), ("pvc-3", "Delete")):
            made = volume(settings, name, policy)
            paths[name] = Path(made["spec"]["local"]["path"])
            directories.make(name, str(paths[name]))
            await admin.create(PERSISTENTVOLUME, "", made)
            await admin.patch(PERSISTENTVOLUME, "", name, {"metadata": {"finalizers": [local_path.FINALIZER]}})
        await admin.delete(PERSISTENTVOLUME, "", "pvc-1")  # while the node is away
        nursery.start_soon(LocalVolumes(settings, node, directories).run)

        async def until_left(*names: str) -> None:
            with trio.fail_after(60):
                while True:
                    if {each["metadata"]["name"] for each in (await admin.list(PERSISTENTVOLUME)).objects()} == set(names):
                        return
                    await trio.sleep(0.01)

        await until_left("pvc-2", "pvc-3")
        await admin.delete(PERSISTENTVOLUME, "", "pvc-2")
        await admin.delete(PERSISTENTVOLUME, "", "pvc-3")
        await until_left()
        assert {name: path.exists() for name, path in paths.items()} == {"pvc-1": False, "pvc-2": True, "pvc-3": False}
        nursery.cancel_scope.cancel()
