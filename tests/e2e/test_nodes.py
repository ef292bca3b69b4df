"""The node as an operator sees it, and images and manifests that arrive as files."""

from __future__ import annotations

import json

from edgekube.containerd import oci
from tests.e2e.namespace import Namespace
from tests.lab.cluster import Cluster, until
from tests.lab.images import marked_busybox
from tests.lab.registry import serving


def test_the_node_says_what_it_is(cluster: Cluster) -> None:
    node = cluster.get("node", "n1")
    assert node["status"]["capacity"].keys() >= {"cpu", "memory", "pods", "ephemeral-storage"}
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    conditions = {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}
    assert conditions == {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    described = cluster.kubectl("describe", "node", "n1")
    for words in ("Allocated resources:", "Non-terminated Pods:", "PodCIDR:"):
        assert words in described
    lease = cluster.get("lease", "n1", "-n", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "n1"


def test_cordon_taint_and_drain(ns: Namespace) -> None:
    manifest = """
        apiVersion: apps/v1
        kind: Deployment
        metadata: {name: d}
        spec:
          replicas: 2
          selector: {matchLabels: {app: d}}
          template:
            metadata: {labels: {app: d}}
            spec:
              terminationGracePeriodSeconds: 0
              containers: [{name: main, image: 'busybox:1.36', command: [sleep, '1000']}]
    """
    ns.apply(manifest)
    ns.kubectl("rollout", "status", "deployment/d", "--timeout=90s")
    try:
        ns.kubectl(
            "drain", "n1", "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--pod-selector=app=d", "--timeout=90s"
        )
        assert "SchedulingDisabled" in ns.kubectl("get", "node", "n1")
        until(lambda: len(ns.get("pods")["items"]) == 2)
        pending = ns.get("pods")["items"]
        assert {pod["status"]["phase"] for pod in pending} == {"Pending"}
        message = ns.wait_for_event(pending[0]["metadata"]["name"], "FailedScheduling")
        assert "0/1 nodes are available: 1 node(s) were unschedulable" in message
    finally:
        ns.kubectl("uncordon", "n1")
    ns.kubectl("rollout", "status", "deployment/d", "--timeout=90s")
    try:
        ns.kubectl("taint", "node", "n1", "test=yes:NoSchedule")
        ns.kubectl("run", "p", "--image=busybox:1.36", "--", "sleep", "1000")
        assert "untolerated taint" in ns.wait_for_event("p", "FailedScheduling")
    finally:
        ns.kubectl("taint", "node", "n1", "test-")
    ns.ready("pod/p")


def test_eviction_respects_a_disruption_budget(ns: Namespace) -> None:
    ns.kubectl("run", "p", "--image=busybox:1.36", "--labels=app=p", "--", "sleep", "1000")
    ns.kubectl("create", "pdb", "p", "--selector=app=p", "--min-available=0")
    ns.ready("pod/p")
    body = f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"p","namespace":"{ns.name}"}}}}'
    path = f"/api/v1/namespaces/{ns.name}/pods/p/eviction?dryRun=All"
    assert ns.cluster.request("POST", path, body, {"Content-Type": "application/json"}).status in (201, 429)


def test_what_does_not_fit_waits_with_a_reason(ns: Namespace) -> None:
    asks = {"spec": {"containers": [{"name": "big", "image": "busybox:1.36", "resources": {"requests": {"cpu": "1000"}}}]}}
    ns.kubectl("run", "big", "--image=busybox:1.36", "--overrides", json.dumps(asks))
    ns.kubectl("run", "picky", "--image=busybox:1.36", "--overrides", '{"spec":{"nodeSelector":{"disk":"ssd"}}}')
    assert "Insufficient cpu" in ns.wait_for_event("big", "FailedScheduling")
    assert "didn't match Pod's node affinity/selector" in ns.wait_for_event("picky", "FailedScheduling")
    try:
        ns.kubectl("label", "node", "n1", "disk=ssd")
        until(lambda: ns.field("pod/picky", ".spec.nodeName") == "n1")
    finally:
        ns.kubectl("label", "node", "n1", "disk-")


def test_an_image_archive_is_imported_when_it_arrives(ns: Namespace) -> None:
    ns.kubectl("run", "p", "--image=edgekube.test/late:1", "--image-pull-policy=Never", "--", "sleep", "1000")
    ns.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=ErrImageNeverPull", "pod/p")
    arriving = ns.cluster.node.disk / "late.tar"
    oci.write_archive(arriving, {"edgekube.test/late:1": marked_busybox("late")})
    arriving.rename(ns.cluster.node.data_dir / "agent/images/late.tar")
    ns.ready("pod/p")


def test_images_from_a_registry(ns: Namespace) -> None:
    """Debian's docker-registry on the node's own loopback; pushed to with nothing but HTTP."""
    with serving(ns.cluster.node) as registry:
        reference = registry.push("factory/box", "1", marked_busybox("from a registry"))
        ns.kubectl("run", "p", f"--image={reference}", "--", "sleep", "1000")
        ns.ready("pod/p")
        assert "Successfully pulled image" in ns.wait_for_event("p", "Pulled")
        ns.kubectl("run", "q", f"--image={registry.host}/factory/box:2", "--", "sleep", "1000")
        assert "not found" in ns.wait_for_event("q", "Failed")


def test_logs_are_rotated(ns: Namespace) -> None:
    script = "yes 0123456789012345678901234567890123456789 | head -c 20000000; exec sleep 1000"
    ns.kubectl("run", "p", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", script)
    ns.ready("pod/p")
    uid = ns.field("pod/p", ".metadata.uid")
    directory = ns.cluster.node.data_dir / f"agent/logs/pods/{ns.name}_p_{uid}/p"
    until(lambda: len(list(directory.iterdir())) > 1)
    # Whoever asks for the last line of a log that is being written gets what came meanwhile, too.
    until(lambda: ns.sh("p", "cat /proc/1/comm") == "sleep\n")

    def shown_when_said() -> bool:
        # Said again: the runtime has a line before the file has, and one more turn may come between saying and asking.
        ns.sh("p", "echo after the turn > /proc/1/fd/1")
        return ns.kubectl("logs", "p", "--tail=1") == "after the turn\n"

    until(shown_when_said)
