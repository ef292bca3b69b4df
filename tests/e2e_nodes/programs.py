"""Programs of pods that busybox has none for: they run in the test, their sockets are the pod's.

Enters: a running pod of a lab node on this machine, a port.
Leaves: on that port, HTTP (every method) and UDP that tell the pod's name and who asked; or one of them alone.
Holds: a socket belongs to the pod's network namespace, whoever holds it. They end with the ``with`` block.
Next: tests.lab.inside.
"""

from __future__ import annotations

import json
import os
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.e2e.namespace import Namespace
from tests.lab import inside

_POLL_SECONDS: Final = 0.05


class _Datagrams(socketserver.UDPServer):
    max_packet_size = 65536


def namespace_of(pod: dict[str, Any]) -> str:
    """The network namespace of a running pod, as tests.lab.inside takes it."""
    uid = pod["metadata"]["uid"]
    for number in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):  # the oldest: what is executed in it comes and goes
        try:
            if uid in Path(f"/proc/{number}/cgroup").read_text():
                return f"/proc/{number}/ns/net"
        except OSError:
            continue  # it has ended meanwhile
    raise AssertionError(f"no process runs in the cgroup of pod {pod['metadata']['name']}")


@contextmanager
def serving(ns: Namespace, *pods: str, port: int = 8080, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Each of the pods answers on ``port``."""
    with ExitStack() as stack:
        for name in pods:
            stack.enter_context(serving_in(name, namespace_of(ns.get(f"pod/{name}")), port, tls=tls))
        yield


@contextmanager
def serving_in(name: str, namespace: str, port: int, *, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    class Page(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            client = self.client_address[0].removeprefix("::ffff:")
            told = {"name": name, "client": client, "method": self.command, "path": self.path, "body": body.decode()}
            page = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(page)

        do_DELETE = do_GET = do_HEAD = do_OPTIONS = do_PATCH = do_POST = do_PUT = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: pytest shows what failed."""

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, answers = self.request
            answers.sendto(f"{name} {self.client_address[0]} {len(data)}".encode(), self.client_address)

    web = ThreadingHTTPServer(("", 0), Page, bind_and_activate=False)
    datagrams = _Datagrams(("", 0), Datagram, bind_and_activate=False)
    web.daemon_threads = True
    for server in (web, datagrams):
        server.socket.close()
    web.socket = inside.listen(namespace, port)
    if tls is not None:
        web.socket = tls.wrap_socket(web.socket, server_side=True)
    datagrams.socket = inside.datagrams(namespace, port)
    threads = [threading.Thread(target=server.serve_forever, args=[_POLL_SECONDS]) for server in (web, datagrams)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in (web, datagrams):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def ask(namespace: str, address: str, port: int = 8080, *, patience_seconds: float = 20) -> tuple[str, str]:
    """Who answers over HTTP, and the client's address as it saw it. Raises OSError."""
    told = json.loads(inside.fetch(namespace, address, port, timeout_seconds=patience_seconds))
    return told["name"], told["client"]


def ask_by_datagram(
    namespace: str, address: str, port: int = 8080, *, size: int = 8, from_port: int = 0, patience_seconds: float = 5
) -> tuple[str, str]:
    """The same over UDP, with a question of ``size`` bytes, all of which must have arrived. Raises OSError."""
    with inside.datagrams(namespace, from_port) as made:
        made.settimeout(patience_seconds)
        made.connect((address, port))
        made.send(b"?" * size)
        name, client, arrived = made.recv(65536).decode().split()
    assert int(arrived) == size
    return name, client
