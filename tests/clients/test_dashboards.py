"""What dashboards such as k9s and Headlamp ask of a cluster: plain HTTPS with a bearer token, no client library."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.clients.server import Server

_TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io, application/json"
_PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList, application/json"


class Dashboard:
    def __init__(self, server: Server, token: str) -> None:
        cluster = yaml.safe_load(server.kubeconfig.read_text())["clusters"][0]["cluster"]
        self._address = urlsplit(cluster["server"])
        self._context = ssl.create_default_context(cafile=str(server.directory / "data/server/pki/ca.crt"))
        self._token = token

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(
            str(self._address.hostname), self._address.port, context=self._context, timeout=60
        )
        all_headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json", **headers}
        connection.request(method, path, None if body is None else json.dumps(body), all_headers)
        return connection.getresponse()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.open(method, path, body, **headers)
        said = json.loads(answer.read())
        assert answer.status < 300, said
        return said


@pytest.fixture
def dashboard(server: Server, namespace: str) -> Iterator[Dashboard]:
    server.kubectl("create", "namespace", namespace)
    server.kubectl("-n", namespace, "create", "serviceaccount", "viewer")
    server.kubectl("create", "clusterrolebinding", namespace, "--clusterrole=view", f"--serviceaccount={namespace}:viewer")
    yield Dashboard(server, server.kubectl("-n", namespace, "create", "token", "viewer").strip())
    server.kubectl("delete", "clusterrolebinding", namespace)
    server.kubectl("delete", "namespace", namespace, "--wait=false")


def test_it_finds_out_what_there_is(dashboard: Dashboard, server: Server) -> None:
    groups = dashboard.ask("GET", "/apis", Accept=_DISCOVERY)
    assert groups["kind"] == "APIGroupDiscoveryList"
    kinds = {item["metadata"]["name"]: item["versions"][0]["resources"] for item in groups["items"]}
    deployments = next(item for item in kinds["apps"] if item["resource"] == "deployments")
    assert {"list", "watch", "patch"} <= set(deployments["verbs"]) and deployments["scope"] == "Namespaced"
    assert {item["subresource"] for item in deployments["subresources"]} == {"scale", "status"}
    assert {item["resource"] for item in kinds["metrics.k8s.io"]} == {"nodes", "pods"}
    measured = dashboard.ask("GET", "/apis/metrics.k8s.io/v1beta1/pods")
    assert (measured["kind"], measured["items"]) == ("PodMetricsList", []), "there is no node here"
    assert dashboard.open("GET", "/apis/none.example.com/v1/things").status == 403, "as for any path that a viewer may not ask"
    said = server.kubectl("get", "--raw", "/apis/none.example.com/v1/things", check=False)
    assert "Error from server (NotFound): the server could not find the requested resource" in said
    assert dashboard.ask("GET", "/version")["minor"] == "36"


def test_it_asks_what_it_may(dashboard: Dashboard, namespace: str) -> None:
    def may(verb: str, resource: str, group: str = "") -> bool:
        attributes = {"namespace": namespace, "verb": verb, "resource": resource, "group": group}
        review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = dashboard.ask("POST", path, {**review, "spec": {"resourceAttributes": attributes}})
        return bool(answer["status"]["allowed"])

    assert may("list", "pods") and may("watch", "deployments", "apps")
    assert not may("delete", "pods") and not may("get", "secrets") and not may("create", "pods/exec")
    rules = {"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"namespace": namespace}}
    told = dashboard.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", rules)
    assert any("configmaps" in rule["resources"] and "list" in rule["verbs"] for rule in told["status"]["resourceRules"])
    refused = dashboard.open("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
    assert refused.status == 403 and json.loads(refused.read())["reason"] == "Forbidden"


def test_it_shows_tables_and_keeps_them_current(dashboard: Dashboard, server: Server, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    server.kubectl("-n", namespace, "create", "configmap", "one", "--from-literal=a=1")
    table = dashboard.ask("GET", f"{path}?fieldSelector=metadata.name%3Done", Accept=_TABLE)
    assert table["kind"] == "Table" and [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert [row["cells"][:2] for row in table["rows"]] == [["one", 1]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = dashboard.ask("GET", path, Accept=_PARTIAL)
    assert partial["kind"] == "PartialObjectMetadataList" and all("data" not in item for item in partial["items"])

    revision = table["metadata"]["resourceVersion"]
    stream = dashboard.open("GET", f"{path}?watch=1&resourceVersion={revision}&timeoutSeconds=60", Accept=_TABLE)
    server.kubectl("-n", namespace, "create", "configmap", "two")
    server.kubectl("-n", namespace, "delete", "configmap", "one")
    events = [json.loads(stream.readline()) for _ in range(2)]
    assert [event["type"] for event in events] == ["ADDED", "DELETED"]
    assert [event["object"]["kind"] for event in events] == ["Table", "Table"]
    assert [event["object"]["rows"][0]["cells"][0] for event in events] == ["two", "one"]
    stream.close()
