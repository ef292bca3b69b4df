"""Who may ask in whose name: the old verb, the narrow ones, and what each name, group and extra needs."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.admission.attributes import Attributes
from edgekube.admission.impersonation import impersonate, wanted_in
from edgekube.admission.rbac import RoleIndex
from edgekube.api.errors import StatusError
from edgekube.api.objects import Object
from edgekube.api.verbs import UserInfo

ALICE = UserInfo("alice", groups=("system:authenticated",))
POD = UserInfo(
    "system:serviceaccount:agents:a",
    groups=("system:serviceaccounts",),
    extra={"authentication.kubernetes.io/node-name": ("n1",)},
)


def rule(verbs: list[str], resources: list[str], group: str = "", names: list[str] | None = None) -> Object:
    return {"verbs": verbs, "apiGroups": [group], "resources": resources, **({"resourceNames": names} if names else {})}


def roles(*rules: Object, user: str = "alice") -> RoleIndex:
    index = RoleIndex()
    index.put({"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": list(rules)})
    subject = {"kind": "User", "name": user}
    binding: Object = {"kind": "ClusterRoleBinding", "metadata": {"name": "b"}, "subjects": [subject]}
    index.put({**binding, "roleRef": {"kind": "ClusterRole", "name": "r"}})
    return index


def become(index: RoleIndex, name: str, sender: UserInfo = ALICE, **headers: str) -> Any:
    parts = {"user": name, **headers}
    wanted = wanted_in({f"impersonate-{part.replace('_', '-')}": value for part, value in parts.items()})
    assert wanted is not None
    return impersonate(wanted, Attributes(sender, "list", "", "v1", "pods", namespace="default"), index)


def test_no_headers_nobody_else() -> None:
    assert wanted_in({"accept": "*/*"}) is None
    wanted = wanted_in({"impersonate-user": "bob", "impersonate-group": "a, b", "impersonate-extra-scopes%2fx": "1, 2"})
    assert wanted == UserInfo("bob", "", ("a", "b"), {"scopes/x": ("1", "2")})


def test_the_old_verb_asks_for_each_part() -> None:
    old = ["impersonate"]
    index = roles(rule(old, ["users"], names=["bob"]), rule(old, ["groups"], names=["ops"]))
    found = become(index, "bob", group="ops")
    assert found.user == UserInfo("bob", groups=("ops", "system:authenticated"))
    assert found.constraint == ""
    with pytest.raises(StatusError, match="impersonate-on:user-info:list"):
        become(index, "bob", group="ops, dev")
    extra = roles(rule(old, ["users"]), rule(old, ["userextras/scopes"], "authentication.k8s.io", ["view"]))
    assert become(extra, "bob", extra_scopes="view").user.extra == {"scopes": ("view",)}
    with pytest.raises(StatusError):
        become(extra, "bob", extra_scopes="edit")
    with pytest.raises(StatusError):
        become(extra, "bob", uid="7")


def test_a_service_account_brings_its_groups() -> None:
    index = roles(rule(["impersonate"], ["serviceaccounts"], names=["robot"]))
    found = become(index, "system:serviceaccount:shop:robot")
    assert found.user.groups == ("system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated")
    with pytest.raises(StatusError):
        become(index, "system:serviceaccount:shop:other")


def test_the_narrow_verb_is_for_one_kind_of_request() -> None:
    both = (
        rule(["impersonate:user-info"], ["users", "groups"], "authentication.k8s.io"),
        rule(["impersonate-on:user-info:list"], ["pods"]),
    )
    found = become(roles(*both), "bob")
    assert found.constraint == "impersonate:user-info"
    with pytest.raises(StatusError, match="impersonate-on:user-info:list"):
        become(roles(both[0]), "bob")
    with pytest.raises(StatusError, match="impersonating the system:masters group is not allowed"):
        become(roles(*both), "bob", group="system:masters")
    with pytest.raises(StatusError):
        become(roles(*both), "system:node:n1")


def test_a_pod_may_be_allowed_to_be_its_node() -> None:
    both = (
        rule(["impersonate:associated-node"], ["nodes"], "authentication.k8s.io"),
        rule(["impersonate-on:associated-node:list"], ["pods"]),
    )
    index = roles(*both, user=POD.name)
    found = become(index, "system:node:n1", POD)
    assert found.user == UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))
    with pytest.raises(StatusError):
        become(index, "system:node:n2", POD)


def test_nobody_is_nobody() -> None:
    index = roles(rule(["impersonate"], ["users"]))
    assert become(index, "system:anonymous").user.groups == ("system:unauthenticated",)
    with pytest.raises(StatusError, match="without impersonating a user name"):
        wanted_in({"impersonate-uid": "1"})
