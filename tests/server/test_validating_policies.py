"""ValidatingAdmissionPolicy through the server: what is denied, warned of, annotated and asked about."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.objects import Object
from tests.registry.cluster import config_map, deployment, pod
from tests.server.policies import (
    CONFIGMAP_RULE,
    CONFIGMAPS,
    DEPLOYMENTS,
    binding,
    denied,
    path_of,
    put,
    rule,
    validating,
)
from tests.server.running import Api

MERGE = {"content_type": "application/merge-patch+json"}
SCALE = {"content_type": "application/merge-patch+json"}


async def test_a_deployment_of_one_replica_is_denied(api: Api) -> None:
    """Upstream's suite: should validate against a Deployment."""
    await put(
        api,
        validating(
            {"expression": "object.spec.replicas > 1", "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas"},
            {"expression": "namespaceObject.metadata.name == 'default'", "message": "Other namespaces are not allowed."},
        ),
        binding(),
    )
    refused = await api.ask("POST", DEPLOYMENTS, deployment("web", 1))
    assert refused.status == 422
    # The message's expression adds a number to a text, which fails: the expression itself is told.
    words = (
        "ValidatingAdmissionPolicy 'p.example.com' with binding 'b.example.com' denied request: failed expression: "
        "object.spec.replicas > 1"
    )
    assert refused.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'deployments.apps "web" is forbidden: {words}',
        "reason": "Invalid",
        "details": {"name": "web", "group": "apps", "kind": "deployments", "causes": [{"message": words}]},
        "code": 422,
    }
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 2))).status == 201
    replica_set = {**deployment("alone", 1), "kind": "ReplicaSet"}
    assert (await api.ask("POST", "/apis/apps/v1/namespaces/default/replicasets", replica_set)).status == 201


async def test_every_way_of_writing_is_asked(api: Api) -> None:
    await put(api, validating("object.spec.replicas <= 5"), binding())
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 3))).status == 201
    stored = (await api.ask("GET", f"{DEPLOYMENTS}/web")).json
    assert denied(await api.ask("PUT", f"{DEPLOYMENTS}/web", {**stored, "spec": {**stored["spec"], "replicas": 6}}))
    for content_type in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        assert denied(await api.ask("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 6}}, content_type=content_type))
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 6}]
    assert denied(await api.ask("PATCH", f"{DEPLOYMENTS}/web", operations, content_type="application/json-patch+json"))
    assert denied(await api.ask("POST", f"{DEPLOYMENTS}?dryRun=All", deployment("more", 6)))
    assert (await api.ask("GET", f"{DEPLOYMENTS}/web")).json["spec"]["replicas"] == 3
    # Its scale is another resource, of which the rule does not speak.
    assert (await api.ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 6}}, **SCALE)).status == 200


async def test_a_subresource_is_asked_about_by_its_own_body(api: Api) -> None:
    await put(api, validating("object.spec.replicas <= 5", rules=[rule("deployments/scale")]), binding())
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 9))).status == 201
    refused = await api.ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 8}}, **SCALE)
    assert denied(refused) == "failed expression: object.spec.replicas <= 5"
    assert (await api.ask("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 4}}, **SCALE)).status == 200


async def test_in_force_at_once_and_gone_at_once(api: Api) -> None:
    await put(api, validating("false"))
    assert (await api.ask("POST", DEPLOYMENTS, deployment("a"))).status == 201  # no binding, no effect
    await put(api, binding())
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("b")))
    changed = {"spec": {"validations": [{"expression": "object.metadata.name == 'b'"}]}}
    assert (await api.ask("PATCH", path_of("ValidatingAdmissionPolicy", "p.example.com"), changed, **MERGE)).status == 200
    assert (await api.ask("POST", DEPLOYMENTS, deployment("b"))).status == 201
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("c")))
    assert (await api.ask("DELETE", path_of("ValidatingAdmissionPolicyBinding", "b.example.com"))).status == 200
    assert (await api.ask("POST", DEPLOYMENTS, deployment("c"))).status == 201


