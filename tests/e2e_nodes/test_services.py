"""Services seen from every machine of a cluster: from its nodes, from pods, and from a neighbour on the LAN."""

from __future__ import annotations

import json
import signal
from functools import partial
from typing import Any

import pytest

from tests.e2e.namespace import Namespace
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.lan import GATEWAY

ADDRESSES = {"n1": "192.0.2.1", "n2": "192.0.2.2", "n3": "192.0.2.3"}
#: Says its name and who asked.
WHO = r"""
    apiVersion: v1
    kind: Pod
    metadata: {{name: {name}, labels: {{app: who}}}}
    spec:
      nodeName: {node}
      terminationGracePeriodSeconds: 1
      containers:
        - name: who
          image: edgekube.local/demo:1
          readinessProbe: {{httpGet: {{path: /cgi-bin/who, port: 8080}}, periodSeconds: 1, timeoutSeconds: 20}}
          command:
            - sh
            - -c
            - |
              mkdir -p /tmp/www/cgi-bin && cd /tmp/www/cgi-bin
              printf '#!/bin/sh\necho "Content-Type: text/plain"\necho\necho "{name} $REMOTE_ADDR"\n' > who
              chmod 755 who && httpd -f -p 8080 -h /tmp/www & trap 'kill $!; exit 0' TERM; wait
"""
SERVICE = """
    apiVersion: v1
    kind: Service
    metadata: {{name: who}}
    spec: {{selector: {{app: who}}, ports: [{{port: 80, targetPort: 8080}}], {spec}}}
"""


def run_pods(ns: Namespace, *nodes: str) -> None:
    ns.apply("---".join(WHO.format(name=f"on-{node}", node=node) for node in nodes))
    ns.ready(*(f"pod/on-{node}" for node in nodes))


def serve(ns: Namespace, spec: str) -> tuple[str, int]:
    """Cluster address and node port."""
    ns.apply(SERVICE.format(spec=spec))
    made = ns.get("service/who")["spec"]
    return made["clusterIP"], int(made["ports"][0].get("nodePort") or 0)


def ask(namespace: str, address: str, port: int, *, patience_seconds: float = 10) -> tuple[str, str]:
    """Who answered, and the address that it saw."""
    name, seen = inside.fetch(namespace, address, port, "/cgi-bin/who", timeout_seconds=patience_seconds).split()
    return name, seen.strip("[]").removeprefix("::ffff:")


def until_answered(namespace: str, address: str, port: int, *names: str) -> None:
    """Until these pods answer, each of them and no other: a node learns of an endpoint a moment after the API does."""

    def reached() -> bool:
        try:
            return {ask(namespace, address, port)[0] for _ in range(12 * len(names))} == set(names)
        except OSError:
            return False

    until(reached)


def until_stuck(namespace: str, address: str) -> None:
    """Until the client is answered by one pod, whichever."""

    def reached() -> bool:
        try:
            return len({ask(namespace, address, 80)[0] for _ in range(12)}) == 1
        except OSError:
            return False

    until(reached)


def tells(namespace: str, address: str, port: int, wanted: dict[str, Any]) -> bool:
    """The health check says this; its port opens a moment after the rules are there."""
    try:
        return bool(json.loads(inside.fetch(namespace, address, port)) == wanted)
    except OSError:
        return False


def test_a_node_port_of_every_node_leads_to_every_pod(cluster3: MultiCluster, ns: Namespace) -> None:
    run_pods(ns, "n1", "n2")
    _, port = serve(ns, "type: NodePort")
    for node, address in ADDRESSES.items():
        until_answered(cluster3.lan.namespace, address, port, "on-n1", "on-n2")
        for name, seen in [ask(cluster3.lan.namespace, address, port) for _ in range(20)]:
            assert (seen == GATEWAY) == (name == f"on-{node}"), "a pod elsewhere answers the node that asked for the client"
        for other in ADDRESSES:
            until_answered(cluster3.node(other).namespace, address, port, "on-n1", "on-n2")
        assert ns.wget("on-n2", f"http://{address}:{port}/cgi-bin/who").split()[0] in {"on-n1", "on-n2"}


