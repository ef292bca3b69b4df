"""What nodes are told of each other's pods."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from edgekube.api import pod_address


def pod(**status: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": "db-0", "namespace": "shop", "uid": "u1", "resourceVersion": "7", "labels": {"app": "db"},
            "annotations": {"note": "secret"}, "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "nodeName": "pi-1",
            "initContainers": [
                {"name": "migrate", "ports": [{"name": "never", "containerPort": 1}]},
                {"name": "proxy", "restartPolicy": "Always", "ports": [{"name": "admin", "containerPort": 9901}]},
            ],
            "containers": [
                {
                    "name": "db",
                    "image": "private/db:1",
                    "env": [{"name": "PASSWORD", "value": "hunter2"}],
                    "ports": [
                        {"name": "sql", "containerPort": 5432, "protocol": "TCP"},
                        {"name": "gossip", "containerPort": 7946, "protocol": "UDP"},
                        {"containerPort": 8080},
                    ],
                }
            ],
        },
        "status": {"phase": "Running", "podIPs": [{"ip": "10.42.1.9"}, {"ip": "fd42::9"}], **status},
    }  # fmt: skip


def raw(obj: dict[str, Any]) -> bytes:
    return orjson.dumps(obj)


def test_it_tells_where_a_pod_is_and_what_selects_it_and_nothing_else() -> None:
    assert orjson.loads(pod_address.project(raw(pod()))) == {
        "kind": "PodAddress",
        "apiVersion": "internal.edgekube.io/v1",
        "metadata": {"name": "db-0", "namespace": "shop", "uid": "u1", "resourceVersion": "7", "labels": {"app": "db"}},
        "nodeName": "pi-1",
        "phase": "Running",
        "podIPs": ["10.42.1.9", "fd42::9"],
        "ports": [
            {"name": "sql", "containerPort": 5432, "protocol": "TCP"},
            {"name": "gossip", "containerPort": 7946, "protocol": "UDP"},
            {"name": "admin", "containerPort": 9901, "protocol": "TCP"},
        ],
    }


def test_a_pod_that_nobody_placed_yet_has_no_address() -> None:
    told = orjson.loads(pod_address.project(raw({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"containers": []}})))
    assert told["metadata"]["name"] == "a" and "podIPs" not in told and "nodeName" not in told


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        (lambda p: p["metadata"].update(resourceVersion="8"), True),
        (lambda p: p["status"].update(conditions=[{"type": "Ready", "status": "True"}]), True),
        (lambda p: p["metadata"]["annotations"].update(more="x"), True),
        (lambda p: p["metadata"]["labels"].update(role="primary"), False),
        (lambda p: p["status"].update(phase="Succeeded"), False),
        (lambda p: p["status"].update(podIPs=[{"ip": "10.42.1.10"}]), False),
        (lambda p: p["spec"]["containers"][0]["ports"][0].update(containerPort=5433), False),
    ],
)
def test_states_that_tell_the_same_are_alike(change: Any, alike: bool) -> None:
    changed = pod()
    change(changed)
    assert pod_address.same(raw(pod()), raw(changed)) is alike
