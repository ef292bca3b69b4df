"""What a person does on the first day, with kubectl as it is: apply, look, reach, change, undo, delete."""

from __future__ import annotations

import contextlib
import json

from tests.e2e.namespace import Namespace, document
from tests.lab.cluster import until

WEB = """
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: web}
    data: {GREETING: good morning, page.txt: the first page}
    ---
    apiVersion: v1
    kind: Secret
    metadata: {name: web}
    stringData: {password: swordfish}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec:
      type: NodePort
      selector: {app: web}
      ports: [{name: http, port: 80, targetPort: http}]
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, labels: {app: web}}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 2
          containers:
            - name: web
              image: edgekube.local/demo:1
              ports: [{name: http, containerPort: 8080}]
              envFrom: [{configMapRef: {name: web}}]
              env:
                - name: PASSWORD
                  valueFrom: {secretKeyRef: {name: web, key: password}}
              volumeMounts: [{name: pages, mountPath: /www/pages}]
              startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 90}
              readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 20}
              livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 20}
              resources:
                requests: {cpu: 10m, memory: 8Mi}
                limits: {memory: 32Mi}
          volumes: [{name: pages, configMap: {name: web}}]
"""


def test_the_first_day(ns: Namespace) -> None:
    assert ns.apply(WEB).splitlines() == [
        "configmap/web created",
        "secret/web created",
        "service/web created",
        "deployment.apps/web created",
    ]
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")

    # The pods, as a person sees them.
    lines = ns.kubectl("get", "pods").splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[1:4] for line in lines[1:]] == [["1/1", "Running", "0"]] * 3
    assert ns.kubectl("get", "deployment", "web", "--no-headers").split()[1:4] == ["3/3", "3", "3"]

    pods = ns.get("pods", "-l", "app=web")["items"]
    names = {pod["metadata"]["name"] for pod in pods}
    cluster_ip = ns.field("service/web", ".spec.clusterIP")
    node_port = int(ns.field("service/web", ".spec.ports[0].nodePort"))

    # By pod IP: from the node, and from another pod.
    for pod in pods:
        page = ns.cluster.fetch(pod["status"]["podIP"], 8080)
        assert f"Hello from {pod['metadata']['name']}" in page
        assert "GREETING=good morning" in page
        assert "PASSWORD=swordfish" in page
        assert ns.cluster.fetch(pod["status"]["podIP"], 8080, "/pages/page.txt") == "the first page"

    # By ClusterIP and NodePort: each pod gets its share.
    def fetched(address: str, port: int, *, from_lan: bool = False) -> str:
        with contextlib.suppress(OSError):  # the node learns of a change a moment after the API
            return ns.cluster.fetch(address, port, from_lan=from_lan)
        return "Hello from nobody"

    def answered(address: str, port: int, *, from_lan: bool = False) -> set[str]:
        pages = [fetched(address, port, from_lan=from_lan) for _ in range(40)]
        return {page.splitlines()[0].removeprefix("Hello from ") for page in pages}

    until(lambda: answered(cluster_ip, 80) == names)
    until(lambda: answered("192.0.2.1", node_port, from_lan=True) == names)
    until(lambda: answered("192.0.2.1", node_port) == names)

    # By name, from a pod.
    ns.kubectl("run", "client", "--image=busybox:1.36", "--restart=Never", "--", "sleep", "3600")
    ns.ready("pod/client")
    for name in ("web", f"web.{ns.name}", f"web.{ns.name}.svc", f"web.{ns.name}.svc.cluster.local"):
        assert "Hello from web-" in ns.wget("client", f"http://{name}")

    # What is written about a pod.
    described = ns.kubectl("describe", "pod", next(iter(names)))
    for words in (
        "Status:           Running",
        "Controlled By:  ReplicaSet/web-",
        "Liveness:",
        "Scheduled",
        "Pulled",
        "Created",
        "Started",
    ):
        assert words in described

    # Scale up and down; a watch sees it happen.
    with ns.running("get", "pods", "-l", "app=web", "-w", "--no-headers") as watch:
        for _ in names:
            watch.expect("Running")
        ns.kubectl("scale", "deployment/web", "--replicas=4")
        watch.expect("Pending")
        watch.expect("1/1")
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    ns.kubectl("scale", "deployment/web", "--replicas=3")
    until(lambda: len(ns.get("pods", "-l", "app=web")["items"]) == 3)

    # A new version, one that never comes up, and the way back.
    ns.kubectl("set", "env", "deployment/web", "VERSION=2")
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    until(lambda: "VERSION=2" in fetched(cluster_ip, 80))
    ns.kubectl("set", "image", "deployment/web", "web=edgekube.local/demo:none")
    until(lambda: "ImagePullBackOff" in (shown := ns.kubectl("get", "pods")) or "ErrImagePull" in shown)
    assert "Hello from web-" in ns.cluster.fetch(cluster_ip, 80), "the old pods serve while the new ones fail"
    history = ns.kubectl("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:5]] == ["1", "2", "3"]
    assert "rolled back" in ns.kubectl("rollout", "undo", "deployment/web")
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    assert ns.field("deployment/web", ".spec.template.spec.containers[0].image") == "edgekube.local/demo:1"
    ns.kubectl("rollout", "undo", "deployment/web", "--to-revision=1")
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=120s")
    assert "VERSION" not in json.dumps(ns.get("deployment", "web")["spec"])

    # And away with it.
    deleted = ns.kubectl("delete", "-f", "-", stdin=document(WEB))
    assert 'deployment.apps "web" deleted' in deleted
    until(lambda: not ns.get("pods", "-l", "app=web")["items"])
    assert ns.get("replicasets")["items"] == []
