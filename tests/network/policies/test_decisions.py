"""The compiled rules decide as the documentation says: hypothesis draws clusters, an oracle says who may talk to whom."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgekube.api.pod_address import PodAddress
from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Planner
from edgekube.network.policies.remembered import NOTHING, Unreadable, recall, remember
from tests.network.policies.oracle import World
from tests.network.policies.packet_filter import Kernel, Packet

NODES = ("n1", "n2")
NAMESPACES = ("shop", "ops", "kube-system")
KEYS, VALUES = ("app", "tier"), ("a", "b")
DNS = "10.43.0.10"
OUTSIDE = ("192.0.2.9", "10.42.200.1")
PORTS = (53, 80, 81, 443)
Object = dict[str, Any]


@st.composite
def selectors(draw: st.DrawFn) -> Object:
    selector: Object = {}
    if draw(st.booleans()):
        selector["matchLabels"] = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2))
    if draw(st.integers(0, 3)) == 0:
        operator = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
        expression: Object = {"key": draw(st.sampled_from(KEYS)), "operator": operator}
        if operator in ("In", "NotIn"):
            expression["values"] = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2))
        selector["matchExpressions"] = [expression]
    return selector


@st.composite
def namespace_selectors(draw: st.DrawFn) -> Object:
    if draw(st.integers(0, 2)) == 0:
        return {"matchLabels": {"kubernetes.io/metadata.name": draw(st.sampled_from(NAMESPACES))}}
    return draw(selectors())


@st.composite
def blocks(draw: st.DrawFn) -> Object:
    choices: list[tuple[str, list[str]]] = [
        ("10.42.0.0/16", ["10.42.1.0/24", "10.42.1.0/28", "10.42.2.0/24"]),
        ("0.0.0.0/0", ["10.0.0.0/8", "192.0.2.0/24", "10.42.0.0/15"]),
        ("10.42.1.0/24", ["10.42.1.2/32", "10.42.1.3/32"]),
        ("fd42::/16", ["fd42:1::/32", "fd42:1::2/128"]),
        ("192.0.2.0/24", []),
    ]
    cidr, inside = draw(st.sampled_from(choices))
    block: Object = {"cidr": cidr}
    is_cut: bool = draw(st.booleans())
    if inside and is_cut:
        block["except"] = draw(st.lists(st.sampled_from(inside), min_size=1, max_size=3, unique=True))
    return block


@st.composite
def peers(draw: st.DrawFn) -> Object:
    what = draw(st.integers(0, 3))
    if what == 0:
        return {"ipBlock": draw(blocks())}
    peer: Object = {}
    if what in (1, 3):
        peer["podSelector"] = draw(selectors())
    if what in (2, 3):
        peer["namespaceSelector"] = draw(namespace_selectors())
    return peer


@st.composite
def policy_ports(draw: st.DrawFn) -> Object:
    port: Object = {}
    if draw(st.integers(0, 4)):
        port["protocol"] = draw(st.sampled_from(("TCP", "UDP", "SCTP")))
    what = draw(st.integers(0, 3))
    if what == 0:
        port["port"] = draw(st.sampled_from(("web", "dns")))
    elif what < 3:
        port["port"] = draw(st.sampled_from(PORTS))
        if what == 2:
            port["endPort"] = port["port"] + draw(st.sampled_from((0, 1, 400)))
    return port


@st.composite
def rules(draw: st.DrawFn, key: str) -> Object:
    rule: Object = {}
    if draw(st.integers(0, 3)):
        rule[key] = draw(st.lists(peers(), max_size=3))
    if draw(st.booleans()):
        rule["ports"] = draw(st.lists(policy_ports(), max_size=3))
    return rule


@st.composite
def policies(draw: st.DrawFn, name: str) -> Object:
    spec: Object = {"podSelector": draw(selectors())}
    if draw(st.booleans()):
        spec["policyTypes"] = draw(st.lists(st.sampled_from(("Ingress", "Egress")), max_size=2, unique=True))
    for field, key in (("ingress", "from"), ("egress", "to")):
        if draw(st.booleans()):
            spec[field] = draw(st.lists(rules(key), max_size=3))
    return {"metadata": {"name": name, "namespace": draw(st.sampled_from(NAMESPACES))}, "spec": spec}


@st.composite
def pods(draw: st.DrawFn, number: int, revision: int = 1) -> Object:
    node = draw(st.sampled_from(NODES))
    subnet = NODES.index(node) + 1
    labels = draw(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2))
    pod: Object = {
        "kind": "PodAddress",
        "apiVersion": "internal.edgekube.io/v1",
        "metadata": {
            "name": f"p{number}", "namespace": NAMESPACES[number % len(NAMESPACES)], "uid": f"u{number}", "labels": labels,
            "resourceVersion": str(revision),
        },
        "nodeName": node,
        "phase": "Running",
        "podIPs": [f"10.42.{subnet}.{number + 2}", f"fd42:{subnet}::{number + 2:x}"],
        "ports": draw(
            st.lists(
                st.sampled_from(
                    [
                        {"name": "web", "containerPort": 80, "protocol": "TCP"},
                        {"name": "web", "containerPort": 443, "protocol": "TCP"},
                        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                        {"name": "web", "containerPort": 81, "protocol": "SCTP"},
                    ]
                ),
                max_size=2,
                unique_by=lambda port: (port["name"], port["protocol"]),
            )
        ),
    }  # fmt: skip
    what = draw(st.integers(0, 11))
    if what == 0:
        pod["hostNetwork"] = True
        pod["podIPs"] = ["192.0.2.1"]
    elif what == 1:
        pod["phase"] = "Succeeded"
    elif what == 2:
        pod["podIPs"] = []
    return pod


def told(pod: Object) -> PodAddress:
    return msgspec.convert(pod, PodAddress)


def planner(node: str) -> Planner:
    return Planner(node, families=(4, 6), resolvers=[DNS])


def fill(planner: Planner, world: World) -> None:
    for name, labels in world.namespaces.items():
        planner.put_namespace(name, labels)
    for pod in world.pods:
        planner.put_pod(told(pod))
    for policy in world.policies:
        planner.put_policy(policy_of(policy))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
    known = [name for name in NAMESPACES if draw(st.integers(0, 7))]  # the word of a namespace may come after its pods
    namespaces = {name: {**draw(labels), "kubernetes.io/metadata.name": name} for name in known}
    return World(
        namespaces,
        [draw(pods(number)) for number in range(draw(st.integers(2, 5)))],
        [draw(policies(f"np{number}")) for number in range(draw(st.integers(1, 3)))],
    )


def kernels(world: World) -> dict[str, Kernel]:
    made = {}
    for node in NODES:
        plan = planner(node)
        fill(plan, world)
        made[node] = Kernel()
        made[node].apply(plan.everything().text)
    return made


def home(address: str) -> str | None:
    for number, node in enumerate(NODES, 1):
        if address.startswith((f"10.42.{number}.", f"fd42:{number}::")):
            return node
    return None


def passes(nodes: dict[str, Kernel], packet: Packet) -> bool:
    """By every node on its way: the sender's, then the receiver's."""
    way = dict.fromkeys(node for node in (home(packet.source), home(packet.destination)) if node is not None)
    hook = "input" if packet.destination == DNS else "forward"
    return all(nodes[node].passes(hook, packet) for node in way)


def packets(world: World) -> list[Packet]:
    addresses = [address for pod in world.pods for address in pod["podIPs"] if home(address)]
    found = []
    for source in addresses:
        for destination in (*addresses, DNS, *OUTSIDE):
            if (":" in source) == (":" in destination):
                found += [(source, destination), (destination, source)]
    ways = [(source, destination) for source, destination in dict.fromkeys(found) if source != DNS]
    kinds = [("tcp", 80), ("tcp", 443), ("udp", 53), ("sctp", 81), ("icmp", 0)]
    return [Packet(source, destination, *kind) for source, destination in ways for kind in kinds]


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_packet_fares_as_the_documentation_says(world: World) -> None:
    nodes = kernels(world)
    for packet in packets(world):
        allowed = world.allows(packet.source, packet.destination, packet.protocol, packet.port)
        assert passes(nodes, packet) is allowed, (packet, allowed)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_way_to_a_cluster_makes_the_same_table(data: st.DataObject) -> None:
    """Changes one by one, each a script of its own or some together, end where a start from nothing begins."""
    plan, kernel, world = planner("n1"), Kernel(), World()
    kernel.apply(plan.everything().text)
    labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
    for revision in range(1, data.draw(st.integers(4, 20))):
        what = data.draw(st.sampled_from(("pod", "pod", "no pod", "policy", "policy", "no policy", "namespace", "no namespace")))
        if what == "pod":
            pod = data.draw(pods(data.draw(st.integers(0, 4)), revision))
            world.pods = [each for each in world.pods if each["metadata"]["name"] != pod["metadata"]["name"]] + [pod]
            plan.put_pod(told(pod))
        elif what == "no pod" and world.pods:
            gone = world.pods.pop()["metadata"]
            plan.remove_pod(gone["namespace"], gone["name"], revision)
        elif what == "policy":
            policy = data.draw(policies(f"np{data.draw(st.integers(0, 2))}"))
            key = policy["metadata"]
            world.policies = [each for each in world.policies if each["metadata"] != key] + [policy]
            plan.put_policy(policy_of(policy))
        elif what == "no policy" and world.policies:
            gone = world.policies.pop(0)["metadata"]
            plan.remove_policy(gone["namespace"], gone["name"])
        elif what == "namespace":
            name = data.draw(st.sampled_from(NAMESPACES))
            world.namespaces[name] = data.draw(labels)
            plan.put_namespace(name, world.namespaces[name])
        elif what == "no namespace" and world.namespaces:
            name = world.namespaces.popitem()[0]
            plan.remove_namespace(name)
        if data.draw(st.booleans()):
            kernel.apply(plan.script().text)
    kernel.apply(plan.script().text)
    assert plan.script().text == ""

    fresh, other = planner("n1"), Kernel()
    fill(fresh, world)
    other.apply(fresh.everything().text)
    assert kernel == other
    again = Kernel()
    again.apply(plan.everything().text)
    assert again == other


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_what_is_remembered_makes_the_same_table(world: World) -> None:
    before, after = planner("n1"), planner("n1")
    fill(before, world)
    recall(after, remember(before))
    if before.active_policies():
        assert after.everything().text == before.everything().text
        assert remember(after) == remember(before)
    else:
        assert remember(before) == NOTHING


@given(
    st.binary(max_size=40)
    | st.sampled_from([b'{"policies":[{"namespace":"a","name":"b","spec":[]}]}', b'{"namespaces":[]}', b"[]"])
)
def test_what_was_not_remembered_by_us_is_refused_whole(data: bytes) -> None:
    assume(not _says_nothing(data))
    fresh = planner("n1")
    with pytest.raises(Unreadable):
        recall(fresh, data)
    assert fresh.everything().text == planner("n1").everything().text


def _says_nothing(data: bytes) -> bool:
    """An object without any key of ours is as good as no file: a later version may have written it."""
    try:
        found = json.loads(data)
    except ValueError:
        return False
    return isinstance(found, dict) and not found.keys() & {"namespaces", "policies", "pods"}


def test_the_other_way_around_a_shared_address_goes_to_the_younger_pod() -> None:
    """A pod that ended without a word leaves its address; whoever gets it next is judged by its own policies."""
    world = World({"shop": {}})
    plan = planner("n1")
    policy = {"metadata": {"name": "closed", "namespace": "shop"}, "spec": {"podSelector": {"matchLabels": {"app": "a"}}}}
    plan.put_policy(policy_of(policy))
    for name, labels, revision in (("old", {"app": "a"}, 1), ("new", {}, 2)):
        pod = {
            "metadata": {"name": name, "namespace": "shop", "uid": name, "labels": labels, "resourceVersion": str(revision)},
            "nodeName": "n1", "phase": "Running", "podIPs": ["10.42.1.2"],
        }  # fmt: skip
        world.pods.insert(0, pod)
        plan.put_pod(msgspec.convert({"kind": "PodAddress", **pod}, PodAddress))
    kernel = Kernel()
    kernel.apply(plan.everything().text)
    assert kernel.passes("forward", Packet("10.42.9.9", "10.42.1.2"))
    plan.remove_pod("shop", "new", 3)
    kernel.apply(plan.script().text)
    assert not kernel.passes("forward", Packet("10.42.9.9", "10.42.1.2"))