def test_local_policies_stay_on_the_node_and_keep_the_clients_address(cluster3: MultiCluster, ns: Namespace) -> None:
    run_pods(ns, "n2")
    address, port = serve(ns, "type: LoadBalancer, externalTrafficPolicy: Local")
    health = int(ns.field("service/who", ".spec.healthCheckNodePort"))
    until_answered(cluster3.lan.namespace, ADDRESSES["n2"], port, "on-n2")
    assert ask(cluster3.lan.namespace, ADDRESSES["n2"], port) == ("on-n2", GATEWAY)
    until_answered(cluster3.node("n1").namespace, ADDRESSES["n1"], port, "on-n2")  # what is inside reaches all endpoints
    with pytest.raises(TimeoutError):
        ask(cluster3.lan.namespace, ADDRESSES["n1"], port, patience_seconds=1)
    for node, count in (("n1", 0), ("n2", 1)):
        wanted = {"service": {"namespace": ns.name, "name": "who"}, "localEndpoints": count, "serviceProxyHealthy": True}
        until(partial(tells, cluster3.lan.namespace, ADDRESSES[node], health, wanted))
    ns.kubectl("patch", "service/who", "-p", '{"spec": {"internalTrafficPolicy": "Local"}}')

    def is_dropped() -> bool:
        try:
            ask(cluster3.node("n3").namespace, address, 80, patience_seconds=1)
        except TimeoutError:
            return True
        return False

    until(is_dropped)
    until_answered(cluster3.node("n2").namespace, address, 80, "on-n2")


def test_a_client_stays_with_its_pod_on_each_node(cluster3: MultiCluster, ns: Namespace) -> None:
    run_pods(ns, "n1", "n2", "n3")
    address, port = serve(ns, "type: NodePort")
    for namespace in [*(cluster3.node(node).namespace for node in ADDRESSES), cluster3.lan.namespace]:
        target = (ADDRESSES["n3"], port) if namespace == cluster3.lan.namespace else (address, 80)
        until_answered(namespace, *target, "on-n1", "on-n2", "on-n3")
    ns.kubectl("patch", "service/who", "-p", '{"spec": {"sessionAffinity": "ClientIP"}}')

    def stays(namespace: str, address: str, port: int) -> bool:
        try:
            return len({ask(namespace, address, port)[0] for _ in range(15)}) == 1
        except OSError:
            return False

    for node in ADDRESSES:
        until(partial(stays, cluster3.node(node).namespace, address, 80))
    until(partial(stays, cluster3.lan.namespace, ADDRESSES["n3"], port))


def test_an_agent_that_is_killed_and_started_again_interrupts_nobody_and_keeps_its_clients(
    cluster3: MultiCluster, ns: Namespace
) -> None:
    run_pods(ns, "n1", "n2", "n3")
    address, _ = serve(ns, "sessionAffinity: ClientIP")
    agent, client = cluster3.program("n2"), cluster3.node("n2").namespace
    slices = ["endpointslices", "-l", "kubernetes.io/service-name=who"]
    until(lambda: sum(len(each.get("endpoints") or ()) for each in ns.get(*slices)["items"]) == 3)
    until_stuck(client, address)
    name, _ = ask(client, address, 80)
    agent.stop(signal.SIGKILL)
    assert {ask(client, address, 80)[0] for _ in range(10)} == {name}
    agent.start()
    assert {ask(client, address, 80)[0] for _ in range(10)} == {name}


def test_traffic_that_prefers_its_node_stays_there_while_it_can(cluster3: MultiCluster, ns: Namespace) -> None:
    run_pods(ns, "n2", "n3")
    address, _ = serve(ns, "trafficDistribution: PreferSameNode")
    for node in ("n2", "n3"):
        until_answered(cluster3.node(node).namespace, address, 80, f"on-{node}")
    until_answered(cluster3.node("n1").namespace, address, 80, "on-n2", "on-n3")
    ns.kubectl("delete", "pod/on-n2", "--wait=true")
    until_answered(cluster3.node("n2").namespace, address, 80, "on-n3")


def refuses(namespace: str, address: str, port: int) -> bool:
    """At once and in words; a node that has not heard of the Service yet says nothing."""
    try:
        inside.connect(namespace, address, port, timeout_seconds=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def test_without_endpoints_every_node_refuses_at_once(cluster3: MultiCluster, ns: Namespace) -> None:
    address, port = serve(ns, "type: NodePort")
    for node, own in ADDRESSES.items():
        for namespace, target, number in (
            (cluster3.node(node).namespace, address, 80),
            (cluster3.lan.namespace, own, port),
        ):
            until(partial(refuses, namespace, target, number))


def test_the_addresses_of_services_are_listed(cluster3: MultiCluster, ns: Namespace) -> None:
    address, _ = serve(ns, "type: ClusterIP")
    shown = until(lambda: cluster3.server.kubectl("get", "ipaddress", address, check=False))
    assert f"services/{ns.name}/who" in shown
    assert cluster3.server.kubectl("get", "servicecidr", "kubernetes", "-o", "jsonpath={.spec.cidrs}") == '["10.43.0.0/16"]'
