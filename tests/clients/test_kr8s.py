"""kr8s: objects that act, selectors, conditions, scaling, waiting and watching."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.server import Server, until

kr8s = pytest.importorskip("kr8s", reason="the Python package kr8s is not installed")


@pytest.fixture
def api(server: Server, namespace: str) -> Iterator[Any]:
    objects = __import__("kr8s.objects", fromlist=["Namespace"])
    api = kr8s.api(kubeconfig=str(server.kubeconfig))
    space = objects.Namespace({"metadata": {"name": namespace}}, api=api)
    space.create()
    yield api
    space.delete()


def _new(kind: str, namespace: str, name: str, api: Any, **body: Any) -> Any:
    objects = __import__("kr8s.objects", fromlist=[kind])
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return getattr(objects, kind)({"metadata": metadata, **body}, api=api)


def test_a_dialogue(api: Any, namespace: str) -> None:
    assert api.version()["minor"].rstrip("+") == "36"
    one = _new("ConfigMap", namespace, "one", api, data={"a": "1"})
    assert not one.exists()
    one.create()
    assert one.exists() and one.raw["metadata"]["resourceVersion"]

    one.patch({"data": {"b": "2"}})
    one.label(stage="test")
    one.annotate(note="kept")
    one.refresh()
    assert one.raw["data"] == {"a": "1", "b": "2"} and one.labels["stage"] == "test" and one.annotations["note"] == "kept"
    one.patch([{"op": "remove", "path": "/data/a"}], type="json")
    assert one.raw["data"] == {"b": "2"}

    _new("ConfigMap", namespace, "two", api).create()
    found = list(api.get("configmaps", namespace=namespace, label_selector={"stage": "test"}))
    assert [item.name for item in found] == ["one"]
    assert [item.name for item in api.get("cm", "two", namespace=namespace)] == ["two"]

    one.delete()
    one.wait("delete", timeout=90)
    with pytest.raises(kr8s.NotFoundError):
        one.refresh()


def test_a_deployment_is_scaled_by_its_subresource(api: Any, namespace: str) -> None:
    container = {"name": "web", "image": "busybox:1.36"}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    web = _new("Deployment", namespace, "web", api, spec=spec)
    web.create()
    web.patch({"spec": {"replicas": 3}}, subresource="scale")
    web.refresh()
    assert web.replicas == 3

    def made() -> bool:
        web.refresh()
        return bool(web.raw.get("status", {}).get("replicas") == 3)

    until(made)
    web.delete(propagation_policy="Foreground")
    web.wait("delete", timeout=90)
    assert not list(api.get("replicasets", namespace=namespace))


def test_a_watch_tells_what_others_do(api: Any, server: Server, namespace: str) -> None:
    one = _new("ConfigMap", namespace, "one", api, data={"a": "1"})
    one.create()

    def others() -> None:
        server.kubectl("-n", namespace, "patch", "configmap", "one", "-p", '{"data":{"a":"2"}}')
        server.kubectl("-n", namespace, "delete", "configmap", "one")

    told: list[tuple[str, str]] = []
    acting = threading.Thread(target=others)
    for kind, seen in api.watch("configmaps", namespace=namespace, label_selector="app=one"):
        if not told:
            acting.start()
        told.append((kind, seen.raw["data"]["a"]))
        if kind == "DELETED":
            break
    acting.join(60)
    assert told == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