async def test_a_delete_has_no_object(api: Api) -> None:
    kept = {
        "expression": "object != null || !has(oldObject.metadata.labels) || !('keep' in oldObject.metadata.labels)",
        "reason": "Forbidden",
    }
    await put(api, validating({**kept, "message": "labelled to be kept"}, rules=[CONFIGMAP_RULE]), binding())
    await api.ask("POST", CONFIGMAPS, config_map("kept", labels={"keep": "yes"}))
    await api.ask("POST", CONFIGMAPS, config_map("other"))
    refused = await api.ask("DELETE", f"{CONFIGMAPS}/kept")
    assert (refused.status, refused.json["reason"], denied(refused)) == (403, "Forbidden", "labelled to be kept")
    assert (await api.ask("DELETE", f"{CONFIGMAPS}/other")).status == 200
    assert denied(await api.ask("DELETE", CONFIGMAPS)) == "labelled to be kept"
    assert (await api.ask("GET", f"{CONFIGMAPS}/kept")).status == 200


async def test_variables_use_those_before_them(api: Api) -> None:
    """Upstream's suite: should allow expressions to refer variables."""
    variables = [
        {"name": "replicas", "expression": "object.spec.replicas"},
        {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
    ]
    await put(api, validating("variables.replicas > 1", "variables.oddReplicas", variables=variables), binding())
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("a", 1))) == "failed expression: variables.replicas > 1"
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("a", 2))) == "failed expression: variables.oddReplicas"
    assert (await api.ask("POST", DEPLOYMENTS, deployment("a", 3))).status == 201


async def test_who_asks_and_what_for(api: Api) -> None:
    expressions = [
        "request.operation == 'CREATE'",
        "request.userInfo.username == 'admin' && 'system:masters' in request.userInfo.groups",
        "request.kind.kind == 'Deployment' && request.resource.resource == 'deployments' && request.resource.group == 'apps'",
        "request.name == 'web' && request.namespace == 'default'",
        "request.dryRun && request.options.dryRun == ['All']",
        "!has(request.subResource) && oldObject == null",
    ]
    await put(api, validating(*expressions), binding())
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web"))) == f"failed expression: {expressions[4]}"
    assert (await api.ask("POST", f"{DEPLOYMENTS}?dryRun=All", deployment("web"))).status == 201


async def test_warnings_go_into_headers(api: Api) -> None:
    await put(
        api, validating({"expression": "object.spec.replicas > 1", "message": "one is few"}), binding(actions=("Warn", "Audit"))
    )
    made = await api.ask("POST", DEPLOYMENTS, deployment("web", 1))
    assert made.status == 201
    assert made.headers["warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p.example.com' with binding 'b.example.com': one is few\""
    )


async def test_match_conditions(api: Api) -> None:
    conditions = [{"name": "not-mine", "expression": "!object.metadata.name.startsWith('mine-')"}]
    await put(api, validating("false", matchConditions=conditions), binding())
    assert (await api.ask("POST", DEPLOYMENTS, deployment("mine-web"))).status == 201
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web")))


@pytest.mark.parametrize(("policy", "status"), [("Fail", 422), ("Ignore", 201)])
async def test_what_cannot_be_evaluated(api: Api, policy: str, status: int) -> None:
    await put(api, validating("object.spec.colour == 'red'", failurePolicy=policy), binding())
    answer = await api.ask("POST", DEPLOYMENTS, deployment("web"))
    assert answer.status == status
    if status == 422:
        assert denied(answer) == "expression 'object.spec.colour == 'red'' resulted in error: no such key: colour"


async def test_the_costs_end(api: Api) -> None:
    nested = "[1,2,3,4,5,6,7,8,9,10]"
    loops = f"{nested}.all(a, {nested}.all(b, {nested}.all(c, {nested}.all(d, {nested}.all(e, a + b + c + d + e > 0)))))"
    await put(api, validating(loops), binding())
    refused = await api.ask("POST", DEPLOYMENTS, deployment("web"))
    assert denied(refused) == f"expression '{loops}' resulted in error: operation cancelled: actual cost limit exceeded"


# --- params -----------------------------------------------------------------------------------------------------------

CONFIG_PARAMS: Object = {"apiVersion": "v1", "kind": "ConfigMap"}


