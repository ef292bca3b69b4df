"""From a claim to what stands behind it: the kubelet's words for what is in the way, and what is remembered."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from edgekube.agent.csi.options import in_use_key
from edgekube.agent.csi.staging import users_of
from edgekube.agent.node_volumes import still_in_use
from edgekube.agent.problems import VolumeProblem
from edgekube.agent.volumes.record import read_record, write_record
from edgekube.agent.volumes.source import VolumeSource, check_claim, claimed_source, own_source, used_volumes
from edgekube.api.objects import Object

VOLUME: Object = {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}
EPHEMERAL: Object = {"name": "data", "ephemeral": {"volumeClaimTemplate": {}}}


def pod(**container: Any) -> Object:
    mounts = container or {"volumeMounts": [{"name": "data", "mountPath": "/d"}]}
    return {
        "metadata": {"name": "db", "namespace": "shop", "uid": "pod-1"},
        "spec": {"containers": [{"name": "main", **mounts}], "volumes": [VOLUME, {"name": "unused", "emptyDir": {}}]},
    }


def claim(**changes: Any) -> Object:
    made: Object = {
        "metadata": {"name": "disk", "namespace": "shop", "uid": "claim-1"},
        "spec": {"volumeName": "pv-1"},
        "status": {"phase": "Bound"},
    }
    return made | changes


def persistent(**spec: Any) -> Object:
    source = {"local": {"path": "/srv/d"}} if not {"hostPath", "csi", "rbd"} & spec.keys() else {}
    return {"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"uid": "claim-1"}, **source, **spec}}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, 'failed to fetch PVC from API server: persistentvolumeclaims "disk" not found'),
        (claim(status={"phase": "Pending"}), "PVC is not bound"),
        (claim(spec={}), "PVC has empty pvc.Spec.VolumeName"),
        (claim(metadata={"name": "disk", "deletionTimestamp": "2026-01-01T00:00:00Z"}), "PVC is being deleted"),
    ],
)
def test_a_claim_that_cannot_be_used_yet(found: Object | None, message: str) -> None:
    with pytest.raises(VolumeProblem) as caught:
        check_claim(pod(), VOLUME, found)
    assert caught.value.message == f"error processing PVC shop/disk: {message}" and caught.value.unbound


def test_an_ephemeral_claim_must_be_the_pods_own() -> None:
    def owned(uid: str) -> Object:
        owner = {"kind": "Pod", "name": "db", "uid": uid, "controller": True}
        return claim(metadata={"name": "db-data", "uid": "claim-1", "ownerReferences": [owner]})

    assert check_claim(pod(), EPHEMERAL, owned("pod-1")) == "pv-1"
    with pytest.raises(VolumeProblem, match=r"PVC shop/db-data was not created for pod shop/db \(pod is not owner\)"):
        check_claim(pod(), EPHEMERAL, owned("another"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, 'failed to fetch PV pv-1 from API server: persistentvolumes "pv-1" not found'),
        (
            persistent(claimRef=None),
            "found PV object pv-1 but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim",
        ),
        (
            persistent(claimRef={"uid": "other"}),
            "found PV object pv-1 but its pv.Spec.ClaimRef.UID other does not point to claim.UID claim-1",
        ),
        (persistent(volumeMode="Block"), "volume data has volumeMode Block, but is specified in volumeMounts"),
        (persistent(rbd={}), 'no volume plugin matched the persistent volume "pv-1"'),
    ],
)
def test_a_volume_that_is_not_the_claims(found: Object | None, message: str) -> None:
    with pytest.raises(VolumeProblem) as caught:
        claimed_source(pod(), VOLUME, claim(), found)
    assert caught.value.message.removeprefix("error processing PVC shop/disk: ") == message


def test_a_block_volume_is_for_devices_only() -> None:
    device = pod(volumeDevices=[{"name": "data", "devicePath": "/dev/x"}])
    assert claimed_source(device, VOLUME, claim(), persistent(volumeMode="Block")).block
    with pytest.raises(VolumeProblem, match="volume data has volumeMode Filesystem, but is specified in volumeDevices"):
        claimed_source(device, VOLUME, claim(), persistent())


def test_what_makes_a_volume_read_only() -> None:
    read_only: Object = {"name": "data", "persistentVolumeClaim": {"claimName": "disk", "readOnly": True}}
    assert not claimed_source(pod(), VOLUME, claim(), persistent()).read_only
    assert claimed_source(pod(), read_only, claim(), persistent()).read_only
    assert claimed_source(pod(), VOLUME, claim(), persistent(csi={"driver": "d", "readOnly": True})).read_only
    assert own_source({"name": "v", "secret": {"secretName": "s"}}).read_only
    assert not own_source({"name": "v"}).read_only


def test_only_what_a_container_mounts_is_made() -> None:
    assert [volume["name"] for volume in used_volumes(pod())] == ["data"]


def test_what_was_found_is_remembered_privately(tmp_path: Path) -> None:
    annotated = persistent(
        accessModes=["ReadWriteOnce"], mountOptions=["noatime"], nodeAffinity={"required": {"nodeSelectorTerms": []}}
    )
    annotated["metadata"]["annotations"] = {"pv.beta.kubernetes.io/gid": "1234"}
    source = claimed_source(pod(), VOLUME, claim(), annotated)
    assert source.gid == 1234 and source.spec_name == "pv-1"
    write_record(tmp_path, {"data": source})
    assert read_record(tmp_path) == {"data": source}
    assert stat.S_IMODE((tmp_path / "volumes.json").stat().st_mode) == 0o600
    assert read_record(tmp_path / "none") == {}
    (tmp_path / "volumes.json").write_text("[{")
    assert read_record(tmp_path) == {}


def test_what_a_predecessor_mounted_is_in_use_from_the_beginning(tmp_path: Path) -> None:
    disk = VolumeSource("data", "csi", {"driver": "d", "volumeHandle": "1"}, volume="pv-1")
    inline = VolumeSource("scratch", "csi", {"driver": "d"})
    for uid in ("pod-1", "pod-2"):
        write_record(tmp_path / "pods" / uid, {each.name: each for each in (disk, inline)})
    in_use = still_in_use(tmp_path)
    assert in_use.names() == ["kubernetes.io/csi/d^1"] and users_of(tmp_path, "d", "1") == {"pod-1", "pod-2"}
    in_use.drop("kubernetes.io/csi/d^1", in_use_key("pod-1", disk))
    assert in_use.names() == ["kubernetes.io/csi/d^1"]
    in_use.drop("kubernetes.io/csi/d^1", in_use_key("pod-2", disk))
    assert in_use.names() == []
    staged = tmp_path / "plugins/kubernetes.io/csi/d/digest"
    staged.mkdir(parents=True)
    (staged / "vol_data.json").write_text('{"driverName":"d","volumeHandle":"2"}')
    assert "kubernetes.io/csi/d^2" in still_in_use(tmp_path).names(), "no pod has it, the driver has not let go of it"


def test_a_group_of_no_number_is_none() -> None:
    assert VolumeSource("v", "local", annotations={"pv.beta.kubernetes.io/gid": "-5"}).gid is None
