"""Shapes of all built-in types: fields, types, formats, list keys and merge keys, read from the derived schemas.bin.

Enters: schemas.bin, which the build hook made from the published schemas of v1.36.
Leaves: nodes, decoded when a definition is first asked for; descriptions, read only when asked for and not kept.
Holds: nodes are immutable and shared. What is held at rest is the file's shapes as bytes (about 0.3 MB), nothing decoded.
Bound: limits.SCHEMA_DEFINITIONS_HELD_MAX decoded definitions.
Next: api.strict, api.strategic_merge, server-side apply, OpenAPI.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from edgekube import limits
from edgekube.api.kinds import Kind

OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
LIST_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
DELETE_OPTIONS: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"

_FILE: Final = Path(__file__).with_name("schemas.bin")
_MAGIC: Final = b"EKS1"


class Node(msgspec.Struct, frozen=True, gc=False):
    """One place in a type. Exactly one of: a reference (``ref``), a type, or neither (any JSON value).

    ``type`` is object, array, string, integer, number or boolean. ``format`` refines it: int32, int64, double, byte, date-time,
    micro-time, quantity, int-or-string. An object without ``properties`` and ``additional`` holds whatever it is given.
    """

    type: str = msgspec.field(default="", name="t")
    format: str = msgspec.field(default="", name="f")
    ref: str = msgspec.field(default="", name="r")
    properties: dict[str, Node] | None = msgspec.field(default=None, name="p")
    required: tuple[str, ...] = msgspec.field(default=(), name="q")
    items: Node | None = msgspec.field(default=None, name="i")
    additional: Node | None = msgspec.field(default=None, name="a")
    enum: tuple[str, ...] = msgspec.field(default=(), name="e")
    #: map, set, atomic or "" (server-side apply).
    list_type: str = msgspec.field(default="", name="l")
    map_keys: tuple[str, ...] = msgspec.field(default=(), name="k")
    #: The strategic merge key of a list, "" for none.
    merge_key: str = msgspec.field(default="", name="m")
    #: merge, replace, retainKeys (strategic merge).
    patch_strategies: tuple[str, ...] = msgspec.field(default=(), name="s")
    #: granular, atomic or "".
    map_type: str = msgspec.field(default="", name="y")
    #: Of a definition: the fields that Go leaves out when they are "", 0, false, [] or {}, and nobody can tell from missing ones.
    left_out: tuple[str, ...] = msgspec.field(default=(), name="z")
    #: Of a definition: the fields that Go always writes. What is neither is a pointer, which may be missing or zero.
    always: tuple[str, ...] = msgspec.field(default=(), name="w")
    #: What a field means that is left out, where the schema says so (custom kinds; those of built-in kinds are in api.defaults).
    default: Any = msgspec.field(default=None, name="d")

    def resolved(self) -> Node:
        """The node itself, or the definition that it refers to. Site attributes (merge key, strategies) stay with the site."""
        return definition(self.ref) if self.ref else self


#: The zero values of scalars; times and what is one thing or another have other ones.
ZEROS: Final[dict[str, str | bool | int]] = {"string": "", "boolean": False, "integer": 0, "number": 0}
_PLAIN: Final = ("", "int32", "int64", "double", "byte")


def zero_of(node: Node) -> str | bool | int | None:
    """What Go has where nothing was said of a scalar; None for anything else."""
    if node.format == "quantity":
        return "0"
    return ZEROS.get(node.type) if not node.ref and node.format in _PLAIN else None


class _Shapes(msgspec.Struct):
    kinds: dict[str, str]
    definitions: dict[str, msgspec.Raw]


def _parts() -> tuple[memoryview, memoryview]:
    data = memoryview(_FILE.read_bytes())
    if bytes(data[:4]) != _MAGIC:
        raise RuntimeError("edgekube/api/schemas.bin is not a file of this version: run python -m build_hooks.schemas")
    (length,) = struct.unpack(">I", data[4:8])
    return data[8 : 8 + length], data[8 + length :]


@lru_cache(maxsize=1)
def _shapes() -> _Shapes:
    return msgspec.json.decode(zlib.decompress(_parts()[0]), type=_Shapes)


@lru_cache(maxsize=limits.SCHEMA_DEFINITIONS_HELD_MAX)
def definition(name: str) -> Node:
    """The type with this name (``io.k8s.api.core.v1.Container``). LookupError when there is none."""
    raw = _shapes().definitions.get(name)
    if raw is None:
        raise LookupError(f"no schema is named {name}")
    return msgspec.json.decode(raw, type=Node)


def definition_names() -> tuple[str, ...]:
    return tuple(_shapes().definitions)


def name_of(api_version: str, kind: str) -> str | None:
    """The definition's name for what an object says it is; also for what is no resource: Scale, Eviction, DeleteOptions."""
    return _shapes().kinds.get(f"{api_version}/{kind}")


def definition_of(kind: Kind) -> Node:
    """The type of a built-in kind. LookupError for a custom one."""
    name = None if kind.custom else name_of(kind.api_version, kind.kind)
    if name is None:
        raise LookupError(f"{kind.api_version} {kind.kind} has no schema")
    return definition(name)


def descriptions() -> dict[str, dict[str, str]]:
    """Definition -> property -> description, "" being the definition itself. About 1 MB, read anew each time: do not keep it."""
    return msgspec.json.decode(zlib.decompress(_parts()[1]), type=dict[str, dict[str, str]])


def describe(name: str) -> dict[str, str]:
    """The descriptions of one definition: property -> text, "" being the definition itself; empty when there is none."""
    texts = msgspec.json.decode(zlib.decompress(_parts()[1]), type=dict[str, msgspec.Raw])
    raw = texts.get(name)
    return msgspec.json.decode(raw, type=dict[str, str]) if raw is not None else {}


class Described:
    """Types and their descriptions for whoever shows all of them: read anew, and nothing is kept once this is gone."""

    def __init__(self) -> None:
        self._texts = msgspec.json.decode(zlib.decompress(_parts()[1]), type=dict[str, msgspec.Raw])

    def node(self, name: str) -> Node | None:
        """Decoded anew each time; None when there is none of that name."""
        raw = _shapes().definitions.get(name)
        return None if raw is None else msgspec.json.decode(raw, type=Node)

    def texts(self, name: str) -> dict[str, str]:
        raw = self._texts.get(name)
        return {} if raw is None else msgspec.json.decode(raw, type=dict[str, str])


def kinds_of_definitions() -> dict[str, list[tuple[str, str]]]:
    """Definition -> the (apiVersion, kind)s that are of it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key, name in _shapes().kinds.items():
        api_version, _, kind = key.rpartition("/")
        found.setdefault(name, []).append((api_version, kind))
    return found


def digest() -> bytes:
    """Changes with the file."""
    return hashlib.sha256(_FILE.read_bytes()).digest()
