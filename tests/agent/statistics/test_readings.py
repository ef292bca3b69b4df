"""Cgroup files of both versions, as kernels write them."""

from __future__ import annotations

from pathlib import Path

from edgekube.agent.statistics.rates import Rates
from edgekube.agent.statistics.readings import network_of, read_v1, read_v2


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_version_1(tmp_path: Path) -> None:
    _write(tmp_path, {
        "cpuacct/kubepods/podx/cpuacct.usage": "1500000000\n",
        "cpuacct/kubepods/podx/cpuacct.stat": "user 100\nsystem 50\n",
        "cpu/kubepods/podx/cpu.stat": "nr_periods 10\nnr_throttled 2\nthrottled_time 30000\n",
        "memory/kubepods/podx/memory.usage_in_bytes": "9000\n",
        "memory/kubepods/podx/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/kubepods/podx/memory.stat": "total_rss 4000\ntotal_cache 5000\ntotal_inactive_file 1000\ntotal_pgfault 7\n",
        "memory/kubepods/podx/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "pids/kubepods/podx/pids.current": "4\n",
    })  # fmt: skip
    found = read_v1(tmp_path, "kubepods/podx")
    assert found is not None
    assert (found.cpu_ns, found.user_ns, found.system_ns) == (1_500_000_000, 1_000_000_000, 500_000_000)
    assert (found.periods, found.throttled_periods, found.throttled_ns) == (10, 2, 30000)
    assert (found.memory_bytes, found.working_set_bytes, found.rss_bytes, found.cache_bytes) == (9000, 8000, 4000, 5000)
    assert (found.memory_limit_bytes, found.oom_kills, found.processes, found.page_faults) == (0, 3, 4, 7)
    assert read_v1(tmp_path, "kubepods/pody") is None


def test_version_2(tmp_path: Path) -> None:
    _write(tmp_path, {
        "podx/cpu.stat": "usage_usec 1500\nuser_usec 1000\nsystem_usec 500\nnr_periods 10\nnr_throttled 2\nthrottled_usec 30\n",
        "podx/memory.current": "9000\n",
        "podx/memory.max": "20000\n",
        "podx/memory.peak": "9500\n",
        "podx/memory.swap.current": "100\n",
        "podx/memory.stat": "anon 4000\nfile 5000\ninactive_file 1000\npgfault 7\npgmajfault 1\n",
        "podx/memory.events": "low 0\nhigh 0\nmax 6\noom 1\noom_kill 3\n",
        "podx/pids.current": "4\n",
        "cpu.stat": "usage_usec 9\n",
        "memory.stat": "anon 1\nfile 2\n",
    })  # fmt: skip
    found = read_v2(tmp_path / "podx")
    assert found is not None
    assert (found.cpu_ns, found.throttled_ns, found.working_set_bytes) == (1_500_000, 30_000, 8000)
    assert (found.memory_limit_bytes, found.memory_peak_bytes, found.swap_bytes) == (20000, 9500, 100)
    assert (found.memory_failures, found.oom_kills, found.major_page_faults) == (6, 3, 1)
    root = read_v2(tmp_path)
    assert root is not None and root.memory_bytes == 3, "the root says what it uses in memory.stat alone"
    assert read_v2(tmp_path / "pody") is None


def test_the_network_of_a_process(tmp_path: Path) -> None:
    head = "Inter-|   Receive  |  Transmit\n face |bytes packets\n"
    _write(tmp_path, {
        "7/net/dev": head + "    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0\n  eth0: 100 2 0 1 0 0 0 0 200 3 0 0 0 0 0 0\n",
    })  # fmt: skip
    assert network_of(7, tmp_path) == {"eth0": (100, 2, 0, 1, 200, 3, 0, 0)}
    assert network_of(8, tmp_path) == {}


def test_a_rate_is_over_a_second_at_least() -> None:
    rates = Rates()
    assert rates.take(10.0, {"a": 1000, "b": 5}) == {}
    assert rates.take(10.5, {"a": 9000, "b": 5}) == {}, "too soon to say"
    assert rates.take(12.0, {"a": 5000, "b": 5}) == {"a": 2000, "b": 0}
    assert rates.take(12.1, {"a": 6000}) == {"a": 2000}, "too soon: the last one"
    assert rates.take(13.1, {"a": 10}) == {}, "a counter that begins anew"
    assert rates.take(15.1, {"a": 2010}) == {"a": 1000}
