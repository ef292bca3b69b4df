"""What a node holds of a large cluster."""

from __future__ import annotations

import gc
import tracemalloc

from edgekube.api.pod_address import Metadata, PodAddress, Port
from edgekube.network.policies.model import policy_of
from edgekube.network.policies.planner import Planner


def told(number: int) -> PodAddress:
    workload, node = number // 5, number // 40
    metadata = Metadata(
        f"web-{workload}-6d4cf56db6-{number:05d}", f"team-{workload % 50}", f"{number:08d}-1f0c-4b7e-9d55-3c9f0a6f0d7c",
        {"app": f"web-{workload}", "pod-template-hash": f"{workload:08d}"}, str(number),
    )  # fmt: skip
    ports = [Port("http", 8080), Port("metrics", 9090)]
    return PodAddress(metadata, "", f"n{node}", "Running", False, [f"10.42.{node % 256}.{number % 250}"], ports)


def test_ten_thousand_pods_and_a_thousand_policies_are_a_few_megabytes() -> None:
    planner = Planner("n0", resolvers=["10.43.0.10"])
    tracemalloc.start()
    try:
        for number in range(50):
            planner.put_namespace(f"team-{number}", {"team": f"{number}"})
        for number in range(10_000):
            planner.put_pod(told(number))
        gc.collect()
        pods_bytes = tracemalloc.get_traced_memory()[0]
        for number in range(1000):
            peer = {"namespaceSelector": {"matchLabels": {"team": f"{number % 50}"}}}
            spec = {
                "podSelector": {"matchLabels": {"app": f"web-{number}"}},
                "ingress": [{"from": [peer], "ports": [{"port": "http"}]}],
            }
            planner.put_policy(policy_of({"metadata": {"name": f"p{number}", "namespace": f"team-{number % 50}"}, "spec": spec}))
        planner.everything()
        gc.collect()
        policies_bytes = tracemalloc.get_traced_memory()[0] - pods_bytes
    finally:
        tracemalloc.stop()
    assert len(planner.pod_keys()) == 10_000
    assert pods_bytes < 10e6 and policies_bytes < 5e6, (pods_bytes, policies_bytes)
