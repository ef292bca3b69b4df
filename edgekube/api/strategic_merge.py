"""Strategic merge patch: lists merge by the keys that the schema names, directives say the rest.

Enters: a document and a patch, both ours to change, and the type of the document.
Leaves: the document, changed in place.
Holds: what a directive stands in, where there is nothing that it could be about, goes. ValueError, in upstream's words, on a
patch that makes no sense.
Source: apimachinery util/strategicpatch; kubernetes/community, sig-api-machinery/strategic-merge-patch.md and
preserve-order-in-strategic-merge-patch.md.
Next: api.patch.
"""

from __future__ import annotations

from typing import Any, Final

from edgekube.api import go_text
from edgekube.api.objects import Object
from edgekube.api.schemas import Node

_PATCH: Final = "$patch"
_RETAIN_KEYS: Final = "$retainKeys"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"

#: What of the errors is the sender's own fault, as upstream has it: 422 for the first, 400 for the others. The rest is 500.
LIST_OF_LISTS: Final = "lists of lists are not supported"
_BAD_RETAIN_KEYS: Final = "invalid patch format of retainKeys"
BAD_FORMATS: Final = frozenset({_BAD_RETAIN_KEYS})
_GONE: Final = object()


def merged(original: Object, patch: Object, node: Node | None) -> Object:
    """``original`` with ``patch`` applied; ``node`` is its type, None when it has none (open schemas merge as plain JSON)."""
    if _PATCH in patch:
        directive = patch[_PATCH]
        if directive == "replace":
            return {key: value for key, value in patch.items() if key != _PATCH}
        if directive == "delete":
            return {}
        raise ValueError(f"unknown patch type: {go_text.plain(directive)} in map: {go_text.plain(patch)}")
    _retain_keys(original, patch)
    _merge_ordered_lists(original, patch, node)
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            _delete_from_primitive_list(original, key.removeprefix(_DELETE_FROM), value)
        elif value is None:
            original.pop(key, None)
        else:
            made = _merged_field(original.get(key), value, _site(node, key))
            if made is _GONE:
                original.pop(key, None)
            else:
                original[key] = made
    return original


def _site(node: Node | None, key: str) -> Node | None:
    """Where the type says how ``key`` merges."""
    if node is None:
        return None
    node = node.resolved()
    return (node.properties or {}).get(key) or node.additional


def _merged_field(current: Any, value: Any, site: Node | None) -> Any:
    if type(current) is not type(value):
        return _cleaned(value)
    strategies = site.patch_strategies if site is not None else ()
    if type(value) is dict:
        return value if "replace" in strategies else merged(current, value, site)
    if type(value) is list:
        return _merged_list(current, value, site) if site is not None and "merge" in strategies else value
    return value


def _cleaned(value: Any) -> Any:
    """A value where there was none: without nulls in objects, since there is nothing to delete, and without whatever a
    directive stands in; _GONE when that is all of it."""
    if type(value) is dict:
        if _PATCH in value:
            return _GONE
        made = {key: _cleaned(each) for key, each in value.items() if each is not None}
        return {key: each for key, each in made.items() if each is not _GONE}
    if type(value) is list:
        return [each for each in map(_cleaned, value) if each is not _GONE]
    return value


# --- directives of maps --------------------------------------------------------------------------------------------------


def _retain_keys(original: Object, patch: Object) -> None:
    """``$retainKeys``: fields not in the list go, which is how one member of a union replaces another."""
    if _RETAIN_KEYS not in patch:
        return
    keys = patch.pop(_RETAIN_KEYS)
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError(_BAD_RETAIN_KEYS)
    retained = set(keys)
    said = {key for key, value in patch.items() if value is not None and not key.startswith((_DELETE_FROM, _ORDER))}
    if not said <= retained:
        raise ValueError(_BAD_RETAIN_KEYS)
    for key in original.keys() - retained:
        del original[key]


def _delete_from_primitive_list(original: Object, key: str, values: Any) -> None:
    if values is None:
        original.pop(key, None)
    current = original.get(key)
    if type(current) is list and type(values) is list:
        gone = {item for item in values if not isinstance(item, dict | list)}
        original[key] = [item for item in current if isinstance(item, dict | list) or item not in gone]


