"""Capacity, what pods may use of it, and the cgroups that hold them to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from edgekube.agent.cgroup_tree import burstable_shares
from edgekube.agent.cgroups import Cgroups
from edgekube.agent.eviction.thresholds import thresholds_of
from edgekube.agent.facts import Facts
from edgekube.agent.held import held_by
from edgekube.agent.reservations import PodsShare, allocatable, capacity, check_reservations, pods_share, reserved_share
from edgekube.containerd.model import Resources
from edgekube.node_rules import NodeRules

FACTS = Facts("arm64", 4, 4 << 30, 0, 32 << 30, "pi", "m", "s", "b", "6.12", "Debian", (("hugepages-2Mi", 64 << 20),), 32768)
RULES = NodeRules(
    kube_reserved=(("cpu", "250m"), ("memory", "128Mi")),
    system_reserved=(("cpu", "50m"), ("memory", "100Mi"), ("ephemeral-storage", "1Gi"), ("pid", "768")),
    pods_max=40,
)


def test_a_node_keeps_something_back() -> None:
    plain = NodeRules()
    assert capacity(FACTS, plain) == {
        "cpu": "4",
        "memory": "4194304Ki",
        "ephemeral-storage": "33554432Ki",
        "hugepages-2Mi": "64Mi",
        "pods": "110",
    }
    assert allocatable(FACTS, plain, thresholds_of(plain)) == {
        "cpu": "4",
        "memory": f"{(4096 - 100 - 64) * 1024}Ki",
        "ephemeral-storage": str((32 << 30) - int((32 << 30) * 0.1)),
        "hugepages-2Mi": "64Mi",
        "pods": "110",
    }
    kept = allocatable(FACTS, RULES, thresholds_of(RULES))
    assert (kept["cpu"], kept["memory"], kept["pods"]) == ("3700m", f"{(4096 - 100 - 64 - 228) * 1024}Ki", "40")
    assert int(kept["ephemeral-storage"]) == (32 << 30) - int((32 << 30) * 0.1) - (1 << 30)


def test_more_than_there_is_cannot_be_reserved() -> None:
    check_reservations(FACTS, RULES, thresholds_of(RULES))
    greedy = replace(RULES, system_reserved=(("cpu", "5"), ("memory", "4Gi")))
    with pytest.raises(ValueError, match="invalid Node Allocatable configuration") as wrong:
        check_reservations(FACTS, greedy, thresholds_of(greedy))
    assert 'Resource "cpu" has a reservation of 5250m but capacity of 4. Expected capacity >= reservation.' in str(wrong.value)
    assert allocatable(FACTS, greedy, thresholds_of(greedy))["cpu"] == "0"


def test_the_share_of_all_pods() -> None:
    assert pods_share(FACTS, NodeRules()) == PodsShare(4000, 4 << 30, 0)
    assert pods_share(FACTS, RULES) == PodsShare(3700, (4096 - 228) << 20, 32000)
    assert pods_share(FACTS, replace(RULES, enforce_allocatable=frozenset())) == PodsShare(4000, 4 << 30, 0)
    assert reserved_share(RULES.system_reserved) == PodsShare(50, 100 << 20, 768)


def test_burstable_pods_weigh_what_they_ask_for() -> None:
    def pod(cpu: str, limit: str = "") -> dict[str, object]:
        resources = {"requests": {"cpu": cpu, "memory": "1Mi"}, **({"limits": {"cpu": cpu, "memory": "1Mi"}} if limit else {})}
        return {"metadata": {"uid": cpu}, "spec": {"containers": [{"name": "a", "resources": resources}]}}

    assert burstable_shares([]) == 2
    assert burstable_shares(held_by(each) for each in (pod("500m"), pod("1"), pod("2", "2"))) == 1536


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids hugetlb")
    (tmp_path / "cgroup.subtree_control").write_text("")
    for folder in (tmp_path / "kubepods", tmp_path / "kubepods" / "burstable", tmp_path / "kubepods" / "podu"):
        folder.mkdir()
        for name in ("cpu.weight", "cpu.max", "memory.max", "pids.max", "hugetlb.2MB.max", "cgroup.subtree_control"):
            (folder / name).write_text("")
    return tmp_path


def test_the_tree_in_version_2(v2: Path) -> None:
    cgroups = Cgroups("/kubepods", v2)
    cgroups.hold("/kubepods", 4096, 1 << 30, 0)
    cgroups.share("/kubepods/burstable", 2)
    cgroups.make(
        "/kubepods/podu", Resources(cpu_shares=1024, cpu_period_us=100_000, hugepage_limits={"2MB": 4 << 20}, pids_max=100)
    )
    files = {path.name: path.read_text() for path in (v2 / "kubepods").iterdir() if path.is_file()}
    assert (files["cpu.weight"], files["memory.max"], files["pids.max"]) == ("157", str(1 << 30), "max")
    assert files["cgroup.subtree_control"] == "+cpu +memory +pids +hugetlb"
    assert (v2 / "kubepods" / "burstable" / "cpu.weight").read_text() == "1"
    pod = v2 / "kubepods" / "podu"
    assert [(pod / name).read_text() for name in ("pids.max", "hugetlb.2MB.max", "cpu.max")] == [
        "100",
        str(4 << 20),
        "max 100000",
    ]
    assert cgroups.exists("/kubepods")
    assert not cgroups.exists("/other")


@pytest.mark.root
def test_the_tree_in_the_kernel() -> None:
    import secrets

    cgroups = Cgroups(f"/ektest{secrets.token_hex(4)}")
    path = cgroups.path_of("Burstable", "u")
    try:
        cgroups.hold(cgroups.parent, 2048, 512 << 20, 1000)
        cgroups.share(f"{cgroups.parent}/burstable", 512)
        cgroups.make(path, Resources(cpu_shares=100, cpu_period_us=100_000, memory_limit_bytes=64 << 20, pids_max=64))
        assert cgroups.working_set_bytes(cgroups.parent) in range(512 << 20)
        roots = [cgroups.root] if cgroups.v2 else [cgroups.root / "pids"]
        pids = [int((root / path.lstrip("/") / "pids.max").read_text()) for root in roots if root.exists()]
        assert pids == [64] * len(pids)
    finally:
        cgroups.remove(cgroups.parent)
    assert not cgroups.exists(cgroups.parent)
