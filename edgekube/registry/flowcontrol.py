"""The flow schemas and priority levels that every cluster has.

Enters: nothing; data.
Leaves: the mandatory and the suggested ones, as objects.
Holds: names, shares and precedences are upstream's (source: kubernetes.io, "API Priority and Fairness", defaults;
k8s.io/apiserver pkg/apis/flowcontrol/bootstrap).
Next: registry.bootstrap; server.fairness goes by them.
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


_READS_AND_WRITES: Final = ["get", "create", "update"]


def _rule(verbs: list[str], group: str, resources: list[str], *, cluster: bool) -> Object:
    rule: Object = {"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"]}
    if cluster:
        rule["clusterScope"] = True
    return rule


def _groups(*names: str) -> list[Object]:
    return [{"kind": "Group", "group": {"name": name}} for name in names]


def _users(*names: str) -> list[Object]:
    return [{"kind": "User", "user": {"name": name}} for name in names]


_SYSTEM_ACCOUNTS: Final = [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}}]
_EVERYBODY: Final = _groups("system:unauthenticated", "system:authenticated")
_LEASES: Final = _rule(["*"], "coordination.k8s.io", ["leases"], cluster=False)
_NODES: Final = [_rule(["*"], "", ["nodes", "nodes/status"], cluster=True), _LEASES]
_ELECTIONS: Final = [_rule(_READS_AND_WRITES, "coordination.k8s.io", ["leases"], cluster=False)]
_PROBES: Final = {"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]}

#: name, shares, lendablePercent, queues, handSize of the suggested levels.
_LEVELS: Final = (
    ("system", 30, 33, 64, 6),
    ("node-high", 40, 25, 64, 6),
    ("leader-election", 10, 0, 16, 4),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
    ("global-default", 20, 50, 128, 6),
)
_QUEUE_LENGTH: Final = 50


def _schema(
    name: str, level: str, precedence: int, subjects: list[Object], distinguisher: str = "", rules: Object | None = None
) -> Object:
    spec: Object = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence}
    if distinguisher:
        spec["distinguisherMethod"] = {"type": distinguisher}
    spec["rules"] = [{"subjects": subjects, **(rules or _EVERYTHING)}]
    return _object("FlowSchema", name, spec)


def _object(kind: str, name: str, spec: Object) -> Object:
    metadata: Object = {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}
    return {"kind": kind, "apiVersion": _API_VERSION, "metadata": metadata, "spec": spec}


def _limited(name: str, shares: int, lendable: int, response: Object) -> Object:
    limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
    return _object("PriorityLevelConfiguration", name, {"type": "Limited", "limited": limited})


def default_flow_objects() -> list[Object]:
    exempt = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}
    found = [
        _object("PriorityLevelConfiguration", "exempt", exempt),
        _limited("catch-all", 5, 0, {"type": "Reject"}),
    ]
    for name, shares, lendable, queues, hand in _LEVELS:
        queuing = {"queues": queues, "handSize": hand, "queueLengthLimit": _QUEUE_LENGTH}
        found.append(_limited(name, shares, lendable, {"type": "Queue", "queuing": queuing}))
    return [
        *found,
        _schema("exempt", "exempt", 1, _groups("system:masters")),
        _schema("probes", "exempt", 2, _EVERYBODY, rules=_PROBES),
        _schema(
            "system-leader-election", "leader-election", 100,
            [*_users("system:kube-controller-manager", "system:kube-scheduler"), *_SYSTEM_ACCOUNTS], "ByUser",
            {"resourceRules": _ELECTIONS},
        ),
        _schema("system-node-high", "node-high", 400, _groups("system:nodes"), "ByUser", {"resourceRules": _NODES}),
        _schema("system-nodes", "system", 500, _groups("system:nodes"), "ByUser"),
        _schema("kube-controller-manager", "workload-high", 800, _users("system:kube-controller-manager"), "ByNamespace"),
        _schema("kube-scheduler", "workload-high", 800, _users("system:kube-scheduler"), "ByNamespace"),
        _schema("kube-system-service-accounts", "workload-high", 900, _SYSTEM_ACCOUNTS, "ByNamespace"),
        _schema("service-accounts", "workload-low", 9000, _groups("system:serviceaccounts"), "ByUser"),
        _schema("global-default", "global-default", 9900, _EVERYBODY, "ByUser"),
        _schema("catch-all", "catch-all", 10000, _EVERYBODY, "ByUser"),
    ]  # fmt: skip
