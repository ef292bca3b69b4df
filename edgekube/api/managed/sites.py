"""How one place of a type merges.

Enters: a schemas.Node.
Leaves: a Site: a leaf, a map that is merged field by field, a list whose items have keys, a set, or whatever the value is.
Holds: pure; made when first met, and kept with its parent. Sites of built-in definitions are kept for good; the types that are
in use bound them.
Source: k8s.io/kube-openapi pkg/schemaconv (how a schema becomes a type that merges).
Next: the walks: api.managed.compare, merge, remove, fields_of.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from edgekube.api.managed import elements
from edgekube.api.schemas import ZEROS, Node, definition

LEAF: Final = 0
MAP: Final = 1
#: A list whose items are known by the values of their keys.
KEYED: Final = 2
#: A list of scalars, each known by itself.
SET: Final = 3
#: No type is declared: maps are merged field by field, lists and scalars are leaves.
DEDUCED: Final = 4
#: No type is declared, and all of it is one leaf.
OPAQUE: Final = 5

#: Keys that an item may leave out: what is then meant. Both are defaults of the types that have them.
_KEY_DEFAULTS: Final = {"protocol": "TCP"}
#: A name that may be left out and is then empty, as Go's decoder leaves it.
_OPTIONAL_NAMES: Final = ("io.k8s.api.core.v1.LocalObjectReference",)


class Site:
    """``relation`` is one of the constants above; ``atomic``: a map or list that is one leaf."""

    __slots__ = ("_additional", "_children", "_items", "atomic", "declared", "keys", "node", "relation", "struct")

    def __init__(self, node: Node) -> None:
        resolved = node.resolved()
        self.node = resolved
        #: The definition's name, for built-in types.
        self.struct = node.ref
        self.declared = resolved.properties or {}
        self._children: dict[str, Site] = {}
        self._additional: Site | None = None
        self._items: Site | None = None
        self.keys: tuple[str, ...] = ()
        self.atomic = False
        match resolved.type:
            case "object":
                self.relation = MAP
                self.atomic = (node.map_type or resolved.map_type) == "atomic"
                if self.atomic and resolved.properties is None and resolved.additional is None:
                    self.relation = OPAQUE
            case "array":
                self._list(node)
            case "":
                self.relation = MAP if resolved.properties is not None else DEDUCED
            case _:
                self.relation = LEAF

    def _list(self, node: Node) -> None:
        self.relation = SET
        match node.list_type:
            case "map":
                self.relation, self.keys = KEYED, node.map_keys
            case "set":
                pass
            case "" if "merge" in node.patch_strategies:
                if node.merge_key:
                    self.relation, self.keys = KEYED, (node.merge_key,)
            case _:
                self.atomic = True

    def field(self, name: str) -> Site | None:
        """The site of a map's field; None where the type has no such field."""
        known = self._children.get(name)
        if known is not None:
            return known
        node = self.declared.get(name)
        if node is None:
            return self.additional
        made = self._children[name] = _site(node)
        return made

    @property
    def additional(self) -> Site | None:
        """The site of fields that are not declared."""
        if self._additional is None:
            node = self.node.additional
            if node is not None:
                self._additional = _site(node)
            elif not self.declared:
                self._additional = OPAQUE_SITE if self.relation == OPAQUE else DEDUCED_SITE
        return self._additional

    @property
    def items(self) -> Site:
        if self._items is None:
            node = self.node.items
            self._items = _site(node) if node is not None else OPAQUE_SITE
        return self._items

    def step_of(self, item: Any) -> str:
        """The step to a list's item. ValueError, in upstream's words, for one that has no place in such a list."""
        if self.relation == SET:
            match item:
                case dict():
                    raise ValueError("associative list without keys has an element that's a map type")
                case list():
                    raise ValueError("not supported: associative list with lists as elements")
                case None:
                    raise ValueError("associative list without keys has an element that's an explicit null")
            return elements.of_value(item)
        if item is None:
            raise ValueError("associative list with keys may not have a null element")
        if type(item) is not dict:
            raise ValueError("associative list with keys may not have non-map elements")
        keys: dict[str, Any] = {}
        for name in sorted(self.keys):
            if name in item:
                keys[name] = item[name]
            else:
                default = self.items.default_of(name)
                if default is not None:
                    keys[name] = default
        if self.keys and not keys:
            named = " ".join(map(elements.quoted, self.keys))
            raise ValueError(
                f"associative list with keys has an element that omits all key fields [{named}] "
                "(and doesn't have default values for any key fields)"
            )
        return elements.of_keys(keys)

    def default_of(self, name: str) -> Any:
        """What an item's key means that was left out; None: nothing."""
        node = self.declared.get(name)
        if node is None:
            return None
        if node.default is not None:
            return node.default
        if not self.struct:
            return None
        if name in self.node.required or (name == "name" and self.struct in _OPTIONAL_NAMES):
            return ZEROS.get(node.type)
        return _KEY_DEFAULTS.get(name)


@cache
def _of_definition(name: str, map_type: str) -> Site:
    return Site(Node(ref=name, map_type=map_type))


def _site(node: Node) -> Site:
    return _of_definition(node.ref, node.map_type) if node.ref else Site(node)


def site_of(node: Node) -> Site:
    """The site of a whole object of a custom kind."""
    return _site(node)


@cache
def built_in(name: str) -> Site:
    """The site of a whole object of a built-in definition: made once, for what is learnt of it is kept with it."""
    return Site(definition(name))


DEDUCED_SITE: Final = Site(Node())
OPAQUE_SITE: Final = Site(Node(type="object", map_type="atomic"))
