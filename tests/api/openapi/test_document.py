"""Documents as they are made: complete, without loose ends, and what clients look for in them."""

from __future__ import annotations

import functools
from typing import Any

import orjson

from edgekube.api.kinds import KINDS, Kind
from edgekube.api.openapi import swagger
from edgekube.api.openapi.document import Documents
from edgekube.api.protobuf import _entries
from edgekube.server.discovery import subresource_body, subresource_verbs

DOCUMENTS = Documents(lambda kind, name: (subresource_verbs(kind, name), subresource_body(kind, name)), lambda kind: None)


def _of(api_version: str) -> list[Kind]:
    return [kind for kind in KINDS.rows if kind.api_version == api_version]


@functools.cache
def _version_3(api_version: str) -> Any:
    return orjson.loads(b"".join(DOCUMENTS.version_3(_of(api_version))))


@functools.cache
def _version_2() -> Any:
    return orjson.loads(b"".join(DOCUMENTS.version_2(KINDS.rows)))


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(_references, value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def _operations(document: Any) -> list[Any]:
    return [operation for item in document["paths"].values() for key, operation in item.items() if key != "parameters"]


def test_every_reference_leads_somewhere() -> None:
    for api_version in dict.fromkeys(kind.api_version for kind in KINDS.rows):
        document = _version_3(api_version)
        there = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert _references(document) <= there, api_version
    document = _version_2()
    assert _references(document) <= {f"#/definitions/{name}" for name in document["definitions"]}


def test_ids_of_operations_are_their_own() -> None:
    ids = [operation["operationId"] for operation in _operations(_version_2())]
    assert len(ids) == len(set(ids))
    assert {"readAppsV1NamespacedDeploymentScale", "listCoreV1PodForAllNamespaces", "connectCoreV1GetNamespacedPodExec",
            "deleteRbacAuthorizationV1CollectionNamespacedRole", "connectCoreV1HeadNodeProxyWithPath"} <= set(ids)  # fmt: skip


def test_every_verb_and_subresource_has_an_operation() -> None:
    for kind in KINDS.rows:
        document = _version_3(kind.api_version)
        collection = kind.path("{namespace}" if kind.namespaced else "")
        methods = {"create": "post", "list": "get", "deletecollection": "delete"}
        for verb, method in methods.items():
            assert (method in document["paths"][collection]) == (verb in kind.verbs), (kind.kind, verb)
        for subresource in kind.subresources:
            item = document["paths"][f"{collection}/{{name}}/{subresource}"]
            group, version, body = subresource_body(kind, subresource)
            for operation in (item[key] for key in item if key != "parameters"):
                gvk = {"group": group, "version": version, "kind": body}
                assert operation["x-kubernetes-group-version-kind"] == gvk


def test_a_deployment_in_version_3() -> None:
    document = _version_3("apps/v1")
    item = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert [parameter["name"] for parameter in item["parameters"]] == ["name", "namespace", "pretty"]
    patch = item["patch"]
    assert patch["x-kubernetes-action"] == "patch"
    assert [parameter["name"] for parameter in patch["parameters"]] == ["dryRun", "fieldManager", "fieldValidation", "force"]
    assert set(patch["requestBody"]["content"]) == {
        "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    }  # fmt: skip
    schemas = document["components"]["schemas"]
    assert schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"] == {
        "allOf": [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}],
        "default": {},
        "description": "The deployment strategy to use to replace existing pods with new ones.",
        "x-kubernetes-patch-strategy": "retainKeys",
    }
    ports = schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert ports["items"] == {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"}], "default": {}}
    assert schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"
    quantity = schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"]
    assert quantity["oneOf"] == [{"type": "string"}, {"type": "number"}] and "suffix" in quantity["description"]
    deployment = schemas["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [{"group": "apps", "version": "v1", "kind": "Deployment"}]


def test_what_go_cannot_leave_out_has_a_default_in_version_3() -> None:
    schemas = _version_3("v1")["components"]["schemas"]
    container = schemas["io.k8s.api.core.v1.Container"]["properties"]
    assert container["name"]["default"] == "" and "default" not in container["image"]
    assert container["args"]["items"] == {"type": "string", "default": ""}
    assert container["resources"]["default"] == {} and "default" not in container["livenessProbe"]
    assert schemas["io.k8s.api.core.v1.ContainerStatus"]["properties"]["restartCount"]["default"] == 0
    assert schemas["io.k8s.api.core.v1.SecretEnvSource"]["properties"]["name"]["default"] == ""
    assert "default" not in schemas["io.k8s.api.core.v1.ResourceRequirements"]["properties"]["limits"]["additionalProperties"]
    assert "default" not in _version_2()["definitions"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]


def test_watches_have_their_old_paths() -> None:
    paths = _version_3("v1")["paths"]
    found = {
        path: (item["get"]["operationId"], item["get"]["x-kubernetes-action"])
        for path, item in paths.items()
        if "/watch/" in path
    }
    assert found["/api/v1/watch/pods"] == ("watchCoreV1PodListForAllNamespaces", "watchlist")
    assert found["/api/v1/watch/namespaces/{namespace}/pods"] == ("watchCoreV1NamespacedPodList", "watchlist")
    assert found["/api/v1/watch/namespaces/{namespace}/pods/{name}"] == ("watchCoreV1NamespacedPod", "watch")
    assert found["/api/v1/watch/nodes"] == ("watchCoreV1NodeList", "watchlist")
    assert found["/api/v1/watch/namespaces/{name}"] == ("watchCoreV1Namespace", "watch")
    assert not any("componentstatuses" in path for path in found)


def test_discovery_is_described_too() -> None:
    assert _version_3("apps/v1")["paths"]["/apis/apps/v1/"]["get"]["operationId"] == "getAppsV1APIResources"
    paths = _version_2()["paths"]
    assert paths["/apis/rbac.authorization.k8s.io/"]["get"]["operationId"] == "getRbacAuthorizationAPIGroup"
    assert paths["/api/"]["get"]["operationId"] == "getCoreAPIVersions"
    assert paths["/version/"]["get"]["consumes"] == ["application/json"]


def test_forms_of_bodies_and_answers() -> None:
    item = _version_3("v1")["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert set(item["put"]["requestBody"]["content"]) == {"*/*"}
    protobuf = item["get"]["responses"]["200"]["content"]["application/vnd.kubernetes.protobuf"]
    assert protobuf == {"schema": {"$ref": "#/components/schemas/io.k8s.api.core.v1.Pod"}}
    assert item["delete"]["responses"]["200"]["content"]["application/json"] == protobuf, "a DELETE answers with the pod"
    status = _version_3("apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["delete"]["responses"][
        "200"
    ]
    assert status["content"]["application/json"]["schema"]["$ref"].endswith(".Status")


def test_the_same_in_version_2() -> None:
    document = _version_2()
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["consumes"]
    assert patch["parameters"][0] == {
        "name": "body", "in": "body", "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Patch"},
    }  # fmt: skip
    assert patch["parameters"][1]["type"] == "string" and "schema" not in patch["parameters"][1]
    definitions = document["definitions"]
    assert definitions["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]["$ref"].endswith("DeploymentStrategy")
    assert definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["type"] == "string"


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Fields that are bytes: all that is looked at here."""
    return [(number, value) for number, value in _entries(data) if isinstance(value, bytes)]


def _named(data: bytes) -> tuple[str, bytes]:
    """The one NamedPathItem or NamedSchema of a message."""
    ((_, named),) = _fields(data)
    entry = dict(_fields(named))
    return entry[1].decode(), entry[2]


def test_the_protobuf_form_names_the_same_things() -> None:
    document = _version_2()
    fields = _fields(b"".join(swagger.document(*DOCUMENTS.version_2_parts(KINDS.rows))))
    # a Paths has vendor_extension = 1 and path = 2
    paths = dict(_named(value) for number, value in fields if number == 8)
    definitions = dict(_named(value) for number, value in fields if number == 9)
    assert paths.keys() == document["paths"].keys()
    assert definitions.keys() == document["definitions"].keys()
    extension = dict(_fields(dict(_fields(definitions["io.k8s.api.apps.v1.Deployment"]))[31]))
    assert extension[1] == b"x-kubernetes-group-version-kind"
    assert orjson.loads(dict(_fields(extension[2]))[2]) == [{"group": "apps", "version": "v1", "kind": "Deployment"}]
