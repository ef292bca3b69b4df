"""What requests and limits become: cgroup settings of containers, pods and sandboxes, scores of who goes first without memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgekube.agent.machine import Machine, huge_page_sizes, huge_pages_bytes, page_name
from edgekube.agent.resources import (
    container_resources,
    cpu_quota_us,
    cpu_shares,
    oom_score,
    overhead_resources,
    pod_resources,
    qos_class,
    sandbox_resources,
)
from edgekube.api.objects import Object
from edgekube.containerd.model import Resources

GI = 1024**3
MI = 1024**2
PLAIN = Machine(memory_bytes=8 * GI)


def with_resources(**resources: Object) -> Object:
    return {"name": "c", "image": "i", "resources": resources}


def pod_of(*containers: Object, **spec: Any) -> Object:
    return {"metadata": {"uid": "u"}, "spec": {"containers": list(containers), **spec}}


def sidecar(container: Object) -> Object:
    return {**container, "restartPolicy": "Always"}


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


def test_scores() -> None:
    assert oom_score(pod_of(GUARANTEED), GUARANTEED, 8 * GI) == -997
    assert oom_score(pod_of(NOTHING), NOTHING, 8 * GI) == 1000
    assert oom_score(pod_of(BURSTABLE), BURSTABLE, 4 * GI) == 750
    assert oom_score(pod_of(BURSTABLE), BURSTABLE, GI) == 3
    assert oom_score(pod_of(BURSTABLE, NOTHING), NOTHING, GI) == 999
    critical = {"priority": 2_000_001_000, "priorityClassName": "system-node-critical"}
    assert oom_score(pod_of(NOTHING, **critical), NOTHING, GI) == -997
    assert oom_score(pod_of(NOTHING, priority=2_000_000_000, priorityClassName="system-cluster-critical"), NOTHING, GI) == 1000
    # A pod that came from a file is critical whatever its priority.
    static = pod_of(NOTHING, priorityClassName="system-node-critical")
    static["metadata"]["annotations"] = {"kubernetes.io/config.source": "file"}
    assert oom_score(static, NOTHING, GI) == -997


def test_a_sidecar_goes_no_earlier_than_those_it_serves() -> None:
    helper = sidecar(with_resources(requests={"memory": "256Mi"}))
    assert oom_score(pod_of(BURSTABLE, initContainers=[helper]), helper, 4 * GI) == 750
    hungry = sidecar(with_resources(requests={"memory": "2Gi"}))
    assert oom_score(pod_of(BURSTABLE, initContainers=[hungry]), hungry, 4 * GI) == 500


def test_what_a_pod_requests_beyond_its_containers_is_shared_among_them() -> None:
    pod = pod_of(BURSTABLE, NOTHING, resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "4Gi"}})
    assert oom_score(pod, BURSTABLE, 4 * GI) == 1000 - 1000 * 3 // 8
    assert oom_score(pod, NOTHING, 4 * GI) == 1000 - 1000 // 8


@given(request=st.integers(0, 64 * 1024), memory=st.integers(1, 64 * 1024))
def test_a_burstable_container_stands_between_the_others(request: int, memory: int) -> None:
    container = with_resources(requests={"memory": f"{request}Mi", "cpu": "1m"})
    assert 3 <= oom_score(pod_of(container), container, memory * MI) <= 999


def test_shares_and_quotas() -> None:
    assert [cpu_shares(milli) for milli in (0, 1, 100, 1000, 10**9)] == [2, 2, 102, 1024, 262_144]
    assert [cpu_quota_us(milli) for milli in (0, 1, 250, 2000)] == [0, 1000, 25_000, 200_000]


def test_a_container_and_its_pod() -> None:
    limited = container_resources(pod_of(GUARANTEED), GUARANTEED, PLAIN)
    assert (limited.cpu_shares, limited.cpu_quota_us, limited.memory_limit_bytes) == (512, 50_000, 64 * MI)
    both = pod_resources(pod_of(GUARANTEED, GUARANTEED, initContainers=[sidecar(BURSTABLE)]), PLAIN)
    assert (both.cpu_shares, both.cpu_quota_us, both.memory_limit_bytes) == (1024, 0, 0)
    bound = pod_resources(pod_of(GUARANTEED, GUARANTEED), PLAIN)
    assert (bound.cpu_quota_us, bound.memory_limit_bytes) == (100_000, 128 * MI)
    free = pod_resources(pod_of(NOTHING), Machine(GI, pids_max=300))
    assert free == Resources(cpu_period_us=100_000, cpu_shares=2, pids_max=300)


def test_initialization_may_need_more_than_what_follows() -> None:
    helper = sidecar(with_resources(limits={"memory": "10Mi", "cpu": "100m"}))
    setup = with_resources(limits={"memory": "200Mi", "cpu": "50m"})
    pod = pod_of(GUARANTEED, initContainers=[helper, setup])
    made = pod_resources(pod, PLAIN)
    assert (made.memory_limit_bytes, made.cpu_quota_us) == (210 * MI, 60_000)
    # An init container without a limit leaves the pod without one.
    assert pod_resources(pod_of(GUARANTEED, initContainers=[NOTHING]), PLAIN).memory_limit_bytes == 0


def test_resources_of_the_pod_as_a_whole() -> None:
    whole = {"requests": {"cpu": "1", "memory": "100Mi"}, "limits": {"cpu": "2", "memory": "200Mi"}}
    pod = pod_of(NOTHING, with_resources(limits={"memory": "50Mi"}), resources=whole)
    made = pod_resources(pod, PLAIN)
    assert (made.cpu_shares, made.cpu_quota_us, made.memory_limit_bytes) == (1024, 200_000, 200 * MI)
    # A container without a limit has the pod's.
    first, second = (container_resources(pod, container, PLAIN) for container in pod["spec"]["containers"])
    assert (first.memory_limit_bytes, first.cpu_quota_us, first.cpu_shares) == (200 * MI, 200_000, 2048)
    assert second.memory_limit_bytes == 50 * MI


def test_overhead_is_the_handlers() -> None:
    pod = pod_of(GUARANTEED, overhead={"cpu": "250m", "memory": "120Mi"})
    assert pod_resources(pod, PLAIN).memory_limit_bytes == 184 * MI
    assert pod_resources(pod, PLAIN).cpu_quota_us == 75_000
    assert sandbox_resources(pod).memory_limit_bytes == 64 * MI
    assert overhead_resources(pod) == Resources(
        cpu_period_us=100_000, cpu_quota_us=25_000, cpu_shares=256, memory_limit_bytes=120 * MI
    )
    assert overhead_resources(pod_of(GUARANTEED)) == Resources()


def test_huge_pages_are_bounded_for_every_size_that_the_kernel_has(tmp_path: Path) -> None:
    for size, pages in ((2048, 10), (1048576, 0)):
        (tmp_path / f"hugepages-{size}kB").mkdir()
        (tmp_path / f"hugepages-{size}kB" / "nr_hugepages").write_text(f"{pages}\n")
    sizes = huge_page_sizes(tmp_path)
    assert [page_name(size) for size in sizes] == ["2MB", "1GB"]
    assert [huge_pages_bytes(size, tmp_path) for size in sizes] == [20 * MI, 0]
    assert page_name(64 * 1024) == "64KB"

    machine = Machine(GI, page_bytes=sizes)
    paged = with_resources(limits={"hugepages-2Mi": "4Mi", "memory": "1Mi"})
    assert container_resources(pod_of(paged), paged, machine).hugepage_limits == {"2MB": 4 * MI, "1GB": 0}
    assert container_resources(pod_of(NOTHING), NOTHING, machine).hugepage_limits == {"2MB": 0, "1GB": 0}
    assert pod_resources(pod_of(paged, paged), machine).hugepage_limits == {"2MB": 8 * MI, "1GB": 0}
    whole = pod_of(NOTHING, resources={"limits": {"hugepages-2Mi": "6Mi"}})
    assert container_resources(whole, NOTHING, machine).hugepage_limits == {"2MB": 6 * MI, "1GB": 0}


SWAPPING = Machine(8 * GI, swap_bytes=4 * GI, swap_controller=True)


def test_no_pod_swaps_unless_it_is_wanted() -> None:
    v1, v2 = SWAPPING, replace(SWAPPING, cgroup_v2=True)
    assert container_resources(pod_of(GUARANTEED), GUARANTEED, PLAIN).memory_swap_limit_bytes == 0
    assert container_resources(pod_of(GUARANTEED), GUARANTEED, v1).memory_swap_limit_bytes == 64 * MI
    assert container_resources(pod_of(GUARANTEED), GUARANTEED, v2).unified == {"memory.oom.group": "1", "memory.swap.max": "0"}


@pytest.mark.parametrize(
    ("container", "spec", "swap_bytes"),
    [
        (BURSTABLE, {}, GI // 2),
        (GUARANTEED, {}, 0),
        (NOTHING, {}, 0),
        (BURSTABLE, {"priority": 2_000_000_000}, 0),
        (with_resources(requests={"memory": "9Gi"}), {}, 0),
        (with_resources(requests={"memory": "1Gi", "cpu": "1"}, limits={"memory": "1Gi"}), {}, 0),
    ],
)
def test_burstable_pods_may_swap_in_proportion(container: Object, spec: Object, swap_bytes: int) -> None:
    machine = replace(SWAPPING, cgroup_v2=True, limited_swap=True)
    made = container_resources(pod_of(container, **spec), container, machine)
    assert made.unified["memory.swap.max"] == str(swap_bytes)
