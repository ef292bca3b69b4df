"""Derive edgekube/api/schemas.bin from the JSON schemas that the kubernetes-validate package carries.

Enters: ``_definitions.json`` of Kubernetes v1.36; protobuf_fields.json, for which fields Go leaves out when they are zero.
Leaves: one compact file: the shapes of all types of the stable API, and, apart, their descriptions.
Holds: what kubernetes-validate changed for its own purpose is undone: null is no type of its own here, and IntOrString, Quantity,
Time and MicroTime are formats again. The same input gives the same bytes.
Next: build_hooks.hook calls this; edgekube.api.schemas reads the file.

File: ``EKS1`` · uint32 length of the first part (big endian) · zlib(shapes JSON) · zlib(descriptions JSON).
Shapes JSON: ``{"kinds": {"apps/v1/Deployment": name}, "definitions": {name: node}}``; a node has the short keys of _KEYS below.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from importlib import resources
from pathlib import Path
from typing import Any

KUBERNETES_VERSION = "v1.36.0"
MAGIC = b"EKS1"

#: Definitions that are a scalar with a format of its own: (type, format).
_SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("string", "quantity"),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("string", "int-or-string"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": ("string", "date-time"),
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": ("string", "micro-time"),
}
#: Definitions that hold whatever they are given.
_FREE = {
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
}
#: Versions that edgekube does not serve; their types come along only when a stable one refers to them.
_UNSTABLE = re.compile(r"\.v\d+(alpha|beta)\d+\.")
#: Site extension -> short key.
_KEYS = {
    "x-kubernetes-list-type": "l",
    "x-kubernetes-list-map-keys": "k",
    "x-kubernetes-patch-merge-key": "m",
    "x-kubernetes-map-type": "y",
}
_REF = "#/$defs/"
#: Types of the table of fields that ``omitempty`` never leaves out: structs in Go.
_STRUCTS = {"message", "quantity", "intorstring", "time", "microtime", "raw", "schemaorarray", "schemaorbool", "schemaorstrings"}
_TABLE = Path(__file__).with_name("protobuf_fields.json")


def _scalar_type(schema: dict[str, Any]) -> str:
    """The type, without the null that kubernetes-validate added."""
    declared = schema.get("type")
    types = [declared] if isinstance(declared, str) else [type_ for type_ in declared or () if type_ != "null"]
    if len(types) > 1:
        raise ValueError(f"more than one type: {types}")
    return types[0] if types else ""


def _node(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema as a node. Keys: t type, f format, r reference, p properties, q required, i items, a additional properties,
    l list type, k list map keys, m merge key, s patch strategies, y map type; of a definition: z fields that are
    left out when zero, w fields that are always written."""
    node: dict[str, Any] = {}
    reference = schema.get("$ref")
    if reference is not None:
        name = reference.removeprefix(_REF)
        if name in _SCALARS:
            node["t"], node["f"] = _SCALARS[name]
        elif name in _FREE:
            node["t"], node["y"] = "object", "atomic"
        else:
            node["r"] = name
    elif "oneOf" in schema or "anyOf" in schema or "allOf" in schema:
        raise ValueError(f"unexpected combination of schemas: {sorted(schema)}")
    else:
        type_ = _scalar_type(schema)
        if type_:
            node["t"] = type_
        if "format" in schema:
            node["f"] = schema["format"]
        if "properties" in schema:
            node["p"] = {name: _node(schema["properties"][name]) for name in sorted(schema["properties"])}
        if "required" in schema:
            node["q"] = sorted(schema["required"])
        if "items" in schema:
            node["i"] = _node(schema["items"])
        if isinstance(schema.get("additionalProperties"), dict):
            node["a"] = _node(schema["additionalProperties"])
    for extension, key in _KEYS.items():
        if extension in schema:
            node[key] = schema[extension]
    if "x-kubernetes-patch-strategy" in schema:
        node["s"] = schema["x-kubernetes-patch-strategy"].split(",")
    return node


