"""What is refused of claims, volumes, and what drivers say of themselves; and what the registry adds to them."""

from __future__ import annotations

from typing import Any, Final

import pytest

from edgekube.api.kinds import CSIDRIVER, PERSISTENTVOLUME, PERSISTENTVOLUMECLAIM
from edgekube.api.objects import Object
from edgekube.api.validation import validate_update
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies import strategy_of
from tests.api.refusals import GONE, changes_refused, edited, manifest, refusals, said

_GROUP: Final = "storage.k8s.io/v1"
GOOD: Final = {
    name: manifest(text)
    for name, text in {
        "driver": f"{{apiVersion: {_GROUP}, kind: CSIDriver, metadata: {{name: disk.example.com}}, spec: {{}}}}",
        "node": f"{{apiVersion: {_GROUP}, kind: CSINode, metadata: {{name: n1}}, spec: {{drivers: [{{name: a.io, nodeID:"
        " n1}]}}",
        "attachment": f"{{apiVersion: {_GROUP}, kind: VolumeAttachment, metadata: {{name: a}}, spec: {{attacher: a.io,"
        " nodeName: n1, source: {persistentVolumeName: v}}}",
        "capacity": f"{{apiVersion: {_GROUP}, kind: CSIStorageCapacity, metadata: {{name: a}}, storageClassName: fast}}",
        "attributes": f"{{apiVersion: {_GROUP}, kind: VolumeAttributesClass, metadata: {{name: gold}}, driverName: a.io,"
        " parameters: {iops: '1'}}",
        "claim": "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, resourceVersion: '1'}, spec: {accessModes:"
        " [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}, status: {phase: Bound, capacity: {storage: 1Gi}}}",
    }.items()
}
_IMMUTABLE: Final = "field is immutable"
_INLINE: Final = "spec.source.inlineVolumeSpec"
_SIZE: Final = "spec.resources.requests.storage"


@pytest.mark.parametrize("name", GOOD)
def test_good_ones_pass(name: str) -> None:
    assert refusals(GOOD[name]) == [] and changes_refused(GOOD[name], GOOD[name]) == []


