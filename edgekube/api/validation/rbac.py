"""Roles and bindings.

Enters: defaulted objects of rbac.authorization.k8s.io; the old one on update.
Leaves: causes appended to ``out``.
Holds: a binding's role never changes: who may bind was checked for that role.
Source: rbac/validation.
Next: api.validation.
"""

from __future__ import annotations

from typing import Final

from edgekube.api import names
from edgekube.api.objects import Object
from edgekube.api.selectors.labels import label_selector_of
from edgekube.api.validation import causes, inner
from edgekube.api.validation.fields import Out, check, dns_subdomain, items, part, same, text, texts
from edgekube.api.validation.metadata import check_label_selector

_GROUP: Final = "rbac.authorization.k8s.io"


def _check_rules(out: Out, role: Object, *, cluster: bool) -> None:
    for i, rule in enumerate(items(role, "rules")):
        path = f"rules[{i}]"
        if not texts(rule, "verbs"):
            out.append(causes.required(f"{path}.verbs", "verbs must contain at least one value"))
        urls = texts(rule, "nonResourceURLs")
        if urls:
            if not cluster:
                detail = "namespaced rules cannot apply to non-resource URLs"
                out.append(causes.invalid(f"{path}.nonResourceURLs", urls, detail))
            if any(texts(rule, key) for key in ("apiGroups", "resources", "resourceNames")):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                out.append(causes.invalid(f"{path}.nonResourceURLs", urls, detail))
            continue
        if not texts(rule, "apiGroups"):
            out.append(causes.required(f"{path}.apiGroups", "resource rules must supply at least one api group"))
        if not texts(rule, "resources"):
            out.append(causes.required(f"{path}.resources", "resource rules must supply at least one resource"))


def check_role(out: Out, role: Object) -> None:
    _check_rules(out, role, cluster=False)


def check_cluster_role(out: Out, role: Object) -> None:
    _check_rules(out, role, cluster=True)
    aggregation = role.get("aggregationRule")
    if aggregation is not None:
        selected = items(aggregation, "clusterRoleSelectors")
        if not selected:
            detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            out.append(causes.required("aggregationRule.clusterRoleSelectors", detail))
        for i, selector in enumerate(selected):
            path = f"aggregationRule.clusterRoleSelectors[{i}]"
            check_label_selector(out, selector, path)
            try:
                label_selector_of(selector)
            except ValueError:
                out.append(causes.invalid(path, None, "invalid label selector."))


def _check_binding(out: Out, binding: Object, kinds: tuple[str, ...], *, namespaced: bool) -> None:
    reference = part(binding, "roleRef")
    if text(reference, "apiGroup") != _GROUP:
        out.append(causes.not_supported("roleRef.apiGroup", text(reference, "apiGroup"), (_GROUP,)))
    if text(reference, "kind") not in kinds:
        out.append(causes.not_supported("roleRef.kind", text(reference, "kind"), kinds))
    name = text(reference, "name")
    if not name:
        out.append(causes.required("roleRef.name"))
    else:
        check(out, names.path_segment(name), "roleRef.name", name)
    for i, subject in enumerate(items(binding, "subjects")):
        _check_subject(out, subject, f"subjects[{i}]", namespaced=namespaced)


def _check_subject(out: Out, subject: Object, field: str, *, namespaced: bool) -> None:
    kind, name, group, namespace = (text(subject, key) for key in ("kind", "name", "apiGroup", "namespace"))
    if not name:
        out.append(causes.required(f"{field}.name"))
    if kind == "ServiceAccount":
        if name:
            check(out, dns_subdomain(name), f"{field}.name", name)
        if group:
            out.append(causes.not_supported(f"{field}.apiGroup", group, ("",)))
        if not namespaced and not namespace:
            out.append(causes.required(f"{field}.namespace"))
    elif kind in ("User", "Group"):
        if group != _GROUP:
            out.append(causes.not_supported(f"{field}.apiGroup", group, (_GROUP,)))
    else:
        out.append(causes.not_supported(f"{field}.kind", kind, ("ServiceAccount", "User", "Group")))


def check_role_binding(out: Out, binding: Object) -> None:
    _check_binding(out, binding, ("Role", "ClusterRole"), namespaced=True)


def check_cluster_role_binding(out: Out, binding: Object) -> None:
    _check_binding(out, binding, ("ClusterRole",), namespaced=False)


def _check_role_kept(out: Out, new: Object, old: Object) -> None:
    if not same(new.get("roleRef"), old.get("roleRef")):
        shown = inner.inner(new.get("roleRef"), inner.ROLE_REFERENCE)
        out.append(causes.invalid("roleRef", shown, "cannot change roleRef"))


def check_role_binding_update(out: Out, new: Object, old: Object) -> None:
    check_role_binding(out, new)
    _check_role_kept(out, new, old)


def check_cluster_role_binding_update(out: Out, new: Object, old: Object) -> None:
    check_cluster_role_binding(out, new)
    _check_role_kept(out, new, old)
