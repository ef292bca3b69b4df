"""Questions about custom kinds: their objects, right and wrong, through schemas, rules, versions and subresources."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from re import Pattern
from typing import Final

import yaml

from tests.upstream.asking import Request
from tests.upstream.corpus import mutations
from tests.upstream.questions import NAMESPACE, TALKS, Pair, Question

_GROUP: Final = "custom.side.example.com"
_DEFINITION, _BOAT = yaml.safe_load_all((TALKS / "boats.yaml").read_text())
_PATH: Final = f"/apis/{_GROUP}/v1/namespaces/{NAMESPACE}/boats"
_MERGE: Final = "application/merge-patch+json"
_APPLY: Final = "application/apply-patch+yaml"
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"


def customs(pair: Pair, kinds: Pattern[str], version: str) -> Iterator[Question]:
    yield from _definitions(pair)
    pair.both(Request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _DEFINITION))
    for _ in range(600):
        if all(answer.status == 200 for answer in pair.both(Request("GET", _PATH))):
            break
    for what, body in mutations(_BOAT):
        for validation in ("Strict", "Warn"):
            request = Request("POST", f"{_PATH}?dryRun=All&fieldValidation={validation}", body)
            yield pair.ask(f"Boat {validation} {what.split()[0]}", what, request)
    yield pair.ask("Boat create", "create", Request("POST", _PATH, _BOAT))
    for what, body in mutations(_BOAT):
        yield pair.ask(f"Boat update {what.split()[0]}", what, Request("PUT", f"{_PATH}/argo?dryRun=All", body))
        yield pair.ask(f"Boat status {what.split()[0]}", what, Request("PUT", f"{_PATH}/argo/status?dryRun=All", body))
    yield from _talk(pair)


def _definitions(pair: Pair) -> Iterator[Question]:
    """Each place of a definition changed."""
    for what, body in mutations(_DEFINITION):
        request = Request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?dryRun=All", body)
        yield pair.ask(f"definition {what.split()[0]}", what, request)


def _talk(pair: Pair) -> Iterator[Question]:
    """One after the other."""
    beta = _PATH.replace("/v1/", "/v1beta1/")
    applied = {"apiVersion": _BOAT["apiVersion"], "kind": "Boat", "metadata": {"name": "argo"}}
    deeper = [{"name": "one", "depth": 9}]
    fleet = {**applied, "metadata": {"name": "swift"}, "spec": {"crew": 2, "ports": [{"name": "x"}]}}
    for method, path, body, content_type, accept in (
        ("GET", f"{_PATH}/argo", None, "", ""),
        ("GET", f"{_PATH}/argo", None, "", _TABLE),
        ("GET", _PATH, None, "", _TABLE),
        ("GET", f"{_PATH}/argo", None, "", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"),
        ("GET", f"{beta}/argo", None, "", ""),
        ("GET", f"{beta}/argo", None, "", _TABLE),
        ("GET", f"{_PATH}/argo/scale", None, "", ""),
        ("GET", f"{_PATH}/argo/status", None, "", ""),
        ("GET", f"{_PATH}/argo/bogus", None, "", ""),
        ("GET", f"{_PATH}?fieldSelector=spec.place%3Dlake", None, "", ""),
        ("GET", f"{_PATH}?fieldSelector=spec.crew%3D3", None, "", ""),
        ("GET", f"{_PATH}/argo", None, "", "application/vnd.kubernetes.protobuf"),
        ("POST", _PATH, b"k8s\x00", "application/vnd.kubernetes.protobuf", ""),
        ("PATCH", f"{_PATH}/argo", {"spec": {"crew": 13}}, "application/strategic-merge-patch+json", ""),
        ("PATCH", f"{_PATH}/argo", {"spec": {"crew": 13}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo", {"spec": {"crew": "x"}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo", {"spec": {"home": "other"}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo", {"spec": {"bogus": 1}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo?fieldValidation=Strict", {"spec": {"bogus": 1}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo", [{"op": "replace", "path": "/spec/crew", "value": 200}], "application/json-patch+json", ""),
        ("PATCH", f"{_PATH}/argo", [{"op": "remove", "path": "/spec/nope"}], "application/json-patch+json", ""),
        ("PATCH", f"{_PATH}/argo/status", {"status": {"crew": 5, "selector": "a=b"}, "spec": {"crew": 1}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo/status", {"status": {"crew": "x"}}, _MERGE, ""),
        ("GET", f"{_PATH}/argo/scale", None, "", ""),
        ("PATCH", f"{_PATH}/argo/scale", {"spec": {"replicas": 20}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo/scale", {"spec": {"replicas": -1}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo/scale", {"spec": {"replicas": 2000}}, _MERGE, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", {**applied, "spec": {"crew": 20}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", {**applied, "spec": {"crew": 21}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one&force=true", {**applied, "spec": {"crew": 21, "ports": deeper}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", applied, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", {**applied, "spec": {"bogus": 1}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", {**applied, "spec": {"ports": [{"name": "a"}, {"name": "a"}]}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/argo?fieldManager=one", {**applied, "spec": {"flags": ["a", "a"]}}, _APPLY, ""),
        ("PATCH", f"{_PATH}/swift?fieldManager=one", fleet, _APPLY, ""),
        ("PATCH", f"{_PATH}/swift?fieldManager=two", {**fleet, "spec": {"crew": 2, "sails": 4}}, _APPLY, ""),
        ("PATCH", f"{beta}/swift?fieldManager=beta&force=true", {**fleet, "apiVersion": f"{_GROUP}/v1beta1"}, _APPLY, ""),
        ("GET", f"{_PATH}/swift", None, "", ""),
        ("POST", beta, {**_BOAT, "apiVersion": f"{_GROUP}/v1beta1", "metadata": {"name": "raft"}}, "", ""),
        ("POST", beta, {**applied, "apiVersion": f"{_GROUP}/v1beta1", "metadata": {"name": "wreck"}, "free": {"x": 1}}, "", ""),
        ("POST", _PATH, {**_BOAT, "apiVersion": f"{_GROUP}/v1beta1"}, "", ""),
        ("POST", _PATH, {**_BOAT, "kind": "Ship"}, "", ""),
        ("POST", _PATH, {"metadata": {"name": "bare"}, "spec": {"crew": 1}}, "", ""),
        ("POST", _PATH, {**_BOAT, "metadata": {"generateName": "Bad_"}}, "", ""),
        ("PUT", f"{_PATH}/argo", {**_BOAT, "metadata": {"name": "argo", "resourceVersion": "1"}}, "", ""),
        ("PUT", f"{_PATH}/nope", {**_BOAT, "metadata": {"name": "nope"}}, "", ""),
        ("DELETE", f"{_PATH}/swift?dryRun=All", None, "", ""),
        ("DELETE", f"{_PATH}/swift", {"preconditions": {"uid": "nope"}}, "", ""),
        ("DELETE", f"{_PATH}/swift", None, "", ""),
        ("DELETE", f"{_PATH}?labelSelector=a%3Db", None, "", ""),
        ("GET", _PATH, None, "", _TABLE),
        ("GET", f"/apis/{_GROUP}", None, "", ""),
        ("GET", f"/apis/{_GROUP}/v1", None, "", ""),
        ("GET", f"/apis/{_GROUP}/v1beta1", None, "", ""),
        ("GET", f"/openapi/v3/apis/{_GROUP}/v1", None, "", ""),
    ):  # fmt: skip
        data = yaml.safe_dump(body).encode() if content_type == _APPLY else copy.deepcopy(body)
        told = f"{method} {path.removeprefix(_PATH)} {content_type} {str(body)[:80] if body else accept}"
        yield pair.ask(f"Boat {told}", "talk", Request(method, path, data, content_type or "application/json", accept))
