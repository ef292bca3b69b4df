"""Three machines are one cluster: each is a node, pods are on all of them, and everything reaches everything."""

from __future__ import annotations

from tests.e2e.namespace import Namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.containers import running_containers

WEB = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 1
          containers:
            - name: web
              image: edgekube.local/demo:1
              readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, timeoutSeconds: 20}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
PAGE = "/cgi-bin/index.cgi"


def test_each_machine_is_a_node_with_a_range_of_its_own(cluster3: MultiCluster) -> None:
    nodes = cluster3.server.get("nodes")["items"]
    assert {node["metadata"]["name"]: node["status"]["addresses"][0]["address"] for node in nodes} == {
        "n1": "192.0.2.1",
        "n2": "192.0.2.2",
        "n3": "192.0.2.3",
    }
    assert len({node["spec"]["podCIDR"] for node in nodes}) == 3


def test_a_deployment_is_spread_and_every_pod_and_node_reaches_every_pod(cluster3: MultiCluster, ns: Namespace) -> None:
    ns.apply(WEB)
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    pods = {pod["metadata"]["name"]: pod for pod in ns.get("pods", "-l", "app=web")["items"]}
    assert {pod["spec"]["nodeName"] for pod in pods.values()} == {"n1", "n2", "n3"}
    for name, pod in pods.items():
        address = pod["status"]["podIP"]
        for program in cluster3.programs:
            assert f"Hello from {name}\n" in inside.fetch(program.node.namespace, address, 8080, PAGE)
        for other in pods:
            assert f"Hello from {name}\n" in ns.wget(other, f"http://{address}:8080{PAGE}")
    address = ns.field("service/web", ".spec.clusterIP")

    def served_by(namespace: str) -> set[str]:
        try:
            return {inside.fetch(namespace, address, 80, PAGE).split()[2] for _ in range(40)}
        except OSError:
            return set()

    for program in cluster3.programs:  # each is sent to each of the pods, once it has heard of them
        until(lambda node=program.node: served_by(node.namespace) == set(pods))  # type: ignore[misc]


def test_what_the_api_says_runs_is_what_the_nodes_run(cluster3: MultiCluster, ns: Namespace) -> None:
    ns.apply(WEB)
    ns.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    claimed = {
        (pod["spec"]["nodeName"], pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["containerID"])
        for pod in ns.get("pods")["items"]
    }
    found = [
        (program.name, each.pod_uid, f"containerd://{each.id}")
        for program in cluster3.programs
        for each in running_containers(program.node)
        if each.namespace == ns.name
    ]
    assert len(found) == 3 and set(found) == claimed
