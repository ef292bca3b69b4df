"""Types of the API as OpenAPI schemas.

Enters: nodes of api.schemas and their descriptions.
Leaves: the same as JSON Schema, for a version 3 document; what other types a type refers to.
Holds: a reference with anything beside it stands in allOf, as OpenAPI 3.0 wants it.
Next: api.openapi.document.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from edgekube.api.objects import Object
from edgekube.api.schemas import ZEROS, Node

PREFIX: Final = "#/components/schemas/"
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
STATUS: Final = f"{_META}.Status"
PATCH: Final = f"{_META}.Patch"
OBJECT_META: Final = f"{_META}.ObjectMeta"
LIST_META: Final = f"{_META}.ListMeta"
#: Formats that are a type of their own to people who read the document.
_NAMED_FORMATS: Final = {
    "quantity": QUANTITY,
    "int-or-string": INT_OR_STRING,
    "date-time": f"{_META}.Time",
    "micro-time": f"{_META}.MicroTime",
}
#: What these are in version 3: either of two types.
_EITHER: Final[dict[str, Object]] = {
    QUANTITY: {
        "oneOf": [{"type": "string"}, {"type": "number"}],
        "description": "A fixed-point number with a suffix: m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei, or an exponent. Nothing "
        "of it is lost; what is written back is in the canonical form, such as 1500m or 1536Mi.",
    },
    INT_OR_STRING: {
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
        "description": "An integer or a string: a number or a percentage, a port's number or its name.",
    },
}
_PLAIN_FORMATS: Final = ("", "int32", "int64", "double")
#: (definition, property) -> the default that upstream's types declare.
_DEFAULTS: Final = {
    **{
        (f"io.k8s.api.core.v1.{name}", "name"): ""
        for name in ("ConfigMapEnvSource", "ConfigMapKeySelector", "ConfigMapProjection", "ConfigMapVolumeSource",
                     "LocalObjectReference", "SecretEnvSource", "SecretKeySelector", "SecretProjection")
    },
    ("io.k8s.api.autoscaling.v1.ScaleSpec", "replicas"): 0,
    ("io.k8s.api.core.v1.FileKeySelector", "optional"): False,
    ("io.k8s.api.core.v1.GRPCAction", "service"): "",
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "minReadySeconds"): 0,
    ("io.k8s.api.core.v1.ReplicationControllerSpec", "replicas"): 1,
    ("io.k8s.api.resource.v1.DeviceToleration", "operator"): "Equal",
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "pool"): "rbd",
    ("io.k8s.api.core.v1.RBDPersistentVolumeSource", "user"): "admin",
    ("io.k8s.api.core.v1.RBDVolumeSource", "keyring"): "/etc/ceph/keyring",
    ("io.k8s.api.core.v1.RBDVolumeSource", "pool"): "rbd",
    ("io.k8s.api.core.v1.RBDVolumeSource", "user"): "admin",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "cachingMode"): "ReadWrite",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "fsType"): "ext4",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "kind"): "Shared",
    ("io.k8s.api.core.v1.AzureDiskVolumeSource", "readOnly"): False,
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "fsType"): "xfs",
    ("io.k8s.api.core.v1.ScaleIOPersistentVolumeSource", "storageMode"): "ThinProvisioned",
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "fsType"): "xfs",
    ("io.k8s.api.core.v1.ScaleIOVolumeSource", "storageMode"): "ThinProvisioned",
    ("io.k8s.api.core.v1.ISCSIPersistentVolumeSource", "iscsiInterface"): "default",
    ("io.k8s.api.core.v1.ISCSIVolumeSource", "iscsiInterface"): "default",
}  # fmt: skip


def reference(name: str) -> Object:
    return {"$ref": PREFIX + name}


def references(node: Node) -> Iterator[str]:
    """Names of the types that a node names."""
    if node.ref:
        yield node.ref
    elif node.format in _NAMED_FORMATS:
        yield _NAMED_FORMATS[node.format]
    for child in (node.items, node.additional, *(node.properties or {}).values()):
        if child is not None:
            yield from references(child)


def type_schema(name: str, node: Node, texts: Mapping[str, str], names: list[tuple[str, str, str]]) -> Object:
    """A definition. ``texts``: property -> description, "" being the type's own. ``names``: (group, version, kind)s of it."""
    if name in _EITHER:
        schema: Object = dict(_EITHER[name])
    else:
        named = name in _NAMED_FORMATS.values()  # Time refers to nothing, least of all to itself
        schema = _site(Node(type=node.type, format="date-time") if named else node, plain=named)
        for property_name, shown in (schema.get("properties") or {}).items():
            if property_name in texts:
                shown["description"] = texts[property_name]
            if (name, property_name) in _DEFAULTS:
                shown["default"] = _DEFAULTS[name, property_name]
    if texts.get(""):
        schema["description"] = texts[""]
    if names:
        schema["x-kubernetes-group-version-kind"] = [
            {"group": group, "version": version, "kind": kind} for group, version, kind in names
        ]
    return schema


def with_zeros(schema: Object, node: Node, find: Callable[[str], Node | None]) -> Object:
    """Of version 3: what a value is that nobody gives, where Go has no way to leave it out. ``schema`` is changed."""
    for name, child in (node.properties or {}).items():
        shown = schema["properties"][name]
        if name in node.always:
            _default(shown, child, find)
        _defaults_below(shown, child, find)
    return schema


def _defaults_below(schema: Object, node: Node, find: Callable[[str], Node | None]) -> None:
    for key, inner in (("items", node.items), ("additionalProperties", node.additional)):
        if inner is not None:
            schema[key] = _default(schema[key], inner, find)
            _defaults_below(schema[key], inner, find)


def _default(schema: Object, node: Node, find: Callable[[str], Node | None]) -> Object:
    if "default" in schema:
        return schema
    if node.ref:
        target = find(node.ref)
        if target is None or not target.properties:
            return schema
        schema.pop("$ref", None)
        schema |= {"allOf": [reference(node.ref)], "default": {}}
    elif node.format in _PLAIN_FORMATS and node.type in ZEROS:
        schema["default"] = ZEROS[node.type]
    return schema


def _site(node: Node, *, plain: bool = False) -> Object:
    """One place in a type."""
    named = node.ref or ("" if plain else _NAMED_FORMATS.get(node.format, ""))
    schema: Object = {}
    if named:
        schema["allOf"] = [reference(named)]
    else:
        if node.type:
            schema["type"] = node.type
        if node.format:
            schema["format"] = node.format
    if node.properties:
        schema["properties"] = {name: _site(child) for name, child in node.properties.items()}
    if node.required:
        schema["required"] = list(node.required)
    if node.enum:
        schema["enum"] = list(node.enum)
    if node.items is not None:
        schema["items"] = _bare(_site(node.items))
    if node.additional is not None:
        schema["additionalProperties"] = _bare(_site(node.additional))
    if node.list_type:
        schema["x-kubernetes-list-type"] = node.list_type
    if node.map_keys:
        schema["x-kubernetes-list-map-keys"] = list(node.map_keys)
    if node.map_type:
        schema["x-kubernetes-map-type"] = node.map_type
    if node.merge_key:
        schema["x-kubernetes-patch-merge-key"] = node.merge_key
    if node.patch_strategies:
        schema["x-kubernetes-patch-strategy"] = ",".join(node.patch_strategies)
    return schema


def _bare(schema: Object) -> Object:
    """A reference that stands alone needs no allOf."""
    if schema.keys() == {"allOf"}:
        alone: Object = schema["allOf"][0]
        return alone
    return schema
