"""Helm: a chart with a CRD, hooks and a workload is installed, upgraded, rolled back, tested and uninstalled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.building import HERE, go
from tests.clients.server import Server

_CHART = str(HERE / "chart")


@pytest.fixture(scope="module")
def helm_program() -> Path:
    return go("helm.sh/helm/v3/cmd/helm")


@pytest.fixture
def helm(helm_program: Path, server: Server, namespace: str) -> Callable[..., str]:
    def run(*arguments: str, check: bool = True) -> str:
        return server.run(helm_program, "-n", namespace, *arguments, check=check)

    return run


def test_a_release_from_its_first_revision_to_its_end(helm: Callable[..., str], server: Server, namespace: str) -> None:
    def get(what: str) -> Any:
        return json.loads(server.kubectl("-n", namespace, "get", what, "-o", "json"))

    # The CRD comes before what needs it; --wait asks the Deployment, the Service and the rest whether they are ready.
    said = helm("install", "north", _CHART, "--create-namespace", "--wait", "--timeout", "120s")
    assert "STATUS: deployed" in said and "REVISION: 1" in said
    assert get("lamp/north")["spec"] == {"colour": "dim"}
    facts = get("configmap/north-facts")
    assert facts["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert (facts["data"]["apps"], facts["data"]["minor"]) == ("true", "36")
    assert get("configmap/north-pre-install")["data"] == {"revision": "1"}

    refused = helm("upgrade", "north", _CHART, "--set", "lamp=mauve", check=False)
    assert 'Unsupported value: "mauve": supported values: "dim", "white", "red"' in refused
    assert get("lamp/north")["spec"] == {"colour": "dim"}

    # What somebody else changed stays where the chart does not speak of it: a three-way merge.
    server.kubectl("-n", namespace, "annotate", "service/north", "noted=yes")
    helm("upgrade", "north", _CHART, "--set", "lamp=red", "--wait", "--timeout", "120s")
    assert get("lamp/north")["spec"] == {"colour": "red"} and get("service/north")["metadata"]["annotations"]["noted"] == "yes"
    assert get("configmap/north-facts")["data"]["revision"] == "3" == get("configmap/north-post-upgrade")["data"]["revision"]
    assert get("configmap/north-facts")["data"]["before"] != facts["data"]["before"]

    helm("rollback", "north", "1", "--wait", "--timeout", "120s")
    assert get("lamp/north")["spec"] == {"colour": "dim"} and get("configmap/north-pre-rollback")["data"] == {"revision": "1"}
    history = json.loads(helm("history", "north", "-o", "json"))
    assert [entry["status"] for entry in history] == ["superseded", "failed", "superseded", "deployed"]
    assert "TEST SUITE:     north-test" in helm("test", "north") and "Phase:          Succeeded" in helm("status", "north")
    assert [entry["name"] for entry in json.loads(helm("list", "-o", "json"))] == ["north"]

    # A dry run at the server looks things up and stores nothing.
    assert 'minor: "36"' in helm("install", "south", _CHART, "--dry-run=server")
    assert "south" not in helm("list", "--all")

    assert 'release "north" uninstalled' in helm("uninstall", "north", "--wait", "--cascade", "foreground")
    left = server.kubectl("-n", namespace, "get", "lamps,deployments,services", "-o", "name")
    assert left == "" and "north-facts" not in server.kubectl("-n", namespace, "get", "configmaps", "-o", "name")
    assert "lamps.helm.edgekube.test" in server.kubectl("get", "crds", "-o", "name"), "Helm leaves CRDs"
    server.kubectl("delete", "crd/lamps.helm.edgekube.test", f"namespace/{namespace}", "--wait=false")
