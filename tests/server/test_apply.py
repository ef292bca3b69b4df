"""Server-side apply over HTTP: who manages what, conflicts, and what goes when nobody wants it any more."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.managed.blank import blank
from edgekube.api.managed.sites import built_in
from edgekube.api.objects import Object
from tests.registry.cluster import config_map, deployment
from tests.server.running import Answer, Api

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


async def apply(api: Api, path: str, config: Object | bytes, manager: str, query: str = "", **headers: str) -> Answer:
    return await api.ask("PATCH", f"{path}?fieldManager={manager}{query}", config, content_type=APPLY, **headers)


def managers(obj: Object) -> dict[tuple[str, str, str], Any]:
    """(manager, operation, subresource) → fieldsV1."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", [])
    }


def scaled(replicas: int) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": replicas}}


async def test_apply_makes_and_changes(api: Api) -> None:
    made = await apply(api, f"{CONFIGMAPS}/a", config_map("a"), "me")
    assert made.status == 201
    assert managers(made.json) == {("me", "Apply", ""): {"f:data": {"f:key": {}}}}
    again = await apply(api, f"{CONFIGMAPS}/a", config_map("a"), "me")
    assert (again.status, again.body) == (200, made.body)
    changed = await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"key": "other", "more": "x"}), "me")
    assert (changed.status, changed.json["data"]) == (200, {"key": "other", "more": "x"})
    less = await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"more": "x"}), "me")
    assert less.json["data"] == {"more": "x"}


async def test_a_conflict_is_told_and_can_be_forced(api: Api) -> None:
    created = await api.ask("POST", DEPLOYMENTS, deployment("web", 2), user_agent="kubectl-create/v1 (linux)")
    refused = await apply(api, f"{DEPLOYMENTS}/web", scaled(5), "me")
    assert refused.status == 409
    assert refused.json["reason"] == "Conflict"
    assert refused.json["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1: .spec.replicas'
    )
    assert refused.json["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-create" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    shared = await apply(api, f"{DEPLOYMENTS}/web", scaled(2), "me")
    assert shared.status == 200
    forced = (await apply(api, f"{DEPLOYMENTS}/web", scaled(5), "me", "&force=true")).json
    assert forced["spec"]["replicas"] == 5
    assert managers(forced)["me", "Apply", ""] == {"f:spec": {"f:replicas": {}}}
    theirs = managers(forced)["kubectl-create", "Update", ""]
    assert "f:replicas" not in theirs["f:spec"]
    assert theirs["f:spec"]["f:selector"] == {}
    assert forced["metadata"]["generation"] == created.json["metadata"]["generation"] + 1


async def test_what_two_manage_stays_until_both_have_left(api: Api) -> None:
    await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"one": "1", "both": "x"}), "first")
    await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"both": "x"}), "second")
    nothing: Object = {"apiVersion": "v1", "kind": "ConfigMap"}
    left = (await apply(api, f"{CONFIGMAPS}/a", nothing, "first")).json
    assert left["data"] == {"both": "x"}
    assert list(managers(left)) == [("second", "Apply", "")]
    gone = (await apply(api, f"{CONFIGMAPS}/a", nothing, "second")).json
    assert "data" not in gone
    assert "managedFields" not in gone["metadata"]


async def test_an_update_takes_fields_from_their_manager(api: Api) -> None:
    await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"one": "1", "two": "2"}), "first")
    patched = await api.ask(
        "PATCH", f"{CONFIGMAPS}/a?fieldManager=hand", {"data": {"two": "3", "three": "3"}}, content_type=MERGE
    )
    assert managers(patched.json) == {
        ("first", "Apply", ""): {"f:data": {"f:one": {}}},
        ("hand", "Update", ""): {"f:data": {"f:two": {}, "f:three": {}}},
    }
    refused = await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"one": "1", "two": "2", "three": "4"}), "first")
    assert refused.json["message"] == (
        'Apply failed with 2 conflicts: conflicts with "hand" using v1:\n- .data.three\n- .data.two'
    )


