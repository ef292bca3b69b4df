"""Nodes lose each other, in every shape, while people go on changing what they want: once it is healed, desired = observed.

A partition shorter than the grace moves nothing and restarts nothing; what was asked for meanwhile is done afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from tests.faults_nodes.world import World, untouched
from tests.lab.cluster import until
from tests.lab.clusters import MultiCluster
from tests.lab.lan import Lan


@pytest.fixture(scope="module")
def world(cluster3: MultiCluster) -> Iterator[World]:
    yield World(cluster3)


def test_everything_is_as_it_should_be_to_begin_with(world: World) -> None:
    assert {pod.node for pod in world.web().values()} == {"n1", "n2", "n3"}, "a replica on each node"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda lan: lan.cable_pulled("n2"), id="cable"),
        pytest.param(lambda lan: lan.silence("n2"), id="silence"),
        pytest.param(lambda lan: lan.deaf("n2"), id="cannot-hear"),
        pytest.param(lambda lan: lan.deaf("n1", "n2"), id="cannot-speak"),
    ],
)
def test_a_short_partition(world: World, fault: Callable[[Lan], AbstractContextManager[None]]) -> None:
    before = world.settle()
    with fault(world.nodes.lan):
        until(lambda: not world.reaches("n1", before["on-n2"]))
        world.change_visitors()
    untouched(world.stayers(before), world.stayers(world.settle()))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda lan: lan.loss("n2", 20), id="loss"),
        pytest.param(lambda lan: lan.slow("n2", kilobits_per_second=256), id="slow"),
    ],
)
def test_a_bad_line(world: World, fault: Callable[[Lan], AbstractContextManager[None]]) -> None:
    """Work goes on while it is bad, and nothing is taken for lost."""
    before = world.settle()
    with fault(world.nodes.lan):
        world.change_visitors()
        world.scale(5)
        world.kubectl("rollout", "status", "deployment/web", "--timeout=120s", timeout_seconds=150)
    world.scale(3)
    after = world.settle()
    bound = [name for name in before if name.startswith("on-")]
    untouched({name: before[name] for name in bound}, {name: after[name] for name in bound})


def test_another_address(world: World) -> None:
    """As a new DHCP lease brings it. No healthy pod is touched."""
    before = world.settle()
    node = world.nodes.node("n2")
    node.change_address("192.0.2.72")
    until(lambda: world.internal_address("n2") == "192.0.2.72")
    untouched(before, world.settle())
    node.change_address("192.0.2.2")
    untouched(before, world.settle())
    assert world.internal_address("n2") == "192.0.2.2"


def test_lost_nodes_have_their_pods_moved_and_nothing_runs_twice_when_they_are_back(world: World) -> None:
    """One node falls silent and runs on, the other loses power."""
    before = world.settle()
    lost = world.nodes.program("n3")
    with world.nodes.lan.silence("n2"):
        lost.power_off()
        until(lambda: world.nodes.ready() == {"n1"})
        until(lambda: len([p for p in world.web().values() if p.node == "n1" and p.ready]) == 3)
        # n2 cannot know, and goes on.
        assert world.runs_on("n2") == {pod.name for pod in before.values() if pod.node == "n2"}
        lost.node.power_on()
        lost.launch()
        until(lambda: "n3" in world.nodes.ready())
    after = world.settle()
    assert {pod.node for pod in after.values() if pod.name.startswith("on-")} == {"n1", "n2", "n3"}
    assert after["on-n2"] == before["on-n2"], "a pod that tolerates a silent node is not touched by its return"
    assert after["on-n3"].restarts == before["on-n3"].restarts + 1
    assert after["on-n1"] == before["on-n1"]


def test_the_servers_power_fails(world: World) -> None:
    """Nodes work on without it: pods run, and reach each other and Services."""
    before = world.spread()
    server = world.nodes.server
    address = world.field("service/web", ".spec.clusterIP")
    server.power_off()
    until(lambda: world.reaches("n2", before["on-n3"]) and world.reaches("n3", before["on-n2"]))
    until(lambda: "Hello from web-" in world.page("n2", address, 80))
    server.node.power_on()
    server.start()
    after = world.settle()
    assert {name: pod for name, pod in after.items() if pod.node != "n1"} == {
        name: pod for name, pod in before.items() if pod.node != "n1"
    }
    assert {pod.restarts - before[name].restarts for name, pod in after.items() if pod.node == "n1"} == {1}
