"""Audit policies: the first rule that fits, and mistakes that are told with the field's name."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.admission.audit_policy import COMPLETE, RECEIVED, Asked, PolicyError, parse_policy


def _policy(*rules: Any, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}


def _pods(verb: str = "get", **more: Any) -> Asked:
    return Asked(**{
        "user": "alice", "groups": ("developers",), "verb": verb, "is_resource": True, "resource": "pods", "namespace": "default",
        "name": "web", **more,
    })  # fmt: skip


HEALTH = Asked("system:anonymous", ("system:unauthenticated",), "get", False, "/healthz/ping")


@pytest.mark.parametrize(
    ("rule", "asked", "fits"),
    [
        ({}, _pods(), True),
        ({}, HEALTH, True),
        ({"users": ["alice", "bob"]}, _pods(), True),
        ({"users": ["bob"]}, _pods(), False),
        ({"userGroups": ["developers"]}, _pods(), True),
        ({"userGroups": ["system:nodes"]}, _pods(), False),
        ({"verbs": ["list", "get"]}, _pods(), True),
        ({"verbs": ["watch"]}, _pods(), False),
        ({"namespaces": ["default"]}, _pods(), True),
        ({"namespaces": [""]}, _pods(), False),
        ({"namespaces": [""]}, _pods(namespace="", resource="nodes"), True),
        ({"namespaces": ["default"]}, HEALTH, False),
        ({"resources": [{"group": ""}]}, _pods(), True),
        ({"resources": [{"group": "apps"}]}, _pods(), False),
        ({"resources": [{"resources": ["pods"]}]}, _pods(subresource="log"), False),
        ({"resources": [{"resources": ["pods/log"]}]}, _pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods/*"]}]}, _pods(subresource="log"), True),
        ({"resources": [{"resources": ["*/log"]}]}, _pods(subresource="log"), True),
        ({"resources": [{"resources": ["*/scale"]}]}, _pods(subresource="log"), False),
        ({"resources": [{"resources": ["*"]}]}, _pods(subresource="log"), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["web"]}]}, _pods(), True),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["db"]}]}, _pods(), False),
        ({"nonResourceURLs": ["/healthz*"]}, HEALTH, True),
        ({"nonResourceURLs": ["/healthz"]}, HEALTH, False),
        ({"nonResourceURLs": ["*"]}, HEALTH, True),
        ({"nonResourceURLs": ["*"]}, _pods(), False),
    ],
)
def test_a_rule_fits(rule: dict[str, Any], asked: Asked, fits: bool) -> None:
    policy = parse_policy(_policy({"level": "Request", **rule}))
    assert policy.of(asked).level == ("Request" if fits else "None")


def test_the_first_rule_decides_and_stages_add_up() -> None:
    policy = parse_policy(
        _policy(
            {"level": "None", "users": ["alice"], "verbs": ["watch"]},
            {"level": "Metadata", "users": ["alice"], "omitStages": ["ResponseComplete"], "omitManagedFields": False},
            {"level": "RequestResponse"},
            omitStages=["RequestReceived"],
            omitManagedFields=True,
        )
    )
    assert policy.of(_pods("watch")).level == "None"
    said = policy.of(_pods())
    assert (said.level, said.omitted, said.omit_managed_fields) == ("Metadata", frozenset({RECEIVED, COMPLETE}), False)
    assert policy.of(HEALTH).omit_managed_fields


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ([], "the file is no Policy"),
        ({"apiVersion": "audit.k8s.io/v1beta1", "kind": "Policy"}, "the file is no Policy"),
        (_policy(), "rules: there must be at least one"),
        (_policy({"level": "Everything"}), r"rules\[0\].level: the levels are None, Metadata"),
        (_policy({"level": "None"}, {"level": "None", "user": ["a"]}), r"rules\[1\].user: there is no such field"),
        (_policy({"level": "None", "nonResourceURLs": ["/a*b"]}), "nonResourceURLs: '/a[*]b' must begin with /"),
        (_policy({"level": "None", "nonResourceURLs": ["/a"], "namespaces": ["b"]}), "paths or of resources, not of both"),
        (_policy({"level": "None", "resources": [{"resourceNames": ["a"]}]}), r"resources\[0\].resourceNames: names need"),
        (_policy({"level": "None", "resources": [{"group": "apps/v1"}]}), "a group has no version"),
        (_policy({"level": "None", "omitStages": ["End"]}), "'End' is no stage"),
        (_policy({"level": "None", "users": "alice"}), "users: expected a list of strings"),
        (_policy({"level": "None"}, omitManagedFields="yes"), "omitManagedFields: expected true or false"),
    ],
)
def test_a_mistake_is_told(policy: Any, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        parse_policy(policy)
