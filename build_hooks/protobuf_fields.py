"""The field numbers of Kubernetes' protobuf form: packed into the wheel, and renewed by hand.

Enters: protobuf_fields.json beside this file, a table of facts: message -> field number -> [JSON name, type, reference, flags].
Leaves: edgekube/api/protobuf_fields.bin, the same compressed (generate(), which the build hook calls).
Holds: the table is committed because no Python package has it and a build has no Go modules (docs/adr). For a new API level
it is made anew from the struct tags of Go modules (``go mod download``):

    python build_hooks/protobuf_fields.py API APIMACHINERY APIEXTENSIONS-APISERVER KUBE-AGGREGATOR   (their directories)

Next: api.protobuf.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

TABLE = Path(__file__).with_name("protobuf_fields.json")

_STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_EMPTY = re.compile(r"^type (\w+) struct ?\{\}$", re.MULTILINE)
_ALIAS = re.compile(r"^type (\w+) (\*?[\w\[\].]+)$", re.MULTILINE)
_FIELD = re.compile(r"^\t(?:(\w+)\s+)?(\S+)\s+`([^`]*)`", re.MULTILINE)
_IMPORT = re.compile(r'^\t(?:(\w+) )?"(k8s\.io/[^"]+)"', re.MULTILINE)

_EXTENSIONS = "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
_REGISTRATION = "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

_SPECIAL = {
    "k8s.io/apimachinery/pkg/api/resource.Quantity": "quantity",
    "k8s.io/apimachinery/pkg/util/intstr.IntOrString": "intorstring",
    "k8s.io/apimachinery/pkg/apis/meta/v1.Time": "time",
    "k8s.io/apimachinery/pkg/apis/meta/v1.MicroTime": "microtime",
    "k8s.io/apimachinery/pkg/apis/meta/v1.Duration": "duration",
    "k8s.io/apimachinery/pkg/apis/meta/v1.FieldsV1": "raw",
    "k8s.io/apimachinery/pkg/runtime.RawExtension": "raw",
    # In JSON these are one thing or the other; in protobuf a message with a field for each.
    f"{_EXTENSIONS}.JSON": "raw",
    f"{_EXTENSIONS}.JSONSchemaPropsOrArray": "schemaorarray",
    f"{_EXTENSIONS}.JSONSchemaPropsOrBool": "schemaorbool",
    f"{_EXTENSIONS}.JSONSchemaPropsOrStringArray": "schemaorstrings",
}
_SCALARS = {
    "string": "string", "bool": "bool", "int": "int", "int32": "int", "int64": "int", "uint8": "int", "uint32": "int",
    "uint64": "int", "float64": "double", "time.Duration": "int", "types.UID": "string",
    "types.NodeName": "string",
}  # fmt: skip


class Package:
    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        written = (
            file for file in sorted(directory.glob("*.go")) if not re.search(r"generated|_test\.go|types_swagger", file.name)
        )
        text = "".join(file.read_text() for file in written)
        self.structs = dict.fromkeys(_EMPTY.findall(text), "") | dict(_STRUCT.findall(text))
        self.aliases = dict(_ALIAS.findall(text))
        self.imports = {name or target.rpartition("/")[2]: target for name, target in _IMPORT.findall(text)}


def generate(root: Path) -> None:
    """Write the compressed table into the tree at ``root``."""
    packed = zlib.compress(json.dumps(json.loads(TABLE.read_bytes()), separators=(",", ":")).encode(), 9)
    (root / "edgekube" / "api" / "protobuf_fields.bin").write_bytes(packed)


def main(api: Path, machinery: Path, extensions: Path, aggregator: Path) -> None:
    packages = {}
    for directory in sorted(api.glob("*/v*")):
        if directory.is_dir():
            path = f"k8s.io/api/{directory.parent.name}/{directory.name}"
            packages[path] = Package(path, directory)
    meta = "k8s.io/apimachinery/pkg/apis/meta/v1"
    packages[meta] = Package(meta, machinery / "pkg/apis/meta/v1")
    packages[_EXTENSIONS] = Package(_EXTENSIONS, extensions / "pkg/apis/apiextensions/v1")
    packages[_REGISTRATION] = Package(_REGISTRATION, aggregator / "pkg/apis/apiregistration/v1")
    table: dict[str, dict[str, list[object]]] = {}
    for package in packages.values():
        if re.search(r"(alpha|beta)\d+$", package.path):
            continue
        for name, body in package.structs.items():
            if f"{package.path}.{name}" in _SPECIAL:
                continue
            fields = {}
            for field_name, go_type, tags in _FIELD.findall(body):
                found = _field(packages, package, go_type or field_name, tags)
                if found is not None:
                    fields[found[0]] = found[1]
            if fields or not body:
                table[f"{package.path}.{name}"] = fields
    lines = [f"{json.dumps(message)}: {json.dumps(table[message], sort_keys=True)}" for message in sorted(table)]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TABLE}: {len(table)} messages")


def _field(packages: dict[str, Package], package: Package, go_type: str, tags: str) -> tuple[str, list[object]] | None:
    protobuf = re.search(r'protobuf:"([^"]*)"', tags)
    if protobuf is None:
        return None
    number, label = protobuf[1].split(",")[1:3]
    json_tag = re.search(r'json:"([^"]*)"', tags)
    name, *options = (json_tag[1] if json_tag else "").split(",")
    pointer = go_type.startswith("*")
    kind, reference = _type(packages, package, go_type.lstrip("*"))
    if label == "rep" and kind.startswith("items "):
        kind = kind.removeprefix("items ")  # a named list, written as if it had no name
    flags = ("p" if pointer else "") + ("o" if {"omitempty", "omitzero"} & set(options) else "")
    return number, ["" if "inline" in options else name, kind, reference, flags]


def _type(packages: dict[str, Package], package: Package, go_type: str) -> tuple[str, str]:
    """(type, reference): scalars, message, []type, map type."""
    if go_type == "[]byte":
        return "bytes", ""
    if go_type.startswith("[]"):
        kind, reference = _type(packages, package, go_type[2:].lstrip("*"))
        return f"[]{kind}", reference
    if go_type.startswith("map["):
        kind, reference = _type(packages, package, go_type[go_type.index("]") + 1 :])
        return f"map {kind}", reference
    if go_type in _SCALARS:
        return _SCALARS[go_type], ""
    prefix, _, name = go_type.rpartition(".")
    path = package.imports[prefix] if prefix else package.path
    full = f"{path}.{name}"
    if full in _SPECIAL:
        return _SPECIAL[full], ""
    home = packages.get(path)
    if home is None:
        return "string", ""  # types.UID and its like
    if name in home.structs:
        return "message", full
    alias = home.aliases[name]
    kind, reference = _type(packages, home, alias)
    # A named list of strings is a message with one repeated field (ExtraValue, Verbs).
    return (f"items {kind}", reference) if alias.startswith("[]") and kind != "bytes" else (kind, reference)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:5]))