def limited(**spec: Any) -> Object:
    said = {"expression": "object.spec.replicas <= int(params.data.max)", "messageExpression": "'at most ' + params.data.max"}
    return validating(said, paramKind=CONFIG_PARAMS, **spec)


async def test_a_param_by_name(api: Api) -> None:
    await put(api, limited(), binding(paramRef={"name": "limits", "parameterNotFoundAction": "Deny"}))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 3))) == (
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await api.ask("POST", CONFIGMAPS, config_map("limits", {"max": "2"}))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 3))) == "at most 2"
    await api.ask("PATCH", f"{CONFIGMAPS}/limits", {"data": {"max": "3"}}, **MERGE)
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 3))).status == 201


async def test_a_param_of_another_namespace(api: Api) -> None:
    await api.ask("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("limits", {"max": "2"}))
    reference = {"name": "limits", "namespace": "kube-system", "parameterNotFoundAction": "Deny"}
    await put(api, limited(), binding(paramRef=reference))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 3))) == "at most 2"


async def test_params_by_selector_are_asked_one_by_one(api: Api) -> None:
    reference = {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}
    await put(api, limited(), binding(paramRef=reference))
    assert (await api.ask("POST", DEPLOYMENTS, deployment("free", 9))).status == 201
    await api.ask("POST", CONFIGMAPS, config_map("a", {"max": "5"}, labels={"limits": "yes"}))
    await api.ask("POST", CONFIGMAPS, config_map("b", {"max": "3"}, labels={"limits": "yes"}))
    await api.ask("POST", CONFIGMAPS, config_map("c", {"max": "1"}))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 4))) == "at most 3"
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web", 3))).status == 201


async def test_without_a_reference_params_are_null(api: Api) -> None:
    await put(api, validating("params == null", paramKind=CONFIG_PARAMS), binding())
    assert (await api.ask("POST", DEPLOYMENTS, deployment("web"))).status == 201


async def test_a_param_kind_that_is_not_served(api: Api) -> None:
    gone = {"apiVersion": "rules.example.com/v1", "kind": "ReplicaLimit"}
    reference = {"name": "limits", "parameterNotFoundAction": "Deny"}
    await put(api, validating("true", paramKind=gone), binding(paramRef=reference))
    refused = await api.ask("POST", DEPLOYMENTS, deployment("web"))
    assert "failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=ReplicaLimit'" in denied(refused)


# --- who is asked -----------------------------------------------------------------------------------------------------


async def test_namespaces_of_a_binding(api: Api) -> None:
    await api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "shop", "labels": {"stage": "prod"}}})
    here = {"namespaceSelector": {"matchLabels": {"stage": "prod"}}}
    await put(api, validating("false", rules=[CONFIGMAP_RULE]), binding(matchResources=here))
    assert (await api.ask("POST", CONFIGMAPS, config_map("a"))).status == 201
    assert denied(await api.ask("POST", "/api/v1/namespaces/shop/configmaps", config_map("a")))


async def test_another_version_of_the_same_object(api: Api) -> None:
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    said = "object.apiVersion == 'autoscaling/v1' && object.spec.targetCPUUtilizationPercentage <= 50"
    kinds = "request.kind.version == 'v1' && request.requestKind.version == 'v2'"
    old = rule("horizontalpodautoscalers", group="autoscaling")
    await put(api, validating(said, kinds, rules=[old]), binding())
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler: Object = {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3, "metrics": [metric]}}
    assert denied(await api.ask("POST", path.format("v2"), scaler)) == f"failed expression: {said}"
    metric["resource"]["target"]["averageUtilization"] = 40  # type: ignore[index]
    assert (await api.ask("POST", path.format("v2"), scaler)).status == 201


async def test_policies_say_nothing_of_policies(api: Api) -> None:
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}]
    await put(api, validating("false", rules=everything), binding())
    assert denied(await api.ask("POST", CONFIGMAPS, config_map("a")))
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    assert (await api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)).status == 201
    assert (await api.ask("DELETE", path_of("ValidatingAdmissionPolicyBinding", "b.example.com"))).status == 200
    assert (await api.ask("POST", CONFIGMAPS, config_map("a"))).status == 201


