"""CPU per request, in process: the application's handler on a real store, without sockets and TLS.

    python -m tests.bench.registry_bench [--profile]

Prints JSON: microseconds of CPU per request, and milliseconds for lists of 1,000.
"""

from __future__ import annotations

import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import orjson
import trio

from edgekube.admission.attributes import Attributes, Decision
from edgekube.api.kinds import CONFIGMAP, POD
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo
from edgekube.registry.local import LocalVerbs
from edgekube.server.agents import NodeAgents
from edgekube.server.app import Application
from edgekube.wire.protocol import Headers, Request
from tests.registry.cluster import ADMIN, config_map, default_account, open_registry, pod

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Everybody:
    """Lets the administrator in; bench measures the rest."""

    async def authenticate(self, peer_certificate: bytes | None, authorization: str) -> UserInfo | None:
        return ADMIN

    async def review(self, token: str, audiences: Sequence[str]) -> tuple[UserInfo, Sequence[str]]:
        return ADMIN, audiences

    def authorize(self, attributes: Attributes) -> Decision:
        return Decision(True)


class Whole:
    """A request body that is there already."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, max_bytes: int) -> bytes:
        return self._data

    async def receive_some(self) -> bytes:
        data, self._data = self._data, b""
        return data


class Kept:
    """Keeps what was answered; there is no peer."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.started = False

    async def send(self, status: int, headers: Headers, body: bytes = b"") -> None:
        self.started, self.status, self.body = True, status, body

    async def start(self, status: int, headers: Headers) -> None:
        self.started, self.status = True, status

    async def write(self, chunk: bytes) -> None:
        self.body += chunk

    async def end(self) -> None:
        return

    async def upgrade(self) -> object:
        raise ValueError("there is no connection")


async def measure(count: int, ask: Callable[[int], Awaitable[object]]) -> float:
    """CPU seconds per call."""
    started = time.process_time()
    for i in range(count):
        await ask(i)
    return (time.process_time() - started) / count


async def main(profile: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with open_registry(Path(directory) / "state.db") as registry:
            await default_account(registry)
            everybody = Everybody()

            def no_context() -> object:
                raise LookupError("no agents here")

            app = Application(registry, everybody, everybody, NodeAgents(registry, no_context))  # type: ignore[arg-type]
            connection: dict[str, object] = {}

            async def ask(method: str, path: str, query: str = "", body: Object | None = None, accept: str = "") -> bytes:
                headers = {"accept": accept, "content-type": "application/json"}
                if method == "PATCH":
                    headers["content-type"] = "application/merge-patch+json"
                data = Whole(orjson.dumps(body) if body is not None else b"")
                kept = Kept()
                request = Request(method, path, query, headers, data, "1.1", "bench", None, connection)
                await app.handle(request, kept)  # type: ignore[arg-type]
                assert kept.status < 300, kept.body
                return kept.body

            maps, pods = CONFIGMAP.path("default"), POD.path("default")
            found: dict[str, float] = {}
            for i in range(50):
                await ask("POST", maps, body=config_map(f"warm-{i}"))
            profiler = cProfile.Profile()
            if profile:
                profiler.enable()
            found["create_us"] = 1e6 * await measure(1000, lambda i: ask("POST", maps, body=config_map(f"c-{i:04}")))
            found["get_us"] = 1e6 * await measure(5000, lambda i: ask("GET", f"{maps}/c-{i % 1000:04}"))
            if profile:
                profiler.disable()
                pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(18)
            found["patch_us"] = 1e6 * await measure(
                500, lambda i: ask("PATCH", f"{maps}/c-{i:04}", body={"data": {"key": f"v{i}"}})
            )
            for i in range(50):
                await ask("DELETE", f"{maps}/warm-{i}")
            found["list_1000_configmaps_ms"] = 1e3 * await measure(30, lambda i: ask("GET", maps))
            found["list_1000_configmaps_table_ms"] = 1e3 * await measure(5, lambda i: ask("GET", maps, accept=_TABLE))
            verbs = LocalVerbs(registry, ADMIN)
            found["create_pod_us"] = 1e6 * await measure(1000, lambda i: verbs.create(POD, "default", pod(f"p-{i:04}")))
            found["list_1000_pods_ms"] = 1e3 * await measure(10, lambda i: ask("GET", pods))
            selected = "labelSelector=app%3Dnone"
            found["list_1000_pods_by_label_ms"] = 1e3 * await measure(10, lambda i: ask("GET", pods, selected))
            selected = "fieldSelector=spec.nodeName%3Dpi"
            found["list_1000_pods_by_node_ms"] = 1e3 * await measure(10, lambda i: ask("GET", pods, selected))
            print(orjson.dumps({key: round(value, 2) for key, value in found.items()}, option=orjson.OPT_INDENT_2).decode())


if __name__ == "__main__":
    trio.run(main, "--profile" in sys.argv)
