"""What upstream's sig-network suite asks of a cluster: endpoints and their slices, Services of every kind over TCP and UDP, host
ports, names, and the API's proxy. Other files of this folder hold what is ours beyond that."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import dnslib
import pytest

from tests.e2e.namespace import BUSYBOX, Namespace, fresh_namespace
from tests.e2e_nodes.programs import ask, ask_by_datagram, namespace_of, serving
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.wire.certificates import Authority

NODES: Final = {"n1": "192.0.2.1", "n2": "192.0.2.2", "n3": "192.0.2.3"}
PODS: Final = ("on-n1", "on-n2", "on-n3")
#: Who asks: (namespace, address, port) -> (who answered, whom it saw).
Ask = Callable[[str, str, int], tuple[str, str]]
WAYS: Final[tuple[Ask, ...]] = (ask, ask_by_datagram)


def pod(name: str, node: str, *, labels: str = "", **spec: Any) -> str:
    """One that waits to be asked. ``spec``: more of its specification."""
    container = {"name": "main", "image": BUSYBOX, "command": ["sleep", "10000"], **spec.pop("container", {})}
    made = {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return f"""
        apiVersion: v1
        kind: Pod
        metadata: {{name: {name}, labels: {{{labels}}}}}
        spec: {json.dumps(made)}
        """


def service(name: str, spec: str) -> str:
    return f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: {name}}}
        spec: {{{spec}}}
        """


@pytest.fixture(scope="module")
def world(cluster3: MultiCluster) -> Iterator[Namespace]:
    """A pod on each node, each answering on port 8080, for whoever changes nothing about them."""
    with fresh_namespace(cluster3.server, "conformance-network") as shared:
        shared.apply("---".join(pod(f"on-{node}", node, labels="app: net") for node in NODES))
        shared.ready(*(f"pod/{name}" for name in PODS))
        with serving(shared, *PODS):
            yield shared


def places(cluster: MultiCluster, world: Namespace) -> dict[str, tuple[str, str]]:
    """Network namespace and own address of each pod of the world and of each node."""
    found = {name: world.get(f"pod/{name}") for name in PODS}
    pods = {name: (namespace_of(each), each["status"]["podIP"]) for name, each in found.items()}
    return pods | {name: (cluster.node(name).namespace, address) for name, address in NODES.items()}


def answered_by(way: Ask, namespace: str, address: str, port: int, count: int = 40) -> set[str]:
    """Who answers; nobody at all when one of the questions is not answered."""
    try:
        return {way(namespace, address, port)[0] for _ in range(count)}
    except OSError:
        return set()


def until_answered(names: set[str], way: Ask, namespace: str, address: str, port: int, count: int = 40) -> None:
    """Each of them answers, and nobody else: a node learns of a change a moment after the API does."""
    until(lambda: answered_by(way, namespace, address, port, count) == names)


def is_answered_by_so_many(pods: int, way: Ask, namespace: str, address: str, port: int) -> bool:
    return len(answered_by(way, namespace, address, port)) == pods


def until_refused(way: Ask, namespace: str, address: str, port: int) -> None:
    until(lambda: is_refused(way, namespace, address, port))


