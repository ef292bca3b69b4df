"""Policies about custom kinds, with custom params, about connections; and what a real kubectl gets of it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgekube.api.objects import Object
from tests.registry.cluster import deployment, pod
from tests.server.custom import DEFINITIONS, custom, definition, version
from tests.server.kubectl import Kubectl
from tests.server.policies import (
    DEPLOYMENTS,
    apply_configuration,
    binding,
    denied,
    json_patch,
    mutating,
    mutating_binding,
    put,
    rule,
    validating,
)
from tests.server.running import Api
from tests.server.secured import secured_api

WIDGETS = "/apis/stable.example.com/v1/namespaces/default/widgets"
WIDGET_RULE = rule("widgets", group="stable.example.com")


def widgets() -> Object:
    ports = {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "port": {"type": "integer", "default": 80}},
        },
    }
    spec = {"size": {"type": "integer", "default": 1}, "colour": {"type": "string"}, "ports": ports}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    return definition("Widget", version(schema=schema))


async def made(api: Api, path: str, obj: Object) -> Any:
    answer = await api.ask("POST", path, obj)
    assert answer.status == 201, answer.text
    return answer.json


async def test_a_custom_kind_is_denied(api: Api) -> None:
    await made(api, DEFINITIONS, widgets())
    await put(api, validating("object.spec.size < 3", rules=[WIDGET_RULE]), binding())
    await made(api, WIDGETS, custom("Widget", "small", spec={}))
    assert denied(await api.ask("POST", WIDGETS, custom("Widget", "big", spec={"size": 3}))) == (
        "failed expression: object.spec.size < 3"
    )


async def test_a_custom_kind_is_changed_by_its_schema(api: Api) -> None:
    await made(api, DEFINITIONS, widgets())
    laid = "Object{spec: Object.spec{colour: 'red', ports: [Object.spec.ports{name: 'b'}]}}"
    patched = (
        '[JSONPatch{op: "add", path: "/spec/ports/-", value: Object.spec.ports{name: "c", port: int(object.spec.ports[1].port)}}]'
    )
    await put(api, mutating(apply_configuration(laid), json_patch(patched), rules=[WIDGET_RULE]), mutating_binding())
    spec = (await made(api, WIDGETS, custom("Widget", "w", spec={"ports": [{"name": "a", "port": 1}]})))["spec"]
    assert (spec["colour"], spec["size"]) == ("red", 1)
    assert spec["ports"] == [{"name": "a", "port": 1}, {"name": "b", "port": 80}, {"name": "c", "port": 80}]


async def test_a_field_that_no_schema_has(api: Api) -> None:
    await made(api, DEFINITIONS, widgets())
    await put(
        api, mutating(apply_configuration("Object{spec: Object.spec{shape: 'round'}}"), rules=[WIDGET_RULE]), mutating_binding()
    )
    refused = await api.ask("POST", WIDGETS, custom("Widget", "w", spec={}))
    assert denied(refused).endswith(".spec.shape: field not declared in schema")


async def test_cluster_scoped_custom_params(api: Api) -> None:
    await made(api, DEFINITIONS, definition("ReplicaLimit", version(), namespaced=False))
    named = {"apiVersion": "stable.example.com/v1", "kind": "ReplicaLimit"}
    reference = {"name": "small", "parameterNotFoundAction": "Deny"}
    said = {
        "expression": "object.spec.replicas <= params.maxReplicas",
        "messageExpression": "params.metadata.name + ': too many'",
    }
    await put(api, validating(said, paramKind=named), binding(paramRef=reference))
    assert "no params found" in denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 4)))
    await made(api, "/apis/stable.example.com/v1/replicalimits", custom("ReplicaLimit", "small", maxReplicas=3))
    assert denied(await api.ask("POST", DEPLOYMENTS, deployment("web", 4))) == "small: too many"
    await made(api, DEPLOYMENTS, deployment("web", 3))


async def test_a_param_of_a_namespaced_kind_for_a_cluster_scoped_object(api: Api) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    classes = rule("priorityclasses", group="scheduling.k8s.io")
    policy = validating("true", paramKind=config, rules=[classes])
    await put(api, policy, binding(paramRef={"name": "x", "parameterNotFoundAction": "Allow"}))
    refused = await api.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 1})
    assert denied(refused) == (
        "failed to configure binding: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
    )


async def test_a_connection_is_denied(api: Api) -> None:
    connects = rule("pods/exec", group="", operations=("CONNECT",))
    said = {"expression": "object.command[0] != 'sh'", "message": "no shells", "reason": "Forbidden"}
    await put(
        api, validating(said, "request.requestSubResource == 'exec' && object.container == 'main'", rules=[connects]), binding()
    )
    await made(api, "/api/v1/namespaces/default/pods", pod("p"))
    path = "/api/v1/namespaces/default/pods/p/exec?container=main&stdout=true&command="
    refused = await api.ask("POST", path + "sh")
    assert (refused.status, denied(refused)) == (403, "no shells")
    assert "denied request" not in (await api.ask("POST", path + "ls")).text


POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: deploy-replica-policy.example.com}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
  - {name: replicas, expression: "object.spec.replicas"}
  validations:
  - expression: variables.replicas <= 5
    messageExpression: "'object.spec.replicas must be no greater than 5, but is ' + string(variables.replicas)"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: deploy-replica-policy-binding}
spec:
  policyName: deploy-replica-policy.example.com
  validationActions: [Deny]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: team.example.com}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: >
        [JSONPatch{op: "add", path: "/metadata/labels/team", value: "blue"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: team}
spec: {policyName: team.example.com}
"""


async def test_kubectl(tmp_path: Path, kubectl: Kubectl) -> None:
    async with secured_api(tmp_path) as secured:
        await kubectl(secured, "apply", "-f", "-", stdin=POLICY)
        refused = await kubectl(secured, "create", "deployment", "web", "--image=nginx", "--replicas=6", check=False)
        assert refused.strip() == (
            'error: failed to create deployment: deployments.apps "web" is forbidden: ValidatingAdmissionPolicy '
            "'deploy-replica-policy.example.com' with binding 'deploy-replica-policy-binding' denied request: "
            "object.spec.replicas must be no greater than 5, but is 6"
        )
        await kubectl(secured, "create", "deployment", "web", "--image=nginx", "--replicas=2")
        assert await kubectl(secured, "get", "deployment", "web", "-o", "jsonpath={.metadata.labels.team}") == "blue"
        patched = await kubectl(secured, "patch", "deployment", "web", "-p", '{"spec":{"replicas":7}}', check=False)
        assert "denied request: object.spec.replicas must be no greater than 5, but is 7" in patched
        shown = await kubectl(secured, "get", "validatingadmissionpolicy,validatingadmissionpolicybinding")
        rows = [line.partition("/")[2].split()[:2] for line in shown.splitlines() if "/" in line]
        policy = "deploy-replica-policy.example.com"
        assert rows == [[policy, "1"], ["deploy-replica-policy-binding", policy]]
        await kubectl(secured, "apply", "-f", "-", stdin=POLICY.replace("[Deny]", "[Warn]"))
        warned = await kubectl(secured, "patch", "deployment", "web", "-p", '{"spec":{"replicas":7}}')
        assert warned.startswith("Warning: Validation failed for ValidatingAdmissionPolicy 'deploy-replica-policy.example.com'")
        await kubectl(secured, "delete", "-f", "-", stdin=POLICY)
        await kubectl(secured, "create", "deployment", "more", "--image=nginx", "--replicas=6")
