"""The roles and bindings that every cluster starts with.

Enters: nothing; data, written from the documented default roles of v1.36.
Leaves: ClusterRole, ClusterRoleBinding, Role and RoleBinding objects for the registry's bootstrap to reconcile.
Holds: admin, edit and view are the union of their parts, as the aggregation controller keeps them.
Source: kubernetes.io/docs/reference/access-authn-authz/rbac, "Default roles and role bindings".
Next: registry.bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from edgekube.api.objects import Object

_GROUP: Final = "rbac.authorization.k8s.io"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
_ALL: Final = (*_READ, *_WRITE)

#: verbs, API groups, resources, and where it is not every object: names
_Rule = tuple[Sequence[str], Sequence[str], Sequence[str]] | tuple[Sequence[str], Sequence[str], Sequence[str], Sequence[str]]


def _rules(rules: Sequence[_Rule], paths: Sequence[str] = ()) -> list[Object]:
    result: list[Object] = []
    for verbs, groups, resources, *names in rules:
        rule: Object = {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}
        if names:
            rule["resourceNames"] = list(names[0])
        result.append(rule)
    if paths:
        result.append({"verbs": ["get"], "nonResourceURLs": list(paths)})
    return result


def _meta(name: str, namespace: str = "", labels: dict[str, str] | None = None) -> Object:
    metadata: Object = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **(labels or {})},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    return metadata


def _cluster_role(name: str, rules: list[Object], labels: dict[str, str] | None = None) -> Object:
    return {"apiVersion": f"{_GROUP}/v1", "kind": "ClusterRole", "metadata": _meta(name, labels=labels), "rules": rules}


def _cluster_binding(name: str, role: str, subjects: list[Object]) -> Object:
    return {
        "apiVersion": f"{_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta(name),
        "roleRef": {"apiGroup": _GROUP, "kind": "ClusterRole", "name": role},
        "subjects": subjects,
    }


def _group(name: str) -> Object:
    return {"apiGroup": _GROUP, "kind": "Group", "name": name}


def _user(name: str) -> Object:
    return {"apiGroup": _GROUP, "kind": "User", "name": name}


def _account(name: str, namespace: str = "kube-system") -> Object:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


_APPS: Final = ("controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
                "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
                "statefulsets/scale", "statefulsets/status")  # fmt: skip
_APPS_WRITE: Final = ("daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
                      "replicasets/scale", "statefulsets", "statefulsets/scale")  # fmt: skip
_CORE_VIEW: Final = ("configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
                     "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services",
                     "services/status")  # fmt: skip
_CORE_VIEW_2: Final = ("bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status",
                       "replicationcontrollers/status", "resourcequotas", "resourcequotas/status", "namespaces")  # fmt: skip

#: The group in which these kinds began. Nothing is served there any more; roles that name it stay what they are upstream.
_EXTENSIONS: Final = ("daemonsets", "deployments", "deployments/scale", "ingresses", "networkpolicies", "replicasets",
                      "replicasets/scale", "replicationcontrollers/scale")  # fmt: skip
_EXTENSIONS_STATUS: Final = ("daemonsets/status", "deployments/status", "ingresses/status", "replicasets/status")

_VIEW: Final[tuple[_Rule, ...]] = (
    (_READ, ("events.k8s.io",), ("events",)),
    (_READ, ("extensions",), (*_EXTENSIONS, *_EXTENSIONS_STATUS)),
    (_READ, ("",), _CORE_VIEW),
    (_READ, ("",), _CORE_VIEW_2),
    (_READ, ("discovery.k8s.io",), ("endpointslices",)),
    (_READ, ("apps",), _APPS),
    (_READ, ("autoscaling",), ("horizontalpodautoscalers", "horizontalpodautoscalers/status")),
    (_READ, ("batch",), ("cronjobs", "cronjobs/status", "jobs", "jobs/status")),
    (_READ, ("policy",), ("poddisruptionbudgets", "poddisruptionbudgets/status")),
    (_READ, ("networking.k8s.io",), ("ingresses", "ingresses/status", "networkpolicies")),
    (_READ, ("resource.k8s.io",), ("resourceclaims", "resourceclaims/status", "resourceclaimtemplates")),
)
_EDIT: Final[tuple[_Rule, ...]] = (
    (_WRITE, ("events.k8s.io",), ("events",)),
    (_WRITE, ("extensions",), (*_EXTENSIONS, "deployments/rollback")),
    (_READ, ("",), ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy")),
    (("impersonate",), ("",), ("serviceaccounts",)),
    (_WRITE, ("",), ("pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy")),
    (("create",), ("",), ("pods/eviction",)),
    (_WRITE, ("",), ("configmaps", "events", "persistentvolumeclaims", "replicationcontrollers", "replicationcontrollers/scale",
                     "secrets", "serviceaccounts", "services", "services/proxy")),
    (("create",), ("",), ("serviceaccounts/token",)),
    (_WRITE, ("apps",), _APPS_WRITE),
    (_WRITE, ("autoscaling",), ("horizontalpodautoscalers",)),
    (_WRITE, ("batch",), ("cronjobs", "jobs")),
    (_WRITE, ("policy",), ("poddisruptionbudgets",)),
    (_WRITE, ("networking.k8s.io",), ("ingresses", "networkpolicies")),
    (_ALL, ("coordination.k8s.io",), ("leases",)),
    (_WRITE, ("resource.k8s.io",), ("resourceclaims", "resourceclaimtemplates")),
)  # fmt: skip
_ADMIN: Final[tuple[_Rule, ...]] = (
    (("create",), ("authorization.k8s.io",), ("localsubjectaccessreviews",)),
    (_ALL, (_GROUP,), ("rolebindings", "roles")),
)

_METRICS: Final[tuple[_Rule, ...]] = ((_READ, ("metrics.k8s.io",), ("nodes", "pods")),)
_EVENTS: Final[_Rule] = (("create", "patch", "update"), ("", "events.k8s.io"), ("events",))
_TOKEN_REVIEWS: Final[tuple[_Rule, ...]] = (
    (("create",), ("authentication.k8s.io",), ("tokenreviews",)),
    (("create",), ("authorization.k8s.io",), ("subjectaccessreviews",)),
)

#: Components' roles: name -> rules.
_COMPONENTS: Final[dict[str, tuple[_Rule, ...]]] = {
    "system:auth-delegator": _TOKEN_REVIEWS,
    "system:kubelet-api-admin": (
        (_READ, ("",), ("nodes",)),
        (("proxy",), ("",), ("nodes",)),
        (("*",), ("",), ("nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats", "nodes/healthz", "nodes/configz",
                         "nodes/pods")),
    ),
    "system:node-bootstrapper": (
        (("create", "get", "list", "watch"), ("certificates.k8s.io",), ("certificatesigningrequests",)),
    ),
    "system:node-problem-detector": (
        (("get",), ("",), ("nodes",)), (("patch",), ("",), ("nodes/status",)), _EVENTS,
    ),
    "system:node-proxier": (
        (("list", "watch"), ("",), ("services", "endpoints")),
        (_READ, ("",), ("nodes",)),
        _EVENTS,
        (("list", "watch"), ("discovery.k8s.io",), ("endpointslices",)),
        (("list", "watch"), ("networking.k8s.io",), ("servicecidrs",)),
    ),
    "system:kube-dns": ((("list", "watch"), ("",), ("endpoints", "services")),),
    "system:kube-aggregator": ((_READ, ("",), ("endpoints", "services")),),
    "system:persistent-volume-provisioner": (
        (("create", "delete", "get", "list", "watch"), ("",), ("persistentvolumes",)),
        (("get", "list", "update", "watch"), ("",), ("persistentvolumeclaims",)),
        (_READ, ("storage.k8s.io",), ("storageclasses",)),
        (("watch",), ("",), ("events",)),
        _EVENTS,
    ),
    "system:volume-scheduler": (
        (("get", "list", "patch", "update", "watch"), ("",), ("persistentvolumes",)),
        (_READ, ("storage.k8s.io",), ("storageclasses",)),
        (("get", "list", "patch", "update", "watch"), ("",), ("persistentvolumeclaims",)),
    ),
    "system:kube-scheduler": (
        _EVENTS,
        (("create",), ("coordination.k8s.io",), ("leases",)),
        (("get", "list", "update", "watch"), ("coordination.k8s.io",), ("leases",), ("kube-scheduler",)),
        (_ALL, ("coordination.k8s.io",), ("leasecandidates",)),
        (_READ, ("",), ("nodes", "namespaces", "replicationcontrollers", "services", "persistentvolumes",
                        "persistentvolumeclaims")),
        (("delete", "get", "list", "watch"), ("",), ("pods",)),
        (("create",), ("",), ("bindings", "pods/binding")),
        (("patch", "update"), ("",), ("pods/status",)),
        (("update",), ("",), ("pods/finalizers",)),
        (_READ, ("apps", "extensions"), ("replicasets",)),
        (_READ, ("apps",), ("statefulsets",)),
        (_READ, ("policy",), ("poddisruptionbudgets",)),
        (_READ, ("storage.k8s.io",), ("csidrivers", "csinodes", "csistoragecapacities",
                                      "volumeattachments")),
        (_READ, ("resource.k8s.io",), ("deviceclasses", "resourceclaims", "resourceslices")),
        (("create", "delete", "patch", "update"), ("resource.k8s.io",), ("resourceclaims",)),
        (("get", "list", "patch", "update", "watch"), ("resource.k8s.io",), ("resourceclaims/status",)),
        (("patch", "update"), ("resource.k8s.io",), ("resourceclaims/binding",)),
        *_TOKEN_REVIEWS,
    ),
    "system:kube-controller-manager": (
        _EVENTS,
        (("create",), ("coordination.k8s.io",), ("leases",)),
        (("get", "update"), ("coordination.k8s.io",), ("leases",), ("kube-controller-manager",)),
        (("create",), ("",), ("secrets", "serviceaccounts", "serviceaccounts/token")),
        (("delete",), ("",), ("secrets",)),
        (("get",), ("",), ("configmaps", "namespaces", "secrets", "serviceaccounts")),
        (("update",), ("",), ("secrets", "serviceaccounts")),
        (("list", "watch"), ("*",), ("*",)),
        *_TOKEN_REVIEWS,
    ),
    "system:node": (
        (("create", "get", "list", "watch"), ("",), ("nodes",)),
        (("patch", "update"), ("",), ("nodes", "nodes/status")),
        (("create", "delete", "get", "list", "watch"), ("",), ("pods",)),
        (("patch", "update"), ("",), ("pods/status",)),
        (("create",), ("",), ("pods/eviction", "serviceaccounts/token")),
        (_READ, ("",), ("services", "configmaps", "secrets")),
        (("get",), ("",), ("endpoints", "persistentvolumeclaims", "persistentvolumes", "serviceaccounts")),
        (("get", "patch", "update"), ("",), ("persistentvolumeclaims/status",)),
        (("create",), ("authorization.k8s.io",), ("localsubjectaccessreviews",)),
        (("get",), ("resource.k8s.io",), ("resourceclaims",)),
        (("deletecollection",), ("resource.k8s.io",), ("resourceslices",)),
        (_READ, ("storage.k8s.io",), ("csidrivers",)),
        (("create", "delete", "get", "patch", "update"), ("storage.k8s.io",), ("csinodes",)),
        (("get",), ("storage.k8s.io",), ("volumeattachments",)),
        (("create", "delete", "get", "patch", "update"), ("coordination.k8s.io",), ("leases",)),
        (("create", "get", "list", "watch"), ("certificates.k8s.io",), ("certificatesigningrequests",)),
        (_READ, ("node.k8s.io",), ("runtimeclasses",)),
        _EVENTS,
        *_TOKEN_REVIEWS,
    ),
    "system:heapster": (
        (_READ, ("",), ("events", "namespaces", "nodes", "pods")), (_READ, ("extensions",), ("deployments",)),
    ),
    **{
        f"system:certificates.k8s.io:{signer}-approver": (
            (("approve",), ("certificates.k8s.io",), ("signers",), (f"kubernetes.io/{signer}",)),
        )
        for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
    },
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        (("create",), ("certificates.k8s.io",), ("certificatesigningrequests/nodeclient",)),
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        (("create",), ("certificates.k8s.io",), ("certificatesigningrequests/selfnodeclient",)),
    ),
}  # fmt: skip

#: What control loops ask of other API servers, which ask here whether they may. Here they are part of the server, so of
#: upstream's rules only those are left, and what may delete is nobody's service account.
_CONTROLLERS: Final[dict[str, Sequence[_Rule]]] = {
    "namespace-controller": (
        (("get", "list", "watch", "delete", "deletecollection"), ("*",), ("*",)),
    ),
    "horizontal-pod-autoscaler": (
        (("list", "watch"), ("metrics.k8s.io",), ("pods",)),
        (_READ, ("custom.metrics.k8s.io",), ("*",)),
        (_READ, ("external.metrics.k8s.io",), ("*",)),
    ),
}  # fmt: skip
_CONTROLLER_SUBJECTS: Final = {
    "namespace-controller": _user("system:kube-controller-manager"),
    "horizontal-pod-autoscaler": _account("horizontal-pod-autoscaler"),
}

_DISCOVERY_PATHS: Final = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
                           "/version", "/version/")  # fmt: skip
_PUBLIC_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")


def _user_facing() -> Iterator[Object]:
    yield _cluster_role("cluster-admin", [
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ])  # fmt: skip
    parts = {"view": _rules(_VIEW), "edit": _rules(_EDIT), "admin": _rules(_ADMIN)}
    includes = {"view": ("view",), "edit": ("edit", "view"), "admin": ("admin", "edit", "view")}
    for name, rules in parts.items():
        label = f"rbac.authorization.k8s.io/aggregate-to-{name}"
        yield _cluster_role(f"system:aggregate-to-{name}", rules, {label: "true"})
    # As metrics-server brings it along: here its API is built in.
    labels = {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true" for name in parts}
    yield _cluster_role("system:aggregated-metrics-reader", _rules(_METRICS), labels)
    for name, names in includes.items():
        # Upstream chains admin <- edit <- view by labels on the aggregated roles themselves.
        target = {"view": "edit", "edit": "admin"}.get(name)
        labels = {f"rbac.authorization.k8s.io/aggregate-to-{target}": "true"} if target else {}
        rules = [*(rule for part in names for rule in parts[part]), *_rules(_METRICS)]
        role = _cluster_role(name, rules, labels)
        selector = {"matchLabels": {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"}}
        role["aggregationRule"] = {"clusterRoleSelectors": [selector]}
        yield role


def _discovery() -> Iterator[Object]:
    yield _cluster_role("system:discovery", _rules((), _DISCOVERY_PATHS))
    yield _cluster_role("system:public-info-viewer", _rules((), _PUBLIC_PATHS))
    yield _cluster_role("system:monitoring", _rules(
        ((("get",), ("",), ("nodes/metrics",)),),
        ("/flagz", "/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*",
         "/statusz"),
    ))  # fmt: skip
    yield _cluster_role("system:basic-user", _rules((
        (("create",), ("authorization.k8s.io",), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
        (("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
    )))  # fmt: skip
    yield _cluster_role(
        "system:service-account-issuer-discovery",
        _rules((), [f"{path}{end}" for path in ("/.well-known/openid-configuration", "/openid/v1/jwks") for end in ("", "/")]),
    )
    yield _cluster_binding("system:discovery", "system:discovery", [_group("system:authenticated")])
    yield _cluster_binding("system:basic-user", "system:basic-user", [_group("system:authenticated")])
    yield _cluster_binding("system:monitoring", "system:monitoring", [_group("system:monitoring")])
    everyone = [_group("system:authenticated"), _group("system:unauthenticated")]
    yield _cluster_binding("system:public-info-viewer", "system:public-info-viewer", everyone)
    issuer = "system:service-account-issuer-discovery"
    yield _cluster_binding(issuer, issuer, [_group("system:serviceaccounts")])


def _components() -> Iterator[Object]:
    for name, rules in _COMPONENTS.items():
        yield _cluster_role(name, _rules(rules))
    yield _cluster_binding("cluster-admin", "cluster-admin", [_group("system:masters")])
    for name in ("system:kube-controller-manager", "system:kube-scheduler"):
        yield _cluster_binding(name, name, [_user(name)])
    yield _cluster_binding("system:volume-scheduler", "system:volume-scheduler", [_user("system:kube-scheduler")])
    yield _cluster_binding("system:node-proxier", "system:node-proxier", [_user("system:kube-proxy")])
    yield _cluster_binding("system:kube-dns", "system:kube-dns", [_account("kube-dns")])
    for name, asked in _CONTROLLERS.items():
        yield _cluster_role(f"system:controller:{name}", _rules(asked))
        yield _cluster_binding(f"system:controller:{name}", f"system:controller:{name}", [_CONTROLLER_SUBJECTS[name]])
    # Since 1.8 nodes are authorized by the Node authorizer: the binding exists, without subjects.
    yield _cluster_binding("system:node", "system:node", [])


def _namespaced() -> Iterator[Object]:
    """What an API server of somebody else's may read, to know whom this one vouches for."""
    api_version, name = f"{_GROUP}/v1", "extension-apiserver-authentication-reader"
    rules = _rules(((_READ, ("",), ("configmaps",), ("extension-apiserver-authentication",)),))
    yield {"apiVersion": api_version, "kind": "Role", "metadata": _meta(name, "kube-system"), "rules": rules}
    yield {
        "apiVersion": api_version,
        "kind": "RoleBinding",
        "metadata": _meta(f"system::{name}", "kube-system"),
        "roleRef": {"apiGroup": _GROUP, "kind": "Role", "name": name},
        "subjects": [_user("system:kube-controller-manager"), _user("system:kube-scheduler")],
    }


def default_objects() -> list[Object]:
    """Everything, roles before bindings."""
    objects = [*_user_facing(), *_discovery(), *_components(), *_namespaced()]
    return sorted(objects, key=lambda obj: "Binding" in obj["kind"])
