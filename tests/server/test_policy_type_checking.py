"""What a ValidatingAdmissionPolicy is told in its status about the types of its expressions."""

from __future__ import annotations

from typing import Any

from edgekube.api.kinds import VALIDATINGADMISSIONPOLICY
from edgekube.api.objects import Object
from edgekube.controllers import validatingpolicies
from edgekube.registry.policies.type_checking import checker
from tests.controllers.world import World
from tests.server.custom import DEFINITIONS, definition, version
from tests.server.policies import path_of, rule, validating
from tests.server.running import Api

CONFUSED: Object = {
    "expression": "object.spec.replicas > '1'",
    "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
}


def warned(api: Api, policy: Object) -> list[Any]:
    return checker(api.registry)(policy)


async def test_a_policy_that_fits(api: Api) -> None:
    fits = validating(
        "object.spec.replicas > 1 && oldObject.metadata.labels['a'] == 'b'",
        "object.metadata.creationTimestamp > timestamp('2020-01-01T00:00:00Z')",
        "variables.names.all(name, name.startsWith('x'))",
        "params.data.max == '3' && authorizer.requestResource.check('get').allowed()",
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "names", "expression": "object.spec.template.spec.containers.map(c, c.name)"}],
    )
    assert warned(api, fits) == []


async def test_numbers_and_texts(api: Api) -> None:
    """Upstream's suite: should type check validation expressions."""
    expression, message = warned(api, validating(CONFUSED))
    assert expression == {
        "fieldRef": "spec.validations[0].expression",
        "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to "
        "'(int, string)'\n"
        " | object.spec.replicas > '1'\n"
        " | .....................^\n",
    }
    assert message["fieldRef"] == "spec.validations[0].messageExpression"
    assert "found no matching overload for '_+_' applied to '(string, int)'" in message["warning"]


async def test_several_kinds_of_one_policy(api: Api) -> None:
    rules = [rule("replicasets", "deployments", "deployments/scale"), rule("*"), rule("pods", group="*"), rule("nothings")]
    (said,) = warned(api, validating("object.spec.strategy.type == 'Recreate'", rules=rules))
    assert [line for line in said["warning"].split("\n") if "ERROR" in line] == [
        "apps/v1, Kind=ReplicaSet: ERROR: <input>:1:12: undefined field 'strategy'"
    ]


async def test_params_and_variables_have_types(api: Api) -> None:
    policy = validating(
        "params.data > 1",
        "variables.count == 'one'",
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "count", "expression": "object.spec.template.spec.containers.size()"}],
    )
    assert [one["fieldRef"] for one in warned(api, policy)] == [
        "spec.validations[0].expression",
        "spec.validations[1].expression",
    ]


async def test_a_custom_kind(api: Api) -> None:
    """Upstream's suite: should type check a CRD."""
    spec = {"cronSpec": {"type": "string"}, "image": {"type": "string"}, "replicas": {"type": "integer"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}
    assert (await api.ask("POST", DEFINITIONS, definition("CronTab", version(schema=schema)))).status == 201
    rules = [rule("crontabs", group="stable.example.com")]
    assert warned(api, validating("object.spec.replicas > 1 && object.metadata.labels['a'] == 'b'", rules=rules)) == []
    said = warned(api, validating(CONFUSED, "object.spec.colour == 'red'", rules=rules))
    assert [one["fieldRef"] for one in said] == [
        "spec.validations[0].expression",
        "spec.validations[0].messageExpression",
        "spec.validations[1].expression",
    ]
    assert said[2]["warning"].startswith("stable.example.com/v1, Kind=CronTab: ERROR: <input>:1:12: undefined field 'colour'")


async def test_each_generation_is_checked_once(api: Api) -> None:
    asked = []

    def check(policy: Object) -> list[Object]:
        asked.append(policy["metadata"]["generation"])
        return checker(api.registry)(policy)

    world, controller = World(), validatingpolicies.controller(check)
    world.put(VALIDATINGADMISSIONPOLICY, validating(CONFUSED))
    world.step(controller, "", "p.example.com")
    found = world.get(VALIDATINGADMISSIONPOLICY, "", "p.example.com")
    assert found is not None
    assert len(found["status"]["typeChecking"]["expressionWarnings"]) == 2
    assert world.step(controller, "", "p.example.com") == []
    world.put(VALIDATINGADMISSIONPOLICY, {**found, "spec": validating("true")["spec"]})
    world.step(controller, "", "p.example.com")
    found = world.get(VALIDATINGADMISSIONPOLICY, "", "p.example.com")
    assert found is not None
    assert found["status"] == {"observedGeneration": found["metadata"]["generation"], "typeChecking": {}}
    assert world.step(controller, "", "gone") == []
    assert asked == [1, found["metadata"]["generation"]]


async def test_the_status_is_a_subresource(api: Api) -> None:
    path = path_of("ValidatingAdmissionPolicy", "p.example.com")
    assert (await api.ask("POST", path_of("ValidatingAdmissionPolicy"), validating("true"))).json["metadata"]["generation"] == 1
    status = {"observedGeneration": 1, "typeChecking": {}}
    patched = await api.ask("PATCH", f"{path}/status", {"status": status}, content_type="application/merge-patch+json")
    assert patched.json["status"] == status
    kept = (await api.ask("PUT", path, {**patched.json, "status": {}})).json
    assert (kept["status"], kept["metadata"]["generation"]) == (status, 1)
    bad = {"status": {"typeChecking": {"expressionWarnings": [{"fieldRef": "spec.validations[0].expression", "warning": ""}]}}}
    refused = await api.ask("PATCH", f"{path}/status", bad, content_type="application/merge-patch+json")
    assert refused.json["details"]["causes"][0]["field"] == "status.typeChecking.expressionWarnings[0].warning"
