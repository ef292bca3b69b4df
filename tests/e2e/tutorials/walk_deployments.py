"""The pages about Deployments, DaemonSets and disruption budgets, command by command.

Source: kubernetes.io/docs: concepts/workloads/controllers/deployment; tasks/manage-daemon (updating, rolling back);
tasks/run-application/configure-pdb; tasks/administer-cluster/safely-drain-node.
"""

from __future__ import annotations

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until

#: nginx:1.14.2 and nginx:1.16.1 of the pages, and the one that nobody can pull.
FIRST, SECOND, WRONG = BUSYBOX, "edgekube.local/demo:1", "edgekube.local/demo:161"

DEPLOYMENT = f"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-deployment
  labels: {{app: nginx}}
spec:
  replicas: 3
  selector: {{matchLabels: {{app: nginx}}}}
  template:
    metadata: {{labels: {{app: nginx}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: "{FIRST}"
        imagePullPolicy: IfNotPresent
        command: [sleep, infinity]
        ports: [{{containerPort: 80}}]
"""
NAME = "deployment/nginx-deployment"


def rolled_out(ns: Namespace, what: str = NAME) -> str:
    return ns.kubectl("rollout", "status", what, "--timeout=300s", timeout_seconds=310)


def replica_sets(ns: Namespace) -> list[list[int]]:
    """Desired, current and ready, the oldest first."""
    lines = ns.kubectl("get", "rs", "--sort-by=.metadata.creationTimestamp", "--no-headers").splitlines()
    return [[int(word) for word in line.split()[1:4]] for line in lines]


def revisions(ns: Namespace, what: str = NAME) -> list[list[str]]:
    return [line.split(maxsplit=1) for line in ns.kubectl("rollout", "history", what).splitlines()[2:] if line]


def test_creating_updating_and_rolling_over(ns: Namespace) -> None:
    assert ns.apply(DEPLOYMENT) == "deployment.apps/nginx-deployment created\n"
    assert rolled_out(ns).endswith('deployment "nginx-deployment" successfully rolled out\n')
    assert ns.kubectl("get", "deployments", "--no-headers").split()[:4] == ["nginx-deployment", "3/3", "3", "3"]
    assert replica_sets(ns) == [[3, 3, 3]]
    digest = ns.field("rs", ".items[0].metadata.labels.pod-template-hash")
    labels = ns.kubectl("get", "pods", "--show-labels", "--no-headers")
    assert labels.count(f"app=nginx,pod-template-hash={digest}") == 3
    assert ns.kubectl("set", "image", NAME, f"nginx={SECOND}") == "deployment.apps/nginx-deployment image updated\n"
    assert "Waiting for deployment" in rolled_out(ns)
    assert replica_sets(ns) == [[0, 0, 0], [3, 3, 3]]
    described = ns.kubectl("describe", NAME)
    for text in (
        "StrategyType:           RollingUpdate",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge",
        "  Available      True    MinimumReplicasAvailable",
        "  Progressing    True    NewReplicaSetAvailable",
        "OldReplicaSets:  nginx-deployment-",
        "Scaled up replica set nginx-deployment-",
        "from 0 to 3",
    ):
        assert text in described, described


def test_a_stuck_rollout_is_rolled_back(ns: Namespace) -> None:
    ns.apply(DEPLOYMENT)
    ns.kubectl("annotate", NAME, "kubernetes.io/change-cause=the first")
    rolled_out(ns)
    ns.kubectl("set", "image", NAME, f"nginx={SECOND}")
    ns.kubectl("annotate", NAME, "kubernetes.io/change-cause=image updated to 1.16.1", "--overwrite")
    rolled_out(ns)
    ns.kubectl("set", "image", NAME, f"nginx={WRONG}")
    ns.kubectl("annotate", NAME, "kubernetes.io/change-cause=image updated to 1.161", "--overwrite")
    with ns.running("rollout", "status", NAME) as waiting:
        waiting.expect("1 out of 3 new replicas have been updated...")
    until(lambda: replica_sets(ns) == [[0, 0, 0], [3, 3, 3], [1, 1, 0]], seconds=240)
    until(lambda: "ImagePull" in ns.kubectl("get", "pods"), seconds=240)
    assert revisions(ns) == [["1", "the first"], ["2", "image updated to 1.16.1"], ["3", "image updated to 1.161"]]
    second = ns.kubectl("rollout", "history", NAME, "--revision=2")
    assert f"Image:\t{SECOND}" in second and "kubernetes.io/change-cause: image updated to 1.16.1" in second
    assert ns.kubectl("rollout", "undo", NAME) == "deployment.apps/nginx-deployment rolled back\n"
    rolled_out(ns)
    assert ns.field(NAME, ".spec.template.spec.containers[0].image") == SECOND
    assert [number for number, _ in revisions(ns)] == ["1", "3", "4"]
    ns.kubectl("rollout", "undo", NAME, "--to-revision=1")
    rolled_out(ns)
    assert ns.field(NAME, ".spec.template.spec.containers[0].image") == FIRST
    assert "unable to find specified revision 17 in history" in ns.refused("rollout", "undo", NAME, "--to-revision=17")


def test_proportional_scaling_pausing_and_the_deadline(ns: Namespace) -> None:
    surge = '{"spec":{"replicas":10,"strategy":{"rollingUpdate":{"maxSurge":3,"maxUnavailable":2}}}}'
    ns.apply(DEPLOYMENT)
    ns.kubectl("patch", NAME, "-p", surge)
    rolled_out(ns)
    ns.kubectl("set", "image", NAME, "nginx=edgekube.local/sometag:none")
    until(lambda: replica_sets(ns) == [[8, 8, 8], [5, 5, 0]], seconds=240)
    ns.kubectl("scale", NAME, "--replicas=15")
    until(lambda: replica_sets(ns) == [[11, 11, 11], [7, 7, 0]], seconds=240)
    ns.kubectl("rollout", "undo", NAME)
    ns.kubectl("scale", NAME, "--replicas=3")
    rolled_out(ns)
    assert ns.kubectl("rollout", "pause", NAME) == "deployment.apps/nginx-deployment paused\n"
    ns.kubectl("set", "image", NAME, f"nginx={SECOND}")
    ns.kubectl("set", "resources", NAME, "-c=nginx", "--limits=cpu=200m,memory=64Mi")
    assert [desired for desired, _, _ in replica_sets(ns)] == [3, 0], "no new rollout is triggered"
    assert "cannot rollback" in ns.refused("rollout", "undo", NAME)
    ns.kubectl("rollout", "resume", NAME)
    rolled_out(ns)
    assert replica_sets(ns) == [[0, 0, 0], [0, 0, 0], [3, 3, 3]]
    ns.kubectl("patch", NAME, "-p", '{"spec":{"progressDeadlineSeconds":2}}')
    ns.kubectl("set", "image", NAME, f"nginx={WRONG}")
    exceeded = ns.refused("rollout", "status", NAME, "--timeout=120s")
    assert 'error: deployment "nginx-deployment" exceeded its progress deadline' in exceeded
    ns.wait("condition=Progressing=False", NAME)
    assert "ProgressDeadlineExceeded" in ns.kubectl("describe", NAME)


DAEMON_SET = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: fluentd
spec:
  selector: {{matchLabels: {{name: fluentd}}}}
  updateStrategy: {{type: RollingUpdate, rollingUpdate: {{maxUnavailable: 1}}}}
  template:
    metadata: {{labels: {{name: fluentd}}}}
    spec:
      terminationGracePeriodSeconds: 0
      tolerations:
      - {{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}}
      containers:
      - name: fluentd
        image: "{FIRST}"
        command: [sleep, infinity]
        resources: {{requests: {{cpu: 10m, memory: 20Mi}}, limits: {{memory: 20Mi}}}}
        volumeMounts: [{{name: varlog, mountPath: /var/log}}]
      volumes: [{{name: varlog, hostPath: {{path: /var/log}}}}]
"""


def test_updating_and_rolling_back_a_daemon_set(ns: Namespace) -> None:
    what = "ds/fluentd"
    ns.apply(DAEMON_SET)
    assert rolled_out(ns, what).endswith('daemon set "fluentd" successfully rolled out\n')
    assert ns.field(what, ".spec.updateStrategy.type") == "RollingUpdate"
    assert ns.field(what, ".metadata.annotations.deprecated\\.daemonset\\.template\\.generation") == "1"
    ns.kubectl("set", "image", what, f"fluentd={SECOND}")
    rolled_out(ns, what)
    assert [number for number, _ in revisions(ns, what)] == ["1", "2"]
    assert f"Image:\t{FIRST}" in ns.kubectl("rollout", "history", what, "--revision=1")
    assert ns.kubectl("rollout", "undo", what, "--to-revision=1") == "daemonset.apps/fluentd rolled back\n"
    rolled_out(ns, what)
    assert [number for number, _ in revisions(ns, what)] == ["2", "3"]
    assert set(ns.field("pod", ".items[*].spec.containers[0].image").split()) == {FIRST}
    before = sorted(ns.field("pod", ".items[*].metadata.uid").split())
    ns.kubectl("delete", what, "--cascade=orphan")
    ns.apply(DAEMON_SET)
    rolled_out(ns, what)
    assert sorted(ns.field("pod", ".items[*].metadata.uid").split()) == before, "the new one takes the pods over"


def test_a_budget_holds_up_a_drain(ns: Namespace) -> None:
    ns.apply(DEPLOYMENT)
    rolled_out(ns)
    ns.kubectl("create", "poddisruptionbudget", "nginx-pdb", "--selector=app=nginx", "--min-available=3")
    row = ["nginx-pdb", "3", "N/A", "0"]
    until(lambda: ns.kubectl("get", "poddisruptionbudgets", "--no-headers").split()[:4] == row, seconds=240)
    before = sorted(ns.field("pod", ".items[*].metadata.uid").split())
    node = ns.field("pod", ".items[0].spec.nodeName")
    drain = ("drain", node, "--pod-selector=app=nginx", "--ignore-daemonsets", "--delete-emptydir-data")
    try:
        refused = ns.refused(*drain, "--timeout=10s")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
        assert "SchedulingDisabled" in ns.kubectl("get", "node", node)
        assert sorted(ns.field("pod", ".items[*].metadata.uid").split()) == before
        ns.kubectl("delete", "poddisruptionbudget", "nginx-pdb")
        assert f"node/{node} drained" in ns.kubectl(*drain, "--timeout=240s", timeout_seconds=250)
    finally:
        ns.kubectl("uncordon", node)
    rolled_out(ns)
    assert sorted(ns.field("pod", ".items[*].metadata.uid").split()) != before
