"""MutatingAdmissionPolicy through the server: apply configurations and JSON patches, in turn."""

from __future__ import annotations

from typing import Any

import pytest

from edgekube.api.objects import Object
from tests.registry.cluster import config_map, deployment, pod
from tests.server.policies import (
    CONFIGMAPS,
    DEPLOYMENTS,
    apply_configuration,
    denied,
    json_patch,
    mutating,
    mutating_binding,
    path_of,
    put,
    rule,
)
from tests.server.running import Answer, Api

MERGE = {"content_type": "application/merge-patch+json"}
PODS = "/api/v1/namespaces/default/pods"
POD_RULE = rule("pods", group="", operations=("CREATE",))


async def made(api: Api, obj: Object, path: str = DEPLOYMENTS, query: str = "") -> Any:
    answer = await api.ask("POST", path + query, obj)
    assert answer.status == 201, answer.text
    return answer.json


async def test_annotations_are_added(api: Api) -> None:
    """Upstream's suite: should mutate a Deployment with annotations."""
    expression = """
        Object{
            metadata: Object.metadata{
                annotations: {"mutated-by": "admission-policy"}
            }
        }"""
    await put(api, mutating(apply_configuration(expression)), mutating_binding())
    written = deployment("web")
    written["metadata"]["annotations"] = {"mine": "stays"}
    assert (await made(api, written))["metadata"]["annotations"] == {"mine": "stays", "mutated-by": "admission-policy"}
    stored = (await api.ask("GET", f"{DEPLOYMENTS}/web")).json
    assert stored["metadata"]["annotations"]["mutated-by"] == "admission-policy"
    stored["metadata"]["annotations"] = {}
    updated = await api.ask("PUT", f"{DEPLOYMENTS}/web", stored)
    assert updated.json["metadata"]["annotations"] == {"mutated-by": "admission-policy"}


async def test_a_number_is_set(api: Api) -> None:
    """Upstream's suite: should mutate a Deployment."""
    await put(api, mutating(apply_configuration("Object{spec: Object.spec{replicas: 1337}}")), mutating_binding())
    assert (await made(api, deployment("dry"), query="?dryRun=All"))["spec"]["replicas"] == 1337
    assert (await api.ask("GET", f"{DEPLOYMENTS}/dry")).status == 404
    assert (await made(api, deployment("web")))["spec"]["replicas"] == 1337


SIDECAR = """
    Object{
        spec: Object.spec{
            initContainers: [
                Object.spec.initContainers{
                    name: "mesh-proxy",
                    image: "mesh/proxy:v1.0.0",
                    args: ["proxy", "sidecar"],
                    restartPolicy: "Always"
                }
            ]
        }
    }"""


async def test_a_sidecar_as_documented(api: Api) -> None:
    conditions = [{"name": "needs-it", "expression": "!object.spec.initContainers.exists(c, c.name == 'mesh-proxy')"}]
    absent = [{"name": "needs-it", "expression": "!has(object.spec.initContainers) || " + conditions[0]["expression"]}]
    policy = mutating(
        # args is an atomic list: an apply configuration may not say it.
        apply_configuration(SIDECAR.replace('args: ["proxy", "sidecar"],', "")),
        rules=[POD_RULE],
        matchConditions=absent,
        failurePolicy="Fail",
        reinvocationPolicy="IfNeeded",
    )
    await put(api, policy, mutating_binding())
    spec = (await made(api, pod("p", initContainers=[{"name": "first", "image": "demo:1"}]), PODS))["spec"]
    assert [one["name"] for one in spec["initContainers"]] == ["first", "mesh-proxy"]
    proxy = spec["initContainers"][1]
    assert (proxy["image"], proxy["restartPolicy"]) == ("mesh/proxy:v1.0.0", "Always")
    assert proxy["imagePullPolicy"] == "IfNotPresent"  # defaults were filled in after it


async def test_an_atomic_list_is_not_replaced(api: Api) -> None:
    await put(api, mutating(apply_configuration(SIDECAR), rules=[POD_RULE]), mutating_binding())
    refused = await api.ask("POST", PODS, pod("p"))
    assert (refused.status, refused.json["reason"]) == (403, "Invalid")
    assert refused.json["message"] == (
        "policy 'p.example.com' with binding 'b.example.com' denied request: error applying patch: invalid ApplyConfiguration: "
        "may not mutate atomic arrays, maps or structs: .spec.initContainers[0].args"
    )


