"""DaemonSets and StatefulSets as people work with them: kubectl apply, rollout, scale, and pods that really run."""

from __future__ import annotations

import json

from tests.e2e.namespace import BUSYBOX, Namespace

_DAEMON = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: logs
  annotations: {{kubernetes.io/change-cause: the first}}
spec:
  selector: {{matchLabels: {{app: logs}}}}
  template:
    metadata: {{labels: {{app: logs}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: c, image: "{BUSYBOX}", command: [sleep, infinity]}}
"""


def test_a_daemon_set_rolls_and_goes_back(ns: Namespace) -> None:
    ns.apply(_DAEMON)
    assert "successfully rolled out" in ns.kubectl("rollout", "status", "daemonset/logs", "--timeout=120s", timeout_seconds=150)
    row = ns.kubectl("get", "daemonset", "logs", "--no-headers").split()
    assert row[:6] == ["logs", "1", "1", "1", "1", "1"]
    assert ns.field("pod", ".items[0].spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution") != ""
    ns.kubectl("set", "env", "daemonset/logs", "LEVEL=debug")
    ns.kubectl("annotate", "daemonset/logs", "kubernetes.io/change-cause=more words", "--overwrite")
    ns.kubectl("rollout", "status", "daemonset/logs", "--timeout=120s", timeout_seconds=150)
    assert ns.field("pod", ".items[*].spec.containers[0].env[0].value") == "debug"
    history = ns.kubectl("rollout", "history", "daemonset/logs").split("\n")
    assert [line.split()[0] for line in history[2:] if line] == ["1", "2"]
    assert "LEVEL:" in ns.kubectl("rollout", "history", "daemonset/logs", "--revision=2")
    assert "rolled back" in ns.kubectl("rollout", "undo", "daemonset/logs")
    ns.kubectl("rollout", "status", "daemonset/logs", "--timeout=120s", timeout_seconds=150)
    assert ns.field("daemonset/logs", ".spec.template.spec.containers[0].env") == ""
    before = ns.field("pod", ".items[0].metadata.uid")
    ns.kubectl("rollout", "restart", "daemonset/logs")
    ns.kubectl("rollout", "status", "daemonset/logs", "--timeout=120s", timeout_seconds=150)
    assert ns.field("pod", ".items[*].metadata.uid") != before
    assert "SuccessfulCreate" in [reason for reason, _ in ns.events_of("logs")]
    ns.kubectl("delete", "daemonset", "logs", "--timeout=90s", timeout_seconds=120)
    ns.kubectl("wait", "--for=delete", "pod", "-l", "app=logs", "--timeout=90s", timeout_seconds=120)


_STATEFUL = f"""
apiVersion: v1
kind: Service
metadata: {{name: db}}
spec:
  clusterIP: None
  selector: {{app: db}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
    metadata: {{labels: {{app: db}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: c, image: "{BUSYBOX}", command: [sleep, infinity]}}
"""


def test_a_stateful_set_scales_rolls_and_goes_back(ns: Namespace) -> None:
    def rolled_out() -> None:
        ns.kubectl("rollout", "status", "statefulset/db", "--timeout=120s", timeout_seconds=150)

    ns.apply(_STATEFUL)
    rolled_out()
    assert ns.kubectl("get", "statefulset", "db", "--no-headers").split()[:2] == ["db", "2/2"]
    assert ns.sh("db-1", "hostname -f").strip() == f"db-1.db.{ns.name}.svc.cluster.local"
    ns.kubectl("scale", "statefulset/db", "--replicas=3")
    rolled_out()
    names = ns.field("pod", ".items[*].metadata.name").split()
    assert names == ["db-0", "db-1", "db-2"]
    ns.kubectl("patch", "statefulset/db", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":2}}}}')
    ns.kubectl("set", "env", "statefulset/db", "LEVEL=debug")
    rolled_out()
    assert [ns.field(f"pod/db-{n}", ".spec.containers[0].env[0].value") for n in range(3)] == ["", "", "debug"]
    ns.kubectl("patch", "statefulset/db", "-p", '{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}')
    rolled_out()
    assert ns.field("pod", ".items[*].spec.containers[0].env[0].value") == "debug debug debug"
    history = ns.kubectl("rollout", "history", "statefulset/db").split("\n")
    assert [line.split()[0] for line in history[2:] if line] == ["1", "2"]
    assert "rolled back" in ns.kubectl("rollout", "undo", "statefulset/db")
    rolled_out()
    assert ns.field("pod", ".items[*].spec.containers[0].env[0].value") == ""
    ns.kubectl("scale", "statefulset/db", "--replicas=0")
    ns.kubectl("wait", "--for=delete", "pod", "-l", "app=db", "--timeout=90s", timeout_seconds=120)


_GUARDED = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {{name: c, image: "{BUSYBOX}", command: [sleep, infinity]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: web}}
spec:
  minAvailable: 2
  selector: {{matchLabels: {{app: web}}}}
"""


def test_a_deployment_is_paused_resumed_and_guarded_by_a_budget(ns: Namespace) -> None:
    def rolled_out() -> None:
        ns.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout_seconds=150)

    ns.apply(_GUARDED)
    rolled_out()
    ns.wait("jsonpath={.status.currentHealthy}=2", "pdb/web")
    name = ns.field("pod", ".items[0].metadata.name")
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": ns.name}})
    path = f"/api/v1/namespaces/{ns.name}/pods/{name}/eviction"
    refused = ns.refused("create", "--raw", path, "-f", "-", stdin=eviction)
    assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
    ns.kubectl("patch", "pdb/web", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
    ns.wait("jsonpath={.status.disruptionsAllowed}=1", "pdb/web")
    ns.kubectl("create", "--raw", path, "-f", "-", stdin=eviction)
    ns.kubectl("wait", "--for=delete", f"pod/{name}", "--timeout=90s", timeout_seconds=120)
    rolled_out()
    ns.kubectl("rollout", "pause", "deployment/web")
    ns.kubectl("set", "env", "deployment/web", "LEVEL=debug")
    ns.wait("jsonpath={.status.conditions[?(@.type=='Progressing')].reason}=DeploymentPaused", "deployment/web")
    assert len(ns.get("replicasets")["items"]) == 1
    ns.kubectl("rollout", "resume", "deployment/web")
    rolled_out()
    ns.kubectl("rollout", "restart", "deployment/web")
    rolled_out()
    history = ns.kubectl("rollout", "history", "deployment/web").split("\n")
    assert [line.split()[0] for line in history[2:] if line] == ["1", "2", "3"]
    ns.kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    rolled_out()
    assert ns.field("deployment/web", ".spec.template.spec.containers[0].env") == ""
    ns.kubectl("autoscale", "deployment/web", "--max=3", "--min=1", "--cpu-percent=80")
    assert ns.field("hpa/web", ".spec.scaleTargetRef.kind") == "Deployment"
