"""The official Python client: typed models, dynamic client, watches, patches, server-side apply, conflicts, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.server import Server, until

kubernetes = pytest.importorskip("kubernetes", reason="the Python package kubernetes is not installed")


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[Any]:
    loaded = kubernetes.config.new_client_from_config(config_file=str(server.kubeconfig))
    with loaded as client:
        yield client


@pytest.fixture
def core(api: Any, namespace: str) -> Iterator[Any]:
    core = kubernetes.client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": namespace}})
    yield core
    core.delete_namespace(namespace)


def _config_map(name: str, **data: str) -> Any:
    client = kubernetes.client
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": name}), data=data)


def test_a_dialogue_in_models(core: Any, namespace: str) -> None:
    made = core.create_namespaced_config_map(namespace, _config_map("one", a="1"))
    assert made.metadata.uid and made.data == {"a": "1"}
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.create_namespaced_config_map(namespace, _config_map("one"))
    assert refused.value.status == 409 and '"reason":"AlreadyExists"' in refused.value.body

    # A merge patch, and an update from what was read before it.
    core.patch_namespaced_config_map("one", namespace, {"data": {"b": "2"}})
    made.data["a"] = "3"
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.replace_namespaced_config_map("one", namespace, made)
    assert refused.value.status == 409 and "please apply your changes to the latest version" in refused.value.body
    fresh = core.read_namespaced_config_map("one", namespace)
    fresh.data["a"] = "3"
    assert core.replace_namespaced_config_map("one", namespace, fresh).data == {"a": "3", "b": "2"}

    core.create_namespaced_config_map(namespace, _config_map("two"))
    listed = core.list_namespaced_config_map(namespace, label_selector="app in (one, two)")
    assert [item.metadata.name for item in listed.items] == ["one", "two"]
    page = core.list_namespaced_config_map(namespace, limit=1, label_selector="app")
    rest = core.list_namespaced_config_map(namespace, limit=1, label_selector="app", _continue=page.metadata._continue)
    assert [page.items[0].metadata.name, rest.items[0].metadata.name] == ["one", "two"]

    core.delete_namespaced_config_map("one", namespace)
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.read_namespaced_config_map("one", namespace)
    assert refused.value.status == 404


def test_a_watch_tells_all_in_order(core: Any, namespace: str) -> None:
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, _config_map("seen", a="1"))
    core.patch_namespaced_config_map("seen", namespace, {"data": {"a": "2"}})
    core.delete_namespaced_config_map("seen", namespace)
    seen = []
    watch = kubernetes.watch.Watch()
    for event in watch.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=start,
        label_selector="app=seen",
        timeout_seconds=30,
    ):
        seen.append((event["type"], event["object"].data["a"]))
        if event["type"] == "DELETED":
            watch.stop()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_the_dynamic_client_discovers_applies_and_is_told_of_conflicts(api: Any, core: Any, namespace: str) -> None:
    dynamic = kubernetes.dynamic.DynamicClient(api)
    deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
    assert deployments.namespaced and "deploy" in deployments.short_names
    container = {"name": "web", "image": "busybox:1.36"}
    body: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }
    applied = deployments.server_side_apply(body=body, namespace=namespace, field_manager="first")
    assert applied.spec.replicas == 2 and applied.spec.template.spec.containers[0].imagePullPolicy == "IfNotPresent"
    assert "first" in [entry.manager for entry in applied.metadata.managedFields]

    body["spec"]["replicas"] = 5
    with pytest.raises(kubernetes.dynamic.exceptions.ConflictError) as refused:
        deployments.server_side_apply(body=body, namespace=namespace, field_manager="second")
    assert 'conflict with \\"first\\": .spec.replicas' in str(refused.value.body)
    forced = deployments.server_side_apply(body=body, namespace=namespace, field_manager="second", force_conflicts=True)
    assert forced.spec.replicas == 5

    # Its ReplicaSet belongs to it and goes with it.
    apps = kubernetes.client.AppsV1Api(api)
    sets = until(lambda: apps.list_namespaced_replica_set(namespace, label_selector="app=web").items)
    assert sets[0].metadata.owner_references[0].name == "web" and sets[0].metadata.owner_references[0].controller
    assert until(lambda: apps.read_namespaced_deployment("web", namespace).status.replicas == 5)
    deployments.delete(name="web", namespace=namespace)
    until(lambda: not apps.list_namespaced_replica_set(namespace).items)


def test_access_is_asked_about_and_refused(api: Any, core: Any, namespace: str) -> None:
    client = kubernetes.client
    core.create_namespaced_service_account(namespace, {"metadata": {"name": "reader"}})
    rbac = client.RbacAuthorizationV1Api(api)
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    rbac.create_namespaced_role(namespace, {"metadata": {"name": "reader"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    rbac.create_namespaced_role_binding(namespace, {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]})
    token = core.create_namespaced_service_account_token("reader", namespace, {"spec": {"expirationSeconds": 600}})

    configuration = client.Configuration()
    configuration.host = api.configuration.host
    configuration.ssl_ca_cert = api.configuration.ssl_ca_cert
    configuration.api_key = {"authorization": f"Bearer {token.status.token}"}
    with client.ApiClient(configuration) as restricted:
        reader = client.CoreV1Api(restricted)

        def may(verb: str, resource: str) -> bool:
            attributes = {"namespace": namespace, "verb": verb, "resource": resource}
            review = client.AuthorizationV1Api(restricted).create_self_subject_access_review(
                {"spec": {"resourceAttributes": attributes}}
            )
            return bool(review.status.allowed)

        assert until(lambda: may("list", "configmaps"))
        assert not may("create", "configmaps") and not may("get", "secrets")
        assert reader.list_namespaced_config_map(namespace).kind == "ConfigMapList"
        with pytest.raises(client.ApiException) as refused:
            reader.create_namespaced_config_map(namespace, _config_map("mine"))
        account = f"system:serviceaccount:{namespace}:reader"
        assert refused.value.status == 403 and f'User \\"{account}\\" cannot create resource' in refused.value.body
