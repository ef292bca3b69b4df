"""Role-based access control decides as Kubernetes documents it."""

from typing import Any

import pytest

from edgekube.admission.attributes import Attributes
from edgekube.admission.default_roles import default_objects
from edgekube.admission.rbac import RoleIndex
from edgekube.api.verbs import UserInfo

ADMIN = UserInfo("system:admin", groups=("system:masters", "system:authenticated"))
ALICE = UserInfo("alice", groups=("dev", "system:authenticated"))
NOBODY = UserInfo("system:anonymous", groups=("system:unauthenticated",))
BOT = UserInfo("system:serviceaccount:shop:bot", groups=("system:serviceaccounts", "system:authenticated"))


def role(name: str, rules: list[dict[str, Any]], namespace: str = "", **extra: Any) -> dict[str, Any]:
    kind = "Role" if namespace else "ClusterRole"
    return {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules, **extra}


def binding(name: str, role_kind: str, role_name: str, subjects: list[dict[str, str]], namespace: str = "") -> dict[str, Any]:
    return {
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": role_kind, "name": role_name},
        "subjects": subjects,
    }


def index(*objects: dict[str, Any]) -> RoleIndex:
    result = RoleIndex()
    for obj in objects:
        result.put(obj)
    return result


def ask(roles: RoleIndex, user: UserInfo, verb: str, resource: str, namespace: str = "shop", **more: str) -> bool:
    group = more.pop("group", "")
    name, subresource = more.pop("name", ""), more.pop("subresource", "")
    asked = Attributes(user, verb, group, "", resource, subresource, namespace, name)
    assert not more
    return roles.authorize(asked).allowed


READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log"]}
TO_ALICE = [{"kind": "User", "name": "alice"}]


def test_masters_may_do_everything_even_without_any_role() -> None:
    assert ask(index(), ADMIN, "delete", "nodes", "")
    assert index().authorize(Attributes(ADMIN, "get", path="/metrics")).allowed


def test_nobody_else_may_do_anything_without_a_binding() -> None:
    assert not ask(index(role("r", [READ_PODS])), ALICE, "get", "pods")


def test_a_role_binding_reaches_its_namespace_only() -> None:
    roles = index(role("r", [READ_PODS], "shop"), binding("b", "Role", "r", TO_ALICE, "shop"))
    assert ask(roles, ALICE, "get", "pods")
    assert not ask(roles, ALICE, "get", "pods", "bank")
    assert not ask(roles, ALICE, "list", "pods", ""), "a list across namespaces needs a cluster role binding"


def test_a_role_binding_to_a_cluster_role_reaches_its_namespace_only() -> None:
    roles = index(role("r", [READ_PODS]), binding("b", "ClusterRole", "r", TO_ALICE, "shop"))
    assert ask(roles, ALICE, "get", "pods") and not ask(roles, ALICE, "get", "pods", "bank")


def test_a_role_of_another_namespace_cannot_be_bound() -> None:
    roles = index(role("r", [READ_PODS], "bank"), binding("b", "Role", "r", TO_ALICE, "shop"))
    assert not ask(roles, ALICE, "get", "pods") and not ask(roles, ALICE, "get", "pods", "bank")


def test_groups_and_service_accounts_are_subjects() -> None:
    subjects = [{"kind": "Group", "name": "dev"}, {"kind": "ServiceAccount", "name": "bot", "namespace": "shop"}]
    roles = index(role("r", [READ_PODS]), binding("b", "ClusterRole", "r", subjects))
    assert ask(roles, ALICE, "get", "pods") and ask(roles, BOT, "list", "pods", "bank")
    assert not ask(roles, NOBODY, "get", "pods")


@pytest.mark.parametrize(
    ("resources", "resource", "subresource", "allowed"),
    [
        (["pods"], "pods", "", True),
        (["pods"], "pods", "log", False),
        (["pods/log"], "pods", "log", True),
        (["pods/log"], "pods", "", False),
        (["*/log"], "pods", "log", True),
        (["*"], "pods", "exec", True),
        (["pods/*"], "pods", "exec", False),
    ],
)
def test_subresources_are_named_one_by_one(resources: list[str], resource: str, subresource: str, allowed: bool) -> None:
    rule = {"verbs": ["get"], "apiGroups": [""], "resources": resources}
    roles = index(role("r", [rule]), binding("b", "ClusterRole", "r", TO_ALICE))
    assert ask(roles, ALICE, "get", resource, subresource=subresource) is allowed


