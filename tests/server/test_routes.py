"""From a path to what it wants, and from an Accept header to a form: pure."""

from __future__ import annotations

import pytest

from edgekube.api.errors import StatusError
from edgekube.server.negotiation import JSON, YAML, accepts, negotiate
from edgekube.server.routes import route


@pytest.mark.parametrize(
    ("method", "path", "query", "verb", "parts"),
    [
        ("GET", "/api/v1/pods", "", "list", ("", "v1", "", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", "watch=true", "watch", ("", "v1", "a", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods", "watch=0", "list", ("", "v1", "a", "pods", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/p", "", "get", ("", "v1", "a", "pods", "p", "")),
        ("PUT", "/api/v1/namespaces/a/pods/p/status", "", "update", ("", "v1", "a", "pods", "p", "status")),
        ("GET", "/api/v1/namespaces", "", "list", ("", "v1", "", "namespaces", "", "")),
        ("GET", "/api/v1/namespaces/a", "", "get", ("", "v1", "", "namespaces", "a", "")),
        ("PUT", "/api/v1/namespaces/a/finalize", "", "update", ("", "v1", "", "namespaces", "a", "finalize")),
        ("PATCH", "/api/v1/namespaces/a/status", "", "patch", ("", "v1", "", "namespaces", "a", "status")),
        ("DELETE", "/apis/apps/v1/namespaces/a/deployments", "", "deletecollection", ("apps", "v1", "a", "deployments", "", "")),
        ("POST", "/apis/apps/v1/namespaces/a/deployments", "", "create", ("apps", "v1", "a", "deployments", "", "")),
        ("GET", "/apis/node.k8s.io/v1/runtimeclasses/x%2Fy", "", "get", ("node.k8s.io", "v1", "", "runtimeclasses", "x/y", "")),
        ("HEAD", "/api/v1/nodes/n", "", "get", ("", "v1", "", "nodes", "n", "")),
    ],
)  # fmt: skip
def test_resources(method: str, path: str, query: str, verb: str, parts: tuple[str, ...]) -> None:
    found = route(method, path, query)
    assert found.is_resource
    assert found.verb == verb
    assert (found.group, found.version, found.namespace, found.plural, found.name, found.subresource) == parts


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3/api/v1"]
)
def test_paths(path: str) -> None:
    found = route("GET", path, "")
    assert not found.is_resource
    assert (found.verb, found.path) == ("get", path)


def test_what_follows_a_proxy() -> None:
    found = route("GET", "/api/v1/namespaces/a/services/web:80/proxy/a/b", "c=d")
    assert (found.name, found.subresource, found.rest, found.parameter("c")) == ("web:80", "proxy", "a/b", "d")


@pytest.mark.parametrize(
    ("accept", "media_type", "view"),
    [
        ("", JSON, ""),
        ("*/*", JSON, ""),
        ("application/json;q=0.9", JSON, ""),
        ("application/yaml", YAML, ""),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON, ""),
        ("application/vnd.kubernetes.protobuf,application/json", JSON, ""),
        ("application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf", ""),  # who takes nothing else
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", JSON, "Table"),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", JSON, ""),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", JSON, "PartialObjectMetadata"),
    ],
)
def test_forms(accept: str, media_type: str, view: str) -> None:
    form = negotiate(accept)
    assert (form.media_type, form.view) == (media_type, view)


@pytest.mark.parametrize("accept", ["text/html", "application/cbor"])
def test_forms_that_are_not_served(accept: str) -> None:
    with pytest.raises(StatusError) as error:
        negotiate(accept)
    assert error.value.code == 406


def test_a_form_behind_plain_json_is_not_wanted() -> None:
    wanted = {"group": "apidiscovery.k8s.io", "version": "v2", "view": "APIGroupDiscoveryList"}
    form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert accepts(f"{form},application/json", **wanted)
    assert not accepts(f"application/json,{form}", **wanted)
    assert not accepts("", **wanted)
