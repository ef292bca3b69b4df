"""One type with every way of merging, values of it, and its only version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from hypothesis import strategies as st

from edgekube.api.managed import fieldsets
from edgekube.api.managed.fieldsets import Filter
from edgekube.api.managed.sites import Site, site_of
from edgekube.api.objects import Object
from edgekube.api.schemas import Node

#: What structured-merge-diff v6.3.2, behind apimachinery's field manager of v0.36.0, made of random writes of this type.
RECORDED: Any = orjson.loads(Path(__file__).with_name("sequences.json").read_bytes())
VERSION = "g.example/v1"
SAID: Object = {"apiVersion": VERSION, "kind": "T"}


def node_of(schema: Any) -> Node:
    properties, items, additional = schema.get("properties"), schema.get("items"), schema.get("additionalProperties")
    return Node(
        type=schema.get("type", ""),
        properties={name: node_of(below) for name, below in properties.items()} if properties is not None else None,
        items=node_of(items) if items is not None else None,
        additional=node_of(additional) if additional is not None else None,
        list_type=schema.get("x-kubernetes-list-type", ""),
        map_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
        merge_key=schema.get("x-kubernetes-patch-merge-key", ""),
        patch_strategies=("merge",) if "x-kubernetes-patch-strategy" in schema else (),
        map_type=schema.get("x-kubernetes-map-type", ""),
        default=schema.get("default"),
    )


NODE = node_of(RECORDED["model"])
SITE = site_of(NODE)


class OneVersion:
    """api.managed.updater.Versions of a type that has one."""

    def __init__(self, subresource: str = "") -> None:
        fields = ("metadata", "spec") if subresource else ("status",)
        self._filter = fieldsets.excluding(fieldsets.of_paths(*fields))

    def site(self, api_version: str) -> Site | None:
        return SITE if api_version == VERSION else None

    def convert(self, obj: Object, api_version: str) -> Object | None:
        return obj if api_version == VERSION else None

    def resets(self, api_version: str) -> Filter:
        return self._filter


_FREE = st.recursive(
    st.sampled_from(["x", 1, True]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("pq"), inner, max_size=2),
    max_leaves=4,
)


def values(node: Node) -> st.SearchStrategy[Any]:
    """Lists say nothing twice."""
    match node.type:
        case "string":
            return st.sampled_from(["a", "b", "c", "<&>"])
        case "integer":
            return st.integers(0, 3)
        case "boolean":
            return st.booleans()
        case "array":
            items = values(node.items or Node())
            if node.list_type == "set":
                return st.lists(items, max_size=3, unique=True)
            keys = node.map_keys or ((node.merge_key,) if node.merge_key else ())
            if keys:
                keyed = items.filter(lambda item: any(key in item for key in keys) or "protocol" in keys)
                return st.lists(keyed, max_size=3, unique_by=lambda item: tuple(item.get(key, "TCP") for key in keys))
            return st.lists(items, max_size=3)
        case "object" if node.properties:
            return st.fixed_dictionaries({}, optional={name: values(below) for name, below in node.properties.items()})
        case "object" if node.additional is not None:
            return st.dictionaries(st.sampled_from("abc"), values(node.additional), max_size=3)
    return _FREE if not node.type else st.dictionaries(st.sampled_from("de"), _FREE, max_size=2)


_SPEC = values((NODE.properties or {})["spec"])


@st.composite
def objects(draw: st.DrawFn) -> Object:
    return {**SAID, "metadata": {"name": "t"}, "spec": draw(_SPEC)}
