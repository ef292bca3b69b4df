"""An operator made with kopf lives its whole life against a server that it takes for upstream's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.server import ROOT, Server, until

pytest.importorskip("kopf", reason="the Python package kopf is not installed")

_KIND = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greenhouses.clients.edgekube.test}
spec:
  group: clients.edgekube.test
  scope: Namespaced
  names: {plural: greenhouses, singular: greenhouse, kind: Greenhouse}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, properties: {plants: {type: integer}}}
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@contextmanager
def _operator(server: Server, namespace: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    script = str(ROOT / "tests/clients/operators/greenhouse.py")
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, "--verbose", script]
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=server.environment())
    try:
        yield process
    finally:
        process.terminate()
        process.wait(90)


def test_a_greenhouse_is_planted_replanted_and_cleared(server: Server, namespace: str, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return server.kubectl("-n", namespace, *arguments, stdin=stdin)

    def get(*what: str) -> Any:
        return json.loads(kubectl("get", *what, "-o", "json"))

    kubectl("create", "namespace", namespace)
    kubectl("apply", "-f", "-", stdin=_KIND)
    kubectl("wait", "--for=condition=Established", "crd/greenhouses.clients.edgekube.test", "--timeout=90s")
    house = {
        "apiVersion": "clients.edgekube.test/v1",
        "kind": "Greenhouse",
        "metadata": {"name": "one"},
        "spec": {"plants": 3},
    }
    with _operator(server, namespace, log) as operator:
        kubectl("create", "-f", "-", stdin=json.dumps(house))
        until(lambda: get("greenhouse/one").get("status", {}).get("created") == {"child": "one-plants"})
        assert get("greenhouse/one")["metadata"]["finalizers"] == ["clients.edgekube.test/greenhouse"]
        child = get("configmap/one-plants")
        assert child["data"] == {"plants": "3"} and child["metadata"]["ownerReferences"][0]["name"] == "one"

        kubectl("patch", "greenhouse/one", "--type=merge", "-p", '{"spec":{"plants":5}}')
        until(lambda: get("configmap/one-plants")["data"] == {"plants": "5"})
        kubectl("create", "configmap", "sky")
        kubectl("label", "configmap", "sky", "weather=rain")
        until(lambda: "weather is rain" in log.read_text())
        until(lambda: "3 plants" in kubectl("get", "events", "--field-selector=reason=Planted"))
        assert operator.poll() is None

    # What happened while nobody was there is caught up with.
    kubectl("patch", "greenhouse/one", "--type=merge", "-p", '{"spec":{"plants":7}}')
    kubectl("delete", "greenhouse/one", "--wait=false")
    assert get("greenhouse/one")["metadata"]["deletionTimestamp"]
    with _operator(server, namespace, log):
        kubectl("wait", "--for=delete", "greenhouse/one", "--timeout=120s")
    assert "one-farewell" in kubectl("get", "configmaps", "-o", "name")
    until(lambda: "one-plants" not in kubectl("get", "configmaps", "-o", "name"))
    assert "Traceback" not in log.read_text(), log.read_text()[-4000:]
    kubectl("delete", "namespace", namespace, "--wait=false")
