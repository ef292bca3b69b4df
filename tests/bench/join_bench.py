"""From a board that is switched on to a Ready node, with nothing typed: discovery, pairing by serial number, first heartbeat.

    sudo .venv/bin/python -m tests.bench.join_bench [--times 5]

Prints JSON: seconds from the start of ``edgekube agent`` to what the server sees. The floor in the same run is the same board
with an address and a token: no looking around (which listens until nothing new was heard for FIND_SETTLE_SECONDS).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.bench.process import cost_of
from tests.lab.clusters import MultiCluster, many_nodes
from tests.lab.newcomer import Newcomer, newcomer

_PAUSE_SECONDS = 0.02


def join_figures(cluster: MultiCluster, disk: Path, *, times: int = 3) -> dict[str, Any]:
    """Boards out of their boxes on a cluster that runs. ``disk``: a directory for their disks."""
    found = [_joined(cluster, disk, number, _by_serial) for number in range(times)]
    given = [_joined(cluster, disk, times + number, _by_token) for number in range(times)]
    return {
        "discovery_and_serial": {**_spread(found), "agent_rss_mb": found[-1]["rss_mb"]},
        "floor_address_and_token": {**_spread(given), "agent_rss_mb": given[-1]["rss_mb"]},
    }


def _by_serial(cluster: MultiCluster, name: str) -> list[str]:
    _on_the_server(cluster, "node", "allow", f"bench-{name}", "--name", name)
    return ["--hardware-serial", f"bench-{name}"]


def _by_token(cluster: MultiCluster, name: str) -> list[str]:
    file = cluster.server.node.disk / f"token-{name}"
    file.touch(mode=0o600)
    file.write_text(cluster.token)
    return ["--server", cluster.url, "--token-file", str(file)]


def _on_the_server(cluster: MultiCluster, *words: str) -> str:
    return cluster.server.edgekube(*words, "--data-dir", str(cluster.server.data_dir))


def _joined(cluster: MultiCluster, disk: Path, number: int, how: Callable[[MultiCluster, str], list[str]]) -> dict[str, float]:
    """One board: when its key was admitted, when its Node was there, when that was Ready; and its memory some seconds later."""
    name = f"b{number}"
    with newcomer(cluster.lan, name, f"192.0.2.{100 + number}", disk / name, arguments=how(cluster, name)) as board:
        began = time.perf_counter()
        board.launch()
        admitted = _when(board, lambda: _exists(cluster, f"/api/v1/namespaces/kube-system/secrets/{name}.node-identity")) - began
        registered = _when(board, lambda: _exists(cluster, f"/api/v1/nodes/{name}")) - began
        ready = _when(board, lambda: name in cluster.ready()) - began
        time.sleep(5)
        rss_mb = cost_of(board.pid).rss_mb
        board.stop()
    _on_the_server(cluster, "node", "remove", name)
    return {"admitted_s": admitted, "registered_s": registered, "ready_s": ready, "rss_mb": round(rss_mb, 1)}


def _exists(cluster: MultiCluster, path: str) -> bool:
    return cluster.server.request("GET", path).status == 200


def _when(board: Newcomer, happened: Callable[[], bool]) -> float:
    deadline = time.perf_counter() + 90
    while not happened():
        if not board.running or time.perf_counter() > deadline:
            raise RuntimeError(f"{board.name} did not join\n{board.log_tail()}")
        time.sleep(_PAUSE_SECONDS)
    return time.perf_counter()


def _spread(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Median and worst of each milestone."""
    steps = ("admitted_s", "registered_s", "ready_s")
    figures = {step: [run[step] for run in runs] for step in steps}
    return {step: {"p50": round(statistics.median(seen), 2), "max": round(max(seen), 2)} for step, seen in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgekube-join-", ignore_cleanup_errors=True)))
        cluster = stack.enter_context(many_nodes(disk, 1))
        print(json.dumps(join_figures(cluster, disk, times=times), indent=2))


if __name__ == "__main__":
    main()
