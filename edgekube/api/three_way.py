"""What to change when somebody applies a manifest again: kubectl's three-way merge, as a strategic merge patch.

Enters: the manifest as it was applied last, as it is now, and the type's schema.
Leaves: one strategic merge patch: everything that the manifest says, and the deletion of what it no longer says.
Holds: pure. What the manifest never said (defaults, other people's fields) is not touched.
An item of a keyed list is known by its key.
Source: kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config, "How apply calculates differences".
Next: reconcile.manifests sends it; api.strategic_merge carries it out.
"""

from __future__ import annotations

from typing import Any

from edgekube.api.objects import Object
from edgekube.api.schemas import Node


def changes(last: Object, wanted: Object, shape: Node | None) -> Object:
    """The patch that brings an object from ``last`` applied to ``wanted``."""
    patch: Object = {}
    node = shape.resolved() if shape is not None else None
    for key in last.keys() - wanted.keys():
        patch[key] = None
    for key, value in wanted.items():
        patch[key] = _value(last.get(key), value, _child(node, key))
    return patch


def _child(node: Node | None, key: str) -> Node | None:
    if node is None:
        return None
    return (node.properties or {}).get(key) or node.additional


def _value(last: Any, wanted: Any, site: Node | None) -> Any:
    if isinstance(wanted, dict):
        return changes(last if isinstance(last, dict) else {}, wanted, site)
    if isinstance(wanted, list) and site is not None and "merge" in site.patch_strategies and site.merge_key:
        return _keyed_list(last if isinstance(last, list) else [], wanted, site)
    return wanted


def _keyed_list(last: list[Any], wanted: list[Any], site: Node) -> list[Any]:
    """Each wanted item merged with its former self; items that are gone become deletions."""
    key = site.merge_key
    before = {item[key]: item for item in last if isinstance(item, dict) and key in item}
    items = site.items
    merged: list[Any] = []
    for item in wanted:
        if not isinstance(item, dict) or key not in item:
            return wanted  # the server says what is wrong with it
        merged.append(changes(before.pop(item[key], {}), item, items))
    merged.extend({"$patch": "delete", key: value} for value in before)
    return merged
