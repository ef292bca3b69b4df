"""The flow schemas and priority levels that every cluster has.

Enters: nothing; data.
Leaves: the two mandatory pairs, catch-all and exempt, as objects.
Holds: clients list them and find what upstream makes mandatory; the server's own bound is server.inflight (source:
kubernetes.io, "API Priority and Fairness").
Next: registry.bootstrap.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object

_API_VERSION: Final = "flowcontrol.apiserver.k8s.io/v1"
_EVERYTHING: Final = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]},
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _subjects(*groups: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": group}} for group in groups]


def _schema(name: str, level: str, precedence: int, subjects: list[Object], distinguisher: str = "") -> Object:
    spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    spec["rules"] = [{"subjects": subjects, **_EVERYTHING}]
    return _object("FlowSchema", name, spec)


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata: Object = {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}
    return {"kind": kind, "apiVersion": _API_VERSION, "metadata": metadata, "spec": spec}


def default_flow_objects() -> list[Object]:
    return [
        _object(
            "PriorityLevelConfiguration",
            "exempt",
            {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
        ),
        _object(
            "PriorityLevelConfiguration",
            "catch-all",
            {
                "type": "Limited",
                "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
            },
        ),
        _schema("exempt", "exempt", 1, _subjects("system:masters")),
        _schema("catch-all", "catch-all", 10000, _subjects("system:unauthenticated", "system:authenticated"), "ByUser"),
    ]
