"""Kubernetes' own API server and ours by the same stopwatch: the same requests, in turns, by the same clients. Prints JSON.

    sudo .venv/bin/python -m tests.upstream.stopwatch [--directory D] [--rounds 3]

Enters: how many rounds; what to measure.
Leaves: for each kind of request the median of the rounds' p50 and requests a second of both; memory before and after.
Holds: upstream's runs alone with its etcd, ours with its control loops; both write to the same disk. Clients are Python, and what
they cost is in every figure: tests.bench.tls_floor says how much.
Next: tests.bench.api_load, tests.bench.watch_load.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from tests.bench.process import cost_of
from tests.conformance.building import VERSION
from tests.upstream.building import build
from tests.upstream.servers import ROOT, Server, again_inside, edgekube, upstream

#: (what tests.bench.api_load asks for, how often, clients).
_REQUESTS = (
    ("get", 1600, 1),
    ("get", 1600, 8),
    ("create", 480, 1),
    ("create", 960, 8),
    ("patch", 480, 1),
    ("put", 480, 1),
    ("apply", 480, 1),
    ("list", 48, 1),
)


def _script(server: Server, module: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tests.bench.{module}", str(server.kubeconfig), *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _memory(server: Server) -> float:
    return round(sum(cost_of(pid).rss_mb for pid in server.pids), 1)


def _measured(servers: list[Server], rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"rss_mb_before": {server.name: _memory(server) for server in servers}}
    for what, count, clients in _REQUESTS:
        row: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
        for number in range(rounds):
            for server in servers if number % 2 else reversed(servers):
                row[server.name].append(_script(server, "api_load", what, str(count), str(clients)))
        found[f"{what}_{clients}"] = {name: _medians(each, "p50_ms", "per_second") for name, each in row.items()}
    watch: dict[str, list[dict[str, Any]]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            watch[server.name].append(_script(server, "watch_load", "50", "100", "-"))
    found["watch_last_of_100"] = {name: _medians(each, "p50_ms") for name, each in watch.items()}
    found["rss_mb_after"] = {server.name: _memory(server) for server in servers}
    return found


def _medians(runs: list[dict[str, Any]], *keys: str) -> dict[str, float]:
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in keys}


@click.command()
@click.option("--directory", type=click.Path(path_type=Path), help="Where upstream's programs are built; kept, and used again.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--inside", is_flag=True, hidden=True, help="This process runs in a namespace of its own already.")
def stopwatch(directory: Path | None, rounds: int, inside: bool) -> None:
    """Times and memory beside Kubernetes' own API server."""
    where = (directory or Path(tempfile.gettempdir()) / "edgekube-conformance").resolve()
    if not inside:
        build(where, VERSION)
        again_inside("tests.upstream.stopwatch")
    with tempfile.TemporaryDirectory(prefix="edgekube-upstream-", ignore_cleanup_errors=True) as directory_name:
        place = Path(directory_name)
        with edgekube(place / "ours", whole=True) as ours, upstream(where, place / "theirs", trusting=ours) as theirs:
            print(json.dumps(_measured([theirs, ours], rounds), indent=2))


if __name__ == "__main__":
    stopwatch()
