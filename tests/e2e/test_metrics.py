"""kubectl top, on a node with containers; nobody has installed anything for it."""

from __future__ import annotations

from tests.e2e.namespace import Namespace
from tests.lab.cluster import until

BUSY = """
apiVersion: v1
kind: Pod
metadata:
  name: busy
  labels: {app: busy}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: loop
    image: busybox:1.36
    command: ["sh", "-c", "while :; do :; done"]
    resources: {limits: {cpu: 100m}}
"""


def test_top_shows_what_pods_and_nodes_use(ns: Namespace) -> None:
    ns.apply(BUSY)
    ns.ready("pod/busy")

    def used() -> tuple[int, str]:
        row = ns.kubectl("top", "pod", "-l", "app=busy", "--no-headers", check=False).split()
        assert not row or row[0] == "busy"
        return (int(row[1].removesuffix("m")), row[2]) if row else (0, "")

    until(lambda: 20 <= used()[0] <= 300)  # it may use a tenth of a core, and takes it
    assert used()[1].endswith("Mi")
    node = ns.kubectl("top", "nodes", "--no-headers").split()
    assert node[0] and node[1].endswith("m") and node[2].endswith("%") and node[3].endswith("Mi")
    table = ns.kubectl("get", "pods.metrics.k8s.io", "busy", "--no-headers").split()
    assert (table[0], len(table)) == ("busy", 4)
    shown = ns.kubectl("get", "apiservice", "v1beta1.metrics.k8s.io", "--no-headers").split()
    assert shown[1:3] == ["Local", "True"]


AUTOSCALED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: work}
spec:
  selector: {matchLabels: {app: work}}
  template:
    metadata: {labels: {app: work}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: loop
        image: busybox:1.36
        command: ["sh", "-c", "while :; do :; done"]
        resources: {requests: {cpu: 20m}, limits: {cpu: 60m}}
"""


def test_a_busy_deployment_gets_more_pods(ns: Namespace) -> None:
    ns.apply(AUTOSCALED)
    ns.wait("condition=Available", "deployment/work")
    ns.kubectl("autoscale", "deployment", "work", "--max=2", "--cpu-percent=50")
    until(lambda: ns.field("deployment/work", ".status.readyReplicas") == "2", seconds=90)
    message = ns.wait_for_event("work", "SuccessfulRescale")
    assert message == "New size: 2; reason: cpu resource utilization (percentage of request) above target"

    def reason() -> str:
        conditions = {each["type"]: each["reason"] for each in ns.get("hpa", "work")["status"]["conditions"]}
        return str(conditions["ScalingActive"])

    until(lambda: reason() == "ValidMetricFound")