async def test_a_write_that_changes_nothing_keeps_revision_and_time(api: Api) -> None:
    created = (await api.ask("POST", CONFIGMAPS, config_map("a"), user_agent="one/1")).json
    same = (await api.ask("PUT", f"{CONFIGMAPS}/a", created, user_agent="two/1")).json
    assert same == created
    entry = created["metadata"]["managedFields"][0]
    assert {key: value for key, value in entry.items() if key != "time"} == {
        "manager": "one",
        "operation": "Update",
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:key": {}}},
    }


@pytest.mark.parametrize("reset", [[], [{}]])
async def test_a_client_may_reset_what_is_managed(api: Api, reset: list[Object]) -> None:
    created = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json
    created["metadata"]["managedFields"] = reset
    updated = (await api.ask("PUT", f"{CONFIGMAPS}/a", created)).json
    assert "managedFields" not in updated["metadata"]
    again = (await apply(api, f"{CONFIGMAPS}/a", config_map("a", {"more": "x"}), "me")).json
    assert managers(again) == {
        ("before-first-apply", "Update", ""): {"f:data": {".": {}, "f:key": {}}},
        ("me", "Apply", ""): {"f:data": {"f:more": {}}},
    }


async def test_nonsense_in_managed_fields_is_passed_over(api: Api) -> None:
    created = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json
    kept = created["metadata"]["managedFields"]
    for wrong in (
        [{"manager": "x", "operation": "Steal", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}],
        [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV2", "fieldsV1": {}}],
        [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"data": {}}}],
        [{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"k:[1]": {}}}],
    ):
        created["metadata"]["managedFields"] = wrong
        assert (await api.ask("PUT", f"{CONFIGMAPS}/a", created)).json["metadata"]["managedFields"] == kept


async def test_managed_fields_can_be_written_and_are_made_canonical(api: Api) -> None:
    created = (await api.ask("POST", CONFIGMAPS, config_map("a"))).json
    entry = {"manager": "x", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    entry["fieldsV1"] = {"f:data": {"f:key": {".": {}}}, 'k:{"b": 1, "a": 2}': {}, "z:unknown": {}}  # type: ignore[assignment]
    created["metadata"]["managedFields"] = [entry]
    updated = (await api.ask("PUT", f"{CONFIGMAPS}/a", created)).json
    assert managers(updated) == {("x", "Apply", ""): {"f:data": {"f:key": {}}, 'k:{"a":2,"b":1}': {}}}


async def test_of_updaters_the_ten_latest_are_kept(api: Api) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"), user_agent="number-00")
    for number in range(1, 15):
        path = f"{CONFIGMAPS}/a?fieldManager=number-{number:02}"
        latest = await api.ask("PATCH", path, {"data": {f"k{number:02}": "x"}}, content_type=MERGE)
    found = managers(latest.json)
    assert len(found) == 10
    assert found["ancient-changes", "Update", ""] == {
        "f:data": {".": {}, "f:key": {}, **{f"f:k{number:02}": {} for number in range(1, 6)}}
    }


@pytest.mark.parametrize(
    ("query", "content_type", "cause"),
    [
        ("", APPLY, "fieldManager: Required value: is required for apply patch"),
        ("?force=true", MERGE, "force: Forbidden: may not be specified for non-apply patch"),
        (f"?fieldManager={'x' * 129}", MERGE, "fieldManager: Too long: may not be more than 128 bytes"),
    ],
)
async def test_options_of_a_patch(api: Api, query: str, content_type: str, cause: str) -> None:
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    refused = await api.ask("PATCH", f"{CONFIGMAPS}/a{query}", config_map("a"), content_type=content_type)
    assert (refused.status, refused.json["message"]) == (422, f'PatchOptions.meta.k8s.io "" is invalid: {cause}')


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "managedFields": []}},
            400,
            "metadata.managedFields must be nil",
        ),
        ({"apiVersion": "v1", "kind": "Secret"}, 400, "invalid object type: /v1, Kind=Secret"),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "colour": "red"},
            500,
            "failed to create typed patch object (default/a; /v1, Kind=ConfigMap): .colour: field not declared in schema",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}},
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
    ],
)
async def test_configurations_that_do_not_fit(api: Api, config: Object, code: int, message: str) -> None:
    for _ in range(2):
        refused = await apply(api, f"{CONFIGMAPS}/a", config, "me")
        assert (refused.status, refused.json["message"]) == (code, message)
        await api.ask("POST", CONFIGMAPS, config_map("a"))


