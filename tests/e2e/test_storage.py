"""Volumes of the default class on a real node: made for a pod, kept for the next one, grown, and gone with their claim."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.namespace import Namespace
from tests.lab.cluster import Cluster, until


def claim(ns: Namespace, name: str, size: str) -> None:
    ns.apply(f"""
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {{name: {name}}}
        spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}}}}
    """)


def pod(ns: Namespace, name: str, volume: str) -> None:
    ns.apply(f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}}}
        spec:
          terminationGracePeriodSeconds: 0
          securityContext: {{runAsUser: 1000}}
          containers:
            - {{name: main, image: 'busybox:1.36', command: [sleep, '1000'], volumeMounts: [{{name: data, mountPath: /data}}]}}
          volumes: [{{name: data, {volume}}}]
    """)


def test_a_claim_keeps_what_pods_write(ns: Namespace, cluster: Cluster) -> None:
    assert "local-path (default)" in ns.kubectl("get", "storageclass")
    claim(ns, "data", "8Mi")
    assert "waiting for first consumer" in ns.wait_for_event("data", "WaitForFirstConsumer")
    pod(ns, "first", "persistentVolumeClaim: {claimName: data}")
    ns.ready("pod/first")
    ns.sh("first", "echo kept > /data/file")
    volume = ns.field("pvc/data", ".spec.volumeName")
    directory = Path(json.loads(ns.kubectl("get", "pv", volume, "-o", "json"))["spec"]["local"]["path"])
    assert (directory / "file").read_text() == "kept\n"
    assert f"Successfully provisioned volume {volume}" in ns.wait_for_event("data", "ProvisioningSucceeded")

    ns.kubectl("delete", "pvc", "data", "--wait=false")
    ns.kubectl("delete", "pod", "first")
    until(lambda: not directory.exists())
    until(lambda: volume not in ns.kubectl("get", "pv", "-o", "name"))
    assert directory.parent.is_dir()


def test_the_next_pod_finds_it_and_it_may_grow(ns: Namespace) -> None:
    claim(ns, "data", "8Mi")
    pod(ns, "first", "persistentVolumeClaim: {claimName: data}")
    ns.ready("pod/first")
    ns.sh("first", "echo kept > /data/file")
    ns.kubectl("delete", "pod", "first")
    pod(ns, "second", "persistentVolumeClaim: {claimName: data}")
    ns.ready("pod/second")
    assert ns.sh("second", "cat /data/file") == "kept\n"
    ns.kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"16Mi"}}}}')
    until(lambda: ns.field("pvc/data", ".status.capacity.storage") == "16Mi")
    ns.kubectl("patch", "pvc", "data", "-p", '{"spec":{"resources":{"requests":{"storage":"900Ti"}}}}')
    assert "were asked for" in ns.wait_for_event("data", "VolumeResizeFailed")


def test_more_than_the_disk_has_waits_and_says_why(ns: Namespace) -> None:
    claim(ns, "huge", "900Ti")
    pod(ns, "waits", "persistentVolumeClaim: {claimName: huge}")
    assert "did not have enough free storage" in ns.wait_for_event("waits", "FailedScheduling")
    assert ns.field("pvc/huge", ".status.phase") == "Pending"


def test_a_pods_own_volume_goes_with_it(ns: Namespace) -> None:
    template = "spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}"
    pod(ns, "own", f"ephemeral: {{volumeClaimTemplate: {{{template}}}}}")
    ns.ready("pod/own")
    ns.sh("own", "echo mine > /data/file")
    assert ns.field("pvc/own-data", ".status.phase") == "Bound"
    ns.kubectl("delete", "pod", "own")
    until(lambda: ns.kubectl("get", "pvc", "-o", "name") == "")


def test_a_volume_that_is_retained_is_used_again(ns: Namespace) -> None:
    """Kubernetes documentation, "Change the Reclaim Policy of a PersistentVolume", and what people do next."""
    claim(ns, "data", "8Mi")
    pod(ns, "first", "persistentVolumeClaim: {claimName: data}")
    ns.ready("pod/first")
    ns.sh("first", "echo kept > /data/file")
    volume = ns.field("pvc/data", ".spec.volumeName")
    ns.kubectl("patch", "pv", volume, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}')
    ns.kubectl("delete", "pod/first", "pvc/data")
    until(lambda: ns.field(f"pv/{volume}", ".status.phase") == "Released")
    ns.kubectl("patch", "pv", volume, "--type=json", "-p", '[{"op":"remove","path":"/spec/claimRef"}]')
    until(lambda: ns.field(f"pv/{volume}", ".status.phase") == "Available")
    ns.apply(f"""
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata: {{name: again}}
        spec: {{volumeName: {volume}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 8Mi}}}}}}
    """)
    pod(ns, "second", "persistentVolumeClaim: {claimName: again}")
    ns.ready("pod/second")
    assert ns.sh("second", "cat /data/file") == "kept\n"
    ns.kubectl("patch", "pv", volume, "-p", '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}')
    ns.kubectl("delete", "pod/second", "pvc/again")
    until(lambda: volume not in ns.kubectl("get", "pv", "-o", "name"))
