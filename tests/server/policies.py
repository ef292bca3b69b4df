"""Admission policies and bindings for tests, as the documentation and upstream's suite write them."""

from __future__ import annotations

from typing import Any

from edgekube.api.objects import Object
from tests.server.running import Answer, Api

GROUP = "/apis/admissionregistration.k8s.io/v1"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
_PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}


def rule(*resources: str, group: str = "apps", operations: tuple[str, ...] = ("CREATE", "UPDATE"), **more: Any) -> Object:
    return {"apiGroups": [group], "apiVersions": ["v1"], "operations": [*operations], "resources": [*resources], **more}


DEPLOYMENT_RULE = rule("deployments")
CONFIGMAP_RULE = rule("configmaps", group="", operations=("CREATE", "UPDATE", "DELETE"))


def path_of(kind: str, name: str = "") -> str:
    return f"{GROUP}/{_PLURALS[kind]}" + (f"/{name}" if name else "")


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def validating(*validations: Object | str, name: str = "p.example.com", rules: list[Object] | None = None, **spec: Any) -> Object:
    said = [{"expression": one} if isinstance(one, str) else one for one in validations]
    constraints = spec.pop("matchConstraints", {"resourceRules": rules or [DEPLOYMENT_RULE]})
    return _object("ValidatingAdmissionPolicy", name, {"matchConstraints": constraints, "validations": said, **spec})


def binding(
    policy: str = "p.example.com", name: str = "b.example.com", actions: tuple[str, ...] = ("Deny",), **spec: Any
) -> Object:
    return _object("ValidatingAdmissionPolicyBinding", name, {"policyName": policy, "validationActions": [*actions], **spec})


def mutating(*mutations: Object, name: str = "p.example.com", rules: list[Object] | None = None, **spec: Any) -> Object:
    constraints = spec.pop("matchConstraints", {"resourceRules": rules or [DEPLOYMENT_RULE]})
    said = {"matchConstraints": constraints, "reinvocationPolicy": "Never", "mutations": [*mutations], **spec}
    return _object("MutatingAdmissionPolicy", name, said)


def mutating_binding(policy: str = "p.example.com", name: str = "b.example.com", **spec: Any) -> Object:
    return _object("MutatingAdmissionPolicyBinding", name, {"policyName": policy, **spec})


def apply_configuration(expression: str) -> Object:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def json_patch(expression: str) -> Object:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def put(api: Api, *objects: Object) -> None:
    """All of them are taken."""
    for obj in objects:
        made = await api.ask("POST", path_of(obj["kind"]), obj)
        assert made.status == 201, made.text


def denied(answer: Answer) -> str:
    """The words of a policy that denied a request."""
    assert answer.json["kind"] == "Status" and answer.status >= 400, answer.text
    return str(answer.json["message"]).partition(" denied request: ")[2]