async def test_the_order_of_the_checks(api: Api) -> None:
    """A body that is wrong is refused for that; policies see defaults and what admission added."""
    await put(
        api,
        validating("has(object.spec.serviceAccountName) && has(object.spec.dnsPolicy)", rules=[rule("pods", group="")]),
        binding(),
    )
    path = "/api/v1/namespaces/default/pods"
    assert (await api.ask("POST", path, pod("p", containers=[]))).json["message"].startswith('Pod "p" is invalid')
    assert (await api.ask("POST", path, pod("p"))).status == 201


# --- the authorizer ---------------------------------------------------------------------------------------------------


async def test_the_authorizer_is_asked(api: Api) -> None:
    """Who labels a ConfigMap as approved must be somebody who may approve."""
    api.roles.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "writers"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}],
        }
    )
    api.roles.put(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "writers"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "writers"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
        }
    )
    labelled = "!('approved' in object.metadata.?labels.orValue({}))"
    asked = "authorizer.group('example.com').resource('configs').namespace(request.namespace).check('approve')"
    said = f"{labelled} || {asked}.allowed()"
    own = "authorizer.requestResource.check('create').allowed() && !authorizer.requestResource.check('escape').allowed()"
    await put(
        api,
        validating({"expression": said, "message": "may not approve", "reason": "Forbidden"}, rules=[CONFIGMAP_RULE]),
        validating(
            own,
            name="own.example.com",
            rules=[CONFIGMAP_RULE],
            matchConditions=[{"name": "alice", "expression": "request.userInfo.username == 'alice'"}],
        ),
        binding(),
        binding("own.example.com", "own.example.com"),
    )
    assert (await api.ask("POST", CONFIGMAPS, config_map("plain"), user="alice")).status == 201
    refused = await api.ask("POST", CONFIGMAPS, config_map("a", labels={"approved": "yes"}), user="alice")
    assert (refused.status, denied(refused)) == (403, "may not approve")
    assert (await api.ask("POST", CONFIGMAPS, config_map("a", labels={"approved": "yes"}))).status == 201


# --- what is taken ----------------------------------------------------------------------------------------------------


async def test_an_expression_that_does_not_compile(api: Api) -> None:
    refused = await api.ask("POST", path_of("ValidatingAdmissionPolicy"), validating("object.spec.replicas >", "object.spec"))
    assert refused.status == 422
    first, second = refused.json["details"]["causes"]
    assert first["field"] == "spec.validations[0].expression"
    assert first["message"].startswith(
        'Invalid value: "object.spec.replicas >": compilation failed: ERROR: <input>:1:23: Syntax error: mismatched input'
    )
    assert (second["field"], second["message"]) == (
        "spec.validations[1].expression",
        'Invalid value: "object.spec": must evaluate to bool but got dyn',
    )


async def test_what_is_heavy_is_asked_beside_the_loop(api: Api) -> None:
    """A thread computes, and its questions to the authorizer come back into the loop."""
    pairs = "object.data.list.split(',').all(x, object.data.list.split(',').all(y, x != '' || y != ''))"
    asks = "authorizer.group('').resource('pods').check('get').allowed()"
    await put(api, validating(f"{pairs} && {asks}", rules=[CONFIGMAP_RULE]), binding())
    assert (await api.ask("POST", CONFIGMAPS, config_map("a", {"list": ",".join("x" * 200)}))).status == 201


async def test_figures(api: Api) -> None:
    await put(api, validating("object.spec.replicas > 1"), binding(), binding(name="c.example.com", actions=("Warn",)))
    await api.ask("POST", DEPLOYMENTS, deployment("web", 1))
    await api.ask("POST", DEPLOYMENTS, deployment("web", 2))
    text = (await api.ask("GET", "/metrics")).text
    name = "apiserver_validating_admission_policy_check_total"
    for bound, action in (("b.example.com", "deny"), ("c.example.com", "warn")):
        labels = f'policy="p.example.com",policy_binding="{bound}",error_type="invalid_error",enforcement_action="{action}"'
        assert f"{name}{{{labels}}} 1\n" in text
    assert "apiserver_validating_admission_policy_check_duration_seconds_count" in text
