"""Services and names: what reaches what, on one node."""

from __future__ import annotations

import json

import pytest

from tests.e2e.namespace import Namespace
from tests.lab.cluster import until

#: Two web pods, a client, and one service of every kind.
WORLD = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web}
    spec:
      replicas: 2
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          terminationGracePeriodSeconds: 0
          containers:
            - name: web
              image: edgekube.local/demo:1
              ports: [{name: http, containerPort: 8080}]
              readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, timeoutSeconds: 20}
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: client}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: 'busybox:1.36', command: [sleep, '10000']}]
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: solo, labels: {app: solo}}
    spec:
      terminationGracePeriodSeconds: 0
      hostname: solo
      subdomain: nest
      containers: [{name: main, image: 'edgekube.local/demo:1', ports: [{containerPort: 8080, hostPort: 18080}]}]
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: headless}
    spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: nest}
    spec: {clusterIP: None, selector: {app: solo}, ports: [{port: 8080}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: solo}
    spec: {selector: {app: solo}, ports: [{port: 80, targetPort: 8080}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: elsewhere}
    spec: {type: ExternalName, externalName: web.network.svc.cluster.local}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: empty}
    spec: {selector: {app: nobody}, ports: [{port: 80}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: sticky}
    spec:
      type: NodePort
      sessionAffinity: ClientIP
      selector: {app: web}
      ports: [{name: http, port: 80, targetPort: http}]
"""


@pytest.fixture(scope="module")
def world(shared: Namespace) -> Namespace:
    shared.apply(WORLD)
    shared.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    shared.ready("pod/client", "pod/solo")
    # A pod is Ready before everybody who forwards to it has heard so.
    until(lambda: pod_ips(shared) == endpoint_ips(shared) == legacy_ips(shared))
    domain = f"{shared.name}.svc.cluster.local"
    until(lambda: all(ip in lookup(shared, f"headless.{domain}") for ip in pod_ips(shared)))
    for name in ("web", "sticky", "solo"):
        until(lambda name=name: "Hello from" in tried(shared, f"http://{name}"))  # type: ignore[misc]
    return shared


def pod_ips(world: Namespace) -> set[str]:
    return {pod["status"].get("podIP", "") for pod in world.get("pods", "-l", "app=web")["items"]}


def endpoint_ips(world: Namespace) -> set[str]:
    slices = world.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    return {address for piece in slices for point in piece.get("endpoints") or () for address in point["addresses"]}


def legacy_ips(world: Namespace) -> set[str]:
    subsets = world.get("endpoints", "web").get("subsets") or ()
    return {address["ip"] for subset in subsets for address in subset.get("addresses") or ()}


def lookup(world: Namespace, name: str, kind: str = "") -> str:
    asked = [f"-type={kind}"] if kind else []
    return world.kubectl("exec", "client", "--", "nslookup", *asked, name, check=False)


def tried(world: Namespace, url: str) -> str:
    """The page, or nothing."""
    return world.kubectl("exec", "client", "--", "timeout", "10", "wget", "-qO-", url, check=False)


def test_names_of_services(world: Namespace) -> None:
    domain = f"{world.name}.svc.cluster.local"
    cluster_ip = world.field("service/web", ".spec.clusterIP")
    assert cluster_ip in lookup(world, f"web.{domain}")
    assert all(ip in lookup(world, f"headless.{domain}") for ip in pod_ips(world))
    assert world.field("pod/solo", ".status.podIP") in lookup(world, f"solo.nest.{domain}")
    assert "web.network.svc.cluster.local" in lookup(world, f"elsewhere.{domain}")
    assert f"0 100 80 web.{domain}" in lookup(world, f"_http._tcp.web.{domain}", "srv")
    reverse = ".".join(reversed(cluster_ip.split("."))) + ".in-addr.arpa"
    assert f"web.{domain}" in lookup(world, reverse, "ptr")
    assert "NXDOMAIN" in lookup(world, f"nobody.{domain}")
    assert "10.43.0.1" in lookup(world, "kubernetes.default.svc.cluster.local")
    assert "10.43.0.10" in lookup(world, "kube-dns.kube-system.svc.cluster.local")
    assert "Hello from web-" in world.wget("client", "http://web")
    assert "Hello from web-" in world.wget("client", "http://elsewhere")
    assert "Hello from solo" in world.wget("client", "http://solo.nest:8080")


def test_a_name_outside_is_answered_without_internet(world: Namespace) -> None:
    """No resolver answers in the lab: the client hears so, and soon."""
    said = lookup(world, "www.example.com.")
    assert "SERVFAIL" in said or "timed out" in said or "REFUSED" in said


def test_no_endpoints_means_refused_at_once(world: Namespace) -> None:
    said = world.refused("exec", "client", "--", "timeout", "20", "wget", "-q", "-O-", "http://empty")
    assert "Connection refused" in said


def test_a_pod_reaches_itself_through_its_service(world: Namespace) -> None:
    assert "Hello from solo" in world.wget("solo", f"http://solo.{world.name}")


def test_session_affinity(world: Namespace) -> None:
    pages = {world.wget("client", "http://sticky").splitlines()[0] for _ in range(8)}
    assert len(pages) == 1
    port = int(world.field("service/sticky", ".spec.ports[0].nodePort"))
    pages = {world.cluster.fetch("192.0.2.1", port, from_lan=True).splitlines()[0] for _ in range(20)}
    assert len(pages) == 1


def fetched(world: Namespace, port: int) -> str:
    """What a neighbour gets from the node; nothing while nobody answers."""
    try:
        return world.cluster.fetch("192.0.2.1", port, from_lan=True)
    except OSError:
        return ""


def test_host_ports(world: Namespace) -> None:
    until(lambda: "Hello from solo" in fetched(world, 18080))
    world.apply("""
        apiVersion: v1
        kind: Pod
        metadata: {name: second}
        spec:
          terminationGracePeriodSeconds: 0
          containers: [{name: main, image: 'edgekube.local/demo:1', ports: [{containerPort: 8080, hostPort: 18080}]}]
    """)
    assert "didn't have free ports" in world.wait_for_event("second", "FailedScheduling")
    world.kubectl("delete", "pod", "second")


def test_the_api_is_a_service(world: Namespace) -> None:
    assert "ok" in world.cluster.kubectl("--server=https://10.43.0.1:443", "get", "--raw", "/readyz")


def test_endpoints_follow_the_pods(world: Namespace) -> None:
    before = endpoint_ips(world)
    assert len(before) == 2 and before == pod_ips(world) == legacy_ips(world)
    world.kubectl("delete", "pods", "-l", "app=web", "--wait=false")
    world.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    until(lambda: pod_ips(world) == endpoint_ips(world) == legacy_ips(world) and not endpoint_ips(world) & before)
    until(lambda: "Hello from web-" in tried(world, "http://web"))


def test_a_service_without_a_selector_and_changes_of_a_service(world: Namespace) -> None:
    target = world.field("pod/solo", ".status.podIP")
    world.apply(f"""
        {{apiVersion: v1, kind: Service, metadata: {{name: manual}}, spec: {{ports: [{{port: 80, targetPort: 8080}}]}}}}
        ---
        apiVersion: discovery.k8s.io/v1
        kind: EndpointSlice
        metadata: {{name: manual-1, labels: {{kubernetes.io/service-name: manual}}}}
        addressType: IPv4
        ports: [{{port: 8080}}]
        endpoints: [{{addresses: [{target}]}}]
    """)
    until(lambda: "Hello from solo" in tried(world, "http://manual"))
    ports = {"spec": {"ports": [{"port": 81, "targetPort": 8080}, {"port": 80, "$patch": "delete"}]}}
    world.kubectl("patch", "service", "manual", "-p", json.dumps(ports))
    until(lambda: "Hello from solo" in tried(world, "http://manual:81"))
    address = world.field("service/manual", ".spec.clusterIP")
    assert "may not change once set" in world.refused("patch", "service", "manual", "-p", '{"spec":{"clusterIP":"10.43.7.7"}}')
    world.kubectl("delete", "service", "manual")
    wanted = "{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {clusterIP: %s, ports: [{port: 80}]}}"
    world.apply(wanted % ("again", address))
    assert "already allocated" in world.refused_to("create", wanted % ("more", address))
