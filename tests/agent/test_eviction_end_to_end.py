"""A node that runs short ends pods, on real containerd: the kubelet's order, words and conditions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekube.agent.eviction import loop
from edgekube.api.kinds import KINDS, NODE
from edgekube.api.objects import Object
from edgekube.node_rules import NodeRules
from tests.agent.conftest import Node, Place, a_node, container

pytestmark = pytest.mark.root

PRIORITYCLASS = KINDS.by_resource("scheduling.k8s.io", "v1", "priorityclasses")


@pytest.fixture
async def node(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Node]:
    """Looks ten times a second."""
    monkeypatch.setattr(loop, "EVICTION_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(loop, "DISK_USE_CHECK_SECONDS", 0.1)
    async with a_node(place, tmp_path / "state.db") as made:
        await made.start()
        yield made
        await made.stop()


def failed(pod: Object) -> bool:
    return bool(pod["status"]["phase"] == "Failed")


async def restart(node: Node, **rules: Any) -> None:
    await node.stop()
    node.place = replace(node.place, settings=replace(node.place.settings, node=NodeRules(**rules)))
    await node.start()


async def conditions(node: Node) -> dict[str, str]:
    found = await node.verbs.get(NODE, "", "edge-1")
    return {item["type"]: item["status"] for item in found["status"]["conditions"]}


async def test_pods_that_use_more_disk_than_they_were_given(node: Node) -> None:
    write = "dd if=/dev/zero of={} bs=1024 count=600 && sleep 1000"
    await node.create(
        "volume",
        [container("main", write.format("/data/file"), volumeMounts=[{"name": "scratch", "mountPath": "/data"}])],
        volumes=[{"name": "scratch", "emptyDir": {"sizeLimit": "500Ki"}}],
    )
    limits = {"resources": {"limits": {"ephemeral-storage": "500Ki"}}}
    await node.create("layer", [container("main", write.format("/file"), **limits), container("other", "sleep 1000")])
    await node.create("modest", [container("main", "sleep 1000", **limits)])
    volume = await node.until("volume", failed)
    assert volume["status"]["reason"] == "Evicted"
    assert volume["status"]["message"] == 'Usage of EmptyDir volume "scratch" exceeds the limit "500Ki". '
    assert not [item for item in volume["status"]["conditions"] if item["type"] == "DisruptionTarget"]
    layer = await node.until("layer", failed, 90)
    assert layer["status"]["message"] == "Pod ephemeral local storage usage exceeds the total limit of containers 500Ki. "
    await node.until_event("layer", "Evicted", "Pod ephemeral local storage usage exceeds")
    await node.until_running("modest")


async def test_a_node_without_memory_ends_pods_and_takes_no_new_ones(node: Node) -> None:
    await node.create("first")
    system: Object = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "system-node-critical"},
        "value": 2_000_001_000,
    }
    assert PRIORITYCLASS is not None
    await node.verbs.create(PRIORITYCLASS, "", system)
    await node.create("critical", priorityClassName="system-node-critical")
    await node.until_running("first")
    await node.until_running("critical")
    await restart(node, eviction_hard=(("memory.available", "99%"),), enforce_allocatable=frozenset())
    first = await node.until("first", failed)
    assert first["status"]["reason"] == "Evicted"
    assert first["status"]["message"].startswith("The node was low on resource: memory. Threshold quantity: ")
    assert "Container main was using " in first["status"]["message"]
    target = next(item for item in first["status"]["conditions"] if item["type"] == "DisruptionTarget")
    assert (target["status"], target["reason"]) == ("True", "TerminationByKubelet")
    assert target["message"] == first["status"]["message"]

    async def pressed() -> bool:
        return (await conditions(node))["MemoryPressure"] == "True"

    await node.eventually(pressed)
    await node.create("late")
    late = await node.until("late", failed)
    assert late["status"]["message"] == "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert late["status"]["reason"] == "Evicted"
    assert (await node.pod("critical"))["status"]["phase"] == "Running"

    await restart(node)
    await node.create("after")
    await node.until_running("after")
    assert (await conditions(node))["MemoryPressure"] == "False"
