"""Questions that change nothing: lists, forms, parameters, and what the server says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from re import Pattern
from typing import Final

from tests.server.samples import STORED
from tests.upstream.asking import Request
from tests.upstream.questions import NAMESPACE, Pair, Question

_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
_PARTIAL: Final = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
#: What clients get wrong, and what they may ask for.
_QUERIES: Final = (
    "labelSelector=a%3Db",
    "labelSelector=a%20in",
    "labelSelector=a%3Db%2C%2Cc",
    "labelSelector=!a",
    "labelSelector=a%20notin%20(b%2Cc)",
    "labelSelector=-a%3Db",
    "labelSelector=a%3D-b",
    "labelSelector=a%3E1",
    "labelSelector=a%3Ex",
    "labelSelector=a%20in%20()",
    "fieldSelector=metadata.name%3Dx",
    "fieldSelector=spec.bogus%3Dx",
    "fieldSelector=x",
    "fieldSelector=metadata.name!%3Dx",
    "fieldSelector=status.phase%3DRunning%2Cspec.nodeName%3D",
    "limit=-1",
    "limit=x",
    "limit=0",
    "limit=1",
    "continue=bogus",
    "continue=bogus&limit=1",
    "resourceVersion=0",
    "resourceVersion=x",
    "resourceVersion=-1",
    "resourceVersion=99999999999",
    "resourceVersionMatch=Exact",
    "resourceVersionMatch=Exact&resourceVersion=0",
    "resourceVersionMatch=bogus&resourceVersion=1",
    "resourceVersionMatch=NotOlderThan&resourceVersion=0",
    "timeoutSeconds=x",
    "timeoutSeconds=-1",
    "watch=maybe&timeoutSeconds=1",
    "pretty=true",
    "sendInitialEvents=true",
    "watch=1&sendInitialEvents=true&timeoutSeconds=1",
    "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&timeoutSeconds=1",
    "watch=1&resourceVersion=x&timeoutSeconds=1",
    "watch=1&resourceVersion=99999999999&timeoutSeconds=1",
    "watch=1&labelSelector=a%20in&timeoutSeconds=1",
    "watch=1&fieldSelector=bogus%3D1&timeoutSeconds=1",
    "watch=1&limit=x&timeoutSeconds=1",
    "allowWatchBookmarks=x&watch=1&timeoutSeconds=1",
    "shardSelector=x",
    "bogus=1",
)
_OTHERS: Final = (
    ("GET", "/bogus"),
    ("GET", "/api/v2"),
    ("GET", "/apis/bogus"),
    ("GET", "/apis/apps/v2"),
    ("GET", "/apis/apps/v1/bogus"),
    ("GET", "/api/v1/namespaces/side/bogus"),
    ("GET", "/api/v1/namespaces/side/pods/x/bogus"),
    ("GET", "/api/v1/pods/x"),
    ("GET", "/api/v1/nodes/nope"),
    ("GET", "/apis/apps/v1/namespaces/side/deployments/nope"),
    ("PUT", "/api/v1/namespaces/side/pods"),
    ("POST", "/api/v1/namespaces/side/pods/x"),
    ("PATCH", "/api/v1/namespaces/side/pods"),
    ("DELETE", "/api/v1/pods"),
    ("POST", "/api/v1/pods"),
    ("DELETE", "/api/v1/namespaces"),
    ("GET", "/api/v1/namespaces/none/pods"),
    ("OPTIONS", _PODS),
    ("HEAD", _PODS),
    ("GET", "/api/v1/namespaces/side/pods/x/log"),
    ("GET", "/api/v1/namespaces/side/pods/x/status"),
    ("GET", "/api/v1/namespaces/side/services/x/proxy"),
    ("GET", "/version/"),
    ("GET", "/healthz"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/healthz/bogus"),
    ("GET", "/healthz/ping"),
    ("GET", "/livez/ping?verbose"),
    ("GET", "/api"),
    ("GET", "/apis"),
    ("GET", "/api/"),
    ("GET", "/apis/"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1/namespaces/side/pods/"),
    ("GET", "/"),
    ("GET", "/.well-known/openid-configuration"),
    ("GET", "/api/v1/componentstatuses"),
    ("GET", "/openapi"),
    ("GET", "/openapi/v3/bogus"),
    ("GET", "/metrics/bogus"),
    ("GET", "/api/v1/watch/namespaces/side/pods?timeoutSeconds=1"),
    ("GET", "/api/v1/watch/pods?timeoutSeconds=1"),
    ("GET", "/api/v1/watch/namespaces/side/configmaps/x?timeoutSeconds=1"),
    ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("GET", "/api/v1/namespaces/side/pods/x/exec"),
)
_BODIES: Final = (
    (b"", "application/json"),
    (b"{", "application/json"),
    (b"[]", "application/json"),
    (b"5", "application/json"),
    (b"null", "application/json"),
    (b"{}", "text/plain"),
    (b"{}", "application/bogus"),
    (b"a: [", "application/yaml"),
    (b"kind: ConfigMap\nmetadata: {name: y}\n", "application/yaml"),
    (b'{"kind":"Pod","apiVersion":"v1"}', "application/json"),
    (b'{"kind":"ConfigMap","apiVersion":"v2"}', "application/json"),
    (b'{"metadata":{"name":"a","name":"b"}}', "application/json"),
    (b'{"metadata":{"name":"a"},"bogus":1}', "application/json"),
    (b'{"metadata":{"name":"c","namespace":"default"}}', "application/json"),
    (b'{"metadata":{}}', "application/json"),
    (b'{"metadata":{"generateName":"g-"}}', "application/json"),
    (b"\xff\xfe", "application/json"),
    (b"k8s\x00\x01", "application/vnd.kubernetes.protobuf"),
)


def read(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    for query in _QUERIES:
        yield pair.ask(f"list {query}", "list", Request("GET", f"{_PODS}?{query}"))
    for kind in STORED:
        if kinds.search(kind.kind):
            path = kind.path(NAMESPACE if kind.namespaced else "", "", "")
            for accept in (_TABLE, _PARTIAL) if kind.namespaced else ():
                yield pair.ask(
                    f"{kind.kind}.{kind.version} list", accept, Request("GET", f"{path}?labelSelector=none", accept=accept)
                )
            yield pair.ask(f"{kind.kind}.{kind.version} list", "selector", Request("GET", f"{path}?fieldSelector=bogus%3D1"))
            yield pair.ask(f"{kind.kind}.{kind.version} get", "get", Request("GET", f"{path}/does-not-exist"))
            yield pair.ask(f"{kind.kind}.{kind.version} delete", "delete", Request("DELETE", f"{path}/does-not-exist"))
            yield pair.ask(f"{kind.kind}.{kind.version} put", "put", Request("PUT", f"{path}/does-not-exist", {}))
    for method, path in _OTHERS:
        yield pair.ask(f"{method} {path}", "other", Request(method, path))
    for accept in (
        "text/plain",
        "application/bogus",
        "application/yaml",
        "*/*",
        "application/*",
        "text/html, application/json;q=0.5",
        "application/json;as=Bogus;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v1beta1;g=meta.k8s.io",
        "",
    ):
        yield pair.ask(f"accept {accept}", "accept", Request("GET", _PODS, accept=accept))
    for body, content_type in _BODIES:
        for query in ("", "&fieldValidation=Strict", "&fieldValidation=Warn", "&fieldValidation=bogus"):
            request = Request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps?dryRun=All{query}", body, content_type)
            yield pair.ask(f"body {body!r} {content_type} {query}", "body", request)
    for query in ("dryRun=bogus", "dryRun=All&dryRun=All", "fieldManager=" + "a" * 129, "fieldManager=a%07b", "pretty=1"):
        request = Request("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps?{query}", {"metadata": {"name": "q"}})
        yield pair.ask(f"create {query}", "create", request)


def described(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    """Discovery and OpenAPI."""
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for path in ("/api", "/apis"):
        yield pair.ask(f"discovery {path}", "aggregated", Request("GET", path, accept=aggregated))
    groups = sorted({(kind.group, kind.version) for kind in STORED})
    for group, of in groups:
        path = f"/apis/{group}/{of}" if group else f"/api/{of}"
        yield pair.ask(f"resources {path}", "discovery", Request("GET", path))
        yield pair.ask(f"openapi v3 {path}", "openapi", Request("GET", f"/openapi/v3{path}"))
    for group in sorted({group for group, _ in groups if group}):
        yield pair.ask(f"group {group}", "group", Request("GET", f"/apis/{group}"))
    yield pair.ask("openapi v2", "openapi", Request("GET", "/openapi/v2"))
