"""A plain client: the standard library's HTTPS with a kubeconfig's certificate, one keep-alive connection."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any

NAMESPACE = "/api/v1/namespaces/default"


def context_of(kubeconfig: dict[str, Any]) -> tuple[ssl.SSLContext, str, int]:
    user, cluster = kubeconfig["users"][0]["user"], kubeconfig["clusters"][0]["cluster"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.TemporaryDirectory() as directory:
        pair = Path(directory) / "pair.pem"
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    return context, host, int(port)


class Client:
    def __init__(self, context: ssl.SSLContext, host: str, port: int) -> None:
        self.connection = http.client.HTTPSConnection(host, port, context=context, timeout=60)
        self.connection.connect()

    def ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> bytes:
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, {"Content-Type": kind} if data else {})
        answer = self.connection.getresponse()
        read = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {read[:300]!r}")
        return read
