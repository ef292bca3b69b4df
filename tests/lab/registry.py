"""Debian's docker-registry in a lab node, and images put into it with nothing but HTTP.

Enters: a Node; an assembled image and its name. Leaves: a registry on the node's loopback for the length of a ``with``.
Source: OCI distribution-spec, "Pushing manifests" and "Pushing a blob monolithically".
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from edgekube.containerd.oci import MANIFEST, Assembled
from tests.lab import inside
from tests.lab.cluster import until
from tests.lab.node import Node, children

_CONFIG = """version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


class Registry:
    def __init__(self, node: Node, port: int) -> None:
        self._node = node
        self.port = port
        self.host = f"127.0.0.1:{port}"

    def request(self, method: str, path: str, body: bytes = b"", media_type: str = "application/octet-stream") -> tuple[int, str]:
        """(status, Location). Raises OSError while nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = inside.connect(self._node.namespace, "127.0.0.1", self.port)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": media_type})
            response = connection.getresponse()
            response.read()
            return response.status, response.headers.get("location", "")

    def push(self, name: str, tag: str, image: Assembled) -> str:
        """The full reference that pods can name."""
        for digest, data in image.blobs.items():
            if digest == image.manifest:
                continue
            status, location = self.request("POST", f"/v2/{name}/blobs/uploads/")
            assert status == 202, f"upload of {name}: {status}"
            parts = urlsplit(location)
            query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
            assert self.request("PUT", f"{parts.path}?{query}", data)[0] == 201
        assert self.request("PUT", f"/v2/{name}/manifests/{tag}", image.blobs[image.manifest], MANIFEST)[0] == 201
        return f"{self.host}/{name}:{tag}"

    def _up(self) -> bool:
        try:
            return self.request("GET", "/v2/")[0] == 200
        except OSError:
            return False


@contextmanager
def serving(node: Node, port: int = 5000) -> Iterator[Registry]:
    root = node.disk / "registry"
    root.mkdir(exist_ok=True)
    config = node.disk / "registry.yaml"
    config.write_text(_CONFIG.format(root=root, port=port))
    process = node.start(["docker-registry", "serve", str(config)], node.disk / "registry.log")
    try:
        registry = Registry(node, port)
        until(registry._up)
        yield registry
    finally:
        for child in children(process):
            os.kill(child, signal.SIGKILL)
        process.wait(60)