def is_refused(way: Ask, namespace: str, address: str, port: int) -> bool:
    try:
        way(namespace, address, port)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def slices_of(ns: Namespace, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ns.get("endpointslices", "-l", f"kubernetes.io/service-name={name}")["items"]
    return found


def backends(ns: Namespace, name: str) -> set[tuple[str, str, int]]:
    """Address, port name and number of everything that stands behind a Service and is ready."""
    return {
        (address, port.get("name", ""), port["port"])
        for each in slices_of(ns, name)
        for endpoint in each.get("endpoints") or ()
        for address in endpoint["addresses"]
        for port in each.get("ports") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    }


# --- pods and nodes ---------------------------------------------------------------------------------------------------


def test_pods_and_nodes_reach_every_pod_as_themselves(cluster3: MultiCluster, world: Namespace) -> None:
    here = places(cluster3, world)
    for way in WAYS:
        for asker, (namespace, own) in here.items():
            for name in PODS:
                answered, seen = way(namespace, here[name][1], 8080)
                assert answered == name
                assert seen == own or asker in NODES, "nobody translates what passes between pods"
    assert ask_by_datagram(here["on-n1"][0], here["on-n3"][1], size=8000) == ("on-n3", here["on-n1"][1]), (
        "in pieces, and put together"
    )


# --- services ---------------------------------------------------------------------------------------------------------


def test_one_service_port_for_two_protocols_from_everywhere(cluster3: MultiCluster, world: Namespace) -> None:
    both = "ports: [{name: t, port: 80, targetPort: 8080}, {name: u, protocol: UDP, port: 80, targetPort: 8080}]"
    world.apply(service("net", f"type: NodePort, selector: {{app: net}}, {both}"))
    spec = world.get("service/net")["spec"]
    address, node_port = spec["clusterIP"], spec["ports"][0]["nodePort"]
    assert spec["ports"][1]["nodePort"] == node_port, "one number for both protocols"
    here = places(cluster3, world)
    for way in WAYS:
        for namespace, _ in here.values():
            until_answered(set(PODS), way, namespace, address, 80)
            until_answered(set(PODS), way, namespace, NODES["n2"], node_port)
        for asker in PODS:
            namespace, own = here[asker]
            seen = dict(way(namespace, address, 80) for _ in range(30))
            assert {client for name, client in seen.items() if name != asker} == {own}, "the client's own address"
            assert asker in seen, "a pod reaches itself"
    stuck = '{"spec": {"sessionAffinity": "ClientIP"}}'
    for affinity, count in ((stuck, 1), (stuck.replace("ClientIP", "None"), 3)):
        world.kubectl("patch", "service", "net", "-p", affinity)
        for way in WAYS:
            until(partial(is_answered_by_so_many, count, way, here["on-n1"][0], address, 80))
    world.kubectl("patch", "service", "net", "--type=json", "-p", '[{"op": "remove", "path": "/spec/ports/1"}]')
    until_refused(ask_by_datagram, here["on-n1"][0], address, 80)
    until_answered(set(PODS), ask, here["on-n1"][0], address, 80)


def test_pods_of_the_nodes_network_stand_behind_a_service(cluster3: MultiCluster, world: Namespace, ns: Namespace) -> None:
    ns.apply("---".join(pod(f"host-{node}", node, labels="app: host", hostNetwork=True) for node in NODES))
    ns.apply(service("host", "selector: {app: host}, ports: [{port: 80, targetPort: 8099}]"))
    ns.ready(*(f"pod/host-{node}" for node in NODES))
    address = ns.field("service/host", ".spec.clusterIP")
    names = {f"host-{node}" for node in NODES}
    with serving(ns, *sorted(names), port=8099):
        for namespace, _ in places(cluster3, world).values():
            until_answered(names, ask, namespace, address, 80)


def test_whoever_has_no_endpoints_refuses_until_it_has_and_datagrams_follow_them(
    cluster3: MultiCluster, world: Namespace, ns: Namespace
) -> None:
    asker = places(cluster3, world)["on-n1"][0]
    ns.apply(service("moving", "type: NodePort, selector: {turn: now}, ports: [{protocol: UDP, port: 80, targetPort: 8080}]"))
    spec = ns.get("service/moving")["spec"]
    ways = [(spec["clusterIP"], 80, 12345), (NODES["n2"], spec["ports"][0]["nodePort"], 12346)]

    def answers(name: str, address: str, port: int, own: int) -> bool:
        with contextlib.suppress(OSError):
            return ask_by_datagram(asker, address, port, from_port=own)[0] == name
        return False

    for way in ways:
        until_refused(ask_by_datagram, asker, *way[:2])
        assert not answers("first", *way)
    ns.apply("---".join(pod(name, "n2", labels="app: moving") for name in ("first", "second")))
    ns.ready("pod/first", "pod/second")
    with serving(ns, "first", "second"):
        for name, other in (("first", "second"), ("second", "first")):
            ns.kubectl("label", "pod", name, "turn=now")
            ns.kubectl("label", "pod", other, "turn-")
            for way in ways:
                until(partial(answers, name, *way))
    ns.kubectl("delete", "pod", "second", "--wait=true")
    for way in ways:
        until_refused(ask_by_datagram, asker, *way[:2])


def test_a_service_of_another_proxy_or_called_headless_is_not_ours(cluster3: MultiCluster, world: Namespace) -> None:
    asker = places(cluster3, world)["on-n3"][0]
    world.apply(service("toggled", "selector: {app: net}, ports: [{port: 80, targetPort: 8080}]"))
    address = world.field("service/toggled", ".spec.clusterIP")
    until_answered(set(PODS), ask, asker, address, 80)
    for label in ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"):
        world.kubectl("label", "service", "toggled", f"{label}=foo")
        until_refused(ask, asker, address, 80)
        world.kubectl("label", "service", "toggled", f"{label}-")
        until_answered(set(PODS), ask, asker, address, 80)


def test_a_service_becomes_another_kind_and_its_name_follows(cluster3: MultiCluster, world: Namespace) -> None:
    domain = f"{world.name}.svc.cluster.local"
    asker = places(cluster3, world)["on-n2"][0]
    world.apply(service("target", "selector: {app: net}, ports: [{port: 80, targetPort: 8080}]"))
    world.apply(service("kind", f"type: ExternalName, externalName: target.{domain}"))
    target = world.field("service/target", ".spec.clusterIP")

    def resolves(address: str, *, alias: bool) -> bool:
        told = world.kubectl("exec", "on-n2", "--", "nslookup", f"kind.{domain}", check=False)
        return f"Address: {address}" in told and (f"canonical name = target.{domain}" in told) == alias

    def changed(kind: str, **spec: Any) -> dict[str, Any]:
        world.kubectl("patch", "service", "kind", "--type=merge", "-p", json.dumps({"spec": {"type": kind, **spec}}))
        found: dict[str, Any] = world.get("service/kind")["spec"]
        return found

    until(partial(resolves, target, alias=True))
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    for kind in ("ClusterIP", "NodePort"):
        spec = changed(kind, externalName=None, ports=ports, selector={"app": "net"})
        until(partial(resolves, spec["clusterIP"], alias=False))
        until_answered(set(PODS), ask, asker, spec["clusterIP"], 80)
        if kind == "NodePort":
            until_answered(set(PODS), ask, asker, NODES["n3"], spec["ports"][0]["nodePort"])
        assert "clusterIP" not in changed("ExternalName", externalName=f"target.{domain}", clusterIP=None)
        until(partial(resolves, target, alias=True))
        until_refused(ask, asker, spec["clusterIP"], 80)


@pytest.fixture
def further_range(cluster3: MultiCluster) -> Iterator[str]:
    kubectl = cluster3.server.kubectl
    kubectl("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "further"},
        "spec": {"cidrs": ["203.0.113.0/24"]},
    }))  # fmt: skip
    kubectl("wait", "--for=condition=Ready", "servicecidr/further", "--timeout=90s")
    yield "203.0.113.10"
    kubectl("delete", "servicecidr", "further")


