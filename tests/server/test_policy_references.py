"""Who writes a policy or a binding must be able to read its params."""

from __future__ import annotations

from edgekube.api.objects import Object
from tests.server.policies import binding, path_of, put, validating
from tests.server.running import Api

PARAMS: Object = {"apiVersion": "v1", "kind": "ConfigMap"}
REFERENCE: Object = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
ALICE = "&{alice  [developers system:authenticated] map[]}"
RBAC = "rbac.authorization.k8s.io"


def grant(api: Api, name: str, *resources: str, group: str, verbs: tuple[str, ...], names: tuple[str, ...] = ()) -> None:
    allowed = {
        "apiGroups": [group],
        "resources": [*resources],
        "verbs": [*verbs],
        **({"resourceNames": [*names]} if names else {}),
    }
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    alice = {"apiGroup": RBAC, "kind": "User", "name": "alice"}
    version = f"{RBAC}/v1"
    api.roles.put({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": [allowed]})
    api.roles.put(
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": reference,
            "subjects": [alice],
        }
    )


def writes_policies(api: Api) -> None:
    grant(
        api,
        "authors",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        group="admissionregistration.k8s.io",
        verbs=("create", "update", "patch", "get"),
    )


async def test_a_param_kind_must_be_readable(api: Api) -> None:
    writes_policies(api)
    path, policy = path_of("ValidatingAdmissionPolicy"), validating("true", paramKind=PARAMS)
    refused = await api.ask("POST", path, policy, user="alice")
    why = f'user {ALICE} must have "get" permission on all objects of the referenced paramKind (kind=ConfigMap, apiVersion=v1)'
    assert refused.json["details"]["causes"] == [
        {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": "spec.paramKind"}
    ]
    assert (await api.ask("POST", path, validating("true", name="plain"), user="alice")).status == 201
    await put(api, policy)
    change = {"spec": {"failurePolicy": "Ignore"}}
    patched = await api.ask("PATCH", f"{path}/p.example.com", change, user="alice", content_type="application/merge-patch+json")
    assert patched.status == 200  # the reference stayed as it was
    grant(api, "readers", "configmaps", group="", verbs=("get",))
    assert (await api.ask("POST", path, {**policy, "metadata": {"name": "other"}}, user="alice")).status == 201


async def test_a_param_must_be_readable(api: Api) -> None:
    writes_policies(api)
    path, bound = path_of("ValidatingAdmissionPolicyBinding"), binding(paramRef=REFERENCE)
    refused = await api.ask("POST", path, bound, user="alice")
    assert refused.json["details"]["causes"][0]["message"] == (
        "Forbidden: unable to get policy p.example.com to determine minimum required permissions and user "
        f'{ALICE} does not have "get" permission for all groups, versions and resources'
    )
    await put(api, validating("true", paramKind=PARAMS))
    refused = await api.ask("POST", path, bound, user="alice")
    assert refused.json["details"]["causes"][0] == {
        "reason": "FieldValueForbidden",
        "message": f'Forbidden: user {ALICE} does not have "get" permission on the object referenced by paramRef',
        "field": "spec.paramRef",
    }
    grant(api, "limits", "configmaps", group="", verbs=("get",), names=("limits",))
    assert (await api.ask("POST", path, bound, user="alice")).status == 201
    selected = binding(name="all", paramRef={"selector": {}, "parameterNotFoundAction": "Deny"})
    assert '"list" permission' in (await api.ask("POST", path, selected, user="alice")).json["message"]
