"""A custom kind's schema as OpenAPI documents show it.

Enters: a row of the table of kinds, and the openAPIV3Schema of its version.
Leaves: the schema with what the server adds to every object: apiVersion, kind, metadata; and the group, version and kind.
Holds: what the author wrote stays, but for ``metadata``, which is the server's own.
Source: kubernetes.io, "CustomResourceDefinitions" (publishing in OpenAPI); apiextensions controller/openapi/builder.
Next: server.openapi.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.kinds import Kind
from edgekube.api.objects import Object
from edgekube.api.schemas import OBJECT_META, describe

#: Any built-in kind: what it says of apiVersion, kind and metadata holds for all.
_ANY: Final = "io.k8s.api.core.v1.ConfigMap"


def published(kind: Kind, schema: Object) -> Object:
    """For OpenAPI v3; references are to ``#/components/schemas/``."""
    shown = dict(schema) or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    texts = describe(_ANY)
    shown["properties"] = {
        **(schema.get("properties") or {}),
        "apiVersion": {"type": "string", "description": texts["apiVersion"]},
        "kind": {"type": "string", "description": texts["kind"]},
        "metadata": {"description": texts["metadata"], "allOf": [{"$ref": f"#/components/schemas/{OBJECT_META}"}]},
    }
    shown["x-kubernetes-group-version-kind"] = [{"group": kind.group, "version": kind.version, "kind": kind.kind}]
    return shown
