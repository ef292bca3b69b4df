"""How long Services take to reach the packet filter, and what a new connection through one costs.

    python -m tests.bench.network_bench [--services 100,1000,5000]

Prints JSON. For each number of Services (3 endpoints each, one port): ``load``: the whole table, from an API that has them;
``change``: one endpoint of one Service replaced, until the kernel has it; ``flood``: 100 Services changed at once. Floors of
the same run, by the bare command: ``floor_load`` and ``floor_change`` with the same text, ``floor_start`` with nothing to do.
``connect``: TCP connections from a pod to a pod of the same node, direct and through a Service among the largest number.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import click
import trio

from edgekube.api.kinds import ENDPOINTSLICE, SERVICE
from edgekube.network.kernel import Kernel
from edgekube.network.proxy import ServiceProxy
from edgekube.network.ranges import ranges_of
from tests.bench.process import cost_of
from tests.network.cluster import Cluster, endpoint, piece, port, service
from tests.network.rig import PODS, Rig

_CHANGES = 30


class _Recording(Kernel):
    """Remembers the last script, so that the bare command can be given the same."""

    script = ""

    async def apply(self, script: str) -> None:
        self.script = script
        await super().apply(script)


def _address(number: int) -> str:
    return f"10.43.{number // 250 + 1}.{number % 250 + 1}"


def _slice(number: int, shift: int = 0) -> dict[str, Any]:
    ends = [f"10.42.{1 + (number + k) % 200}.{1 + (number * 3 + k + shift) % 250}" for k in range(3)]
    return piece(f"web-{number}", [endpoint(address, nodeName="n2") for address in ends], port(8080))


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {"p50_ms": round(statistics.median(ordered) * 1e3, 2), "max_ms": round(ordered[-1] * 1e3, 2)}


def _bare(script: str) -> float:
    began = time.perf_counter()
    subprocess.run(["nft", "-f", "-"], input=script.encode(), check=True)
    return time.perf_counter() - began


def _undone(script: str) -> str:
    """The transaction that takes a change of elements back."""
    swapped = [
        f"{'add' if verb == 'delete' else 'delete'} {rest}" for verb, rest in (line.split(" ", 1) for line in script.split("\n"))
    ]
    return "\n".join(sorted(swapped, reverse=True))


async def _program(count: int) -> dict[str, Any]:
    """Within a namespace of its own, as the daemon does it: small changes in process."""
    cluster, kernel = Cluster(), _Recording()
    for number in range(count):
        cluster.put(SERVICE, service(f"web-{number}", _address(number), port(80)))
        cluster.put(ENDPOINTSLICE, _slice(number))
    cluster.put(SERVICE, service("asked", "10.43.250.1", port(80)))
    cluster.put(ENDPOINTSLICE, piece("asked", [endpoint(PODS["b"])], port(8080)))
    ranges = ranges_of(["10.42.0.0/24"], "10.42.0.0/16", "10.43.0.0/16")
    proxy = ServiceProxy(cluster.view, node_name="n1", ranges=ranges, kernel=kernel)
    cluster.follow_with_proxy(proxy)
    async with trio.open_nursery() as nursery:
        began = time.perf_counter()
        await nursery.start(proxy.run)
        load, whole = time.perf_counter() - began, kernel.script
        changes = []
        for shift in range(1, _CHANGES + 1):
            await trio.sleep(0.02)  # one by one: a change that follows another closely waits for more
            began = time.perf_counter()
            cluster.put(ENDPOINTSLICE, _slice(count // 2, shift))
            await proxy.settled()
            changes.append(time.perf_counter() - began)
        bare_changes = [_bare(text) for _ in range(5) for text in (_undone(kernel.script), kernel.script)]
        began = time.perf_counter()
        for number in range(min(100, count)):
            cluster.put(ENDPOINTSLICE, _slice(number, 50))
        await proxy.settled()
        flood = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return {
        "load_ms": round(load * 1e3, 1),
        "floor_load_ms": round(min(_bare(whole) for _ in range(3)) * 1e3, 1),
        "change": _milliseconds(changes),
        "floor_change": _milliseconds(bare_changes),
        "floor_start": _milliseconds([_bare("") for _ in range(10)]),
        "flood_of_100_ms": round(flood * 1e3, 1),
        "rss_mb": round(cost_of(os.getpid()).rss_mb, 1),
    }


_CONNECT = """
import json, socket, statistics, sys, time
took = {"direct": [], "service": []}
for _ in range(1500):
    for name, address, number in (("direct", sys.argv[1], 8080), ("service", "10.43.250.1", 80)):
        began = time.perf_counter()
        with socket.create_connection((address, number)) as one:
            took[name].append(time.perf_counter() - began)
            one.recv(100)
print(json.dumps({name: round(statistics.median(each) * 1e6, 1) for name, each in took.items()}))
"""


@click.command()
@click.option("--services", default="100,1000,5000")
@click.option("--inside", type=int, default=0, hidden=True)
def main(services: str, inside: int) -> None:
    if inside:
        print(json.dumps(trio.run(_program, inside)))
        return
    rig = Rig()
    result: dict[str, Any] = {"services": {}}
    try:
        rig.build()
        for count in (int(each) for each in services.split(",")):
            again = [sys.executable, "-m", "tests.bench.network_bench", "--inside", str(count)]
            result["services"][count] = json.loads(rig.inside("node", again))
        script = [sys.executable, "-c", _CONNECT, PODS["b"]]
        result["connect_p50_us"] = json.loads(rig.inside("a", script))
    finally:
        rig.close()
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
