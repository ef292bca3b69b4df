"""This machine in the API: the Node, its conditions, its Lease; and archives that arrive."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from edgekube.agent.archives import import_archives
from edgekube.agent.eviction.thresholds import thresholds_of
from edgekube.agent.facts import Facts
from edgekube.agent.node_object import conditions, node_status, resources_of_others, without_heartbeats
from edgekube.api.kinds import EVENT, LEASE, NODE
from edgekube.api.node_features import DECLARED, needed_features
from edgekube.containerd.model import RuntimeFeatures, RuntimeHandler
from edgekube.node_rules import NodeRules
from edgekube.settings import Settings
from tests.agent.conftest import Node
from tests.lab.images import make_busybox_archive

FACTS = Facts("arm64", 4, 4 << 30, 0, 32 << 30, "pi", "m", "s", "b", "6.12", "Debian GNU/Linux 13 (trixie)")


def test_resources_that_somebody_else_gave_the_node() -> None:
    before = {
        "capacity": {"cpu": "4", "example.com/foo": "10", "vendor.example/gpu": "2"},
        "allocatable": {"cpu": "4", "example.com/old": "1"},
    }
    assert resources_of_others(before, {"vendor.example/gpu"}) == {"example.com/foo": "10", "example.com/old": None}
    assert resources_of_others({}, ()) == {}


def test_conditions_turn_and_keep_their_time() -> None:
    first = conditions((), "", [], 1000)
    assert [(item["type"], item["status"]) for item in first] == [
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
        ("Ready", "True"),
    ]
    later = conditions((), "", [*first, {"type": "NetworkUnavailable", "status": "False"}], 2000)
    assert later[0] == {"type": "NetworkUnavailable", "status": "False"}
    assert [item["lastTransitionTime"] for item in later[1:]] == [item["lastTransitionTime"] for item in first]
    assert later[1]["lastHeartbeatTime"] > first[0]["lastHeartbeatTime"]
    lost = conditions({"MemoryPressure", "DiskPressure", "PIDPressure"}, "container runtime is down: gone", first, 3000)
    assert [(item["status"], item["reason"]) for item in lost] == [
        ("True", "KubeletHasInsufficientMemory"),
        ("True", "KubeletHasDiskPressure"),
        ("True", "KubeletHasInsufficientPID"),
        ("False", "KubeletNotReady"),
    ]


def test_a_status_without_news_is_the_same_but_for_heartbeats() -> None:
    def status(now: float, before: dict[str, object]) -> dict[str, object]:
        return node_status(
            Settings(node_name="pi"),
            FACTS,
            addresses=("192.0.2.1",),
            thresholds=thresholds_of(NodeRules()),
            pressures=(),
            features=RuntimeFeatures((RuntimeHandler("", True, False),), supplemental_groups_policy=True),
            not_ready="",
            runtime_version="containerd://1.7",
            images=[],
            before=before,
            now=now,
        )

    first = status(1000, {})
    assert first["capacity"] == {"cpu": "4", "memory": "4194304Ki", "ephemeral-storage": "33554432Ki", "pods": "110"}
    assert first["runtimeHandlers"] == [{"name": "", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}}]
    assert first["features"] == {"supplementalGroupsPolicy": True}
    asking = {"containers": [{"restartPolicyRules": [{"action": "RestartAllContainers"}]}]}
    assert first["declaredFeatures"] == sorted(DECLARED)
    assert needed_features(asking) <= set(DECLARED), "such pods are placed here"
    second = status(2000, first)
    assert second != first
    assert without_heartbeats(second) == without_heartbeats(first)


@pytest.mark.root
async def test_the_node_is_registered_and_renews_its_lease(node: Node) -> None:
    found = await node.verbs.get(NODE, "", "edge-1")
    assert found["metadata"]["labels"]["kubernetes.io/hostname"] == "edge-1"
    assert found["metadata"]["labels"]["kubernetes.io/os"] == "linux"
    ready = next(item for item in found["status"]["conditions"] if item["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    assert found["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250

    async def leased() -> bool:
        listed = await node.verbs.list(LEASE, "kube-node-lease")
        return [item["spec"]["holderIdentity"] for item in listed.objects()] == ["edge-1"]

    await node.eventually(leased)


@pytest.fixture
def hurried(mock_clock: MockClock) -> MockClock:
    """A clock that runs as fast as any, and can be pushed."""
    mock_clock.rate = 1
    return mock_clock


@pytest.mark.root
async def test_a_node_that_was_given_up_while_it_was_not_heard_says_that_it_is_there(hurried: MockClock, node: Node) -> None:
    lost = {
        "type": "Ready",
        "status": "Unknown",
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    await node.verbs.patch(NODE, "", "edge-1", {"status": {"conditions": [lost]}}, subresource="status")

    async def there() -> bool:
        found = await node.verbs.get(NODE, "", "edge-1")
        return [(item["type"], item["status"]) for item in found["status"]["conditions"]][-1] == ("Ready", "True")

    assert not await there()
    await node.verbs.patch(NODE, "", "edge-1", {"spec": {"unschedulable": True}})
    hurried.jump(10)
    await node.eventually(there)

    async def told() -> bool:
        events = (await node.verbs.list(EVENT)).objects()
        said = {event["message"] for event in events if event["reason"] == "NodeNotSchedulable"}
        return said == {"Node edge-1 status is now: NodeNotSchedulable"}

    await node.eventually(told)


@pytest.mark.root
async def test_an_archive_that_arrives_is_imported_and_told_of(node: Node) -> None:
    directory = node.place.base / "arrivals"
    told = trio.Event()
    async with trio.open_nursery() as nursery:
        directory.mkdir()
        (directory / "broken.tar").write_bytes(b"this is no archive")
        make_busybox_archive(directory / "good.tar", "edgekube.local/arrived:1")
        nursery.start_soon(import_archives, directory, node.runtime, told.set)

        async def there() -> bool:
            return await node.runtime.image_status("edgekube.local/arrived:1") is not None

        await node.eventually(there)
        with trio.fail_after(60):
            await told.wait()
        nursery.cancel_scope.cancel()
