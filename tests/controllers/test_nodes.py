"""Nodes that fall silent, taints that evict, ranges of addresses, and pods that nobody will end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekube import limits
from edgekube.api import podstate, times
from edgekube.api.calls import Patch
from edgekube.api.controller import Key
from edgekube.api.kinds import CONFIGMAP, LEASE, NAMESPACE, NODE, POD, SERVICEACCOUNT
from edgekube.api.objects import Object, name_of
from edgekube.controllers import nodeipam, nodelifecycle, podgc, rootca
from edgekube.controllers.podgc import PODGC_CONTROLLER
from edgekube.controllers.serviceaccount import SERVICEACCOUNT_CONTROLLER
from edgekube.controllers.tainteviction import TAINTEVICTION_CONTROLLER
from tests.controllers.world import World


def ready_node(world: World, name: str, status: str = "True", **spec: Any) -> None:
    conditions = [
        {"type": type_, "status": "False", "lastHeartbeatTime": times.rfc3339(world.now)}
        for type_ in ("MemoryPressure", "DiskPressure", "PIDPressure")
    ]
    conditions.append({"type": "Ready", "status": status, "lastHeartbeatTime": times.rfc3339(world.now)})
    world.put(NODE, {"metadata": {"name": name}, "spec": spec, "status": {"conditions": conditions}})
    renew(world, name)


def renew(world: World, name: str) -> None:
    world.put(LEASE, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": world.now}})


def pod_on(world: World, node: str, name: str = "p", **spec: Any) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    world.put(POD, {"metadata": {"name": name, "namespace": "default"}, "spec": {"nodeName": node, **spec}, "status": status})


def settle(world: World, name: str) -> None:
    for _ in range(6):
        if not [call for call in world.step(nodelifecycle.controller(), "", name) if type(call).__name__ == "Patch"]:
            return
    raise AssertionError("it does not settle")


def taints(world: World, name: str) -> set[tuple[str, str]]:
    node = world.get(NODE, "", name) or {}
    return {(each["key"].removeprefix("node.kubernetes.io/"), each["effect"]) for each in node["spec"].get("taints") or ()}


def ready(world: World, name: str) -> tuple[str, str, str]:
    found = podstate.condition_of(world.get(NODE, "", name) or {}, "Ready") or {}
    return found["status"], found.get("reason", ""), found.get("message", "")


def test_the_grace_is_the_operators_choice() -> None:
    world = World()
    ready_node(world, "n1")
    patient, strict = nodelifecycle.controller(60), nodelifecycle.controller(15)
    world.now += 20
    world.step(patient, "", "n1")
    assert ready(world, "n1")[0] == "True"
    world.step(strict, "", "n1")
    assert ready(world, "n1")[0] == "Unknown"


def test_nodes_that_come_and_go_are_told_of_once() -> None:
    world, lifecycle = World(), nodelifecycle.controller()
    registered = "RegisteredNode: Node n1 event: Registered Node n1 in Controller"
    removing = "RemovingNode: Node n1 event: Removing Node n1 from Controller"
    ready_node(world, "n1")
    world.step(lifecycle, "", "n1")
    world.step(lifecycle, "", "n1")
    assert world.events == [registered]
    world.gone(NODE, "", "n1")
    world.step(lifecycle, "", "n1")
    world.step(lifecycle, "", "n1")
    assert world.events == [registered, removing]
    ready_node(world, "n1")
    world.step(lifecycle, "", "n1")
    world.gone(NODE, "", "n1")
    ready_node(world, "n1")  # another one of that name
    world.step(lifecycle, "", "n1")
    assert world.events == [registered, removing, registered, removing, registered]


def test_a_silent_node_becomes_unknown_and_its_pods_get_no_traffic() -> None:
    world = World()
    ready_node(world, "n1")
    ready_node(world, "n2")
    pod_on(world, "n1")
    world.step(nodelifecycle.controller(), "", "n1")
    assert world.later == 50
    world.now += 49
    renew(world, "n1")
    world.step(nodelifecycle.controller(), "", "n1")
    assert world.later == 50, "a renewed lease is a sign of life"
    world.now += 50
    settle(world, "n1")
    assert ready(world, "n1") == ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    assert taints(world, "n1") == {("unreachable", "NoSchedule"), ("unreachable", "NoExecute")}
    assert "NodeNotReady: Node n1 status is now: NodeNotReady" in world.events
    assert not podstate.is_ready(world.get(POD, "default", "p") or {})
    ready_node(world, "n1", taints=(world.get(NODE, "", "n1") or {})["spec"]["taints"])
    settle(world, "n1")
    assert taints(world, "n1") == set(), "it is back"


def test_a_server_that_was_off_for_a_week_gives_its_nodes_their_grace() -> None:
    """The view is new, so everything in it counts as heard of just now, whatever the timestamps say."""
    world = World()
    ready_node(world, "n1")
    world.now += 7 * 86400
    world._seen = dict.fromkeys(world._seen, world.now - world.started)
    world.step(nodelifecycle.controller(), "", "n1")
    assert world.later == 50
    assert ready(world, "n1")[0] == "True"


def test_while_no_node_is_ready_nobody_is_evicted() -> None:
    world = World()
    ready_node(world, "n1")
    world.now += 60
    settle(world, "n1")
    assert taints(world, "n1") == {("unreachable", "NoSchedule")}
    ready_node(world, "n2")
    settle(world, "n1")
    assert ("unreachable", "NoExecute") in taints(world, "n1"), "now there is somewhere to go"


def test_a_node_that_never_spoke_is_told_so() -> None:
    world = World()
    world.put(NODE, {"metadata": {"name": "n1"}, "spec": {}})
    world.step(nodelifecycle.controller(), "", "n1")
    assert world.later == 60
    world.now += 60
    settle(world, "n1")
    assert ready(world, "n1") == ("Unknown", "NodeStatusNeverUpdated", "Kubelet never posted node status.")


def test_conditions_and_cordon_become_taints_beside_those_of_others() -> None:
    world = World()
    own = {"key": "dedicated", "value": "db", "effect": "NoSchedule"}
    ready_node(world, "n2")
    ready_node(world, "n1", status="False", unschedulable=True, taints=[own])
    node = world.get(NODE, "", "n1") or {}
    node["status"]["conditions"][1]["status"] = "True"  # DiskPressure
    world.put(NODE, node)
    settle(world, "n1")
    assert taints(world, "n1") == {
        ("dedicated", "NoSchedule"),
        ("disk-pressure", "NoSchedule"),
        ("not-ready", "NoSchedule"),
        ("not-ready", "NoExecute"),
        ("unschedulable", "NoSchedule"),
    }


NO_EXECUTE = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}


def test_no_execute_evicts_by_toleration() -> None:
    world = World()
    ready_node(world, "n1", taints=[NO_EXECUTE])
    for_ever = {"key": NO_EXECUTE["key"], "operator": "Exists"}
    pod_on(world, "n1", "stranger")
    pod_on(world, "n1", "patient", tolerations=[{**for_ever, "effect": "NoExecute", "tolerationSeconds": 300}])
    pod_on(world, "n1", "faithful", tolerations=[for_ever])
    world.step(TAINTEVICTION_CONTROLLER, "", "n1")  # writes timeAdded
    world.step(TAINTEVICTION_CONTROLLER, "", "n1")
    assert world.later == 300
    assert "TaintManagerEviction: Marking for deletion Pod default/stranger" in world.events

    def staying() -> set[str]:
        return {name_of(pod) for pod in world.list(POD) if not pod["metadata"].get("deletionTimestamp")}

    assert staying() == {"patient", "faithful"}
    stranger = world.get(POD, "default", "stranger") or {}
    assert (podstate.condition_of(stranger, "DisruptionTarget") or {})["reason"] == "DeletionByTaintManager"
    world.now += 300
    world.step(TAINTEVICTION_CONTROLLER, "", "n1")
    assert staying() == {"faithful"}


def test_pods_of_a_node_that_is_gone_follow_it_after_a_while() -> None:
    world = World()
    ready_node(world, "n1")
    pod_on(world, "n1")
    world.now += 1000
    world.gone(NODE, "", "n1")
    world.step(PODGC_CONTROLLER, "", "n1")
    assert world.later == 40
    world.now += 40
    world.step(PODGC_CONTROLLER, "", "n1")
    assert list(world.list(POD)) == []


def test_a_node_that_registers_anew_keeps_its_pods() -> None:
    world = World()
    ready_node(world, "n1")
    pod_on(world, "n1")
    world.gone(NODE, "", "n1")
    world.now += 30
    ready_node(world, "n1")
    world.now += 30
    assert world.step(PODGC_CONTROLLER, "", "n1") == []


def test_an_unbound_pod_that_is_deleted_waits_for_nobody() -> None:
    world = World()
    held = {"name": "p", "namespace": "default", "deletionTimestamp": "2027-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30}
    world.put(POD, {"metadata": held, "spec": {}, "status": {"phase": "Pending"}})
    failed, deleted = PODGC_CONTROLLER.plan(world, Key("", ""), world.moment())
    assert isinstance(failed, Patch) and isinstance(failed.patch, dict)
    assert failed.patch["status"]["phase"] == "Failed", "a Job that waits for it must hear it"
    world.carry_out([failed, deleted])
    assert list(world.list(POD)) == []


def test_the_oldest_finished_pods_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMINATED_PODS_MAX", 2)
    world = World()
    for number in range(4):
        world.now += 1
        status = {"phase": "Failed", "reason": "Evicted"} if number == 3 else {"phase": "Succeeded"}
        world.put(POD, {"metadata": {"name": f"p{number}", "namespace": "default"}, "status": status})
    world.carry_out(PODGC_CONTROLLER.plan(world, podgc._FINISHED, world.moment()))
    assert {name_of(pod) for pod in world.list(POD)} == {"p1", "p2"}, "and before them what a node evicted"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_ranges_never_overlap_and_the_lowest_free_one_is_taken(happenings: list[tuple[bool, int]]) -> None:
    world = World()
    ipam = nodeipam.controller("10.42.0.0/20")
    for comes, number in happenings:
        name = f"n{number}"
        if comes and world.get(NODE, "", name) is None:
            world.put(NODE, {"metadata": {"name": name}, "spec": {}})
        elif not comes and world.get(NODE, "", name) is not None:
            world.gone(NODE, "", name)
        world.carry_out(ipam.plan(world, Key("", ""), world.moment()))
        ranges = [node["spec"]["podCIDR"] for node in world.list(NODE)]
        assert len(set(ranges)) == len(ranges)
        assert all(node["spec"]["podCIDRs"] == [node["spec"]["podCIDR"]] for node in world.list(NODE))
    first: list[Object] = [{"metadata": {"name": "a"}, "spec": {}}, {"metadata": {"name": "b"}, "spec": {}}]
    fresh = World()
    for node in first:
        fresh.put(NODE, node)
    fresh.carry_out(ipam.plan(fresh, Key("", ""), fresh.moment()))
    assert [node["spec"]["podCIDR"] for node in fresh.list(NODE)] == ["10.42.0.0/24", "10.42.1.0/24"]


def test_a_node_of_two_stacks_gets_a_range_of_each() -> None:
    world = World()
    ipam = nodeipam.controller("10.42.0.0/16,fd42::/59")
    world.put(NODE, {"metadata": {"name": "old"}, "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24"]}})
    for name in ("a", "b"):
        world.put(NODE, {"metadata": {"name": name}, "spec": {}})
    world.carry_out(ipam.plan(world, Key("", ""), world.moment()))
    assert {name_of(node): node["spec"]["podCIDRs"] for node in world.list(NODE)} == {
        "old": ["10.42.0.0/24"],
        "a": ["10.42.1.0/24", "fd42::/64"],
        "b": ["10.42.2.0/24", "fd42:0:0:1::/64"],
    }
    assert all(node["spec"]["podCIDR"] == node["spec"]["podCIDRs"][0] for node in world.list(NODE))


def test_a_machine_that_has_pods_gets_its_former_range_back_while_it_is_free() -> None:
    def former(name: str, ranges: str) -> Object:
        return {"metadata": {"name": name, "annotations": {"edgekube.io/former-pod-cidrs": ranges}}, "spec": {}}

    world = World()
    ipam = nodeipam.controller("10.42.0.0/20,fd42::/56")
    world.put(NODE, {"metadata": {"name": "other"}, "spec": {"podCIDR": "10.42.5.0/24", "podCIDRs": ["10.42.5.0/24"]}})
    world.put(NODE, former("a", "10.42.7.0/24,fd42:0:0:7::/64"))
    world.put(NODE, former("b", "10.42.7.0/24,fd42:0:0:9::/64"))
    world.put(NODE, former("c", "10.42.5.0/24,10.99.0.0/24,10.42.8.0/23,nonsense"))
    world.carry_out(ipam.plan(world, Key("", ""), world.moment()))
    assert {name_of(node): node["spec"]["podCIDRs"] for node in world.list(NODE)} == {
        "other": ["10.42.5.0/24"],
        "a": ["10.42.7.0/24", "fd42:0:0:7::/64"],
        "b": ["10.42.0.0/24", "fd42:0:0:9::/64"],
        "c": ["10.42.1.0/24", "fd42::/64"],
    }


def test_ranges_run_out() -> None:
    world = World()
    ipam = nodeipam.controller("10.42.0.0/24")
    for name in ("a", "b"):
        world.put(NODE, {"metadata": {"name": name}, "spec": {}})
    world.carry_out(ipam.plan(world, Key("", ""), world.moment()))
    assert [node["spec"].get("podCIDR") for node in world.list(NODE)] == ["10.42.0.0/24", None]
    assert world.events == ["CIDRNotAvailable: Node b status is now: CIDRNotAvailable"]


def test_a_namespace_gets_its_account_and_the_root_certificate() -> None:
    world = World()
    publisher = rootca.controller(lambda: "PEM")
    world.put(NAMESPACE, {"metadata": {"name": "shop"}})
    for controller in (SERVICEACCOUNT_CONTROLLER, publisher):
        world.step(controller, "", "shop")
        assert world.step(controller, "", "shop") == []
    assert world.get(SERVICEACCOUNT, "shop", "default") is not None
    configmap = world.get(CONFIGMAP, "shop", "kube-root-ca.crt") or {}
    assert configmap["data"] == {"ca.crt": "PEM"}
    world.put(CONFIGMAP, {**configmap, "data": {"ca.crt": "forged"}})
    world.step(publisher, "", "shop")
    assert (world.get(CONFIGMAP, "shop", "kube-root-ca.crt") or {})["data"] == {"ca.crt": "PEM"}
    world.gone(CONFIGMAP, "shop", "kube-root-ca.crt")
    going = {"name": "shop", "deletionTimestamp": "2027-01-01T00:00:00Z", "finalizers": ["kubernetes"]}
    world.put(NAMESPACE, {"metadata": going})
    assert world.step(publisher, "", "shop") == []


def evicted(world: World) -> list[str]:
    return sorted(name_of(node) for node in world.list(NODE) if ("unreachable", "NoExecute") in taints(world, name_of(node)))


def lose(world: World, *names: str) -> None:
    """These nodes fall silent for longer than the grace, the others do not."""
    world.now += nodelifecycle.GRACE_SECONDS
    for node in list(world.list(NODE)):
        if name_of(node) not in names:
            renew(world, name_of(node))
    for name in names:
        world.step(nodelifecycle.controller(), "", name)
    for name in names:
        settle(world, name)


def test_lost_nodes_of_a_zone_are_evicted_one_after_the_other() -> None:
    world = World()
    for number in range(6):
        ready_node(world, f"n{number}")
    lose(world, "n0", "n1", "n2")
    assert evicted(world) == ["n0"]
    assert 0 < (world.later or 0) <= 10
    world.now += 10
    for name in ("n1", "n2", "n0"):
        settle(world, name)
    assert evicted(world) == ["n0", "n1"]


def test_where_most_of_a_small_zone_is_lost_nobody_more_is_evicted() -> None:
    world = World()
    for zone in ("a", "b"):
        for number in range(4):
            name = f"{zone}{number}"
            ready_node(world, name)
            node = world.get(NODE, "", name)
            assert node is not None
            node["metadata"]["labels"] = {"topology.kubernetes.io/zone": zone}
            world.put(NODE, node)
    lose(world, "a0")
    assert evicted(world) == ["a0"]
    lose(world, "a0", "a1", "a2")
    assert evicted(world) == ["a0"]
    world.now += 1000
    settle(world, "a1")
    assert evicted(world) == ["a0"], "it is not a matter of time"
    lose(world, "a0", "a1", "a2", "b0")
    assert evicted(world) == ["a0", "b0"], "the other zone is judged by itself"
    renew(world, "a2")
    node = world.get(NODE, "", "a2")
    assert node is not None
    node["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    world.put(NODE, node)
    settle(world, "a1")
    assert evicted(world) == ["a0", "a1", "b0"]


def test_most_of_a_large_zone_is_evicted_slowly() -> None:
    world = World()
    for number in range(60):
        ready_node(world, f"n{number:02}")
    lost = [f"n{number:02}" for number in range(40)]
    lose(world, *lost)
    assert evicted(world) == ["n00"]
    assert 10 < (world.later or 0) <= 100