async def test_a_json_patch_with_a_key_that_is_escaped(api: Api) -> None:
    expression = """[
        JSONPatch{op: "test", path: "/spec/replicas", value: 1},
        JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("example.com/environment"), value: "test"},
        JSONPatch{op: "add", path: "/spec/template/spec/containers/-", value: Object.spec.template.spec.containers{
            name: "x",
            image: "demo:2",
            ports: [Object.spec.template.spec.containers.ports{containerPort: 8080}]
        }}
    ]"""
    await put(api, mutating(json_patch(expression)), mutating_binding())
    web = await made(api, deployment("web", 1))
    assert web["metadata"]["labels"]["example.com/environment"] == "test"
    second = web["spec"]["template"]["spec"]["containers"][1]
    assert second["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    # A test that fails makes the whole patch void, and is no error.
    assert "example.com/environment" not in (await made(api, deployment("two", 2)))["metadata"]["labels"]


@pytest.mark.parametrize(
    ("mutation", "status", "words"),
    [
        (
            json_patch('[JSONPatch{op: "replace", path: "/spec/nothing/here", value: 1}]'),
            403,
            "denied request: JSON Patch: replace operation does not apply: doc is missing path: /spec/nothing/here: ",
        ),
        (
            json_patch('[JSONPatch{op: "add", path: "/spec/colour", value: "red"}]'),
            500,
            'Internal error occurred: strict decoding error: unknown field "spec.colour"',
        ),
        (
            json_patch('[JSONPatch{op: "add", path: "/spec/selector", value: Object.spec{selector: Object.spec.wrong{}}}]'),
            403,
            'type mismatch: unexpected type name "Object.spec.wrong", expected "Object.spec.selector"',
        ),
        (
            apply_configuration("Object{spec: Object.spec{template: Object.spec.wrong{}}}"),
            403,
            'type mismatch: unexpected type name "Object.spec.wrong", expected "Object.spec.template", which matches',
        ),
        (
            apply_configuration("Object{spec: Object.spec{colour: 'red'}}"),
            403,
            "failed to convert patch object to typed object: .spec.colour: field not declared in schema",
        ),
        (
            apply_configuration("Object{spec: Object.spec{replicas: 'many'}}"),
            403,
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (
            apply_configuration("Object{spec: Object.spec{replicas: object.spec.nothing}}"),
            403,
            "resulted in error: no such key: nothing",
        ),
    ],
)
async def test_what_cannot_be_made(api: Api, mutation: Object, status: int, words: str) -> None:
    await put(api, mutating(mutation), mutating_binding())
    refused = await api.ask("POST", DEPLOYMENTS, deployment("web"))
    assert refused.status == status, refused.text
    assert words in refused.json["message"]


async def test_a_policy_that_may_fail(api: Api) -> None:
    broken = apply_configuration("Object{spec: Object.spec{replicas: object.spec.nothing}}")
    works = apply_configuration("Object{spec: Object.spec{paused: true}}")
    await put(api, mutating(broken, works, failurePolicy="Ignore"), mutating_binding())
    spec = (await made(api, deployment("web")))["spec"]
    assert (spec["replicas"], spec["paused"]) == (1, True)


async def test_what_a_policy_makes_is_validated(api: Api) -> None:
    await put(api, mutating(apply_configuration("Object{spec: Object.spec{replicas: -1}}")), mutating_binding())
    refused = await api.ask("POST", DEPLOYMENTS, deployment("web"))
    assert refused.status == 422
    assert refused.json["details"]["causes"][0]["field"] == "spec.replicas"


def trace(name: str) -> Object:
    """Adds its name to what others have said already."""
    said = "has(object.metadata.annotations) && 'trace' in object.metadata.annotations ? object.metadata.annotations.trace : ''"
    return apply_configuration(f"Object{{metadata: Object.metadata{{annotations: {{'trace': ({said}) + '{name}'}}}}}}")


async def traced(api: Api, answer: Answer | None = None) -> str:
    return str((await made(api, config_map("c"), CONFIGMAPS))["metadata"]["annotations"]["trace"])


@pytest.mark.parametrize(("again", "trace_of_all"), [("Never", "ab"), ("IfNeeded", "aba")])
async def test_turns(api: Api, again: str, trace_of_all: str) -> None:
    rules = [rule("configmaps", group="")]
    for name in ("a", "b"):
        policy = mutating(
            trace(name), name=f"{name}.example.com", rules=rules, reinvocationPolicy=again if name == "a" else "Never"
        )
        await put(api, policy, mutating_binding(f"{name}.example.com", f"{name}.example.com"))
    assert await traced(api) == trace_of_all


async def test_params_and_variables(api: Api) -> None:
    policy = mutating(
        apply_configuration("Object{metadata: Object.metadata{labels: {variables.key: params.data.team}}}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "key", "expression": "'team'"}],
    )
    await put(api, policy, mutating_binding(paramRef={"name": "owner", "parameterNotFoundAction": "Deny"}))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web"))) == (
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    await made(api, config_map("owner", {"team": "blue"}), CONFIGMAPS)
    assert (await made(api, deployment("web")))["metadata"]["labels"] == {"app": "web", "team": "blue"}


async def test_another_version_of_the_same_object(api: Api) -> None:
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    policy = mutating(
        apply_configuration("Object{spec: Object.spec{targetCPUUtilizationPercentage: 50}}"),
        rules=[rule("horizontalpodautoscalers", group="autoscaling")],
    )
    await put(api, policy, mutating_binding())
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = (await made(api, {"metadata": {"name": "web"}, "spec": {"scaleTargetRef": target, "maxReplicas": 3}}, path))["spec"]
    assert [metric["resource"]["target"]["averageUtilization"] for metric in spec["metrics"]] == [50]


async def test_an_expression_of_the_wrong_type(api: Api) -> None:
    refused = await api.ask("POST", path_of("MutatingAdmissionPolicy"), mutating(json_patch("[]"), apply_configuration("1 +")))
    first, second = refused.json["details"]["causes"]
    assert (first["field"], first["message"]) == (
        "spec.mutations[0].jsonPatch.expression",
        'Invalid value: "[]": must evaluate to list(JSONPatch) but got list(dyn)',
    )
    assert second["field"] == "spec.mutations[1].applyConfiguration.expression"


async def test_figures(api: Api) -> None:
    works = apply_configuration("Object{spec: Object.spec{paused: true}}")
    broken = apply_configuration("Object{spec: Object.spec{replicas: object.spec.nothing}}")
    await put(api, mutating(works, broken, failurePolicy="Ignore"), mutating_binding())
    await made(api, deployment("web"))
    text = (await api.ask("GET", "/metrics")).text
    for error_type in ("no_error", "invalid_error"):
        labels = f'policy="p.example.com",policy_binding="b.example.com",error_type="{error_type}"'
        assert f"apiserver_mutating_admission_policy_check_total{{{labels}}}" in text
