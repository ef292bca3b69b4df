"""How custom objects merge: a schema as server-side apply reads shapes.

Enters: a Schema.
Leaves: an api.schemas.Node.
Holds: metadata of the object and of embedded resources is ObjectMeta; what a schema leaves open has an empty node, to be deduced
from the objects. A list without a list-type is atomic.
Source: kubernetes.io, "Server-Side Apply" (custom resources and server-side apply).
Next: registry.state shape_of().
"""

from __future__ import annotations

from typing import Final

from edgekube.api.custom.schema import Schema
from edgekube.api.schemas import OBJECT_META, Node

_METADATA: Final = Node(ref=OBJECT_META)
_TEXT: Final = Node(type="string")
_OF_RESOURCES: Final = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _METADATA}


def node_of(schema: Schema, *, is_root: bool = True) -> Node:
    if schema.int_or_string:
        return Node(type="string", format="int-or-string", default=schema.default)
    type_ = schema.types[0] if schema.types else ""
    if type_ == "array":
        items = node_of(schema.items, is_root=False) if schema.items is not None else Node()
        return Node(type="array", items=items, list_type=schema.list_type or "atomic", map_keys=schema.list_keys)
    if type_ not in ("object", ""):
        return Node(type=type_, default=schema.default)
    properties = {key: node_of(below, is_root=False) for key, below in schema.properties.items()}
    if is_root or schema.embedded:
        properties |= _OF_RESOURCES
    additional = node_of(schema.additional, is_root=False) if schema.additional is not None else None
    if schema.preserve and additional is None:
        additional = Node()
    if not properties and additional is None:
        return Node(type=type_, map_type=schema.map_type)
    return Node(type="object", properties=properties or None, additional=additional, map_type=schema.map_type)
