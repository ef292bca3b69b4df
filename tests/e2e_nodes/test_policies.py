"""NetworkPolicy across nodes, through kubectl: what is refused, what is let through, and from when."""

from __future__ import annotations

import pytest

from tests.e2e.namespace import Namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster

#: One to be reached, and one on each of the other nodes who tries.
WORLD = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web, labels: {app: web}}
    spec:
      nodeName: n2
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: edgekube.local/demo:1
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 20}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: client, labels: {app: client}}
    spec:
      nodeName: n3
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'busybox:1.36', command: [sleep, '10000']}]
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: stranger, labels: {app: stranger}}
    spec:
      nodeName: n1
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'busybox:1.36', command: [sleep, '10000']}]
"""

CLOSED = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: closed}
    spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
"""
CLIENT_TO_WEB = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: web-from-client}
    spec:
      podSelector: {matchLabels: {app: web}}
      ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: out-to-web}
    spec:
      podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [web]}]}
      policyTypes: [Egress]
      egress: [{to: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: http}]}]
"""
TO_DNS = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: to-dns}
    spec:
      podSelector: {}
      policyTypes: [Egress]
      egress:
        - to:
            - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}
              podSelector: {matchLabels: {k8s-app: kube-dns}}
          ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
"""
EAGER = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: eager-goes-nowhere}
    spec: {podSelector: {matchLabels: {app: eager}}, policyTypes: [Egress]}
"""


@pytest.fixture
def world(ns: Namespace) -> Namespace:
    ns.apply(WORLD)
    ns.ready("pod/web", "pod/client", "pod/stranger")
    return ns


def gets(world: Namespace, pod: str, url: str) -> bool:
    page = world.kubectl("exec", pod, "--", "timeout", "2", "wget", "-qO-", f"{url}/healthz", check=False)
    return "ok" in page


def test_closed_until_opened_step_by_step(cluster3: MultiCluster, world: Namespace) -> None:
    ip = world.field("pod/web", ".status.podIP")
    address, service = f"http://{ip}:8080", f"http://{world.field('service/web', '.spec.clusterIP')}"
    until(lambda: gets(world, "client", "http://web"))  # without policies everybody talks
    world.apply(CLOSED)
    until(lambda: not gets(world, "client", address))
    world.apply(CLIENT_TO_WEB)
    until(lambda: gets(world, "client", address))
    until(lambda: gets(world, "client", service))  # a Service's address is judged as the pod behind it
    assert not gets(world, "client", "http://web"), "a name is asked for on the way out, too"
    assert not gets(world, "stranger", address), "out it may, in it may not"
    world.apply(TO_DNS)
    until(lambda: gets(world, "client", "http://web"))
    assert world.field("pod/web", ".status.conditions[?(@.type=='Ready')].status") == "True", "its node's probes always pass"
    home, elsewhere = cluster3.programs[1].node, cluster3.programs[2].node
    assert inside.fetch(home.namespace, ip, 8080, "/healthz")
    with pytest.raises(TimeoutError):
        inside.fetch(elsewhere.namespace, ip, 8080, "/healthz", timeout_seconds=2)

    world.kubectl("label", "pod", "stranger", "app=client", "--overwrite")
    until(lambda: gets(world, "stranger", address))
    world.kubectl("label", "pod", "client", "app=stranger", "--overwrite")
    until(lambda: not gets(world, "client", address))
    world.kubectl("delete", "networkpolicy", "--all")
    until(lambda: gets(world, "client", "http://web"))


def test_a_pod_is_isolated_from_its_first_packet_on(world: Namespace) -> None:
    """Each of a row of pods tries at once, and once more a moment later; none may get through even once."""
    address = world.field("pod/web", ".status.podIP")
    world.apply(EAGER)
    names = [f"eager-{number}" for number in range(4)]
    for number, name in enumerate(names):
        world.create(
            f"""
            apiVersion: v1
            kind: Pod
            metadata: {{name: {name}, labels: {{app: eager}}}}
            spec:
              nodeName: n{1 + number % 3}
              restartPolicy: Never
              terminationGracePeriodSeconds: 0
              containers:
                - name: main
                  image: busybox:1.36
                  command: [sh, -c, "for i in 1 2; do timeout 1 wget -qO- http://{address}:8080/healthz; done; echo done"]
            """
        )
    world.wait("jsonpath={.status.phase}=Succeeded", *(f"pod/{name}" for name in names))
    for name in names:
        said = world.kubectl("logs", name)
        assert "done" in said and "ok" not in said
