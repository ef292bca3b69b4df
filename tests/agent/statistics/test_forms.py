"""The same figures in three forms."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from edgekube.agent.eviction.ranking import Space
from edgekube.agent.statistics.cadvisor import cadvisor_metrics
from edgekube.agent.statistics.collecting import ContainerSnapshot, FileSystem, PodSnapshot, Snapshot, VolumeSnapshot
from edgekube.agent.statistics.disks import DiskUse
from edgekube.agent.statistics.kubelet import kubelet_metrics
from edgekube.agent.statistics.readings import Reading
from edgekube.agent.statistics.summary import counters_of, summary
from edgekube.agent.terminations import Terminations

READING = Reading(
    cpu_ns=2_500_000_000, user_ns=1_500_000_000, system_ns=1_000_000_000, periods=10, throttled_periods=2,
    throttled_ns=30_000_000, memory_bytes=9000, working_set_bytes=8000, rss_bytes=4000, cache_bytes=5000, mapped_bytes=10,
    page_faults=7, major_page_faults=1, swap_bytes=100, memory_limit_bytes=20_000, memory_peak_bytes=9500, memory_failures=6,
    oom_kills=3, processes=4,
)  # fmt: skip
ENDED: dict[str, Any] = {"terminated": {"exitCode": 139, "reason": "Error"}}
FILES = FileSystem(capacity_bytes=1000, available_bytes=400, used_bytes=600, inodes=50, inodes_free=20)
MAIN = ContainerSnapshot("c0ffee", "main", "demo:1", 1_700_000_100.0, "/kubepods/podu/c0ffee", READING, 77)
POD = PodSnapshot(
    "shop", "web", "u", 1_700_000_000.0, "/kubepods/podu", READING, {"eth0": (100, 2, 0, 1, 200, 3, 0, 0)}, (MAIN,),
    (VolumeSnapshot("data", "claim", FILES), VolumeSnapshot("cache", "", FILES)),
)  # fmt: skip
NODE = Snapshot(
    node_name="pi-1", at=1_700_000_200.0, booted_at=1_699_000_000.0, cpus=4, memory_bytes=1 << 30, memory_available_bytes=1 << 29,
    machine=READING, pods_together=READING, network={"eth0": (1, 2, 3, 4, 5, 6, 7, 8)}, files=FILES, pids_max=32768,
    tasks=200, pods=(POD,),
)  # fmt: skip


def test_the_summary() -> None:
    assert counters_of(NODE).keys() == {"/", "pods", "/kubepods/podu", "/kubepods/podu/c0ffee"}
    told = summary(NODE, {"/kubepods/podu/c0ffee": 1234})
    assert told["node"]["nodeName"] == "pi-1" and told["node"]["memory"]["availableBytes"] == 1 << 29
    assert told["node"]["rlimit"] == {"time": "2023-11-14T22:16:40Z", "maxpid": 32768, "curproc": 200}
    assert told["node"]["network"]["name"] == "eth0" and told["node"]["fs"]["inodesUsed"] == 30
    (pod,) = told["pods"]
    assert pod["podRef"] == {"name": "web", "namespace": "shop", "uid": "u"}
    assert (pod["network"]["rxBytes"], pod["network"]["txBytes"]) == (100, 200)
    assert [volume.get("pvcRef") for volume in pod["volume"]] == [{"name": "claim", "namespace": "shop"}, None]
    (main,) = pod["containers"]
    assert main["cpu"] == {"time": "2023-11-14T22:16:40Z", "usageCoreNanoSeconds": 2_500_000_000, "usageNanoCores": 1234}
    assert main["memory"]["availableBytes"] == 12_000 and main["logs"]["usedBytes"] == 77
    assert "usageNanoCores" not in pod["cpu"], "nobody has looked twice yet"


def test_what_pods_take_of_the_disk() -> None:
    disk = DiskUse({"c0ffee": (30, 3), "other": (1, 1)}, 90, {("u", "scratch"): Space(200, 4), ("v", "scratch"): Space(5, 5)})
    told = summary(NODE, {}, disk)
    room = {"time": "2023-11-14T22:16:40Z", "availableBytes": 400, "capacityBytes": 1000, "inodesFree": 20, "inodes": 50}
    assert told["node"]["runtime"] == {"imageFs": {**room, "usedBytes": 90}, "containerFs": {**room, "usedBytes": 31}}
    (pod,) = told["pods"]
    assert pod["containers"][0]["rootfs"] == {**room, "usedBytes": 30, "inodesUsed": 3}
    assert pod["containers"][0]["logs"] == {**room, "usedBytes": 77}
    assert pod["volume"][-1] == {**room, "name": "scratch", "usedBytes": 200, "inodesUsed": 4}
    assert pod["ephemeral-storage"] == {**room, "usedBytes": 307, "inodesUsed": 7}
    without = summary(NODE, {}, DiskUse())["pods"][0]
    assert "ephemeral-storage" not in without and "rootfs" not in without["containers"][0]


def test_what_is_not_known_is_absent() -> None:
    bare = replace(NODE, machine=None, pods_together=None, network={}, files=None, pids_max=0, pods=())
    assert summary(bare, {}) == {"node": {"nodeName": "pi-1", "startTime": "2023-11-03T08:26:40Z"}, "pods": []}
    assert "container_" not in cadvisor_metrics(bare)


def test_cadvisors_names() -> None:
    lines = cadvisor_metrics(NODE).splitlines()
    container = 'container="main",id="/kubepods/podu/c0ffee",image="demo:1",name="c0ffee",namespace="shop",pod="web"'
    pod = 'container="",id="/kubepods/podu",image="",name="",namespace="shop",pod="web"'
    assert f'container_cpu_usage_seconds_total{{{container},cpu="total"}} 2.5' in lines
    assert f"container_cpu_cfs_throttled_seconds_total{{{container}}} 0.03" in lines
    assert f"container_memory_working_set_bytes{{{container}}} 8000" in lines
    assert f"container_memory_rss{{{pod}}} 4000" in lines
    assert f"container_start_time_seconds{{{container}}} 1700000100" in lines
    assert f'container_network_transmit_bytes_total{{{pod},interface="eth0"}} 200' in lines
    assert 'container_memory_usage_bytes{container="",id="/",image="",name="",namespace="",pod=""} 9000' in lines
    assert "machine_cpu_cores 4" in lines
    assert "# TYPE container_cpu_usage_seconds_total counter" in lines and "# TYPE container_memory_rss gauge" in lines


def test_the_agents_own() -> None:
    terminations = Terminations()
    running = {"containerStatuses": [{"name": "main", "state": {"running": {}}}]}
    ended = {"containerStatuses": [{"name": "main", "state": ENDED}]}
    for before, after in (({}, running), (running, ended), (ended, ended)):
        terminations.tell(before, after)
    terminations.tell({}, {"initContainerStatuses": [{"name": "first", "state": ENDED}]})
    lines = kubelet_metrics(NODE, {"running": 1, "exited": 2}, terminations.counter).splitlines()
    for kind in ("container", "init_container"):
        labels = f'container_type="{kind}",exit_code="139",reason="Error"'
        assert f"kubelet_terminated_containers_total{{{labels}}} 1" in lines, "told once"
    assert 'kubelet_node_name{node="pi-1"} 1' in lines
    assert "kubelet_running_pods 1" in lines
    assert 'kubelet_running_containers{container_state="exited"} 2' in lines
    assert 'kubelet_volume_stats_used_bytes{namespace="shop",persistentvolumeclaim="claim"} 600' in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
