"""What an object says, as a set of paths: what somebody who applies it comes to manage.

Enters: a decoded object and its Site.
Leaves: its leaves, the items of its lists, and the fields that its type does not declare.
Holds: pure; an item that a list has twice counts as one leaf.
Source: sigs.k8s.io/structured-merge-diff typed/tofieldset.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from typing import Any

from edgekube.api.managed import elements
from edgekube.api.managed.fieldsets import EMPTY, FieldSet
from edgekube.api.managed.sites import DEDUCED, DEDUCED_SITE, KEYED, LEAF, OPAQUE, SET, Site


def fields_of(site: Site, value: Any) -> FieldSet:
    found = _fields(site, value)
    found.pop(elements.SELF, None)
    return found


def _fields(site: Site, value: Any) -> FieldSet:
    """What is found below a place; "." in it says that the place itself counts."""
    relation = site.relation
    if relation == OPAQUE or (relation == DEDUCED and type(value) is not dict and value is not None):
        return {elements.SELF: EMPTY}
    if relation == LEAF or site.atomic:
        return {elements.SELF: EMPTY}
    found: FieldSet = {}
    if relation in (KEYED, SET):
        if type(value) is list:
            _list_items(site, value, found)
    elif type(value) is dict:
        _map_fields(site, value, found)
    return found


def _put(found: FieldSet, step: str, below: FieldSet, *, member: bool) -> None:
    if member and elements.SELF not in below:
        below = {elements.SELF: EMPTY, **below}
    if below:
        found[step] = EMPTY if len(below) == 1 and elements.SELF in below else below


def _map_fields(site: Site, value: dict[str, Any], found: FieldSet) -> None:
    for key, item in value.items():
        below = _fields(site.field(key) or DEDUCED_SITE, item)
        member = item is None or (type(item) is dict and not item) or key not in site.declared
        _put(found, elements.FIELD + key, below, member=member)


def _list_items(site: Site, value: list[Any], found: FieldSet) -> None:
    steps = []
    seen: set[str] = set()
    twice: set[str] = set()
    for item in value:
        try:
            step = site.step_of(item)
        except ValueError:
            step = ""
        steps.append(step)
        (twice if step in seen else seen).add(step)
    for step, item in zip(steps, value, strict=True):
        if step in twice:
            found[step] = EMPTY
        elif step:
            _put(found, step, _fields(site.items, item), member=True)
    found.pop("", None)
