"""The API alone, measured: a server without a node, over real TLS; the floor in the same run. Prints JSON.

    .venv/bin/python -m tests.bench.api_bench [--quick] [--only requests|memory]

For each kind of request the server's CPU, p50 and p99 with 1 and with 16 clients; memory at the start and after each thing that
makes the server load more; memory with 10,000 objects of mixed kinds and 500 watches. The clients run on the same machine and are
Python with one thread each: the floor (a constant answer over the same TLS) shows how much of p50 and p99 is theirs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml

from tests.bench.api_client import NAMESPACE, Client, context_of
from tests.bench.api_extensions import BINDING, DEFINITION, POLICY, answering_hook, hook_configuration
from tests.bench.api_load import WIDGETS, config_map, widget
from tests.bench.held_watches import held_watches
from tests.bench.process import cost_of
from tests.clients.server import Server, running_server, until
from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
_CLIENTS: Final = (1, 16)
#: Longer than limits.MEMORY_CHECK_SECONDS.
_SETTLE_SECONDS: Final = 35
_CONNECTIONS: Final = 4
_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ADMISSION: Final = "/apis/admissionregistration.k8s.io/v1"
_WATCHES: Final = ("configmaps", "secrets", "serviceaccounts", "pods", "services")


class Bench:
    def __init__(self, server: Server, scale: int) -> None:
        self.server = server
        self.scale = scale
        self.client = self.connect()

    def connect(self) -> Client:
        return Client(*context_of(yaml.safe_load(self.server.kubeconfig.read_text())))

    def script(self, module: str, *arguments: str) -> dict[str, Any]:
        command = [sys.executable, "-m", f"tests.bench.{module}", str(self.server.kubeconfig), *arguments]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=600)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def per_request(self, what: str, count: int, clients: int, *more: str) -> dict[str, Any]:
        before = cost_of(self.server.process.pid).cpu_seconds
        found = self.script("api_load", what, str(count), str(clients), *more)
        spent = cost_of(self.server.process.pid).cpu_seconds - before
        return found if more else {**found, "cpu_us_per_request": round(spent / count * 1e6)}

    def define(self) -> None:
        """A custom kind with a rule in CEL, served."""
        self.client.ask("POST", _DEFINITIONS, DEFINITION)
        until(self.is_served)

    def is_served(self) -> bool:
        try:
            self.client.ask("GET", WIDGETS)
        except RuntimeError:
            return False
        return True

    def requests(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        with self.floor() as floor:
            for clients in _CLIENTS:
                found[f"floor_{clients}"] = self.per_request("floor", 1600 * self.scale, clients, floor)
            found["floor_watch_100"] = self.script("watch_load", "50", "100", floor)
        counts = {"get": 1600, "put": 480, "patch": 480, "create": 480, "apply": 480, "custom": 480}
        for what, count in counts.items():
            for clients in _CLIENTS:
                found[f"{what}_{clients}"] = self.per_request(what, count * self.scale, clients)
        found["watch_100"] = self.script("watch_load", "50", "100", "-")
        self.client = self.connect()  # the first one may have been idle for too long by now
        self.client.ask("DELETE", f"{NAMESPACE}/configmaps")
        for number in range(1000 - len(json.loads(self.client.ask("GET", f"{NAMESPACE}/configmaps"))["items"])):
            self.client.ask("POST", f"{NAMESPACE}/configmaps", config_map(f"listed-{number}"))
        for clients in _CLIENTS:
            found[f"list_1000_{clients}"] = self.per_request("list", 48 * self.scale, clients)
        return found

    @contextmanager
    def floor(self) -> Iterator[str]:
        pki, port = self.server.directory / "data/server/pki", free_port()
        script = [sys.executable, "-S", str(ROOT / "tests/bench/tls_floor.py"), str(pki / "server.crt"), str(pki / "server.key")]
        with subprocess.Popen([*script, str(port)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield f"127.0.0.1:{port}"
            finally:
                process.kill()

    # --- memory

    def rss_mb(self) -> float:
        """Once what a burst left behind was given back (edgekube.daemon.memory)."""
        time.sleep(_SETTLE_SECONDS)
        return round(cost_of(self.server.process.pid).rss_mb, 1)

    def memory(self) -> dict[str, float]:
        found = {"start": self.rss_mb()}
        self.client.ask("GET", "/openapi/v2")
        for place in json.loads(self.client.ask("GET", "/openapi/v3"))["paths"].values():
            self.client.ask("GET", place["serverRelativeURL"])
        found["openapi"] = self.rss_mb()
        self.define()
        for number in range(200):
            self.client.ask("POST", WIDGETS, widget(f"memory-{number}"))
        found["definition_with_cel"] = self.rss_mb()
        pki = self.server.directory / "data/server/pki"
        kubeconfig = yaml.safe_load(self.server.kubeconfig.read_text())
        bundle = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
        with answering_hook(pki / "server.crt", pki / "server.key") as (port, asked):
            self.client.ask("POST", f"{_ADMISSION}/validatingwebhookconfigurations", hook_configuration(port, bundle))
            self.client.ask("POST", f"{_ADMISSION}/validatingadmissionpolicies", POLICY)
            self.client.ask("POST", f"{_ADMISSION}/validatingadmissionpolicybindings", BINDING)
            for number in range(200):
                self.client.ask("POST", f"{NAMESPACE}/configmaps", config_map(f"admitted-{number}"))
            assert len(asked) == 200, f"the webhook was asked {len(asked)} times"
            found["webhook_and_policy"] = self.rss_mb()
            self.client.ask("DELETE", f"{_ADMISSION}/validatingwebhookconfigurations/bench")
        self.client.ask("DELETE", f"{_ADMISSION}/validatingadmissionpolicybindings/bench")
        self.client.ask("DELETE", f"{_ADMISSION}/validatingadmissionpolicies/bench")
        self.fill(2500 * self.scale)
        found["objects"] = 2500 * self.scale
        found["with_objects"] = self.rss_mb()
        self.client = self.connect()
        revision = json.loads(self.client.ask("GET", f"{NAMESPACE}/services"))["metadata"]["resourceVersion"]
        query = f"watch=1&resourceVersion={revision}"
        paths = [f"/api/v1/{_WATCHES[number % len(_WATCHES)]}?{query}" for number in range(500)]
        with held_watches(*context_of(kubeconfig), paths):
            found["with_500_watches"] = self.rss_mb()
        found["watches_gone"] = self.rss_mb()
        return found

    def fill(self, count: int) -> None:
        """Objects of mixed kinds; the pods are gated, so that nobody looks for a node."""

        def make(worker: int) -> None:
            client = self.connect()
            for number in range(worker, count, _CONNECTIONS):
                path, obj = mixed(number)
                client.ask("POST", path, obj)

        threads = [threading.Thread(target=make, args=(worker,)) for worker in range(_CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def mixed(number: int) -> tuple[str, dict[str, Any]]:
    name, which = f"mixed-{number}", number % 10
    if which < 4:
        return f"{NAMESPACE}/configmaps", config_map(name)
    if which < 6:
        return f"{NAMESPACE}/secrets", {"metadata": {"name": name}, "stringData": {"text": "x" * 200}}
    if which < 7:
        return f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": name}}
    if which < 8:
        return WIDGETS, widget(name)
    spec = {"schedulingGates": [{"name": "example.org/bench"}], "containers": [{"name": "c", "image": "busybox:1.36"}]}
    return f"{NAMESPACE}/pods", {"metadata": {"name": name, "labels": {"app": "mixed"}}, "spec": spec}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the requests and of the objects")
    parser.add_argument("--only", choices=("requests", "memory"))
    options = parser.parse_args()
    scale = 1 if options.quick else 4
    results: dict[str, Any] = {}
    if options.only != "memory":
        with tempfile.TemporaryDirectory() as directory, running_server(Path(directory)) as server:
            bench = Bench(server, scale)
            bench.define()
            results["requests"] = bench.requests()
    if options.only != "requests":
        with tempfile.TemporaryDirectory() as directory, running_server(Path(directory)) as server:
            results["rss_mb"] = Bench(server, scale).memory()
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