def test_resource_names_bound_a_rule_and_exclude_requests_without_a_name() -> None:
    rule = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["tls"]}
    roles = index(role("r", [rule]), binding("b", "ClusterRole", "r", TO_ALICE))
    assert ask(roles, ALICE, "get", "secrets", name="tls")
    assert not ask(roles, ALICE, "get", "secrets", name="other") and not ask(roles, ALICE, "list", "secrets")


def test_api_groups_are_told_apart() -> None:
    rule = {"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]}
    roles = index(role("r", [rule]), binding("b", "ClusterRole", "r", TO_ALICE))
    assert ask(roles, ALICE, "get", "deployments", group="apps") and not ask(roles, ALICE, "get", "deployments")


def test_paths_match_whole_or_by_trailing_star() -> None:
    rule = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/logs/*"]}
    roles = index(role("r", [rule]), binding("b", "ClusterRole", "r", TO_ALICE))
    allowed = {
        p: roles.authorize(Attributes(ALICE, "get", path=p)).allowed for p in ("/healthz", "/healthz/x", "/logs/a", "/logs")
    }
    assert allowed == {"/healthz": True, "/healthz/x": False, "/logs/a": True, "/logs": False}


def test_an_aggregated_role_has_the_rules_of_its_parts_at_once() -> None:
    part = role("part", [READ_PODS])
    part["metadata"]["labels"] = {"to": "whole"}
    whole = role("whole", [], aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]})
    roles = index(part, whole, binding("b", "ClusterRole", "whole", TO_ALICE))
    assert ask(roles, ALICE, "get", "pods")


def test_removal_takes_effect_at_once() -> None:
    granted = binding("b", "ClusterRole", "r", TO_ALICE)
    roles = index(role("r", [READ_PODS]), granted)
    roles.remove(granted)
    assert not ask(roles, ALICE, "get", "pods")


def test_the_decision_names_the_binding() -> None:
    roles = index(role("r", [READ_PODS]), binding("b", "ClusterRole", "r", TO_ALICE, "shop"))
    decision = roles.authorize(Attributes(ALICE, "get", resource="pods", namespace="shop"))
    assert decision.reason == 'RBAC: allowed by RoleBinding "b/shop" of ClusterRole "r" to User "alice"'


class TestDefaults:
    roles = index(*default_objects())

    def grant(self, cluster_role: str) -> RoleIndex:
        return index(*default_objects(), binding("mine", "ClusterRole", cluster_role, TO_ALICE, "shop"))

    def test_everyone_sees_health_and_version_and_nothing_else(self) -> None:
        paths = ("/version", "/healthz", "/livez", "/readyz", "/metrics", "/api", "/openapi/v3")
        seen = [p for p in paths if self.roles.authorize(Attributes(NOBODY, "get", path=p)).allowed]
        assert seen == ["/version", "/healthz", "/livez", "/readyz"]

    def test_whoever_has_a_name_may_discover_and_ask_about_himself(self) -> None:
        assert self.roles.authorize(Attributes(ALICE, "get", path="/apis/apps/v1")).allowed
        assert ask(self.roles, ALICE, "create", "selfsubjectaccessreviews", "", group="authorization.k8s.io")
        assert not ask(self.roles, ALICE, "list", "pods")

    def test_view_reads_but_not_secrets(self) -> None:
        roles = self.grant("view")
        assert ask(roles, ALICE, "list", "pods") and ask(roles, ALICE, "get", "pods", subresource="log")
        assert not ask(roles, ALICE, "get", "secrets") and not ask(roles, ALICE, "create", "pods")

    def test_edit_writes_but_not_roles(self) -> None:
        roles = self.grant("edit")
        assert ask(roles, ALICE, "get", "secrets") and ask(roles, ALICE, "create", "deployments", group="apps")
        assert ask(roles, ALICE, "create", "pods", subresource="exec")
        assert not ask(roles, ALICE, "create", "roles", group="rbac.authorization.k8s.io")

    def test_admin_hands_out_roles_in_the_namespace_only(self) -> None:
        roles = self.grant("admin")
        assert ask(roles, ALICE, "create", "rolebindings", group="rbac.authorization.k8s.io")
        assert not ask(roles, ALICE, "create", "clusterrolebindings", "", group="rbac.authorization.k8s.io")
        assert not ask(roles, ALICE, "update", "resourcequotas")

    def test_names_are_unique_and_every_binding_finds_its_role(self) -> None:
        objects = default_objects()
        names = [(obj["kind"], obj["metadata"]["name"]) for obj in objects]
        assert len(names) == len(set(names))
        known = {name for kind, name in names if kind in ("ClusterRole", "Role")}
        assert {obj["roleRef"]["name"] for obj in objects if "roleRef" in obj} <= known
