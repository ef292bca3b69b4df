"""Definitions that the tests of custom resources are made of."""

from __future__ import annotations

from typing import Any

from edgekube.api.objects import Object

GROUP = "stable.example.com"


def version(name: str = "v1", schema: Object | None = None, **more: Any) -> Object:
    shape = schema if schema is not None else {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": shape}, **more}


def definition(
    kind: str = "Widget", *versions: Object, group: str = GROUP, namespaced: bool = True, names: Object | None = None, **spec: Any
) -> Object:
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {"plural": plural, "kind": kind, **(names or {})},
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def custom(kind: str, name: str, version: str = "v1", group: str = GROUP, **fields: Any) -> Object:
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": name}, **fields}


DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def path(plural: str, name: str = "", version: str = "v1", group: str = GROUP, namespace: str = "default") -> str:
    below = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{group}/{version}{below}/{plural}" + (f"/{name}" if name else "")
