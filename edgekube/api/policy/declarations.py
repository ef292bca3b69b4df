"""What is declared to the expressions of policies and match conditions.

Enters: whether there are params and an authorizer; for type checking, the types of object and params.
Leaves: names of variables and their types.
Holds: ``object`` and ``params`` are dyn: one policy is about many kinds. The namespace's times are declared as upstream declares
them, though the values are text.
Source: k8s.io/apiserver pkg/admission/plugin/cel/compile.go (BuildRequestType, BuildNamespaceType).
Next: api.policy.compiler.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from edgekube.api.cel.schema_types import object_type
from edgekube.api.cel.types import BOOL, DYN, INT, STRING, TIMESTAMP, Type, list_of, map_of, opaque

OBJECT: Final = "object"
OLD_OBJECT: Final = "oldObject"
PARAMS: Final = "params"
REQUEST: Final = "request"
NAMESPACE: Final = "namespaceObject"
AUTHORIZER: Final = "authorizer"
REQUEST_RESOURCE: Final = "authorizer.requestResource"
VARIABLES: Final = "variables"


@cache
def _request() -> Type:
    texts = list_of(STRING)
    kind = object_type("kubernetes.GroupVersionKind", {"group": STRING, "version": STRING, "kind": STRING})
    resource = object_type("kubernetes.GroupVersionResource", {"group": STRING, "version": STRING, "resource": STRING})
    user = object_type(
        "kubernetes.UserInfo", {"username": STRING, "uid": STRING, "groups": texts, "extra": map_of(STRING, texts)}
    )
    fields = {
        "kind": kind,
        "resource": resource,
        "subResource": STRING,
        "requestKind": kind,
        "requestResource": resource,
        "requestSubResource": STRING,
        "name": STRING,
        "namespace": STRING,
        "operation": STRING,
        "userInfo": user,
        "dryRun": BOOL,
        "options": DYN,
    }
    return object_type("kubernetes.AdmissionRequest", fields)


@cache
def _namespace() -> Type:
    texts, labels = list_of(STRING), map_of(STRING, STRING)
    condition = object_type(
        "kubernetes.NamespaceCondition",
        {"status": STRING, "type": STRING, "lastTransitionTime": TIMESTAMP, "message": STRING, "reason": STRING},
    )
    metadata = {
        "name": STRING,
        "generateName": STRING,
        "namespace": STRING,
        "labels": labels,
        "annotations": labels,
        "UID": STRING,
        "creationTimestamp": TIMESTAMP,
        "deletionGracePeriodSeconds": INT,
        "deletionTimestamp": TIMESTAMP,
        "generation": INT,
        "resourceVersion": STRING,
        "finalizers": texts,
    }
    fields = {
        "metadata": object_type("kubernetes.NamespaceMetadata", metadata),
        "spec": object_type("kubernetes.NamespaceSpec", {"finalizers": texts}),
        "status": object_type("kubernetes.NamespaceStatus", {"conditions": list_of(condition), "phase": STRING}),
    }
    return object_type("kubernetes.Namespace", fields)


def variables(*, params: bool, authorizer: bool, object_type: Type = DYN, params_type: Type = DYN) -> dict[str, Type]:
    declared = {OBJECT: object_type, OLD_OBJECT: object_type, NAMESPACE: _namespace(), REQUEST: _request()}
    if params:
        declared[PARAMS] = params_type
    if authorizer:
        declared[AUTHORIZER] = opaque("kubernetes.authorization.Authorizer")
        declared[REQUEST_RESOURCE] = opaque("kubernetes.authorization.ResourceCheck")
    return declared
