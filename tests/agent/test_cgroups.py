"""Cgroups of pods: v2 files in a directory that looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.agent.cgroups import Cgroups, weight_of_shares
from edgekube.containerd.model import Resources

GI = 1024**3


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").touch()
    return tmp_path


def test_v2_writes_weight_and_limits_and_reads_usage(v2: Path) -> None:
    cgroups = Cgroups("/kubepods", v2)
    path = cgroups.path_of("Burstable", "u1")
    assert path == "/kubepods/burstable/podu1"
    folder = v2 / path.lstrip("/")
    folder.mkdir(parents=True)
    for name in ("cpu.weight", "cpu.max", "memory.max", "pids.max", "hugetlb.2MB.max", "cgroup.subtree_control"):
        (folder / name).touch()
    cgroups.make(path, Resources(cpu_period_us=100_000, cpu_quota_us=50_000, cpu_shares=1024, memory_limit_bytes=GI))
    assert [weight_of_shares(shares) for shares in (2, 1024, 262_144)] == [1, 39, 10_000]
    assert (folder / "cpu.weight").read_text() == "39"
    assert (folder / "cpu.max").read_text() == "50000 100000"
    assert (folder / "memory.max").read_text() == str(GI)
    assert (v2 / "cgroup.subtree_control").read_text() == "+cpu +memory +pids +cpuset +io"
    assert cgroups.pods() == {"u1": path}

    assert cgroups.usage(path) is None
    (folder / "cpu.stat").write_text("usage_usec 1500\nuser_usec 1000\n")
    (folder / "memory.current").write_text("5000\n")
    (folder / "memory.stat").write_text("anon 10\ninactive_file 2000\n")
    usage = cgroups.usage(path)
    assert usage is not None
    assert (usage.cpu_usage_ns, usage.memory_usage_bytes, usage.memory_working_set_bytes) == (1_500_000, 5000, 3000)


def test_a_pod_is_removed_from_every_hierarchy_of_a_host_with_both_versions(tmp_path: Path) -> None:
    folders = [tmp_path / root / "kubepods/burstable/podx/container" for root in ("cpu", "memory", "unified")]
    for folder in folders:
        folder.mkdir(parents=True)
    cgroups = Cgroups("/kubepods", tmp_path)
    assert cgroups.pods() == {"x": "/kubepods/burstable/podx"}
    cgroups.remove("/kubepods/burstable/podx")
    assert cgroups.pods() == {} and not any(folder.parent.exists() for folder in folders)
