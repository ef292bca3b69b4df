"""What differs between two objects of one type, as three sets of paths: removed, modified, added.

Enters: two decoded values and their Site.
Leaves: a Comparison.
Holds: pure; parts that are equal are not looked into. Items that a list has twice are compared together, as one leaf.
A container that appears is added itself, and so is everything in it.
Source: sigs.k8s.io/structured-merge-diff typed/compare.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from edgekube.api.managed import elements
from edgekube.api.managed.fieldsets import EMPTY, FieldSet, Filter
from edgekube.api.managed.sites import DEDUCED, DEDUCED_SITE, KEYED, LEAF, MAP, OPAQUE, SET, Site

#: A side that has no such field, which is not the same as null.
ABSENT: Final = object()


class Comparison(Struct, frozen=True):
    removed: FieldSet
    modified: FieldSet
    added: FieldSet

    @property
    def is_same(self) -> bool:
        return not (self.removed or self.modified or self.added)

    def filtered(self, keep: Filter) -> Comparison:
        if keep is None or self.is_same:
            return self
        return Comparison(keep(self.removed), keep(self.modified), keep(self.added))


class _Found:
    """What one level found: step → what stands below it."""

    __slots__ = ("added", "modified", "removed")

    def __init__(self) -> None:
        self.removed: FieldSet = {}
        self.modified: FieldSet = {}
        self.added: FieldSet = {}

    def take(self, step: str, inner: _Found) -> None:
        if inner.removed:
            self.removed[step] = _below(inner.removed)
        if inner.modified:
            self.modified[step] = _below(inner.modified)
        if inner.added:
            self.added[step] = _below(inner.added)


def _below(found: FieldSet) -> FieldSet:
    return EMPTY if len(found) == 1 and elements.SELF in found else found


def compare(site: Site, old: Any, new: Any) -> Comparison:
    """``old`` and ``new`` are whole objects: what is said of themselves is of no account."""
    found = _Found()
    if old != new:
        _compare(site, old, new, found)
    for part in (found.removed, found.modified, found.added):
        part.pop(elements.SELF, None)
    return Comparison(found.removed, found.modified, found.added)


def _compare(site: Site, old: Any, new: Any, found: _Found) -> None:
    """Both sides are there. ``found`` is the level's own; the mark "." in it stands for the place itself."""
    one, other = _shape(site, old), _shape(site, new)
    _visit(one, site, old, new, found)
    if other != one:
        _visit(other, site, old, new, found)


def _whole(site: Site, value: Any) -> FieldSet:
    """Everything in a value that only one side has, the place itself included: what is to stand below its step."""
    relation = site.relation
    if relation == LEAF or site.atomic or not value:
        return EMPTY
    if type(value) is dict:
        if relation not in (MAP, DEDUCED):
            return EMPTY
        made: FieldSet = {elements.SELF: EMPTY}
        for key, item in value.items():
            made[elements.FIELD + key] = _whole(site.field(key) or DEDUCED_SITE, item)
        return made
    if type(value) is list and relation in (KEYED, SET):
        made = {elements.SELF: EMPTY}
        for step, items in _by_step(site, value).items():
            made[step] = _whole(site.items, items[0]) if len(items) == 1 else EMPTY
        return made
    return EMPTY


def _shape(site: Site, value: Any) -> int:
    """As what the value is merged; where no type is declared, the value itself says so. null is whatever the other side is."""
    if site.relation not in (DEDUCED, OPAQUE):
        return site.relation
    match value:
        case dict() | None:
            return MAP
        case list():
            return SET
    return MAP if value is ABSENT else LEAF


def _visit(shape: int, site: Site, old: Any, new: Any, found: _Found) -> None:
    if shape == MAP and not site.atomic:
        before = old if type(old) is dict else EMPTY
        after = new if type(new) is dict else EMPTY
        if before or after:
            _maps(site, before, after, found)
            return
    elif shape in (KEYED, SET) and not site.atomic and site.relation in (KEYED, SET):
        items_before: list[Any] = old if type(old) is list else []
        items_after: list[Any] = new if type(new) is list else []
        if items_before or items_after:
            _lists(site, items_before, items_after, found)
            return
    if old != new:
        found.modified[elements.SELF] = EMPTY


def _maps(site: Site, old: dict[str, Any], new: dict[str, Any], found: _Found) -> None:
    for key, value in old.items():
        other = new.get(key, ABSENT)
        if other is value or (other is not ABSENT and other == value):
            continue
        inner_site = site.field(key) or DEDUCED_SITE
        if other is ABSENT:
            found.removed[elements.FIELD + key] = _whole(inner_site, value)
            continue
        inner = _Found()
        _compare(inner_site, value, other, inner)
        found.take(elements.FIELD + key, inner)
    for key, value in new.items():
        if key not in old:
            found.added[elements.FIELD + key] = _whole(site.field(key) or DEDUCED_SITE, value)


def _by_step(site: Site, items: list[Any]) -> dict[str, list[Any]]:
    """Items that have no place in such a list are passed over: whoever applies is told, others are not stopped."""
    made: dict[str, list[Any]] = {}
    for item in items:
        try:
            made.setdefault(site.step_of(item), []).append(item)
        except ValueError:
            continue
    return made


def _lists(site: Site, old: list[Any], new: list[Any], found: _Found) -> None:
    before, after = _by_step(site, old), _by_step(site, new)
    for step in [*before, *(step for step in after if step not in before)]:
        ours, theirs = before.get(step, []), after.get(step, [])
        if len(ours) > 1 and len(theirs) > 1:
            if ours != theirs:
                found.modified[step] = EMPTY
        elif len(ours) > 1 or not theirs:
            if theirs:
                found.added[step] = _whole(site.items, theirs[0])
            found.removed[step] = _whole(site.items, ours[0]) if len(ours) == 1 else EMPTY
        elif len(theirs) > 1 or not ours:
            if ours:
                found.removed[step] = _whole(site.items, ours[0])
            found.added[step] = _whole(site.items, theirs[0]) if len(theirs) == 1 else EMPTY
        elif ours[0] != theirs[0]:
            inner = _Found()
            _compare(site.items, ours[0], theirs[0], inner)
            found.take(step, inner)