async def test_yaml_is_applied_and_what_it_repeats_is_told(api: Api) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: '1'\n  a: '2'\n"
    repeated = 'error converting YAML to JSON: yaml: unmarshal errors:\n  line 5: key "a" already set in map'
    refused = await apply(api, f"{CONFIGMAPS}/a", text, "me", "&fieldValidation=Strict")
    assert (refused.status, refused.json["message"]) == (400, f"error strict decoding YAML: {repeated}")
    warned = await apply(api, f"{CONFIGMAPS}/a", text, "me")
    assert (warned.status, warned.json["data"]) == (201, {"a": "2"})
    assert 'key \\"a\\" already set in map' in warned.headers["warning"]
    silent = await apply(api, f"{CONFIGMAPS}/a", text, "me", "&fieldValidation=Ignore")
    assert "warning" not in silent.headers
    broken = await apply(api, f"{CONFIGMAPS}/a", b"a: b: c", "me")
    assert (broken.status, broken.json["message"][:20]) == (400, "error decoding YAML:")


async def test_a_dry_run_of_apply_leaves_nothing(api: Api) -> None:
    tried = await apply(api, f"{CONFIGMAPS}/a", config_map("a"), "me", "&dryRun=All")
    assert tried.status == 201
    assert (await api.ask("GET", f"{CONFIGMAPS}/a")).status == 404


async def test_status_is_managed_apart(api: Api) -> None:
    await apply(api, f"{DEPLOYMENTS}/web", deployment("web"), "me")
    status = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7}, "status": {"replicas": 3}}
    applied = (await apply(api, f"{DEPLOYMENTS}/web/status", status, "loop")).json
    assert (applied["status"], applied["spec"]["replicas"]) == ({"replicas": 3}, 1)
    found = managers(applied)
    assert found["loop", "Apply", "status"] == {"f:status": {"f:replicas": {}}}
    whole = {**deployment("web"), "status": {"replicas": 9}}
    untouched = (await apply(api, f"{DEPLOYMENTS}/web", whole, "me")).json
    assert untouched["status"] == {"replicas": 3}
    assert "f:status" not in managers(untouched)["me", "Apply", ""]
    assert managers(untouched)["loop", "Apply", "status"] == {"f:status": {"f:replicas": {}}}