def _merge_ordered_lists(original: Object, patch: Object, node: Node | None) -> None:
    """``$setElementOrder/x``: merge list x, then order it as the directive says; taken out of the patch once done."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order = patch.pop(directive)
        key = directive.removeprefix(_ORDER)
        site = _site(node, key)
        merge_key = site.merge_key if site is not None else ""
        current, changes = original.get(key), patch.pop(key, None)
        for each in (order, current, changes):
            if type(each) is not list and (each is not None or each is order):
                raise ValueError(f"expected a []interface {{}}, but received a {go_text.type_of(each)}")
        _check_order(changes or [], order, merge_key)
        before = list(current or [])
        if current is not None and changes is not None and site is not None and "merge" in site.patch_strategies:
            combined = _merged_list(current, changes, site)
        elif changes is not None:
            combined = _cleaned(changes)
        elif current is not None:
            combined = current
        else:
            continue
        deletions = patch.pop(_DELETE_FROM + key, None)
        if deletions is not None:
            original[key] = combined
            _delete_from_primitive_list(original, key, deletions)
            combined = original[key]
        original[key] = _in_order(combined, order, before, merge_key)


# --- lists ---------------------------------------------------------------------------------------------------------------


def _key_of(item: Any, merge_key: str) -> Any:
    """What names a list's item: the value of its merge key, or the item itself in a list of scalars."""
    if not merge_key:
        if isinstance(item, dict | list):
            raise ValueError("cannot merge lists without merge key for type map")
        return item
    if type(item) is not dict:
        raise ValueError(f"expected a map[string]interface {{}}, but received a {go_text.type_of(item)}")
    if merge_key not in item:
        raise ValueError(f"map: {go_text.plain(item)} does not contain declared merge key: {merge_key}")
    key = item[merge_key]
    if isinstance(key, dict | list):
        raise ValueError(f"merge key {merge_key} must be a scalar, but is {go_text.plain(key)}")
    return key


def _check_order(changes: list[Any], order: list[Any], merge_key: str) -> None:
    """The patch's items must stand in the order that the directive gives, and be part of it."""
    wanted = iter(_key_of(item, merge_key) for item in order)
    for item in changes:
        if type(item) is dict and _PATCH in item:
            continue
        key = _key_of(item, merge_key)
        if order and key not in wanted:  # consumes the iterator up to the match
            said, wanted_order = go_text.plain(changes), go_text.plain(order)
            raise ValueError(f"The order in patch list:\n{said}\n doesn't match $setElementOrder list:\n{wanted_order}\n")


def _check_alike(current: list[Any], changes: list[Any]) -> None:
    types = [type(item) for item in (*current, *changes)]
    if types[0] is list:
        raise ValueError(LIST_OF_LISTS)
    if any(each is not types[0] for each in types):
        raise ValueError(f"list element types are not identical: {go_text.plain([current, changes])}")


def _merged_list(current: list[Any], changes: list[Any], site: Node) -> list[Any]:
    if not current and not changes:
        return current
    _check_alike(current, changes)
    if type((*current, *changes)[0]) is not dict:
        combined = list(dict.fromkeys([*current, *changes]))
        return _in_order(combined, changes, current, "")
    merge_key = site.merge_key
    if not merge_key:
        raise ValueError("cannot merge lists without merge key for type map")
    ordinary: list[Object] = []
    gone: set[Any] = set()
    replace = False
    for item in changes:
        directive = item.get(_PATCH)
        if _PATCH not in item:
            ordinary.append(item)
        elif directive == "delete":
            gone.add(_key_of(item, merge_key))
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise ValueError("merging lists cannot yet be specified in the patch")
        else:
            raise ValueError(f"unknown patch type: {go_text.plain(directive)} in map: {go_text.plain(item)}")
    if replace:
        return list(ordinary)
    combined = [held for held in current if _key_of(held, merge_key) not in gone]
    before = list(combined)
    places = {_key_of(held, merge_key): i for i, held in reversed(list(enumerate(combined)))}
    for item in ordinary:
        key = _key_of(item, merge_key)
        place = places.get(key)
        if place is None:
            places[key] = len(combined)
            combined.append(item)
        else:
            combined[place] = merged(combined[place], dict(item), site.items)
    return _in_order(combined, ordinary, before, merge_key)


def _in_order(items: list[Any], patch_order: list[Any], server_order: list[Any], merge_key: str) -> list[Any]:
    """The patch's items in the patch's order; the server's own are put between them where the server had them."""
    wanted = {_key_of(item, merge_key): i for i, item in reversed(list(enumerate(patch_order)))}
    held = {_key_of(item, merge_key): i for i, item in reversed(list(enumerate(server_order)))}
    ours = sorted(
        (item for item in items if _key_of(item, merge_key) in wanted), key=lambda item: wanted[_key_of(item, merge_key)]
    )
    theirs = [item for item in items if _key_of(item, merge_key) not in wanted]
    theirs.sort(key=lambda item: held.get(_key_of(item, merge_key), len(held)))
    result: list[Any] = []
    waiting = 0
    for item in ours:
        place = held.get(_key_of(item, merge_key))
        while waiting < len(theirs) and place is not None:
            their_place = held.get(_key_of(theirs[waiting], merge_key))
            if their_place is None or their_place >= place:
                break
            result.append(theirs[waiting])
            waiting += 1
        result.append(item)
    return result + theirs[waiting:]
