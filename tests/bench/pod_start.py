"""Pods through the API: milliseconds from POST until the watch says Running, and from DELETE until it says gone.

argv: kubeconfig, count at once, the node they are bound to (default: whichever). Ten pods one after the other, then ``count`` at
once. Prints JSON in the form of cri_floor's.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.bench.api_client import NAMESPACE, Client, context_of
from tests.bench.cri_floor import POLITE


def pod(name: str, node: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox:1.36", "command": POLITE, "imagePullPolicy": "IfNotPresent"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1, **({"nodeName": node} if node else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"bench": "start"}}, "spec": spec}


class Told:
    """When each pod was first seen Running, and when it was gone."""

    def __init__(self, client: Client) -> None:
        self.running: dict[str, float] = {}
        self.gone: dict[str, float] = {}
        self._changed = threading.Condition()
        client.connection.request("GET", f"{NAMESPACE}/pods?watch=1&labelSelector=bench%3Dstart")
        self._answer = client.connection.getresponse()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while line := self._answer.readline():
            event = json.loads(line)
            name = event["object"]["metadata"].get("name", "")
            with self._changed:
                if event["type"] == "DELETED":
                    self.gone.setdefault(name, time.perf_counter())
                elif (event["object"].get("status") or {}).get("phase") == "Running":
                    self.running.setdefault(name, time.perf_counter())
                self._changed.notify_all()

    def wait(self, times: dict[str, float], names: list[str]) -> float:
        with self._changed:
            if not self._changed.wait_for(lambda: all(name in times for name in names), timeout=120):
                raise RuntimeError(f"not within 120 s: {sorted(set(names) - set(times))}")
        return max(times[name] for name in names)


def main() -> None:
    context, host, port = context_of(yaml.safe_load(Path(sys.argv[1]).read_text()))
    count, node = int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else ""
    client = Client(context, host, port)
    told = Told(Client(context, host, port))

    def timed(do: Callable[[str], object], names: list[str], times: dict[str, float]) -> float:
        began = time.perf_counter()
        for name in names:
            do(name)
        return round((told.wait(times, names) - began) * 1000, 1)

    def create(name: str) -> None:
        client.ask("POST", f"{NAMESPACE}/pods", pod(name, node))

    def delete(name: str) -> None:
        client.ask("DELETE", f"{NAMESPACE}/pods/{name}")

    starts, ends = [], []
    for number in range(10):
        starts.append(timed(create, [f"one-{number}"], told.running))
        ends.append(timed(delete, [f"one-{number}"], told.gone))
    names = [f"many-{number}" for number in range(count)]
    found = {
        "start_p50_ms": sorted(starts)[5],
        "end_p50_ms": sorted(ends)[5],
        "at_once": count,
        "last_started_ms": timed(create, names, told.running),
        "last_gone_ms": timed(delete, names, told.gone),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
