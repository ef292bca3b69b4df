"""Watchers that measure: time from the start of a PUT until the last of them has its event. Run inside the node's network.

argv: kubeconfig, events, watchers, host:port of the floor ("-" for the API server). Prints JSON.
One thread with epoll, so that the client costs little; the floor in the same run tells what it costs all the same.
"""

from __future__ import annotations

import json
import select
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.bench.api_client import NAMESPACE, Client, context_of


def config_map(text: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"}, "data": {"text": text.ljust(200, "x")}}


class Watchers:
    def __init__(self, clients: list[Client], path: str) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, ssl.SSLSocket] = {}
        for client in clients:
            client.connection.request("GET", path)
            client.connection.getresponse()
            socket = client.connection.sock
            assert isinstance(socket, ssl.SSLSocket)
            socket.setblocking(False)
            self._sockets[socket.fileno()] = socket
            self._poll.register(socket.fileno(), select.EPOLLIN)

    def wait_for_all(self) -> float:
        """When the last of them had read its line."""
        missing = set(self._sockets)
        deadline = time.perf_counter() + 10
        while missing:
            for number, _ in self._poll.poll(1):
                if b"}\n" in _read(self._sockets[number]):
                    missing.discard(number)
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{len(missing)} watchers did not see the event within 10 s")
        return time.perf_counter()


def _read(socket: ssl.SSLSocket) -> bytes:
    received = b""
    try:
        while data := socket.recv(65536):
            received += data
    except ssl.SSLWantReadError:
        pass
    return received


def main() -> None:
    context, host, port = context_of(yaml.safe_load(Path(sys.argv[1]).read_text()))
    events, count, floor = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    writer_path, watch_path = f"{NAMESPACE}/configmaps/watched", "/watch"
    if floor != "-":
        host, _, floor_port = floor.partition(":")
        port = int(floor_port)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    writer = Client(context, host, port)
    if floor == "-":
        try:
            writer.ask("POST", f"{NAMESPACE}/configmaps", config_map(""))
        except RuntimeError as error:
            if "AlreadyExists" not in str(error):
                raise
        revision = json.loads(writer.ask("GET", writer_path))["metadata"]["resourceVersion"]
        query = f"watch=1&resourceVersion={revision}&fieldSelector=metadata.name%3Dwatched"
        watch_path = f"{NAMESPACE}/configmaps?{query}"
    watchers = Watchers([Client(context, host, port) for _ in range(count)], watch_path)
    spans = []
    for number in range(events):
        began = time.perf_counter()
        body = json.dumps(config_map(f"event {number}"))
        writer.connection.request("PUT", writer_path, body, {"Content-Type": "application/json"})
        spans.append(watchers.wait_for_all() - began)
        writer.connection.getresponse().read()
        time.sleep(0.01)
    spans.sort()
    print(json.dumps({"watchers": count, "events": events, "p50_ms": round(spans[len(spans) // 2] * 1000, 3)}))


main()
