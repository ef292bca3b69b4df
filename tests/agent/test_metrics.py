"""The text that Prometheus and metrics-server read."""

from __future__ import annotations

from edgekube.agent.cgroups import Usage
from edgekube.agent.metrics import Sample, exposition

EXPECTED = """\
# HELP container_cpu_usage_seconds_total Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="shop",pod="web"} 1.5
# HELP container_memory_working_set_bytes Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="main",namespace="shop",pod="web"} 4096
# HELP container_start_time_seconds Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",namespace="shop",pod="web"} 1700000000
# HELP node_cpu_usage_seconds_total Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 12.25
# HELP node_memory_working_set_bytes Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 268435456
# HELP pod_cpu_usage_seconds_total Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web"} 2
# HELP pod_memory_working_set_bytes Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web"} 8192
# HELP resource_scrape_error 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
"""


def test_the_text_of_a_node_with_one_pod() -> None:
    pod = (("namespace", "shop"), ("pod", "web"))
    text = exposition(
        [Sample((), Usage(12_250_000_000, 1 << 29, 1 << 28))],
        [Sample(pod, Usage(2_000_000_000, 16384, 8192))],
        [Sample((("container", "main"), *pod), Usage(1_500_000_000, 8192, 4096), 1_700_000_000.0)],
    )
    assert text == EXPECTED