async def test_replicas_change_hands_through_scale(api: Api) -> None:
    await apply(api, f"{DEPLOYMENTS}/web", deployment("web", 2), "me")
    scale = (await api.ask("GET", f"{DEPLOYMENTS}/web/scale")).json
    scale["spec"]["replicas"] = 4
    await api.ask("PUT", f"{DEPLOYMENTS}/web/scale?fieldManager=autoscaler", scale)
    web = (await api.ask("GET", f"{DEPLOYMENTS}/web")).json
    found = managers(web)
    assert found["autoscaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in found["me", "Apply", ""]["f:spec"]
    refused = await apply(api, f"{DEPLOYMENTS}/web", deployment("web", 2), "me")
    assert refused.json["message"] == (
        'Apply failed with 1 conflict: conflict with "autoscaler" with subresource "scale" using apps/v1: .spec.replicas'
    )
    wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    contested = await apply(api, f"{DEPLOYMENTS}/web/scale", wanted, "other")
    assert contested.json["message"] == (
        'Apply failed with 1 conflict: conflict with "autoscaler" with subresource "scale" using autoscaling/v1: .spec.replicas'
    )
    forced = await apply(api, f"{DEPLOYMENTS}/web/scale", wanted, "other", "&force=true")
    assert forced.json["spec"] == {"replicas": 5}
    found = managers((await api.ask("GET", f"{DEPLOYMENTS}/web")).json)
    assert ("autoscaler", "Update", "scale") not in found
    assert found["other", "Apply", "scale"] == {"f:spec": {"f:replicas": {}}}


async def test_from_the_clients_side_to_the_servers(api: Api) -> None:
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    applied = deployment("web", 2)
    text = '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":2}}'
    created = {**applied, "metadata": {**applied["metadata"], "annotations": {annotation: text}}}
    path = f"{DEPLOYMENTS}?fieldManager=kubectl-client-side-apply"
    assert (await api.ask("POST", path, created)).status == 201
    taken = await apply(api, f"{DEPLOYMENTS}/web", scaled(3), "kubectl")
    assert (taken.status, taken.json["spec"]["replicas"]) == (200, 3)
    assert taken.json["metadata"]["annotations"][annotation] == (
        '{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3}}\n'
    )
    other = scaled(4)
    other["spec"]["minReadySeconds"] = 5
    refused = await apply(api, f"{DEPLOYMENTS}/web", {**other, "metadata": {"name": "web", "labels": {"app": "x"}}}, "kubectl")
    assert refused.json["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .metadata.labels.app'
    )


async def test_who_may_only_patch_makes_nothing(api: Api) -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "patcher"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "patcher"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
        "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    api.roles.put({**role, "metadata": {"name": "patcher", "namespace": "default"}})
    api.roles.put({**binding, "metadata": {"name": "patcher", "namespace": "default"}})
    refused = await apply(api, f"{CONFIGMAPS}/a", config_map("a"), "me", user="alice")
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert 'cannot create resource "configmaps"' in refused.json["message"]
    await api.ask("POST", CONFIGMAPS, config_map("a"))
    assert (await apply(api, f"{CONFIGMAPS}/a", config_map("a"), "me", user="alice")).status == 200


async def test_what_is_learnt_of_a_kind_is_learnt_once(api: Api) -> None:
    """Not with each object: what is kept for a kind would grow with every write."""

    async def make(name: str) -> None:
        made = await api.ask("POST", CONFIGMAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
        assert made.status == 201

    await make("first")
    known = blank.cache_info().currsize, built_in.cache_info().currsize
    for number in range(5):
        await make(f"more-{number}")
    assert (blank.cache_info().currsize, built_in.cache_info().currsize) == known


async def test_what_upstream_fills_in_between_versions_is_managed_by_whoever_made_the_object(api: Api) -> None:
    """Defaults that its conversions set are as if they had been sent."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "d"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = await api.ask("POST", "/apis/apps/v1/namespaces/default/daemonsets", {"metadata": {"name": "a"}, "spec": spec})
    assert made.json["metadata"]["annotations"] == {"deprecated.daemonset.template.generation": "1"}
    fields = made.json["metadata"]["managedFields"][0]["fieldsV1"]
    assert fields["f:metadata"] == {"f:annotations": {".": {}, "f:deprecated.daemonset.template.generation": {}}}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    scaler = {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}}
    made = await api.ask("POST", path, {"metadata": {"name": "a"}, "spec": scaler})
    assert made.json["spec"]["targetCPUUtilizationPercentage"] == 80
    assert "f:targetCPUUtilizationPercentage" in made.json["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


async def test_who_sets_a_required_field_that_go_leaves_out_manages_the_field_itself(api: Api) -> None:
    reference = {"resource": "services", "namespace": "default", "name": "a"}
    body = {"metadata": {"name": "192.0.2.9"}, "spec": {"parentRef": reference}}
    made = await api.ask("POST", "/apis/networking.k8s.io/v1/ipaddresses", body)
    fields = made.json["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:parentRef"]
    assert fields == {".": {}, "f:name": {}, "f:namespace": {}, "f:resource": {}}


async def test_values_that_do_not_fit_are_shown_as_go_shows_them(api: Api) -> None:
    text = b"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {a: y, b: 1, c: [1, x], d: {x: null}}}"
    refused = await api.ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=me", text, content_type=APPLY)
    assert (refused.status, refused.json["message"]) == (
        500,
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): errors:\n"
        "  .data.a: expected string, got &value.valueUnstructured{Value:true}\n"
        "  .data.b: expected string, got &value.valueUnstructured{Value:1}\n"
        '  .data.c: expected string, got &value.valueUnstructured{Value:[]interface {}{1, "x"}}\n'
        '  .data.d: expected string, got &value.valueUnstructured{Value:map[string]interface {}{"x":interface {}(nil)}}',
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: [", "error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected node content"),
        (
            b"- a",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of "
            "type map[string]interface {}",
        ),
        (b"", "invalid object type: /, Kind="),
    ],
)
async def test_what_is_no_configuration(api: Api, text: bytes, message: str) -> None:
    refused = await api.ask("PATCH", f"{CONFIGMAPS}/a?fieldManager=me", text, content_type=APPLY)
    assert (refused.status, refused.json["message"]) == (400, message)
