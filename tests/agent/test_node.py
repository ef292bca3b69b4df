"""This machine in the API: the Node, its conditions, its Lease; and archives that arrive."""

from __future__ import annotations

import pytest
import trio

from edgekube.agent.archives import import_archives
from edgekube.agent.facts import Facts, Pressure
from edgekube.agent.node_object import conditions, node_status, without_heartbeats
from edgekube.api.kinds import LEASE, NODE
from edgekube.settings import Settings
from tests.agent.conftest import Node
from tests.lab.images import make_busybox_archive

FACTS = Facts("arm64", 4, 4 << 30, 0, 32 << 30, "pi", "m", "s", "b", "6.12", "Debian GNU/Linux 13 (trixie)")
CALM = Pressure(memory=False, disk=False, pids=False)


def test_conditions_turn_and_keep_their_time() -> None:
    first = conditions(CALM, "", [], 1000)
    assert [(item["type"], item["status"]) for item in first] == [
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
        ("Ready", "True"),
    ]
    later = conditions(CALM, "", [*first, {"type": "NetworkUnavailable", "status": "False"}], 2000)
    assert later[0] == {"type": "NetworkUnavailable", "status": "False"}
    assert [item["lastTransitionTime"] for item in later[1:]] == [item["lastTransitionTime"] for item in first]
    assert later[1]["lastHeartbeatTime"] > first[0]["lastHeartbeatTime"]
    lost = conditions(Pressure(memory=True, disk=True, pids=True), "container runtime is down: gone", first, 3000)
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
            pressure=CALM,
            not_ready="",
            runtime_version="containerd://1.7",
            images=[],
            before=before,
            now=now,
        )

    first = status(1000, {})
    assert first["capacity"] == {"cpu": "4", "memory": "4194304Ki", "ephemeral-storage": "33554432Ki", "pods": "110"}
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
        assert told.is_set()
        nursery.cancel_scope.cancel()
