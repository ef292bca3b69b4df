"""Pods' volumes on a node with real containerd: what containers see, what a CSI driver is asked, what is left in the end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from edgekube.agent.csi.options import attachment_name, inline_handle
from edgekube.agent.statistics.collecting import collect
from edgekube.agent.volumes.block import loop_of
from edgekube.agent.volumes.mounts import mounted_under
from edgekube.agent.volumes.read_only import supported
from edgekube.api.errors import StatusError
from edgekube.api.kinds import CSIDRIVER, CSINODE, NODE, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM, POD, SECRET, VOLUMEATTACHMENT
from edgekube.api.objects import Object, uid_of
from edgekube.api.verbs import DeleteOptions
from edgekube.containerd import oci
from tests.agent.conftest import IMAGE, Node, container
from tests.csi_driver.driver import Driver, Serving

pytestmark = pytest.mark.root


async def bound(node: Node, name: str, **spec: Any) -> Object:
    """A claim, and the volume that stands behind it, as a binder leaves them."""
    modes = {"accessModes": [spec.pop("mode", "ReadWriteOnce")], "volumeMode": spec.pop("volumeMode", "Filesystem")}
    body: Object = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {**modes, "volumeName": name, "storageClassName": "", "resources": {"requests": {"storage": "1Mi"}}},
    }
    claim = await node.verbs.create(PERSISTENTVOLUMECLAIM, "default", body)
    reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": name, "uid": uid_of(claim)}
    volume = {"metadata": {"name": name}, "spec": {**modes, "capacity": {"storage": "1Mi"}, "claimRef": reference, **spec}}
    await node.verbs.create(PERSISTENTVOLUME, "", volume)
    return await node.verbs.patch(PERSISTENTVOLUMECLAIM, "default", name, {"status": {"phase": "Bound"}}, subresource="status")


def here(node: Node) -> Object:
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.place.settings.node_name]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def claimed(*names: str, **more: Any) -> list[Object]:
    return [{"name": name, "persistentVolumeClaim": {"claimName": name, **more}} for name in names]


def mounting(*names: str, **more: Any) -> Object:
    return container("main", "sleep 1000", volumeMounts=[{"name": name, "mountPath": f"/{name}", **more} for name in names])


async def test_claims_of_directories(node: Node, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "host").mkdir()
    await bound(node, "local", local={"path": str(tmp_path / "local")}, nodeAffinity=here(node))
    await bound(node, "host", hostPath={"path": str(tmp_path / "host"), "type": "Directory"})
    await node.create("uses", [mounting("local", "host")], volumes=claimed("local", "host"), securityContext={"fsGroup": 4321})
    pod = await node.until_running("uses")
    await node.run_in(pod, "sh", "-c", "echo kept > /local/a; echo kept > /host/b; stat -c %g /local")
    assert (tmp_path / "local/a").read_text() == (tmp_path / "host/b").read_text() == "kept\n"
    assert (tmp_path / "local").stat().st_gid == 4321 and (tmp_path / "host").stat().st_gid != 4321

    await node.stop()
    await node.verbs.delete(PERSISTENTVOLUMECLAIM, "default", "local")
    await node.start()
    await node.until_running("uses")
    await node.delete("uses")
    root = node.place.settings.agent_dir / "pods" / uid_of(pod)
    assert not root.exists() and not mounted_under(root)
    assert (tmp_path / "local/a").read_text() == "kept\n"


async def test_a_volume_for_one_pod_is_not_given_to_two(node: Node, tmp_path: Path) -> None:
    await bound(node, "single", mode="ReadWriteOncePod", local={"path": str(tmp_path)}, nodeAffinity=here(node))
    await node.create("one", [mounting("single")], volumes=claimed("single"))
    await node.until_running("one")
    await node.create("two", [mounting("single")], volumes=claimed("single"))
    why = "volume uses the ReadWriteOncePod access mode and is already in use by another pod"
    await node.until_event("two", "FailedMount", f'MountVolume.SetUp failed for volume "single" : {why}')
    await node.delete("one")
    await node.until_running("two")
    await node.delete("two")


async def test_a_claim_that_is_not_bound_is_waited_for(node: Node, tmp_path: Path) -> None:
    await node.create("early", [mounting("later")], volumes=claimed("later", readOnly=True))
    text = (
        "Unable to attach or mount volumes: unmounted volumes=[later], unattached volumes=[], failed to process volumes=[later]: "
        'error processing PVC default/later: failed to fetch PVC from API server: persistentvolumeclaims "later" '
    )
    await node.until_event("early", "FailedMount", text)
    await bound(node, "later", hostPath={"path": str(tmp_path)})
    pod = await node.until_running("early")
    assert "ro" in (await node.run_in(pod, "grep", " /later ", "/proc/mounts")).split()[3].split(",")
    await node.delete("early")


async def test_a_local_volume_of_another_node_is_refused(node: Node, tmp_path: Path) -> None:
    away: Object = {
        "required": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["x"]}]}]}
    }
    await bound(node, "away", local={"path": str(tmp_path)}, nodeAffinity=away)
    await node.create("lost", [mounting("away")], volumes=claimed("away"))
    wanted = 'MountVolume.NodeAffinity check failed for volume "away" : no matching NodeSelectorTerms'
    await node.until_event("lost", "FailedMount", wanted)
    await node.delete("lost")


async def test_an_image_is_a_volume(node: Node, tmp_path: Path) -> None:
    layers = [
        oci.layer([oci.Entry("model", b"weights 1"), oci.Entry("note", b"first")]),
        oci.layer([oci.Entry("note", b"second")]),
    ]
    oci.write_archive(tmp_path / "data.tar", {"edge.test/model:1": oci.assemble(layers, oci.Run((), ["x"]))})
    await node.runtime.import_archive(tmp_path / "data.tar")
    volumes = [
        {"name": "tools", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}},
        {"name": "model", "image": {"reference": "edge.test/model:1", "pullPolicy": "Never"}},
    ]
    mounts = [
        {"name": "tools", "mountPath": "/tools"},
        {"name": "tools", "mountPath": "/part", "subPath": "bin"},
        {"name": "model", "mountPath": "/model"},
    ]
    await node.create("image", [container("main", "sleep 1000", volumeMounts=mounts)], volumes=volumes)
    pod = await node.until_running("image")
    assert await node.run_in(pod, "cat", "/model/model", "/model/note") == "weights 1second", "no container ever unpacked it"
    assert await node.run_in(pod, "/tools/bin/busybox", "echo", "here") == "here\n"
    assert "busybox" in (await node.run_in(pod, "ls", "/part")).split()
    for path in ("/tools", "/part"):
        assert "ro" in (await node.run_in(pod, "grep", f" {path} ", "/proc/mounts")).split()[3].split(",")
    pulled = [message for reason, message in await node.events("image") if reason == "Pulled"]
    assert any(IMAGE in message for message in pulled) and any("edge.test/model:1" in message for message in pulled)
    root = node.place.settings.agent_dir / "pods" / uid_of(pod)
    assert len(mounted_under(root / "volumes")) == 2
    await node.delete("image")
    assert not root.exists() and not mounted_under(root)

    volumes = [{"name": "tools", "image": {"reference": "none.test/nothing:1", "pullPolicy": "Never"}}]
    await node.create("absent", [container("main", "sleep 1000", volumeMounts=mounts[:1])], volumes=volumes)
    pod = await node.until("absent", lambda pod: "ErrImageNeverPull" in str(pod["status"]))
    await node.delete("absent")


async def test_a_file_as_a_block_device(node: Node, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(b"\0" * (1 << 20))
    await bound(node, "raw", local={"path": str(disk)}, volumeMode="Block", nodeAffinity=here(node))
    main = container("main", "sleep 1000", volumeDevices=[{"name": "raw", "devicePath": "/dev/raw"}])
    await node.create("block", [main], volumes=claimed("raw"))
    pod = await node.until_running("block")
    await node.run_in(pod, "sh", "-c", "printf edge > /dev/raw && sync")
    assert disk.read_bytes()[:4] == b"edge"
    await node.delete("block")
    assert loop_of(str(disk)) == ""


async def test_a_volume_brings_its_group(node: Node, tmp_path: Path) -> None:
    await bound(node, "grouped", hostPath={"path": str(tmp_path)})
    annotation = {"metadata": {"annotations": {"pv.beta.kubernetes.io/gid": "5432"}}}
    await node.verbs.patch(PERSISTENTVOLUME, "", "grouped", annotation)
    main = mounting("grouped", readOnly=True, recursiveReadOnly="IfPossible")
    await node.create("member", [main], volumes=claimed("grouped"))
    pod = await node.until_running("member")
    assert "5432" in (await node.run_in(pod, "id", "-G")).split()
    [mount] = pod["status"]["containerStatuses"][0]["volumeMounts"]
    assert mount["recursiveReadOnly"] == ("Enabled" if supported() else "Disabled")
    await node.delete("member")


# --- CSI

NAME = "disk.test"


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    return Driver(NAME, tmp_path / "state", topology={"topology.disk.test/shelf": "left"}, volumes_max=7)


@pytest.fixture
def serving(driver: Driver, node: Node, tmp_path: Path) -> Iterator[Serving]:
    made = Serving(driver, tmp_path / "csi.sock")
    yield made
    made.close()
    for point in mounted_under(tmp_path):
        subprocess.run(["umount", str(point)], check=True)


def registry(node: Node) -> Path:
    return node.place.settings.agent_dir / "plugins_registry"


async def registered(node: Node, serving: Serving, **spec: Any) -> None:
    body: Object = {"metadata": {"name": NAME}, "spec": {"attachRequired": False, **spec}}
    await node.verbs.create(CSIDRIVER, "", body)
    serving.register(registry(node))
    await until_listed(node, [NAME])


async def drivers_of(node: Node) -> list[Object]:
    try:
        return (await node.verbs.get(CSINODE, "", "edge-1"))["spec"].get("drivers") or []
    except StatusError:
        return []


async def until_listed(node: Node, names: list[str]) -> None:
    async def listed() -> bool:
        return [driver["name"] for driver in await drivers_of(node)] == names

    await node.eventually(listed)


def csi(handle: str = "vol-1", **more: Any) -> Object:
    return {"driver": NAME, "volumeHandle": handle, **more}


async def test_a_driver_comes_and_goes(node: Node, serving: Serving, driver: Driver) -> None:
    await until_listed(node, [])
    await registered(node, serving)
    [entry] = await drivers_of(node)
    assert entry == {
        "name": NAME,
        "nodeID": "node-1",
        "topologyKeys": ["topology.disk.test/shelf"],
        "allocatable": {"count": 7},
    }
    [owner] = (await node.verbs.get(CSINODE, "", "edge-1"))["metadata"]["ownerReferences"]
    found = await node.verbs.get(NODE, "", "edge-1")
    assert owner["uid"] == uid_of(found)
    assert found["metadata"]["labels"]["topology.disk.test/shelf"] == "left"
    assert json.loads(found["metadata"]["annotations"]["csi.volume.kubernetes.io/nodeid"]) == {NAME: "node-1"}

    async def told() -> bool:
        return driver.told == [(True, "")]

    await node.eventually(told)
    serving.close()
    await until_listed(node, [])

    async def forgotten() -> bool:
        return "csi.volume.kubernetes.io/nodeid" not in (await node.verbs.get(NODE, "", "edge-1"))["metadata"]["annotations"]

    await node.eventually(forgotten)


@pytest.mark.parametrize(
    ("versions", "kind", "error"),
    [
        (("2.0.0",), "CSIPlugin", 'None of the versions specified ["2.0.0"] are supported.'),
        (("1.0.0",), "OddPlugin", "RegisterPlugin error -- no handler registered for plugin type: OddPlugin at socket"),
    ],
)
async def test_a_plugin_hears_why_it_is_refused(
    versions: tuple[str, ...], kind: str, error: str, node: Node, driver: Driver, tmp_path: Path
) -> None:
    serving = Serving(driver, tmp_path / "csi.sock", versions=versions, kind=kind)
    try:
        serving.register(registry(node))

        async def told() -> bool:
            return bool(driver.told)

        await node.eventually(told)
        success, text = driver.told[0]
        assert not success and error in text
        assert await drivers_of(node) == []
    finally:
        serving.close()


async def test_a_volume_from_stage_to_unstage(node: Node, serving: Serving, driver: Driver) -> None:
    await node.verbs.create(SECRET, "default", {"metadata": {"name": "key"}, "stringData": {"token": "s3cret"}})
    await registered(node, serving, podInfoOnMount=True, fsGroupPolicy="File")
    reference = {"name": "key", "namespace": "default"}
    more: Object = {
        "nodeStageSecretRef": reference,
        "nodePublishSecretRef": reference,
        "fsType": "ext4",
        "volumeAttributes": {"a": "b"},
    }
    await bound(node, "disk", csi=csi(**more), mountOptions=["noatime"])
    main = mounting("disk")
    await node.create("one", [main], volumes=claimed("disk"), securityContext={"fsGroup": 4242})
    pod = await node.until_running("one")
    await node.run_in(pod, "sh", "-c", "echo kept > /disk/a; stat -c %g /disk/a")
    assert (driver.volume("vol-1") / "a").stat().st_gid == 4242
    assert node.pods is not None
    told = await node.pods.node.volumes.told_by_drivers()
    assert told[uid_of(pod), "disk"][3:] == (1000, 990), "the driver's own figures"
    [figures] = [item for item in collect(node.pods, {}).pods if item.name == "one"]
    assert [(volume.name, volume.claim) for volume in figures.volumes] == [("disk", "disk")]
    await node.create("two", [main], volumes=claimed("disk"))
    await node.until_running("two")

    [staged] = driver.called("NodeStageVolume")
    capability = {"mount": {"fs_type": "ext4", "mount_flags": ["noatime"]}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}
    assert staged["volume_capability"] == capability
    assert (staged["secrets"], staged["volume_context"]) == ({"token": "s3cret"}, {"a": "b"})
    published = driver.called("NodePublishVolume")
    assert len(published) == 2 and published[0]["secrets"] == {"token": "s3cret"}
    assert published[0]["volume_context"] == {
        "a": "b",
        "csi.storage.k8s.io/pod.name": "one",
        "csi.storage.k8s.io/pod.namespace": "default",
        "csi.storage.k8s.io/pod.uid": uid_of(pod),
        "csi.storage.k8s.io/serviceAccount.name": "default",
        "csi.storage.k8s.io/ephemeral": "false",
    }
    await node.delete("one")
    assert driver.called("NodeUnstageVolume") == [], "two has it still"
    await node.delete("two")
    assert len(driver.called("NodeUnpublishVolume")) == 2 and len(driver.called("NodeUnstageVolume")) == 1
    assert mounted_under(node.place.settings.agent_dir / "plugins") == []
    assert (driver.volume("vol-1") / "a").read_text() == "kept\n"


async def test_a_volume_in_its_pod(node: Node, serving: Serving, driver: Driver) -> None:
    volumes = [{"name": "v", "csi": {"driver": NAME, "readOnly": True, "volumeAttributes": {"size": "1"}}}]
    await node.create("inline", [mounting("v")], volumes=volumes)
    wanted = (
        'MountVolume.SetUp failed for volume "v" : kubernetes.io/csi: mounter.SetupAt failed to check volume lifecycle mode: '
    )
    await node.until_event(
        "inline", "FailedMount", f'{wanted}volume mode "Ephemeral" not supported by driver {NAME} (no CSIDriver object)'
    )
    await registered(
        node, serving, volumeLifecycleModes=["Ephemeral"], tokenRequests=[{"audience": "vault"}], requiresRepublish=True
    )
    pod = await node.until_running("inline")
    published, *again = driver.called("NodePublishVolume")  # as it wants to be, with each look at the pod
    assert {call["volume_id"] for call in again} <= {published["volume_id"]}
    assert published["volume_id"] == inline_handle(uid_of(pod), "v") and published["readonly"]
    assert "staging_target_path" not in published and driver.called("NodeStageVolume") == []
    tokens = json.loads(published["volume_context"]["csi.storage.k8s.io/serviceAccount.tokens"])
    assert tokens["vault"]["token"].count(".") == 2 and tokens["vault"]["expirationTimestamp"].endswith("Z")
    await node.delete("inline")
    assert [call["volume_id"] for call in driver.called("NodeUnpublishVolume")] == [published["volume_id"]]


async def test_what_somebody_attaches_is_waited_for(node: Node, serving: Serving, driver: Driver) -> None:
    await registered(node, serving, attachRequired=True)
    await bound(node, "far", csi=csi("vol-far"))
    await node.create("waits", [mounting("far")], volumes=claimed("far"))
    in_use = f"kubernetes.io/csi/{NAME}^vol-far"

    async def told() -> bool:
        found = await node.verbs.get(NODE, "", "edge-1")
        return bool(found["status"].get("volumesInUse") == [in_use])

    await node.eventually(told)
    assert driver.called("NodeStageVolume") == []
    name = attachment_name("vol-far", NAME, "edge-1")
    spec = {"attacher": NAME, "nodeName": "edge-1", "source": {"persistentVolumeName": "far"}}
    await node.verbs.create(VOLUMEATTACHMENT, "", {"metadata": {"name": name}, "spec": spec})
    status = {"status": {"attached": True, "attachmentMetadata": {"path": "/dev/far"}}}
    await node.verbs.patch(VOLUMEATTACHMENT, "", name, status, subresource="status")
    await node.until_running("waits")
    [staged] = driver.called("NodeStageVolume")
    assert staged["publish_context"] == driver.called("NodePublishVolume")[0]["publish_context"] == {"path": "/dev/far"}
    await node.delete("waits")

    async def free() -> bool:
        return not (await node.verbs.get(NODE, "", "edge-1"))["status"].get("volumesInUse")

    await node.eventually(free)


async def test_a_driver_that_fails_is_asked_again_and_quoted(node: Node, serving: Serving, driver: Driver) -> None:
    driver.fail("NodeStageVolume", grpc.StatusCode.INTERNAL, "no such disk", times=1)
    driver.fail("NodePublishVolume", grpc.StatusCode.NOT_FOUND, "no path", times=1)
    await registered(node, serving)
    await bound(node, "bad", csi=csi("vol-bad"))
    await node.create("retries", [mounting("bad")], volumes=claimed("bad"))
    await node.until_running("retries")
    messages = [message for reason, message in await node.events("retries") if reason == "FailedMount"]
    assert messages == [
        'MountVolume.MountDevice failed for volume "bad" : rpc error: code = Internal desc = no such disk',
        'MountVolume.SetUp failed for volume "bad" : rpc error: code = NotFound desc = no path',
    ]
    await node.delete("retries")


async def test_a_volume_grows_while_it_is_in_use(node: Node, serving: Serving, driver: Driver) -> None:
    await registered(node, serving)
    await bound(node, "small", csi=csi("vol-small"))
    # As an external resizer leaves them: its part is done, the node's is not.
    await node.verbs.patch(PERSISTENTVOLUME, "", "small", {"spec": {"capacity": {"storage": "2Mi"}}})
    pending = {"capacity": {"storage": "1Mi"}, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}
    waiting = [{"type": "FileSystemResizePending", "status": "True"}]
    status: Object = {"status": {**pending, "conditions": waiting}}
    await node.verbs.patch(PERSISTENTVOLUMECLAIM, "default", "small", status, subresource="status")
    await node.create("grows", [mounting("small")], volumes=claimed("small"))
    await node.until_running("grows")

    async def grown() -> bool:
        found = (await node.verbs.get(PERSISTENTVOLUMECLAIM, "default", "small"))["status"]
        return bool(found["capacity"] == {"storage": "2Mi"}) and not found.get("conditions")

    await node.eventually(grown)
    [asked] = driver.called("NodeExpandVolume")
    assert asked["capacity_range"] == {"required_bytes": str(2 << 20)} and asked["volume_path"].endswith("/mount")
    assert not (await node.verbs.get(PERSISTENTVOLUMECLAIM, "default", "small"))["status"].get("allocatedResourceStatuses")
    told = 'MountVolume.NodeExpandVolume succeeded for volume "small" edge-1'
    await node.until_event("grows", "FileSystemResizeSuccessful", told)
    await node.delete("grows")


async def test_a_block_volume_is_a_device_also_by_two_names(node: Node, serving: Serving, driver: Driver) -> None:
    await registered(node, serving)
    await bound(node, "raw", csi=csi("vol-raw"), volumeMode="Block")
    devices = [{"name": name, "devicePath": f"/dev/{name}"} for name in ("raw", "again")]
    again = {"name": "again", "persistentVolumeClaim": {"claimName": "raw"}}
    await node.create("block", [container("main", "sleep 1000", volumeDevices=devices)], volumes=[*claimed("raw"), again])
    pod = await node.until_running("block")
    await node.run_in(pod, "sh", "-c", "test -b /dev/raw && printf edge > /dev/raw && sync && head -c 4 /dev/again | grep edge")
    assert (driver.volume("vol-raw") / "disk").read_bytes()[:4] == b"edge"
    assert "block" in driver.called("NodeStageVolume")[0]["volume_capability"]
    await node.delete("block")
    assert mounted_under(node.place.settings.agent_dir / "plugins") == []
    assert len(driver.called("NodeUnstageVolume")) == 1


async def test_volumes_of_pods_that_went_while_nobody_looked(
    node: Node, serving: Serving, driver: Driver, tmp_path: Path
) -> None:
    """The agent is killed; the pod is deleted meanwhile, and the driver is not there when the agent begins again."""
    await registered(node, serving)
    await bound(node, "left", csi=csi("vol-left"))
    await node.create("leaves", [mounting("left")], volumes=claimed("left"))
    pod = await node.until_running("leaves")
    await node.stop()
    serving.close()
    await node.verbs.delete(POD, "default", "leaves", DeleteOptions(grace_period_seconds=0))
    await node.start()
    target = node.place.settings.agent_dir / "pods" / uid_of(pod)
    assert target.exists()
    again = Serving(driver, tmp_path / "again.sock")
    try:
        again.register(registry(node))

        async def gone() -> bool:
            return not target.exists()

        await node.eventually(gone)

        async def unstaged() -> bool:
            return [call["volume_id"] for call in driver.called("NodeUnstageVolume")] == ["vol-left"]

        await node.eventually(unstaged)
    finally:
        again.close()
