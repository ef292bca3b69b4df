"""Schemathesis reads our own documents and asks what they describe, and what they do not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import schemathesis
import yaml
from hypothesis import given

from tests.fuzz.effort import effort
from tests.fuzz.serving import Fuzzed

#: Where the cases go: a name that is there, so that more is asked than whether it exists.
PLACES = {"namespace": "default", "name": "fuzzed", "path": "x"}
CASES = {
    "/api/v1": (
        "namespaces/{namespace}/pods",
        "namespaces/{namespace}/services/{name}",
        "namespaces/{namespace}/events",
        "nodes",
    ),
    "/apis/apps/v1": ("namespaces/{namespace}/deployments", "namespaces/{namespace}/deployments/{name}/scale"),
    "/apis/batch/v1": ("namespaces/{namespace}/cronjobs/{name}",),
    "/apis/rbac.authorization.k8s.io/v1": ("clusterroles", "namespaces/{namespace}/rolebindings/{name}"),
    "/apis/apiextensions.k8s.io/v1": ("customresourcedefinitions", "customresourcedefinitions/{name}/status"),
    "/apis/admissionregistration.k8s.io/v1": ("validatingwebhookconfigurations", "validatingadmissionpolicies/{name}"),
}


def written(body: Any, media_type: str) -> bytes | None:
    if isinstance(body, bytes | None):
        return body
    try:
        return yaml.safe_dump(body).encode() if media_type.endswith("yaml") else orjson.dumps(body)
    except (TypeError, UnicodeEncodeError, yaml.YAMLError):
        return repr(body).encode("utf-8", "replace")  # numbers of more than 64 bits and lone surrogates


@pytest.mark.parametrize("group_version", CASES, ids=lambda each: each.removeprefix("/"))
def test_what_our_documents_describe_is_never_a_fault(server: Fuzzed, group_version: str) -> None:
    document = server.must("GET", f"/openapi/v3{group_version}")
    wanted = {f"{group_version}/{below}" for below in CASES[group_version]}
    found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    operations = [each.ok() for each in found]
    chosen = [operation for operation in operations if operation.path in wanted]
    assert {operation.path for operation in chosen} == wanted

    for operation in chosen:

        @effort(5)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            path = case.path.format(**PLACES)
            body = case.body if not isinstance(case.body, schemathesis.core.NotSet) else None
            media_type = case.media_type or "application/json"
            headers = {"content_type": media_type} if body is not None else {}
            server.ask(case.method.upper(), path, written(body, media_type), query=dict(case.query or {}), **headers)

        ask()
