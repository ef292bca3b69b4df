"""A type changed after somebody came to manage its fields: what was merged field by field is now one leaf.

Enters: the Site of the object as it is declared now, and a set of paths.
Leaves: the set, with one member for each map or list that has become atomic.
Holds: pure; the set itself when nothing changed. What became granular is left as it was, as upstream leaves it.
Source: sigs.k8s.io/structured-merge-diff typed/reconcile_schema.go.
Next: api.managed.updater.
"""

from __future__ import annotations

from edgekube.api.managed import elements, fieldsets
from edgekube.api.managed.fieldsets import EMPTY, FieldSet
from edgekube.api.managed.sites import DEDUCED, KEYED, LEAF, OPAQUE, SET, Site


def reconciled(site: Site, fields: FieldSet) -> FieldSet:
    inner = _inside(site, fields)
    return inner if inner is not None else fields


def _inside(site: Site, fields: FieldSet) -> FieldSet | None:
    """What the set becomes below a place that is not atomic; None: nothing changes."""
    if site.relation in (LEAF, DEDUCED, OPAQUE):
        return None
    made: FieldSet | None = None
    for step, below in fields.items():
        if step == elements.SELF or not below:
            continue
        inner_site = _site_below(site, step)
        if inner_site is None:
            continue
        if inner_site.atomic and inner_site.relation != OPAQUE:
            changed: FieldSet | None = EMPTY
        else:
            inner = fieldsets.children(below)
            changed = _inside(inner_site, inner)
            if changed is not None:
                changed = fieldsets.joined(fieldsets.is_member(below), changed)
        if changed is None:
            continue
        if made is None:
            made = dict(fields)
        made[step] = changed
    return made


def _site_below(site: Site, step: str) -> Site | None:
    if site.relation in (KEYED, SET):
        return site.items
    return site.field(step[2:]) if step.startswith(elements.FIELD) else None
