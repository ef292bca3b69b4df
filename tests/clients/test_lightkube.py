"""lightkube: generated models, server-side apply by manager, wait conditions, its own resourceVersion handling."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.server import Server, until

lightkube = pytest.importorskip("lightkube", reason="the Python package lightkube is not installed")


@pytest.fixture
def client(server: Server, namespace: str) -> Iterator[Any]:
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import Namespace

    client = lightkube.Client(lightkube.KubeConfig.from_file(server.kubeconfig), namespace=namespace, field_manager="lightkube")
    client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    yield client
    client.delete(Namespace, namespace)


def test_a_dialogue(client: Any, namespace: str) -> None:
    from lightkube.models.core_v1 import ServicePort, ServiceSpec
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap, Service
    from lightkube.types import CascadeType, PatchType

    one = client.create(ConfigMap(metadata=ObjectMeta(name="one", labels={"app": "one"}), data={"a": "1"}))
    assert one.metadata.namespace == namespace
    with pytest.raises(lightkube.ApiError) as refused:
        client.create(ConfigMap(metadata=ObjectMeta(name="one")))
    assert refused.value.status.reason == "AlreadyExists" and refused.value.status.details.name == "one"

    patched = client.patch(ConfigMap, "one", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"a": "1", "b": "2"}
    one.data = {"a": "old"}
    with pytest.raises(lightkube.ApiError) as refused:
        client.replace(one)
    assert refused.value.status.code == 409 and refused.value.status.reason == "Conflict"

    ports = [ServicePort(port=80, name="http"), ServicePort(port=443, name="https")]
    made = client.create(Service(metadata=ObjectMeta(name="web"), spec=ServiceSpec(ports=ports, selector={"app": "web"})))
    assert made.spec.clusterIP and made.spec.type == "ClusterIP" and made.spec.ports[0].protocol == "TCP"
    # A strategic merge knows a list by its keys.
    change = {"spec": {"ports": [{"port": 443, "targetPort": 8443}]}}
    changed = client.patch(Service, "web", change, patch_type=PatchType.STRATEGIC)
    assert sorted((port.port, port.targetPort) for port in changed.spec.ports) == [(80, 80), (443, 8443)]

    assert [item.metadata.name for item in client.list(ConfigMap, labels={"app": "one"})] == ["one"]
    assert [item.metadata.name for item in client.list(ConfigMap, fields={"metadata.name": "one"}, chunk_size=1)] == ["one"]
    for event, seen in client.watch(ConfigMap, labels={"app": "one"}):
        assert (event, seen.metadata.name) == ("ADDED", "one")
        break
    client.delete(ConfigMap, "one", cascade=CascadeType.FOREGROUND)
    until(lambda: not list(client.list(ConfigMap, labels={"app": "one"})))
    with pytest.raises(lightkube.ApiError) as refused:
        client.get(ConfigMap, "one")
    assert refused.value.status.code == 404


def test_fields_are_owned_by_who_applied_them(client: Any) -> None:
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    def apply(manager: str, force: bool = False, **data: str) -> Any:
        wanted = ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name="owned"), data=data)
        return client.apply(wanted, field_manager=manager, force=force)

    apply("first", a="1", b="1")
    apply("second", c="2")
    with pytest.raises(lightkube.ApiError) as refused:
        apply("second", a="2", c="2")
    assert [cause.field for cause in refused.value.status.details.causes] == [".data.a"]
    assert refused.value.status.details.causes[0].reason == "FieldManagerConflict"
    assert apply("second", force=True, a="2", c="2").data == {"a": "2", "b": "1", "c": "2"}
    # What nobody wants any more is gone; what another one wants stays.
    assert apply("first").data == {"a": "2", "c": "2"}
