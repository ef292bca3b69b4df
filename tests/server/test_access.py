"""Who may ask what: identity, roles, impersonation, reviews."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from edgekube.admission.attributes import Attributes
from edgekube.admission.default_roles import default_objects
from edgekube.admission.rbac import RoleIndex
from edgekube.api.kinds import KINDS
from edgekube.api.objects import Object
from edgekube.registry.local import LocalVerbs
from edgekube.server.access import follow_roles
from tests.registry.cluster import ADMIN, open_registry
from tests.server.running import TOKENS, Api


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/version", "/livez/ping", "/readyz?verbose"])
async def test_strangers_may_ask_for_health_and_version(api: Api, path: str) -> None:
    assert (await api.ask("GET", path, user="")).status == 200


@pytest.mark.parametrize("path", ["/api", "/apis", "/api/v1/pods", "/openapi/v3", "/metrics", "/", "/nowhere"])
async def test_strangers_get_nothing_else(api: Api, path: str) -> None:
    answered = await api.ask("GET", path, user="")
    assert (answered.status, answered.json["reason"]) == (401, "Unauthorized")


async def test_a_wrong_token_is_refused_even_where_none_is_needed(api: Api) -> None:
    assert (await api.ask("GET", "/version", user="mallory")).status == 401


async def test_a_role_decides(api: Api) -> None:
    pods = "/api/v1/namespaces/default/pods"
    refused = await api.ask("GET", pods, user="alice")
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert refused.json["message"] == (
        'pods is forbidden: User "alice" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": "viewers", "namespace": "default"},
        "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
        "subjects": [{"kind": "Group", "name": "developers"}],
    }
    api.roles.put(binding)
    assert (await api.ask("GET", pods, user="alice")).status == 200
    assert (await api.ask("DELETE", f"{pods}/p", user="alice")).status == 403
    assert (await api.ask("GET", "/api/v1/pods", user="alice")).json["message"].endswith("at the cluster scope")


async def test_roles_are_followed(tmp_path: Path) -> None:
    async with open_registry(tmp_path / "state.db") as registry, trio.open_nursery() as nursery:
        access = RoleIndex()
        verbs = LocalVerbs(registry, ADMIN)
        for obj in default_objects():
            kind = KINDS.by_kind(obj["apiVersion"], obj["kind"])
            assert kind is not None
            await verbs.create(kind, obj["metadata"].get("namespace", ""), obj)
        await nursery.start(_follow, verbs, access)
        asked = Attributes(TOKENS["alice"], "list", "", "v1", "pods", namespace="default")
        assert not access.authorize(asked).allowed
        binding = {
            "metadata": {"name": "viewers"},
            "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": "rbac.authorization.k8s.io"},
            "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        bindings = KINDS.by_resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings")
        assert bindings is not None
        await verbs.create(bindings, "", binding)
        with trio.fail_after(60):
            while not access.authorize(asked).allowed:
                await trio.lowlevel.checkpoint()
        await verbs.delete(bindings, "", "viewers")
        with trio.fail_after(60):
            while access.authorize(asked).allowed:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_asking_in_somebody_elses_name(api: Api) -> None:
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    as_bob = {"impersonate_user": "bob", "impersonate_group": "ops", "impersonate_extra_example.com%2ftopic": "a"}
    bob = await api.ask("POST", whoami, {}, **as_bob)
    assert bob.json["status"]["userInfo"] == {
        "username": "bob",
        "groups": ["ops", "system:authenticated"],
        "extra": {"example.com/topic": ["a"]},
    }
    refused = await api.ask("GET", "/api/v1/pods", impersonate_user="bob")
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert refused.json["message"] == (
        'pods is forbidden: User "bob" cannot list resource "pods" in API group "" at the cluster scope'
    )
    nobody = await api.ask("GET", "/api/v1/pods", user="alice", impersonate_user="admin")
    assert nobody.json["message"] == (
        'pods is forbidden: User "alice" cannot impersonate-on:user-info:list resource "pods" in API group "" '
        "at the cluster scope"
    )
    nameless = await api.ask("GET", "/api/v1/pods", impersonate_group="system:masters")
    assert (nameless.status, nameless.json["reason"]) == (400, "BadRequest")


async def test_reviews(api: Api) -> None:
    auth, authz = "/apis/authentication.k8s.io/v1", "/apis/authorization.k8s.io/v1"
    me = await api.ask("POST", f"{auth}/selfsubjectreviews", {})
    assert me.status == 201
    assert me.json["status"]["userInfo"]["username"] == "admin"
    resource = {"verb": "get", "resource": "pods", "namespace": "default"}
    mine = await api.ask("POST", f"{authz}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": resource}}, user="alice")
    assert (mine.status, mine.json["status"]["allowed"]) == (201, False)
    theirs = {"spec": {"user": "root", "groups": ["system:masters"], "resourceAttributes": resource}}
    assert (await api.ask("POST", f"{authz}/subjectaccessreviews", theirs)).json["status"]["allowed"] is True
    path = {"spec": {"user": "x", "nonResourceAttributes": {"verb": "get", "path": "/metrics"}}}
    assert (await api.ask("POST", f"{authz}/subjectaccessreviews", path)).json["status"]["allowed"] is False
    neither = await api.ask("POST", f"{authz}/selfsubjectaccessreviews", {"spec": {}})
    assert (neither.status, neither.json["reason"]) == (422, "Invalid")
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert (
        await api.ask("POST", f"{authz}/selfsubjectaccessreviews", {"spec": {"resourceAttributes": resource}}, accept=table)
    ).status == 406
    node = {"impersonate_user": "system:node:n1", "impersonate_group": "system:nodes"}
    incomplete = await api.ask("POST", f"{authz}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, **node)
    assert incomplete.json["status"]["evaluationError"] == "node authorizer does not support user rule resolution"
    rules = await api.ask("POST", f"{authz}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    assert rules.json["status"]["resourceRules"]
    token = await api.ask("POST", f"{auth}/tokenreviews", {"spec": {"token": "robot"}})
    assert token.json["status"]["user"]["username"] == "system:serviceaccount:default:robot"
    (managed,) = token.json["metadata"]["managedFields"]
    assert managed["fieldsV1"] == {"f:spec": {"f:token": {}}}, "as if it were kept"
    wrong = await api.ask("POST", f"{auth}/tokenreviews", {"spec": {"token": "nobody"}})
    assert wrong.json["status"]["error"] == "invalid bearer token"
    assert "authenticated" not in wrong.json["status"]


async def test_reviews_that_say_too_little_or_too_much(api: Api) -> None:
    authz = "/apis/authorization.k8s.io/v1"

    async def wrong(path: str, body: Object) -> list[tuple[str, str]]:
        answer = await api.ask("POST", f"{authz}/{path}", body)
        assert answer.status == 422, answer.json
        return [(cause["field"], cause["message"]) for cause in answer.json["details"]["causes"]]

    selector = {"rawSelector": "a=b", "requirements": [{"key": "", "operator": "In"}]}
    pods = {"verb": "list", "resource": "pods"}
    assert await wrong("subjectaccessreviews", {"spec": {"resourceAttributes": {**pods, "fieldSelector": selector}}}) == [
        ("spec.user", 'Invalid value: "": at least one of user or group must be specified'),
        (
            "spec.resourceAttributes.fieldSelector.rawSelector",
            'Invalid value: "a=b": may not specified at the same time as requirements',
        ),
        ("spec.resourceAttributes.fieldSelector.requirements[0].key", "Required value: must be specified"),
        (
            "spec.resourceAttributes.fieldSelector.requirements[0].values",
            "Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
    ]
    named = {"metadata": {"name": "x"}, "spec": {"resourceAttributes": pods}}
    assert await wrong("selfsubjectaccessreviews", named) == [("metadata", 'Invalid value: {"name":"x"}: must be empty')]
    elsewhere = {"spec": {"user": "u", "resourceAttributes": {**pods, "namespace": "shop"}}}
    assert await wrong("namespaces/default/localsubjectaccessreviews", elsewhere) == [
        ("spec.resourceAttributes.namespace", 'Invalid value: "shop": must match metadata.namespace')
    ]


async def _follow(verbs: LocalVerbs, index: RoleIndex, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    await follow_roles(verbs, index, task_status)