@pytest.mark.parametrize(("name", "edits", "words"), [
    ("driver", {"spec.attachRequired": GONE}, ["spec.attachedRequired: Required value"]),
    ("driver", {"spec.volumeLifecycleModes": ["Later"]},
     ['spec.volumeLifecycleModes: Unsupported value: "Later": supported values: "Persistent", "Ephemeral"']),
    ("driver", {"spec.nodeAllocatableUpdatePeriodSeconds": 9},
     ["spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds"]),
    ("driver", {"spec.serviceAccountTokenInSecrets": True},
     ["spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no tokenRequests are "
      "specified"]),
    ("driver", {"spec.tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 1}]},
     ['spec.tokenRequests[1].audience: Duplicate value: "a"']),
    ("node", {"spec.drivers[0].nodeID": "x" * 257},
     [f'spec.drivers[0].nodeID: Invalid value: "{"x" * 257}": must be 256 characters or less']),
    ("node", {"spec.drivers[0].allocatable": {"count": -1}},
     ["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"]),
    ("node", {"spec.drivers[0].topologyKeys": ["a", "a"]}, ['spec.drivers[0]: Duplicate value: "a"']),
    ("attachment", {"spec.source": {}},
     ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"]),
    ("attachment", {"spec.source": {"inlineVolumeSpec": {}}}, [
        f"{_INLINE}.csi: Required value: has to be specified in the context of inline volumes",
        f"{_INLINE}.accessModes: Required value",
        f"{_INLINE}: Required value: must specify a volume type"]),
    ("attachment", {"spec.source": {"inlineVolumeSpec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "claimRef": {"name": "c"}, "storageClassName": "s",
        "persistentVolumeReclaimPolicy": "Delete", "volumeMode": "Block", "csi": {"driver": "a.io"}, "nodeAffinity": {}}}}, [
        f"{_INLINE}.claimRef: Forbidden: may not be specified in the context of inline volumes",
        f"{_INLINE}.capacity: Forbidden: may not be specified in the context of inline volumes",
        f"{_INLINE}.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
        f"{_INLINE}.nodeAffinity: Forbidden: may not be specified in the context of inline volumes",
        f"{_INLINE}.csi.volumeHandle: Required value",
        f"{_INLINE}.storageClassName: Forbidden: may not be specified in the context of inline volumes",
        f"{_INLINE}.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes"]),
    ("attachment", {"spec.source": {"inlineVolumeSpec": {
        "accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.io", "volumeHandle": "h"}}}}, []),
    ("attachment", {"status.attachError": {"message": "x" * 1025}},
     ["status.attachError.message: Too long: may not be more than 262144 bytes"]),
    ("attributes", {"parameters": {}}, ["parameters: Required value: must contain at least one key/value pair"]),
])  # fmt: skip
def test_bad_ones(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert refusals(edited(GOOD[name], edits)) == words


@pytest.mark.parametrize(("name", "edits", "words"), [
    ("driver", {"spec.attachRequired": False}, [f"spec.attachedRequired: Invalid value: false: {_IMMUTABLE}"]),
    ("driver", {"spec.requiresRepublish": True}, []),
    ("node", {"spec.drivers[0].allocatable": {"count": 3}}, []),
    ("node", {"spec.drivers[0].nodeID": "n2"}, [
        f'spec.drivers: Invalid value: {{"name":"a.io","nodeID":"n2"}}: {_IMMUTABLE}']),
    ("capacity", {"storageClassName": "slow"}, [f'storageClassName: Invalid value: "slow": {_IMMUTABLE}']),
    ("attributes", {"driverName": "b.io"}, ["driverName: Forbidden: updates to driverName are forbidden."]),
    ("claim", {_SIZE: "1536Mi"}, []),
    ("claim", {_SIZE: "1Gi"}, [f"{_SIZE}: Forbidden: field can not be less than status.capacity"]),
    ("claim", {_SIZE: "4Gi", "spec.volumeAttributesClassName": "gold"}, []),
])  # fmt: skip
def test_changes(name: str, edits: dict[str, Any], words: list[str]) -> None:
    assert changes_refused(edited(GOOD[name], edits), GOOD[name]) == words


def test_an_attributes_class_that_is_in_force_is_not_taken_back() -> None:
    had = edited(GOOD["claim"], {"spec.volumeAttributesClassName": "gold", "status.currentVolumeAttributesClassName": "gold"})
    path = "spec.volumeAttributesClassName"
    why = "is forbidden when status.currentVolumeAttributesClassName is not nil"
    assert changes_refused(edited(had, {path: GONE}), had) == [f"{path}: Forbidden: update to nil {why}"]
    assert changes_refused(edited(had, {path: ""}), had) == [f"{path}: Forbidden: update to empty string {why}"]
    asked = edited(GOOD["claim"], {path: "gold"})
    assert changes_refused(edited(asked, {path: GONE}), asked) == []


@pytest.mark.parametrize(("status", "words"), [
    ({"allocatedResources": {"storage": "3Gi"}, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}, []),
    ({"allocatedResourceStatuses": {"storage": "Soon"}}, [
        'status.allocatedResourceStatuses: Unsupported value: "storage": supported values: "ControllerResizeInfeasible", '
        '"ControllerResizeInProgress", "NodeResizeInfeasible", "NodeResizeInProgress", "NodeResizePending"']),
    ({"allocatedResources": {"cpu": "1"}},
     ['status.allocatedResources: Unsupported value: "cpu": supported values: "storage"']),
    ({"allocatedResources": {"storage": "-1"}},
     ['status.allocatedResources[storage]: Invalid value: "-1": must be a valid resource quantity']),
])  # fmt: skip
def test_what_a_resizer_says(status: Object, words: list[str]) -> None:
    new = {**GOOD["claim"], "status": {**GOOD["claim"]["status"], **status}}
    assert said(validate_update(PERSISTENTVOLUMECLAIM, new, GOOD["claim"], "status")) == words


def test_a_volume_knows_since_when_it_is_in_its_phase() -> None:
    strategy = strategy_of(PERSISTENTVOLUME)
    volume: Object = {"metadata": {"creationTimestamp": "t0"}, "spec": {}}
    strategy.prepare_for_create(volume, UserInfo("a"))
    assert volume["status"] == {"phase": "Pending", "lastPhaseTransitionTime": "t0"}
    for phase, given, since in (("Pending", None, "t0"), ("Bound", None, "t9"), ("Bound", "t0", "t9"), ("Bound", "t5", "t5")):
        new = {**volume, "status": {"phase": phase, **({"lastPhaseTransitionTime": given} if given else {})}}
        strategy.stamp_times(new, volume, "t9")
        assert new["status"]["lastPhaseTransitionTime"] == since


@pytest.mark.parametrize(("spec", "source", "reference"), [
    ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}, True, {"kind": "PersistentVolumeClaim", "name": "a"}),
    ({"dataSource": {"kind": "Thing", "apiGroup": "x.io", "name": "a"}}, False, None),
    ({"dataSourceRef": {"kind": "Thing", "apiGroup": "x.io", "name": "a"}}, True,
     {"kind": "Thing", "apiGroup": "x.io", "name": "a"}),
    ({"dataSourceRef": {"kind": "Thing", "apiGroup": "x.io", "name": "a", "namespace": "b"}}, False,
     {"kind": "Thing", "apiGroup": "x.io", "name": "a", "namespace": "b"}),
])  # fmt: skip
def test_the_two_ways_to_name_a_source_agree(spec: Object, source: bool, reference: Object | None) -> None:
    claim: Object = {"metadata": {}, "spec": spec}
    strategy_of(PERSISTENTVOLUMECLAIM).prepare_for_create(claim, UserInfo("a"))
    assert ("dataSource" in claim["spec"]) == source and claim["spec"].get("dataSourceRef") == reference


def test_changes_of_a_driver_count() -> None:
    old: Object = {"metadata": {}, "spec": {"attachRequired": True}}
    new: Object = {"metadata": {}, "spec": {"attachRequired": True, "requiresRepublish": True}}
    strategy_of(CSIDRIVER).prepare_for_update(new, old)
    assert new["metadata"]["generation"] == 1
    same: Object = {"metadata": {}, "spec": dict(new["spec"])}
    strategy_of(CSIDRIVER).prepare_for_update(same, new)
    assert same["metadata"]["generation"] == 1
