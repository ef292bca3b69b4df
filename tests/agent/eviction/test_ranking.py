"""Who goes first, what is said of it, and who uses more than they were given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgekube.agent.cgroups import Cgroups
from edgekube.agent.eviction import messages
from edgekube.agent.eviction.judging import Observation
from edgekube.agent.eviction.local_storage import has_limits, why_too_large
from edgekube.agent.eviction.measuring import Places, has_image_disk, observe, space_of
from edgekube.agent.eviction.ranking import ContainerUse, PodUse, Space, ranked
from edgekube.agent.eviction.thresholds import IMAGEFS, MEMORY, NODEFS, NODEFS_INODES, PIDS, Amount, Threshold
from edgekube.api.objects import Object

MI = 1 << 20


def pod(name: str, memory: str = "", disk: str = "", priority: int = 0, **spec: Any) -> Object:
    requests = {key: value for key, value in (("memory", memory), ("ephemeral-storage", disk)) if value}
    container = {"name": "app", "resources": {"requests": requests}}
    return {"metadata": {"name": name, "uid": name}, "spec": {"containers": [container], "priority": priority, **spec}}


def names(signal: str, pods: list[Object], uses: dict[str, PodUse], *, image_disk: bool = False) -> list[str]:
    return [found["metadata"]["name"] for found in ranked(signal, pods, uses, image_disk=image_disk)]


def test_memory_by_request_priority_and_excess() -> None:
    pods = [
        pod("modest", "100Mi"),
        pod("modest-unimportant", "100Mi", priority=-1),
        pod("greedy", "100Mi"),
        pod("greedier", "100Mi"),
        pod("greedy-important", "1Mi", priority=10),
        pod("unknown", priority=5),
    ]
    uses = {
        "modest": PodUse(50 * MI),
        "modest-unimportant": PodUse(90 * MI),
        "greedy": PodUse(150 * MI),
        "greedier": PodUse(190 * MI),
        "greedy-important": PodUse(900 * MI),
    }
    expected = ["unknown", "greedier", "greedy", "greedy-important", "modest-unimportant", "modest"]
    assert names(MEMORY, pods, uses) == expected


def test_processes_by_priority_and_number() -> None:
    pods = [pod("few"), pod("many"), pod("important", priority=1)]
    uses = {"few": PodUse(processes=1), "many": PodUse(processes=9), "important": PodUse(processes=99)}
    assert names(PIDS, pods, uses) == ["many", "few", "important"]


def test_disks_count_what_lies_on_them() -> None:
    writes_layer = PodUse(containers={"app": ContainerUse(root=Space(100, 1))})
    writes_volume = PodUse(volumes={"v": Space(50, 900)})
    pods, uses = [pod("layer"), pod("volume")], {"layer": writes_layer, "volume": writes_volume}
    assert names(NODEFS, pods, uses) == ["layer", "volume"]
    assert names(NODEFS_INODES, pods, uses) == ["volume", "layer"]
    assert names(NODEFS, pods, uses, image_disk=True) == ["volume", "layer"]
    assert names(IMAGEFS, pods, uses, image_disk=True) == ["layer", "volume"]
    assert names(NODEFS, [pod("layer", disk="200"), pod("volume")], uses) == ["volume", "layer"]


def test_the_words_are_the_kubelets() -> None:
    threshold = Threshold(MEMORY, Amount(100 * MI))
    observed = {MEMORY: Observation(94 * MI + 512 * 1024, 1000 * MI)}
    use = PodUse(70 * MI, containers={"app": ContainerUse(memory_bytes=70 * MI)})
    assert messages.evicted(MEMORY, pod("p", "50Mi"), use, [threshold], observed) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 96768Ki. "
        "Container app was using 70Mi, request is 50Mi, has larger consumption of memory. "
    )
    whole = pod("p", resources={"requests": {"memory": "64Mi"}})
    assert messages.evicted(MEMORY, whole, use, [threshold], observed).endswith(
        "Pod p was using 70Mi, request is 64Mi, has larger consumption of memory. "
        "Container app was using 70Mi, request is 0, has larger consumption of memory. "
    )
    inodes = Threshold(NODEFS_INODES, Amount(share=0.05))
    seen = {NODEFS_INODES: Observation(12_000, 1_000_000)}
    assert messages.evicted(NODEFS_INODES, pod("p"), use, [inodes], seen) == (
        "The node was low on resource: inodes. Threshold quantity: 50000, available: 12k. "
    )
    assert messages.evicted(PIDS, pod("p"), None, [], {}) == "The node was low on resource: pids. "


def limited(name: str = "app", limit: str = "1Mi") -> Object:
    return {"name": name, "resources": {"limits": {"ephemeral-storage": limit}}}


@pytest.mark.parametrize(
    ("spec", "use", "why"),
    [
        (
            {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]},
            PodUse(volumes={"v": Space(MI + 1)}),
            'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
        ),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]}, PodUse(volumes={"v": Space(MI)}), ""),
        ({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "0"}}]}, PodUse(volumes={"v": Space(MI)}), ""),
        (
            {"containers": [limited("a", "1Mi"), limited("b", "512Ki")]},
            PodUse(containers={"a": ContainerUse(root=Space(MI), logs=Space(MI))}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1536Ki. ",
        ),
        (
            {"containers": [limited("a", "1Mi"), limited("b", "2Mi")]},
            PodUse(containers={"a": ContainerUse(root=Space(MI), logs=Space(MI))}),
            'Container a exceeded its local ephemeral storage limit "1Mi". ',
        ),
        ({"containers": [limited()], "initContainers": [limited("i", "9Mi")]}, PodUse(volumes={"v": Space(8 * MI)}), ""),
        ({"containers": [{"name": "free"}]}, PodUse(volumes={"v": Space(8 * MI)}), ""),
    ],
)
def test_pods_beyond_their_own_limits(spec: dict[str, Any], use: PodUse, why: str) -> None:
    found: Object = {"metadata": {"name": "p", "uid": "p"}, "spec": {"containers": [], **spec}}
    assert why_too_large(found, use, image_disk=False) == why
    assert has_limits(found) or not why


def test_a_directory_is_measured_by_its_blocks(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "deep" / "er" / "file", tmp_path / "second name")
    (tmp_path / "dangling").symlink_to("nowhere")
    sparse = (tmp_path / "sparse").open("wb")
    sparse.truncate(1 << 30)
    sparse.close()
    found = space_of(tmp_path)
    assert 100_000 <= found.used_bytes < 1_000_000
    assert found.inodes == 6
    assert space_of(tmp_path / "missing") == Space()


def test_a_node_is_seen_through_a_few_files(tmp_path: Path) -> None:
    (tmp_path / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\nMemFree: 100 kB\nInactive(file): 50 kB\n")
    (tmp_path / "loadavg").write_text("0.00 0.01 0.05 1/400 12345\n")
    (tmp_path / "sys" / "kernel" / "pid_max").write_text("32768\n")
    (tmp_path / "sys" / "kernel" / "threads-max").write_text("1000\n")
    places = Places(tmp_path, tmp_path, tmp_path)
    found = observe(places, Cgroups("/nothing", tmp_path), 500)
    assert found[MEMORY] == Observation(150 * 1024, 1000 * 1024)
    assert found[PIDS] == Observation(600, 1000)
    assert found[NODEFS].capacity == found[IMAGEFS].capacity > 0
    assert not has_image_disk(places)
    assert MEMORY not in observe(Places(tmp_path, tmp_path, tmp_path / "none"), Cgroups("/nothing", tmp_path), 500)