def test_a_service_in_a_further_range_of_addresses(cluster3: MultiCluster, world: Namespace, further_range: str) -> None:
    ports = "ports: [{port: 80, targetPort: 8080}]"
    world.apply(service("further", f"type: NodePort, clusterIP: {further_range}, selector: {{app: net}}, {ports}"))
    node_port = int(world.field("service/further", ".spec.ports[0].nodePort"))
    here = places(cluster3, world)
    for name in PODS:
        until_answered(set(PODS), ask, here[name][0], further_range, 80)
        until_answered(set(PODS), ask, here[name][0], NODES["n1"], node_port)
    until(lambda: f"services/{world.name}/further" in cluster3.server.kubectl("get", "ipaddress", further_range, check=False))
    world.kubectl("delete", "service", "further")


def test_a_gate_of_readiness_turns_traffic_and_an_ending_pod_is_still_reached(
    cluster3: MultiCluster, world: Namespace, ns: Namespace
) -> None:
    asker, gate = places(cluster3, world)["on-n1"][0], "example.com/turn"
    slow = {"readinessGates": [{"conditionType": gate}], "terminationGracePeriodSeconds": 300}
    ns.apply("---".join(pod(name, node, labels="app: gated", **slow) for name, node in (("blue", "n2"), ("green", "n3"))))
    ns.apply(service("gated", "selector: {app: gated}, ports: [{port: 80, targetPort: 8080}]"))
    ns.apply(service("early", "publishNotReadyAddresses: true, selector: {app: gated}, ports: [{port: 80, targetPort: 8080}]"))
    ns.wait("jsonpath={.status.phase}=Running", "pod/blue", "pod/green")
    address, early = (ns.field(f"service/{name}", ".spec.clusterIP") for name in ("gated", "early"))

    def turn(name: str, status: str) -> None:
        condition = {"status": {"conditions": [{"type": gate, "status": status}]}}
        ns.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(condition))

    with serving(ns, "blue", "green"):
        until_refused(ask, asker, address, 80)
        until_answered({"blue", "green"}, ask, asker, early, 80)
        turn("blue", "True")
        until_answered({"blue"}, ask, asker, address, 80)
        turn("green", "True")
        until_answered({"blue", "green"}, ask, asker, address, 80)
        turn("blue", "False")
        until_answered({"green"}, ask, asker, address, 80)
        own = ns.field("pod/green", ".status.podIP")
        ns.kubectl("delete", "pod", "green", "--wait=false")
        until(lambda: backends(ns, "gated") == set())
        assert ask(asker, own)[0] == "green", "until its last process has ended"
        assert ask(namespace_of(ns.get("pod/green")), ns.field("pod/blue", ".status.podIP"))[0] == "blue"
        until_answered({"green"}, ask, asker, address, 80)  # who ends is better than nobody
        until_answered({"blue", "green"}, ask, asker, early, 80)


