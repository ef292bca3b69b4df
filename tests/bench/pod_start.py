"""Pods through the API: milliseconds from POST to the watch event that says Running. argv: kubeconfig, count at once.

Prints JSON in the form of cri_floor's. Ten pods one after the other, then ``count`` at once.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench.api_client import NAMESPACE, Client, context_of


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "start"}}, "spec": spec}


class Running:
    """When each pod was first seen Running."""

    def __init__(self, client: Client) -> None:
        self.at: dict[str, float] = {}
        self._changed = threading.Condition()
        client.connection.request("GET", f"{NAMESPACE}/pods?watch=1&labelSelector=bench%3Dstart")
        self._answer = client.connection.getresponse()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while line := self._answer.readline():
            obj = json.loads(line)["object"]
            if (obj.get("status") or {}).get("phase") == "Running":
                with self._changed:
                    self.at.setdefault(obj["metadata"]["name"], time.perf_counter())
                    self._changed.notify_all()

    def wait(self, names: list[str]) -> float:
        with self._changed:
            if not self._changed.wait_for(lambda: all(name in self.at for name in names), timeout=60):
                raise RuntimeError("pods did not start within 60 s")
        return max(self.at[name] for name in names)


def main() -> None:
    context, host, port = context_of(yaml.safe_load(Path(sys.argv[1]).read_text()))
    count = int(sys.argv[2])
    client = Client(context, host, port)
    running = Running(Client(context, host, port))
    single = []
    for number in range(10):
        began = time.perf_counter()
        client.ask("POST", f"{NAMESPACE}/pods", pod(f"one-{number}"))
        single.append(running.wait([f"one-{number}"]) - began)
    names = [f"many-{number}" for number in range(count)]
    began = time.perf_counter()
    for name in names:
        client.ask("POST", f"{NAMESPACE}/pods", pod(name))
    last = running.wait(names) - began
    client.ask("DELETE", f"{NAMESPACE}/pods?labelSelector=bench%3Dstart")
    single.sort()
    print(json.dumps({"one_p50_ms": round(single[5] * 1000, 1), "at_once": count, "last_ms": round(last * 1000, 1)}))


main()
