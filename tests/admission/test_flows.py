"""Which flow a request belongs to."""

from __future__ import annotations

import pytest

from edgekube.admission.attributes import Attributes
from edgekube.admission.flows import find, flow_of, in_order, schema_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.flowcontrol import default_flow_objects

SCHEMAS = in_order(schema_of(obj) for obj in default_flow_objects() if obj["kind"] == "FlowSchema")
NODE = UserInfo("system:node:pi-7", groups=("system:nodes", "system:authenticated"))
ALICE = UserInfo("alice", groups=("system:authenticated",))
ROBOT = UserInfo("system:serviceaccount:default:robot", groups=("system:serviceaccounts", "system:authenticated"))
SYSTEM_ROBOT = UserInfo("system:serviceaccount:kube-system:dns", groups=("system:serviceaccounts", "system:authenticated"))
ADMIN = UserInfo("system:admin", groups=("system:masters", "system:authenticated"))
LEASES = ("coordination.k8s.io", "v1", "leases")


@pytest.mark.parametrize(
    ("attributes", "schema", "level", "flow"),
    [
        (Attributes(ADMIN, "delete", "", "v1", "pods", "", "default"), "exempt", "exempt", ""),
        (Attributes(ALICE, "get", path="/readyz"), "probes", "exempt", ""),
        (Attributes(ALICE, "get", path="/metrics"), "global-default", "global-default", "alice"),
        (Attributes(NODE, "patch", "", "v1", "nodes", "status"), "system-node-high", "node-high", NODE.name),
        (Attributes(NODE, "update", *LEASES, "", "kube-node-lease"), "system-node-high", "node-high", NODE.name),
        (Attributes(NODE, "patch", "", "v1", "pods", "status", "default"), "system-nodes", "system", NODE.name),
        (
            Attributes(SYSTEM_ROBOT, "update", *LEASES, "", "kube-system"),
            "system-leader-election",
            "leader-election",
            SYSTEM_ROBOT.name,
        ),
        (Attributes(SYSTEM_ROBOT, "list", "", "v1", "pods", "", "a"), "kube-system-service-accounts", "workload-high", "a"),
        (Attributes(ROBOT, "list", "", "v1", "pods"), "service-accounts", "workload-low", ROBOT.name),
        (Attributes(ALICE, "list", "", "v1", "pods"), "global-default", "global-default", "alice"),
    ],
)
def test_the_suggested_schemas(attributes: Attributes, schema: str, level: str, flow: str) -> None:
    found = find(SCHEMAS, attributes)
    assert found is not None and (found.name, found.level, flow_of(found, attributes)) == (schema, level, flow)


def test_rules_are_exact() -> None:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "alice"}}],
        "resourceRules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/openapi/*"]}],
    }
    schema = schema_of({"metadata": {"name": "x"}, "spec": {"rules": [rule]}})

    def found(verb: str, subresource: str = "", namespace: str = "") -> bool:
        return find([schema], Attributes(ALICE, verb, "", "v1", "pods", subresource, namespace)) is not None

    def path_found(verb: str, path: str) -> bool:
        return find([schema], Attributes(ALICE, verb, path=path)) is not None

    assert found("list", namespace="a")
    assert not found("list", namespace="b") and not found("list"), "neither elsewhere nor everywhere"
    assert not found("get", namespace="a") and not found("list", "log", "a")
    assert path_found("get", "/openapi/v3") and not path_found("get", "/openapi") and not path_found("post", "/openapi/v3")
    assert find([schema], Attributes(ROBOT, "list", "", "v1", "pods", "", "a")) is None
