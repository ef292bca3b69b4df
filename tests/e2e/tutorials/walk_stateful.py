"""StatefulSet basics, command by command; the storage is that of the default class.

Source: kubernetes.io/docs/tutorials/stateful-application/basic-stateful-set; tasks/run-application (scale, delete, force-delete).
"""

from __future__ import annotations

import functools

from tests.e2e.namespace import BUSYBOX, Namespace
from tests.lab.cluster import until

SECOND = "edgekube.local/demo:1"
#: Serves what is in its volume, as the page's nginx.
WEB = f"""
apiVersion: v1
kind: Service
metadata: {{name: nginx, labels: {{app: nginx}}}}
spec:
  ports: [{{port: 80, name: web}}]
  clusterIP: None
  selector: {{app: nginx}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: nginx
  replicas: 2
  selector: {{matchLabels: {{app: nginx}}}}
  template:
    metadata: {{labels: {{app: nginx}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: nginx
        image: "{BUSYBOX}"
        command: [httpd, -f, -p, "80", -h, /usr/share/nginx/html]
        ports: [{{containerPort: 80, name: web}}]
        volumeMounts: [{{name: www, mountPath: /usr/share/nginx/html}}]
  volumeClaimTemplates:
  - metadata: {{name: www}}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {{requests: {{storage: 1Mi}}}}
"""


def rolled_out(ns: Namespace, what: str = "statefulset/web") -> None:
    ns.kubectl("rollout", "status", what, "--timeout=300s", timeout_seconds=310)


def images(ns: Namespace) -> list[str]:
    return ns.field("pods", ".items[*].spec.containers[0].image").split()


def test_the_tutorial(ns: Namespace) -> None:
    def resolves(number: int, address: str) -> bool:
        return address in ns.sh("web-0", f"nslookup web-{number}.nginx.{ns.name}.svc.cluster.local || true")

    with ns.running("get", "pods", "--watch", "-l", "app=nginx") as watching:
        ns.apply(WEB)
        watching.expect("web-0", seconds=240)
        ready = watching.expect("1/1", seconds=240)
        assert "web-1" not in ready, "web-1 is not launched until web-0 is Running and Ready"
        watching.expect("web-1", seconds=240)
    rolled_out(ns)
    assert ns.kubectl("get", "statefulset", "web", "--no-headers").split()[:2] == ["web", "2/2"]
    for number in range(2):
        assert ns.sh(f"web-{number}", "hostname").strip() == f"web-{number}"
        address = ns.field(f"pod/web-{number}", ".status.podIP")
        until(functools.partial(resolves, number, address), seconds=240)
        ns.sh(f"web-{number}", 'echo "$(hostname)" > /usr/share/nginx/html/index.html')
    claims = ns.kubectl("get", "pvc", "-l", "app=nginx", "--no-headers").splitlines()
    assert [line.split()[:2] for line in claims] == [["www-web-0", "Bound"], ["www-web-1", "Bound"]]
    before = ns.field("pods", ".items[*].metadata.uid")
    ns.kubectl("delete", "pod", "-l", "app=nginx")
    rolled_out(ns)
    ns.ready("pod", "-l", "app=nginx", seconds=240)
    assert ns.field("pods", ".items[*].metadata.uid") != before
    for number in range(2):
        assert ns.wget("web-0", f"http://web-{number}.nginx/") == f"web-{number}\n", "mounts what it had"

    ns.kubectl("scale", "sts", "web", "--replicas=5")
    rolled_out(ns)
    with ns.running("get", "pods", "--watch-only", "-l", "app=nginx") as watching:
        ns.kubectl("patch", "sts", "web", "-p", '{"spec":{"replicas":3}}')
        assert "web-3" not in watching.expect("web-4", seconds=240), "in reverse order"
        watching.expect("web-3", seconds=240)
    until(lambda: len(images(ns)) == 3, seconds=240)
    assert len(ns.get("pvc")["items"]) == 5, "claims stay"

    # Rolling updates, staged, as a canary, in phases.
    image = '[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"%s"}]'
    ns.kubectl("patch", "statefulset", "web", "--type=json", f"-p={image % SECOND}")
    rolled_out(ns)
    assert images(ns) == [SECOND] * 3
    partition = '{"spec":{"updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":%d}}}}'
    ns.kubectl("patch", "statefulset", "web", "-p", partition % 3)
    ns.kubectl("patch", "statefulset", "web", "--type=json", f"-p={image % BUSYBOX}")
    ns.kubectl("delete", "pod", "web-2")
    ns.wait("jsonpath={.status.readyReplicas}=3", "sts/web", seconds=240)
    assert images(ns) == [SECOND] * 3, "restored by the template of before"
    ns.kubectl("patch", "statefulset", "web", "-p", partition % 2)
    until(lambda: images(ns) == [SECOND, SECOND, BUSYBOX], seconds=240)
    rolled_out(ns)
    ns.kubectl("delete", "pod", "web-1")
    ns.wait("jsonpath={.status.readyReplicas}=3", "sts/web", seconds=240)
    assert images(ns) == [SECOND, SECOND, BUSYBOX]
    ns.kubectl("patch", "statefulset", "web", "-p", partition % 0)
    until(lambda: images(ns) == [BUSYBOX] * 3, seconds=240)
    rolled_out(ns)
    ns.kubectl("patch", "statefulset", "web", "-p", '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}')
    ns.kubectl("patch", "statefulset", "web", "--type=json", f"-p={image % SECOND}")
    ns.kubectl("delete", "pod", "web-2")
    until(lambda: images(ns) == [BUSYBOX, BUSYBOX, SECOND], seconds=240)
    ns.wait("jsonpath={.status.readyReplicas}=3", "sts/web", seconds=240)

    # Non-cascading and cascading delete.
    assert "deleted" in ns.kubectl("delete", "statefulset", "web", "--cascade=orphan")
    assert len(images(ns)) == 3
    ns.kubectl("delete", "pod", "web-0")
    assert len(images(ns)) == 2, "nobody makes it again"
    ns.apply(WEB)
    until(lambda: ns.field("pods", ".items[*].metadata.name") == "web-0 web-1", seconds=240)
    rolled_out(ns)
    assert ns.wget("web-0", "http://web-0.nginx/") == "web-0\n"
    ns.kubectl("delete", "statefulset", "web")
    ns.kubectl("wait", "--for=delete", "pod", "-l", "app=nginx", "--timeout=300s", timeout_seconds=310)
    assert len(ns.get("pvc")["items"]) == 5
    assert ns.field("service/nginx", ".spec.clusterIP") == "None"


def test_parallel_pods_and_claims_that_go(ns: Namespace) -> None:
    parallel = WEB.replace("  serviceName: nginx\n", "  serviceName: nginx\n  podManagementPolicy: Parallel\n")
    ns.apply(parallel.replace("  replicas: 2\n", "  replicas: 3\n"))
    rolled_out(ns)
    policy = '{"spec":{"replicas":1,"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Delete","whenScaled":"Delete"}}}'
    ns.kubectl("patch", "sts", "web", "-p", policy)
    until(lambda: ns.field("pvc", ".items[*].metadata.name") == "www-web-0", seconds=240)
    ns.kubectl("delete", "pods", "web-0", "--grace-period=0", "--force")
    rolled_out(ns)
    ns.kubectl("delete", "-f", "-", stdin=parallel)
    until(lambda: ns.get("pvc")["items"] == [], seconds=240)
