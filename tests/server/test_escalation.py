"""Users with few rights who write roles and bindings: they give away what they have, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from edgekube.api.kinds import KINDS
from edgekube.api.objects import Object
from tests.server.running import Api, running_api

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SHOP = f"{RBAC}/namespaces/default"
ALICE = [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def role(name: str, *rules: Object, kind: str = "Role", **more: Any) -> Object:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "rules": list(rules), **more}


def binding(name: str, role_name: str, *, kind: str = "RoleBinding", role_kind: str = "ClusterRole") -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role_name}
    made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}}
    return {**made, "roleRef": reference, "subjects": ALICE}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """alice writes roles and bindings everywhere, and reads pods."""
    async with running_api(tmp_path) as api:
        writing = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update", "patch", "get"]}
        api.roles.put(role("writer", writing, PODS, kind="ClusterRole"))
        api.roles.put({**binding("writers", "writer", kind="ClusterRoleBinding")})
        for name in ("cluster-admin", "view"):
            kind = KINDS.by_resource("rbac.authorization.k8s.io", "v1", "clusterroles")
            assert kind is not None
            rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}] if name == "cluster-admin" else [PODS]
            await api.verbs.create(kind, "", role(name, *rules, kind="ClusterRole"))
            api.roles.put(role(name, *rules, kind="ClusterRole"))
        yield api


async def refused(api: Api, method: str, path: str, body: Object, **headers: str) -> str:
    with trio.fail_after(60):
        answer = await api.ask(method, path, body, user="alice", **headers)
    assert answer.status == 403, answer.text
    message = str(answer.json["message"])
    assert "is attempting to grant RBAC permissions not currently held" in message
    return message


async def test_what_one_has_can_be_given(api: Api) -> None:
    assert (await api.ask("POST", f"{SHOP}/roles", role("reader", PODS), user="alice")).status == 201
    assert (await api.ask("POST", f"{SHOP}/rolebindings", binding("a", "view"), user="alice")).status == 201
    assert (await api.ask("POST", f"{SHOP}/rolebindings", binding("b", "reader", role_kind="Role"), user="alice")).status == 201


async def test_nobody_makes_himself_an_administrator(api: Api) -> None:
    message = await refused(api, "POST", f"{RBAC}/clusterrolebindings", binding("me", "cluster-admin", kind="ClusterRoleBinding"))
    assert message.endswith('{APIGroups:["*"], Resources:["*"], Verbs:["*"]}')
    await refused(api, "POST", f"{SHOP}/rolebindings", binding("me", "cluster-admin"))
    message = await refused(api, "POST", f"{SHOP}/roles", role("thief", SECRETS))
    assert message.endswith('{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}')
    await refused(
        api,
        "POST",
        f"{RBAC}/clusterroles",
        role("later", kind="ClusterRole", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}),
    )
    missing = await api.ask("POST", f"{SHOP}/rolebindings", binding("me", "to-come"), user="alice")
    assert missing.status == 404, "what a role will hold is not known yet"


async def test_nor_by_changing_what_is_there(api: Api) -> None:
    assert (await api.ask("POST", f"{SHOP}/roles", role("reader", PODS), user="alice")).status == 201
    merge = {"content_type": "application/merge-patch+json"}
    await refused(api, "PATCH", f"{SHOP}/roles/reader", {"rules": [PODS, SECRETS]}, **merge)
    await refused(api, "PUT", f"{SHOP}/roles/reader", role("reader", SECRETS))
    assert (
        await api.ask("PATCH", f"{SHOP}/roles/reader", {"metadata": {"labels": {"a": "b"}}}, user="alice", **merge)
    ).status == 200
    admins = binding("admins", "cluster-admin", kind="ClusterRoleBinding") | {"subjects": [{**ALICE[0], "name": "root"}]}
    assert (await api.ask("POST", f"{RBAC}/clusterrolebindings", admins)).status == 201
    await refused(api, "PATCH", f"{RBAC}/clusterrolebindings/admins", {"subjects": ALICE}, **merge)
    labels = {"metadata": {"labels": {"a": "b"}}}
    assert (await api.ask("PATCH", f"{RBAC}/clusterrolebindings/admins", labels, user="alice", **merge)).status == 200


async def test_bind_and_escalate_are_permissions_of_their_own(api: Api) -> None:
    verbs = [
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["clusterroles"],
            "resourceNames": ["cluster-admin"],
            "verbs": ["bind"],
        },
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]},
    ]
    api.roles.put(role("trusted", *verbs, kind="ClusterRole"))
    api.roles.put(binding("trusted", "trusted", kind="ClusterRoleBinding"))
    assert (await api.ask("POST", f"{SHOP}/rolebindings", binding("me", "cluster-admin"), user="alice")).status == 201
    assert (await api.ask("POST", f"{SHOP}/roles", role("thief", SECRETS), user="alice")).status == 201
    await refused(api, "POST", f"{RBAC}/clusterroles", role("thief", SECRETS, kind="ClusterRole"))


async def test_who_may_change_may_not_make(api: Api) -> None:
    """A PUT of what is not there makes some kinds: that takes the right to create them."""
    rule = {"apiGroups": [""], "resources": ["services"], "verbs": ["update", "get"]}
    api.roles.put(role("changes", rule, kind="ClusterRole"))
    api.roles.put(binding("changes", "changes", kind="ClusterRoleBinding"))
    path = "/api/v1/namespaces/default/services/web"
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    refused = await api.ask("PUT", path, body, user="alice")
    assert (refused.status, "cannot create resource" in refused.json["message"]) == (403, True)
    made = await api.ask("PUT", path, body)
    assert made.status == 201, made.text
    changed = {**made.json, "metadata": {**made.json["metadata"], "labels": {"a": "b"}}}
    assert (await api.ask("PUT", path, changed, user="alice")).status == 200