def _definition(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    if name in _SCALARS:
        type_, format_ = _SCALARS[name]
        return {"t": type_, "f": format_}
    node = _node(schema)
    for property_name in ("apiVersion", "kind"):
        if "p" in node and property_name in node["p"]:
            node["p"][property_name] = {"t": "string"}
    return node


def _written(table: dict[str, Any], message: str) -> tuple[list[str], list[str]]:
    """The JSON names of a message's fields that Go's encoder leaves out when they are "", 0, false or empty (omitempty, and no
    pointer), and of those that it always writes (no pointer, and a struct or without omitempty)."""
    left_out, always = [], []
    for name, type_, reference, flags in table.get(message, {}).values():
        if not name:  # its fields belong to the message around it
            below = _written(table, reference)
            left_out += below[0]
            always += below[1]
        elif "p" not in flags:
            (left_out if "o" in flags and type_ not in _STRUCTS else always).append(name)
    return sorted(left_out), sorted(always)


def _message_of(name: str) -> str:
    """``io.k8s.api.core.v1.Pod`` as the table names it: ``k8s.io/api/core/v1.Pod``."""
    package, _, short = name.removeprefix("io.k8s.").rpartition(".")
    return f"k8s.io/{package.replace('.', '/')}.{short}"


def _references(node: dict[str, Any]) -> set[str]:
    found = {node["r"]} if "r" in node else set()
    for child in [*node.get("p", {}).values(), *(node[key] for key in ("i", "a") if key in node)]:
        found |= _references(child)
    return found


def _kinds(definitions: dict[str, Any]) -> dict[str, str]:
    """``apps/v1/Deployment`` -> definition. DeleteOptions and WatchEvent are of every group: the meta version alone is kept."""
    kinds: dict[str, str] = {}
    for name, schema in definitions.items():
        for row in schema.get("x-kubernetes-group-version-kind", ()):
            group, version, kind = row["group"], row["version"], row["kind"]
            if "alpha" in version or "beta" in version or (".apis.meta." in name and (group or version != "v1")):
                continue
            kinds[f"{group}/{version}/{kind}" if group else f"{version}/{kind}"] = name
    return dict(sorted(kinds.items()))


def derive(definitions: dict[str, Any], table: dict[str, Any]) -> bytes:
    """The file's bytes. ``table``: of protobuf_fields.json."""
    nodes = {name: _definition(name, schema) for name, schema in definitions.items()}
    for name, node in nodes.items():
        for key, fields in zip("zw", _written(table, _message_of(name)), strict=True):
            if known := [each for each in fields if each in node.get("p", {})]:
                node[key] = known
    kept: set[str] = set()
    wanted = {name for name in nodes if not _UNSTABLE.search(name)}
    while wanted:
        name = wanted.pop()
        kept.add(name)
        wanted |= _references(nodes[name]) - kept
    descriptions = {
        name: {
            "": definitions[name].get("description", ""),
            **{
                property_name: schema["description"]
                for property_name, schema in sorted(definitions[name].get("properties", {}).items())
                if "description" in schema
            },
        }
        for name in sorted(kept)
    }
    shapes = {"kinds": _kinds(definitions), "definitions": {name: nodes[name] for name in sorted(kept)}}
    parts = [
        zlib.compress(json.dumps(part, separators=(",", ":"), ensure_ascii=False).encode(), 9) for part in (shapes, descriptions)
    ]
    return MAGIC + struct.pack(">I", len(parts[0])) + parts[0] + parts[1]


def generate(root: Path) -> Path:
    """Write the file into the source tree at ``root``; answers its path."""
    package = resources.files("kubernetes_validate")
    source = package / "kubernetes-json-schema" / f"{KUBERNETES_VERSION}-local" / "_definitions.json"
    derived = derive(json.loads(source.read_text(encoding="utf-8"))["$defs"], json.loads(_TABLE.read_bytes()))
    target = root / "edgekube" / "api" / "schemas.bin"
    if not target.exists() or target.read_bytes() != derived:
        part = target.with_suffix(".part")
        part.write_bytes(derived)
        part.replace(target)
    return target


if __name__ == "__main__":
    path = generate(Path(__file__).resolve().parent.parent)
    print(f"{path}: {path.stat().st_size} bytes")
