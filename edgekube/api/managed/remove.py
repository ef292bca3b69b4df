"""Cut fields and items out of an object.

Enters: a decoded object, its Site and a set of paths.
Leaves: the object without them; a map or list that becomes empty stays, empty.
Holds: pure: the object is not changed, and the result may share parts with it. An atomic map or list that is walked into is
cut out.
Source: sigs.k8s.io/structured-merge-diff typed/remove.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from typing import Any

from edgekube.api.managed import elements
from edgekube.api.managed.fieldsets import FieldSet, children, is_member
from edgekube.api.managed.sites import DEDUCED, DEDUCED_SITE, KEYED, MAP, OPAQUE, SET, Site


def removed(site: Site, value: Any, gone: FieldSet) -> Any:
    """None when nothing is left."""
    relation = site.relation
    if relation in (DEDUCED, OPAQUE):
        if type(value) is dict and relation == DEDUCED:
            relation = MAP
        elif type(value) in (dict, list):
            return None
        else:
            return value
    if relation == MAP:
        return _from_map(site, value, gone) if type(value) is dict else None
    if relation in (KEYED, SET):
        return _from_list(site, value, gone) if type(value) is list else None
    return value


def _emptied(before: Any, after: Any) -> Any:
    """A map or list whose parts are gone is still there, unless it was to go itself."""
    if after is not None:
        return after
    return {} if type(before) is dict else [] if type(before) is list else None


def _from_map(site: Site, value: dict[str, Any], gone: FieldSet) -> Any:
    if site.atomic:
        return None
    kept: dict[str, Any] = {}
    for key, item in value.items():
        below = gone.get(elements.FIELD + key)
        if below is None:
            kept[key] = item
        elif not is_member(below):
            kept[key] = _emptied(item, removed(site.field(key) or DEDUCED_SITE, item, below))
    return kept if kept else None


def _from_list(site: Site, value: list[Any], gone: FieldSet) -> Any:
    if site.atomic:
        return None
    kept = []
    for item in value:
        try:
            below = gone.get(site.step_of(item))
        except ValueError:
            below = None
        if below is None:
            kept.append(item)
        elif not is_member(below):
            kept.append(_emptied(item, removed(site.items, item, children(below))))
    return kept if kept else None
