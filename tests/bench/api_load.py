"""A client that measures: run inside the node's network, prints JSON.

argv: kubeconfig, what (get, create, put, patch, apply, custom, list, list-pods, floor), count, clients, host:port of the floor.
"custom" wants the definition of tests.bench.api_bench to be there.
Keep-alive connections over TLS, one thread a client.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench.api_client import NAMESPACE, Client, context_of

WIDGETS = "/apis/bench.example.org/v1/namespaces/default/widgets"


def config_map(name: str, text: str = "x" * 200) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}


def widget(name: str) -> dict[str, Any]:
    return {"apiVersion": "bench.example.org/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"least": 1, "most": 5}}


def operation(what: str, client: Client, worker: int, number: int) -> None:
    path = f"{NAMESPACE}/configmaps"
    mine = f"{path}/bench-{worker}"
    if what == "get":
        client.ask("GET", mine)
    elif what == "create":
        client.ask("POST", path, config_map(f"made-{time.time_ns()}-{worker}-{number}"))
    elif what == "put":
        client.ask("PUT", mine, config_map(f"bench-{worker}", f"{number}"))
    elif what == "patch":
        client.ask("PATCH", mine, {"data": {"text": f"{number}"}}, "application/merge-patch+json")
    elif what == "apply":
        query = "fieldManager=bench&force=true"
        applied = config_map(f"applied-{worker}", f"{number}")
        client.ask("PATCH", f"{path}/applied-{worker}?{query}", applied, "application/apply-patch+yaml")
    elif what == "custom":
        client.ask("POST", WIDGETS, widget(f"made-{time.time_ns()}-{worker}-{number}"))
    elif what == "list":
        client.ask("GET", f"{path}?labelSelector=")
    elif what == "list-pods":
        client.ask("GET", f"{NAMESPACE}/pods")
    elif what == "floor":
        client.ask("GET", "/")
    else:
        raise SystemExit(f"unknown measurement {what}")


def measure(what: str, make: Any, count: int, clients: int) -> dict[str, Any]:
    latencies: list[float] = []
    barrier = threading.Barrier(clients + 1)
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            client = make()
            mine = []
            operation(what, client, worker, -1)
            barrier.wait()
            for number in range(count // clients):
                began = time.perf_counter()
                operation(what, client, worker, number)
                mine.append(time.perf_counter() - began)
            latencies.extend(mine)
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(clients)]
    for thread in threads:
        thread.start()
    try:
        barrier.wait()
    except threading.BrokenBarrierError:
        raise failures[0] from None
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    latencies.sort()
    return {
        "requests": len(latencies),
        "clients": clients,
        "per_second": round(len(latencies) / took, 1),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 3),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000, 3),
    }


def main() -> None:
    kubeconfig = yaml.safe_load(Path(sys.argv[1]).read_text())
    what, count, clients = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    context, host, port = context_of(kubeconfig)
    if what == "floor":
        host, _, number = sys.argv[5].partition(":")
        port = int(number)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

    def make() -> Client:
        return Client(context, host, port)

    if what in ("get", "put", "patch"):
        client = make()
        for worker in range(clients):
            try:
                client.ask("POST", f"{NAMESPACE}/configmaps", config_map(f"bench-{worker}"))
            except RuntimeError as error:
                if "AlreadyExists" not in str(error):
                    raise
    print(json.dumps(measure(what, make, count, clients)))


if __name__ == "__main__":
    main()
