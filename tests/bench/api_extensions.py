"""What tests.bench.api_bench extends the API with: a kind with a rule, a policy, and a webhook that lets everything pass."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

_RULE: Final = {"rule": "self.least <= self.most", "message": "least must not be above most"}
_SPEC: Final = {
    "type": "object",
    "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}},
    "x-kubernetes-validations": [_RULE],
}
_VERSION: Final = {
    "name": "v1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _SPEC}}},
}
DEFINITION: Final = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.bench.example.org"},
    "spec": {
        "group": "bench.example.org",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "scope": "Namespaced",
        "versions": [_VERSION],
    },
}
_RULES: Final = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]
POLICY: Final = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "bench"},
    "spec": {
        "matchConstraints": {"resourceRules": _RULES},
        "validations": [{"expression": "object.data.text.size() < 1000"}],
    },
}
BINDING: Final = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "bench"},
    "spec": {"policyName": "bench", "validationActions": ["Deny"]},
}


def hook_configuration(port: int, ca_bundle: str) -> dict[str, Any]:
    hook = {
        "name": "bench.example.org",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": ca_bundle},
        "rules": _RULES,
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "failurePolicy": "Fail",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "bench"},
        "webhooks": [hook],
    }


@contextmanager
def answering_hook(certificate: Path, key: Path) -> Iterator[tuple[int, list[str]]]:
    """Its port, and the names of what it was asked about."""
    asked: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            asked.append(request["name"])
            response = {"uid": request["uid"], "allowed": True}
            body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()
