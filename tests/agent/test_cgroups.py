"""Cgroup settings of pods: the arithmetic, and v2 files in a directory that looks like one."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekube.agent.cgroups import Cgroups, weight_of_shares
from edgekube.agent.resources import container_resources, cpu_quota_us, cpu_shares, oom_score, pod_resources, qos_class
from edgekube.api.objects import Object
from edgekube.containerd.model import Resources

GI = 1024**3


def with_resources(**resources: Object) -> Object:
    return {"name": "c", "image": "i", "resources": resources}


def pod_of(*containers: Object, **spec: object) -> Object:
    return {"metadata": {"uid": "u"}, "spec": {"containers": list(containers), **spec}}


GUARANTEED = with_resources(limits={"cpu": "500m", "memory": "64Mi"}, requests={"cpu": "0.5", "memory": "64Mi"})
BURSTABLE = with_resources(requests={"memory": "1Gi"})
NOTHING = with_resources()


def test_qos_classes() -> None:
    assert qos_class(pod_of(GUARANTEED)) == "Guaranteed"
    assert qos_class(pod_of(with_resources(limits={"cpu": "1", "memory": "1Gi"}))) == "Guaranteed"
    assert qos_class(pod_of(GUARANTEED, NOTHING)) == "Burstable"
    assert qos_class(pod_of(BURSTABLE)) == "Burstable"
    assert qos_class(pod_of(NOTHING)) == "BestEffort"
    assert qos_class(pod_of(GUARANTEED, initContainers=[NOTHING])) == "Burstable"
    assert qos_class(pod_of(NOTHING, resources={"limits": {"cpu": "1", "memory": "1Gi"}})) == "Guaranteed"


def test_scores_and_shares() -> None:
    assert oom_score(pod_of(GUARANTEED), GUARANTEED, 8 * GI) == -997
    assert oom_score(pod_of(NOTHING), NOTHING, 8 * GI) == 1000
    assert oom_score(pod_of(BURSTABLE), BURSTABLE, 4 * GI) == 750
    assert oom_score(pod_of(BURSTABLE), BURSTABLE, GI) == 3
    assert oom_score(pod_of(NOTHING, priority=2_000_001_000), NOTHING, GI) == -997
    assert [cpu_shares(milli) for milli in (0, 1, 100, 1000)] == [2, 2, 102, 1024]
    assert [cpu_quota_us(milli) for milli in (0, 1, 250, 2000)] == [0, 1000, 25_000, 200_000]
    assert [weight_of_shares(shares) for shares in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_a_container_and_its_pod() -> None:
    limited = container_resources(pod_of(GUARANTEED), GUARANTEED, GI)
    assert (limited.cpu_shares, limited.cpu_quota_us, limited.memory_limit_bytes) == (512, 50_000, 64 * 1024**2)
    both = pod_resources(pod_of(GUARANTEED, GUARANTEED, initContainers=[{**BURSTABLE, "restartPolicy": "Always"}]))
    assert (both.cpu_shares, both.cpu_quota_us, both.memory_limit_bytes) == (1024, 0, 0)
    bound = pod_resources(pod_of(GUARANTEED, GUARANTEED))
    assert (bound.cpu_quota_us, bound.memory_limit_bytes) == (100_000, 128 * 1024**2)


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
    for name in ("cpu.weight", "cpu.max", "memory.max", "cgroup.subtree_control"):
        (folder / name).touch()
    cgroups.make(path, Resources(cpu_period_us=100_000, cpu_quota_us=50_000, cpu_shares=1024, memory_limit_bytes=GI))
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