def test_connections_that_wait_to_be_closed_are_remembered_an_hour(cluster3: MultiCluster) -> None:
    for node in NODES:
        told = cluster3.node(node).run(["cat", "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_close_wait"])
        assert told.split() == ["3600"]


# --- endpoints and slices ---------------------------------------------------------------------------------------------


def test_endpoints_and_slices_from_the_first_day_to_the_last(ns: Namespace) -> None:
    ns.apply(service("empty", "selector: {app: nobody}, ports: [{name: example, port: 80}]"))
    until(lambda: ns.kubectl("get", "endpoints", "empty", check=False))
    [empty] = until(lambda: slices_of(ns, "empty"))
    assert empty["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    assert not empty.get("endpoints")
    ns.kubectl("delete", "service", "empty")
    until(lambda: not slices_of(ns, "empty") and not ns.kubectl("get", "endpoints", "empty", "--ignore-not-found"))

    for name, number in (("one", 3000), ("two", 3001)):
        ns.apply(pod(name, "n2", labels="app: named", container={"ports": [{"name": "main", "containerPort": number}]}))
    ns.apply(service("named", "selector: {app: named}, ports: [{name: http, port: 80, targetPort: main}]"))
    ns.ready("pod/one", "pod/two")
    wanted = {(ns.field(f"pod/{name}", ".status.podIP"), "http", number) for name, number in (("one", 3000), ("two", 3001))}
    until(lambda: backends(ns, "named") == wanted)
    until(lambda: len(slices_of(ns, "named")) == len(ns.get("endpoints/named").get("subsets") or ()) == 2)
    ns.kubectl("delete", "endpointslices", "-l", "kubernetes.io/service-name=named")
    until(lambda: backends(ns, "named") == wanted)
    whole = ns.get("endpoints/named")["subsets"]
    ns.kubectl("delete", "endpoints", "named")
    until(lambda: ns.kubectl("get", "endpoints", "named", check=False))
    assert ns.get("endpoints/named")["subsets"] == whole


def test_endpoints_that_people_write_are_mirrored_and_served(cluster3: MultiCluster, world: Namespace, ns: Namespace) -> None:
    here = places(cluster3, world)
    ns.apply(service("own", "ports: [{name: p80, port: 80}, {name: p81, port: 81}]"))
    address = ns.field("service/own", ".spec.clusterIP")

    def written(*subsets: tuple[str, str]) -> str:
        listed = [{"addresses": [{"ip": ip}], "ports": [{"name": name, "port": 8080}]} for ip, name in subsets]
        return f"""
            apiVersion: v1
            kind: Endpoints
            metadata: {{name: own, labels: {{mine: yes-it-is}}, annotations: {{note: kept}}}}
            subsets: {json.dumps(listed)}
            """

    (first, one), (second, two) = ((here[name][1], name) for name in ("on-n2", "on-n3"))
    ns.create(written((first, "p80"), (first, "p81")))
    until(lambda: backends(ns, "own") == {(first, "p80", 8080), (first, "p81", 8080)})
    for port in (80, 81):
        until_answered({one}, ask, here["on-n1"][0], address, port)
    metadata = slices_of(ns, "own")[0]["metadata"]
    assert metadata["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslicemirroring-controller.k8s.io"
    assert (metadata["labels"]["mine"], metadata["annotations"]["note"]) == ("yes-it-is", "kept")
    ns.kubectl("replace", "-f", "-", stdin="---\n" + written((first, "p80"), (second, "p81")).replace("\n            ", "\n"))
    until(lambda: backends(ns, "own") == {(first, "p80", 8080), (second, "p81", 8080)})
    for port, name in ((80, one), (81, two)):
        until_answered({name}, ask, here["on-n1"][0], address, port)
    ns.kubectl("delete", "endpoints", "own")
    until(lambda: not slices_of(ns, "own"))
    for name, ip in (("p80", second), ("p81", first)):
        ns.create(f"""
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata:
              generateName: own-
              labels: {{kubernetes.io/service-name: own, endpointslice.kubernetes.io/managed-by: somebody}}
            addressType: IPv4
            endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
            ports: [{{name: {name}, port: 8080, protocol: TCP}}]
            """)
    for port, name in ((80, two), (81, one)):
        until_answered({name}, ask, here["on-n1"][0], address, port)


def test_the_api_stands_behind_its_own_service(cluster3: MultiCluster, world: Namespace) -> None:
    default = Namespace(cluster3.server, "default")
    [subset] = default.get("endpoints/kubernetes")["subsets"]
    shown = {(each["ip"], port["name"], port["port"]) for each in subset["addresses"] for port in subset["ports"]}
    assert backends(default, "kubernetes") == shown
    context = ssl.create_default_context(cadata=world.field("configmap/kube-root-ca.crt", ".data.ca\\.crt"))
    address = default.field("service/kubernetes", ".spec.clusterIP")
    for namespace, _ in places(cluster3, world).values():
        with (
            inside.connect(namespace, address, 443) as made,
            context.wrap_socket(made, server_hostname="kubernetes.default") as tls,
        ):
            tls.sendall(b"GET /readyz HTTP/1.1\r\nHost: kubernetes.default\r\nConnection: close\r\n\r\n")
            assert tls.recv(64).startswith(b"HTTP/1.1 200")


# --- objects that only the API knows ----------------------------------------------------------------------------------


def test_addresses_that_people_take_are_theirs(cluster3: MultiCluster) -> None:
    kubectl = cluster3.server.kubectl
    for name, kind in (("255.255.255.255", "broadcast"), ("fe80::42:1dff:fe84:f9e2", "link-local")):
        kubectl("create", "-f", "-", stdin=json.dumps({
            "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": {"name": name, "labels": {"type": kind}},
            "spec": {"parentRef": {"group": "mygroup", "resource": "myresources", "namespace": "foo", "name": "bar"}},
        }))  # fmt: skip
    kubectl("patch", "ipaddress", "255.255.255.255", "--type=merge", "-p", '{"metadata": {"annotations": {"patched": "true"}}}')
    assert (
        kubectl("get", "ipaddress", "-l", "type=broadcast", "-o", "jsonpath={.items[*].metadata.annotations}")
        == '{"patched":"true"}'
    )
    kubectl("delete", "ipaddress", "255.255.255.255")
    kubectl("delete", "ipaddress", "-l", "type=link-local")
    assert kubectl("get", "ipaddress", "-l", "type", "-o", "name") == ""


def test_the_status_of_a_service_is_somebody_elses_to_write(ns: Namespace) -> None:
    ns.apply(service("status", "type: LoadBalancer, loadBalancerClass: example.com/vip, ports: [{name: http, port: 80}]"))
    ns.kubectl("patch", "service", "status", "--subresource=status", "--type=merge", "-p", json.dumps({
        "metadata": {"annotations": {"patched": "yes"}}, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    }))  # fmt: skip
    condition = {"type": "StatusUpdate", "status": "True", "reason": "Tried", "message": "set by a test"}
    ns.kubectl("patch", "service", "status", "--subresource=status", "--type=merge", "-p", json.dumps({
        "status": {"conditions": [{**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
    }))  # fmt: skip
    found = ns.get("service/status")
    assert found["metadata"]["annotations"]["patched"] == "yes"
    assert found["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
    assert found["status"]["conditions"][0]["reason"] == "Tried"
    assert "status" in ns.kubectl("get", "services", "-A", "--field-selector", f"metadata.namespace={ns.name}")
    ns.kubectl("delete", "services", "--all")
    assert ns.get("services")["items"] == []


# --- the proxy of the API ---------------------------------------------------------------------------------------------


def test_every_method_passes_the_proxy_to_pods_and_services_of_any_node(
    cluster3: MultiCluster, world: Namespace, tmp_path: Path
) -> None:
    world.apply(service("proxied", "selector: {app: net}, ports: [{name: web, port: 80, targetPort: 8080}]"))
    until(lambda: len(backends(world, "proxied")) == 3)
    root = f"/api/v1/namespaces/{world.name}"
    for way in (*(f"pods/{name}:8080" for name in PODS), "services/proxied:web", "services/http:proxied:web", "services/proxied"):
        for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
            body = "hello" if method in ("PATCH", "POST", "PUT") else None
            answered = cluster3.server.request(method, f"{root}/{way}/proxy/some/path?with={method}", body)
            assert answered.status == 200, answered.text
            if method != "HEAD":
                told = answered.json()
                assert (told["method"], told["path"], told["body"]) == (method, f"/some/path?with={method}", body or "")
            bare = cluster3.server.request(method, f"{root}/{way}/proxy?method={method}", body)
            assert bare.status == (301 if method in ("GET", "HEAD") else 200), f"{method} {way}"
    pair = Authority(tmp_path).issue("pod.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with serving(world, "on-n3", port=8443, tls=context):
        answered = cluster3.server.request("GET", f"{root}/pods/https:on-n3:8443/proxy/")
        assert (answered.status, answered.json()["name"]) == (200, "on-n3")


# --- host ports -------------------------------------------------------------------------------------------------------


def test_one_host_port_on_two_addresses_and_for_two_protocols(cluster3: MultiCluster, ns: Namespace) -> None:
    ports = {
        "loop": {"hostIP": "127.0.0.1", "protocol": "TCP"},
        "wide": {"hostIP": NODES["n2"], "protocol": "TCP"},
        "datagrams": {"hostIP": NODES["n2"], "protocol": "UDP"},
    }
    for name, where in ports.items():
        ns.apply(pod(name, "n2", container={"ports": [{"containerPort": 8080, "hostPort": 54323, **where}]}))
    ns.ready(*(f"pod/{name}" for name in ports))
    node = cluster3.node("n2").namespace
    with serving(ns, *ports):
        for way, namespace, address, name in (
            (ask, node, "127.0.0.1", "loop"),
            (ask, node, NODES["n2"], "wide"),
            (ask_by_datagram, node, NODES["n2"], "datagrams"),
            (ask, cluster3.lan.namespace, NODES["n2"], "wide"),
            (ask_by_datagram, cluster3.lan.namespace, NODES["n2"], "datagrams"),
            (ask, cluster3.node("n1").namespace, NODES["n2"], "wide"),
        ):
            until_answered({name}, way, namespace, address, 54323, count=3)


# --- names ------------------------------------------------------------------------------------------------------------


def says(ns: Namespace, asker: str, script: str, expected: set[str]) -> bool:
    return expected <= set(ns.sh(asker, script).splitlines())


def test_names_whole_and_in_part(cluster3: MultiCluster, ns: Namespace) -> None:
    domain = f"{ns.name}.svc.cluster.local"
    ns.apply(service("group", "clusterIP: None, selector: {dns: asked}, ports: [{name: http, port: 80}]"))
    ns.apply(service("plain", "selector: {dns: asked}, ports: [{name: http, port: 80}]"))
    ns.apply(pod("member", "n2", labels="dns: asked", hostname="querier", subdomain="group"))
    ns.apply(pod("guest", "n3", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"))
    long = [f"{'x' * 60}{number}.example" for number in range(7)]
    ns.apply(pod("chosen", "n3", dnsPolicy="None", dnsConfig={
        "nameservers": ["192.0.2.53"], "searches": ["resolv.conf.local", *long], "options": [{"name": "ndots", "value": "2"}],
    }))  # fmt: skip
    ns.ready("pod/member", "pod/guest", "pod/chosen")
    member, plain = ns.field("pod/member", ".status.podIP"), ns.field("service/plain", ".spec.clusterIP")
    names = {
        member: [
            "group",
            f"group.{ns.name}",
            f"group.{ns.name}.svc",
            f"group.{domain}",
            f"querier.group.{domain}",
            "querier.group",
        ],
        plain: ["plain", f"plain.{ns.name}", f"plain.{ns.name}.svc", f"plain.{domain}"],
        "10.43.0.1": ["kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"],
    }
    wanted = {name: address for address, listed in names.items() for name in listed}
    for asker in ("member", "guest"):
        script = "; ".join(f"ping -c 1 -W 1 {name} 2>&1 | head -1 &" for name in wanted).replace("&;", "&") + " wait"
        expected = {f"PING {name} ({address}): 56 data bytes" for name, address in wanted.items()}
        until(partial(says, ns, asker, script, expected))
    reverse = ".".join(reversed(plain.split("."))) + ".in-addr.arpa"
    assert f"plain.{domain}" in ns.sh("member", f"nslookup -type=ptr {reverse}")
    for name in ("group", "plain"):
        assert "service = " in ns.sh("member", f"nslookup -type=srv _http._tcp.{name}.{domain}")
    hosts = ns.exec("member", "cat", "/etc/hosts")
    assert f"{member}\tquerier.group.{domain}\tquerier" in hosts
    assert ns.exec("member", "hostname", "-f").strip() == f"querier.group.{domain}"
    told = ns.exec("chosen", "cat", "/etc/resolv.conf").splitlines()
    assert set(told) == {"nameserver 192.0.2.53", f"search {' '.join(['resolv.conf.local', *long])}", "options ndots:2"}


def test_names_over_tcp_as_over_datagrams(cluster3: MultiCluster, world: Namespace) -> None:
    name = "kubernetes.default.svc.cluster.local"
    for asker in PODS:
        namespace = places(cluster3, world)[asker][0]
        query = dnslib.DNSRecord.question(name)
        query.add_ar(dnslib.EDNS0(udp_len=1232))
        with inside.connect(namespace, "10.43.0.10", 53) as made:
            packet = bytes(query.pack())
            made.sendall(len(packet).to_bytes(2, "big") + packet)
            length = int.from_bytes(made.recv(2, socket.MSG_WAITALL), "big")
            reply = dnslib.DNSRecord.parse(made.recv(length, socket.MSG_WAITALL))
        assert [str(answer.rdata) for answer in reply.rr] == ["10.43.0.1"]
