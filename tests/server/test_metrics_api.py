"""What agents tell becomes what nodes and pods use."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from edgekube import limits
from edgekube.agent.cgroups import Usage as Counters
from edgekube.agent.metrics import Sample as Told
from edgekube.agent.metrics import exposition
from edgekube.server.metrics_api.exposition import Container, parse, usage_between
from edgekube.server.metrics_api.objects import node_metrics, pod_metrics
from edgekube.server.metrics_api.scraping import Scraper
from edgekube.wire.client import HttpConnection

POD = {"metadata": {"name": "web-1", "namespace": "default", "labels": {"app": "web"}}, "spec": {}}


def told(cpu_ns: int, memory: int) -> str:
    """As our own agent tells it."""
    counters = Counters(cpu_ns, memory, memory)
    labels = (("namespace", "default"), ("pod", "web-1"))
    return exposition([Told((), counters)], [Told(labels, counters)], [Told((("container", "c"), *labels), counters, 5.0)])


def test_two_answers_are_a_usage() -> None:
    before, after = parse(told(1_000_000_000, 4096), 100.0, 1.8e9), parse(told(1_500_000_000, 8192), 110.0, 1.8e9 + 10)
    usage = usage_between(before, after)
    assert pod_metrics(POD, usage) == {
        "kind": "PodMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "web-1",
            "namespace": "default",
            "creationTimestamp": "2027-01-15T08:00:10Z",
            "labels": {"app": "web"},
        },
        "timestamp": "2027-01-15T08:00:10Z",
        "window": "10s",
        "containers": [{"name": "c", "usage": {"cpu": "50000000n", "memory": "8Ki"}}],
    }
    found = node_metrics({"metadata": {"name": "n1"}}, usage)
    assert found is not None
    assert found["usage"] == {"cpu": "50000000n", "memory": "8Ki"}


def test_a_container_that_was_started_again_has_no_figure() -> None:
    before, after = parse(told(9_000_000_000, 1), 0.0, 0.0), parse(told(1_000_000, 1), 10.0, 10.0)
    assert pod_metrics(POD, usage_between(before, after)) is None


def test_a_pod_of_which_one_container_is_new_waits() -> None:
    text = 'container_cpu_usage_seconds_total{container="new",namespace="default",pod="web-1"} 1\n'
    before = parse(told(1, 1), 0.0, 0.0)
    after = parse(told(2, 1) + text, 10.0, 10.0)
    assert Container("default", "web-1", "new") in after.cpu_seconds
    assert pod_metrics(POD, usage_between(before, after)) is None


def test_a_figure_beyond_all_numbers_is_none() -> None:
    """An agent that tells nonsense does not keep those of others from being heard."""
    text = "node_cpu_usage_seconds_total {}\nnode_memory_working_set_bytes {}\n"
    usage = usage_between(parse(text.format(1, 1), 0.0, 0.0), parse(text.format("1e999", "1e999"), 1.0, 1.0))
    assert node_metrics({"metadata": {"name": "n1"}}, usage) is None


@given(st.text(max_size=200))
def test_anything_may_be_told(text: str) -> None:
    usage = usage_between(parse(text, 0.0, 0.0), parse(text, 1.0, 1.0))
    assert all(containers for containers in usage.pods.values())


class Deaf:
    """Agents that accept and never answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def open(self, node_name: str) -> HttpConnection:
        self.asked += 1
        await trio.sleep_forever()

    def is_here(self, node_name: str) -> bool:
        return False


async def test_many_who_ask_for_a_silent_node_wait_for_it_once(autojump_clock: trio.testing.MockClock) -> None:
    agents = Deaf()
    scraper = Scraper(agents)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(scraper.usage, ["n1"])
    assert (agents.asked, trio.current_time() - began) == (1, limits.METRICS_SCRAPE_SECONDS_MAX)
    await scraper.usage(["n1"])
    assert agents.asked == 1
    await trio.sleep(limits.METRICS_SILENT_SECONDS)
    await scraper.usage(["n1"])
    assert agents.asked == 2
