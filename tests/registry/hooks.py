"""A webhook as people write them: an HTTPS server of Python's standard library, in threads, with a certificate of its own CA."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from edgekube.api.objects import Object
from tests.wire.certificates import Authority

#: The request of a review to its response, without the uid.
Hook = Callable[[Object], Object]
#: (status, headers, body) whatever was asked.
Raw = tuple[int, dict[str, str], bytes]


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    review: Object


@dataclass
class Hooks:
    """``answers``: by path. ``asked``: what came, in order."""

    port: int
    bundle: str
    answers: dict[str, Hook | Raw] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    #: (client's port) of each connection, in order.
    connections: list[int] = field(default_factory=list)
    #: Set when a client of ``/slow`` may be answered.
    released: threading.Event = field(default_factory=threading.Event)

    def config(self, path: str = "/", host: str = "127.0.0.1") -> Object:
        return {"url": f"https://{host}:{self.port}{path}", "caBundle": self.bundle}

    def requests(self, path: str) -> list[Object]:
        """What a path was asked about: the reviews' requests."""
        return [one.review["request"] for one in self.asked if one.path.partition("?")[0] == path]


def allow(_: Object) -> Object:
    return {"allowed": True}


def deny(message: str = "", **status: Any) -> Hook:
    result = {**({"message": message} if message else {}), **status}
    return lambda _: {"allowed": False, **({"status": result} if result else {})}


def patching(*operations: Object, when: Callable[[Object], bool] = lambda _: True) -> Hook:
    def answer(request: Object) -> Object:
        if not when(request):
            return {"allowed": True}
        text = base64.b64encode(json.dumps(operations).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": text}

    return answer


@contextmanager
def serving_hooks(directory: Path, *names: str, begins: Any = None, days: float = 1) -> Iterator[Hooks]:
    """``names``: the host name that the certificate carries, beside 127.0.0.1."""
    authority = Authority(directory, "hooks CA")
    pair = authority.issue(names[0] if names else "hooks", begins=begins, days=days)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    hooks = Hooks(0, base64.b64encode(authority.path.read_bytes()).decode())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            hooks.connections.append(self.client_address[1])
            super().setup()

        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["content-length"])))
            hooks.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, review))
            path = self.path.partition("?")[0]
            if path.startswith("/slow"):
                hooks.released.wait(30)
            answer = hooks.answers.get(path, (404, {}, b""))
            if callable(answer):
                response = {"uid": review["request"]["uid"], **answer(review["request"])}
                body = json.dumps({**review, "request": None, "response": response}).encode()
                answer = (200, {"content-type": "application/json"}, body)
            status, headers, body = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, client_address: Any) -> None:
            try:
                wrapped = context.wrap_socket(request, server_side=True)
            except OSError:  # a client that does not trust us
                return
            super().finish_request(wrapped, client_address)
            wrapped.close()

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    hooks.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hooks
    finally:
        hooks.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """For threads; what runs in trio has its own."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)
