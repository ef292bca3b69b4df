"""A Go operator on controller-runtime: a kind of its own, informers in protobuf, leader election, finalizers, owners, events."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.building import HERE, go
from tests.clients.server import Server, until


@pytest.fixture(scope="module")
def operator() -> Path:
    return go("./operator")


@contextlib.contextmanager
def running(server: Server, operator: Path, namespace: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [operator, "-namespace", namespace], stdout=output, stderr=output, env=server.environment(), stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(90)


def _get(server: Server, namespace: str, *what: str) -> Any:
    return json.loads(server.kubectl("-n", namespace, "get", *what, "-o", "json"))


def _fleet(boards: int) -> str:
    spec = {"boards": boards}
    return json.dumps({"apiVersion": "clients.edgekube.test/v1", "kind": "Fleet", "metadata": {"name": "north"}, "spec": spec})


def test_a_fleet_from_its_kind_to_its_end(server: Server, operator: Path, namespace: str, tmp_path: Path) -> None:
    server.kubectl("apply", "--server-side", "-f", str(HERE / "crd.yaml"))
    server.kubectl("wait", "--for=condition=Established", "crd/fleets.clients.edgekube.test", "--timeout=90s")
    server.kubectl("create", "namespace", namespace)

    def apply(boards: int, check: bool = True) -> str:
        return server.kubectl("-n", namespace, "apply", "-f", "-", stdin=_fleet(boards), check=check)

    def status() -> dict[str, Any]:
        found: dict[str, Any] = _get(server, namespace, "fleet/north").get("status") or {}
        return found

    with running(server, operator, namespace, tmp_path / "log") as first:
        apply(2)
        until(lambda: status().get("boards") == 2)
        fleet = _get(server, namespace, "fleet/north")
        assert fleet["metadata"]["finalizers"] == ["clients.edgekube.test/boards"] and fleet["spec"]["image"] == "busybox:1.36"
        assert fleet["status"]["conditions"][0]["type"] == "Ready" and fleet["status"]["observedGeneration"] == 1
        assert fleet["metadata"]["generation"] == 1, "neither a finalizer nor a status is a new generation"

        # Owned objects, one of them by server-side apply, and the word about them.
        board = _get(server, namespace, "configmap/north-1")
        owner = board["metadata"]["ownerReferences"][0]
        assert (owner["kind"], owner["name"], owner["controller"]) == ("Fleet", "north", True)
        assert _get(server, namespace, "deployment/north")["spec"]["template"]["spec"]["containers"][0]["name"] == "watch"
        managers = server.kubectl("-n", namespace, "get", "deployment/north", "-o", "json", "--show-managed-fields")
        assert ("fleets", "Apply") in [
            (entry["manager"], entry["operation"]) for entry in json.loads(managers)["metadata"]["managedFields"]
        ]
        until(lambda: "made board north-1" in server.kubectl("-n", namespace, "get", "events"))

        # A leader is elected by a Lease: a second operator does nothing meanwhile, and takes over when the first leaves.
        holder = _get(server, namespace, "lease/fleets")["spec"]["holderIdentity"]
        with running(server, operator, namespace, tmp_path / "second") as second:
            first.terminate()
            assert first.wait(90) == 0
            until(lambda: _get(server, namespace, "lease/fleets")["spec"]["holderIdentity"] not in ("", holder))
            server.kubectl("-n", namespace, "scale", "fleet/north", "--replicas=3")
            until(lambda: status().get("boards") == 3)
            # What goes comes back.
            server.kubectl("-n", namespace, "delete", "configmap/north-0")
            until(lambda: "north-0" in server.kubectl("-n", namespace, "get", "configmaps", "-o", "name"))

            assert "thirteen boards sink" in apply(13, check=False)
            assert "should be less than or equal to 20" in apply(21, check=False)
            assert server.kubectl("-n", namespace, "get", "fl").split() == ["NAME", "BOARDS", "north", "3"]

            server.kubectl("-n", namespace, "delete", "fleet/north")
            assert "north-farewell" in server.kubectl("-n", namespace, "get", "configmaps", "-o", "name")
            until(lambda: "north-0" not in server.kubectl("-n", namespace, "get", "configmaps", "-o", "name"))
            until(lambda: "north" not in server.kubectl("-n", namespace, "get", "deployments", "-o", "name"))
            assert second.poll() is None
    for log in ("log", "second"):
        said = (tmp_path / log).read_text()
        assert "panic" not in said and "Unsupported Media Type" not in said, said[-3000:]
    server.kubectl("delete", "namespace", namespace, "--wait=false")
