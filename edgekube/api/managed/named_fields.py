"""A set of paths with the declared fields on the way to its members, which a set of what is owned leaves out.

Enters: a set and the Site of the object.
Leaves: the set, with ``spec`` in it when it has ``spec.replicas``; the items of lists and the entries of maps are not added.
Source: sigs.k8s.io/structured-merge-diff fieldpath/set.go, EnsureNamedFieldsAreMembers.
Next: api.managed.updater.
"""

from __future__ import annotations

from edgekube.api.managed import elements
from edgekube.api.managed.fieldsets import EMPTY, FieldSet
from edgekube.api.managed.sites import DEDUCED, KEYED, MAP, OPAQUE, SET, Site


def with_named_fields(site: Site | None, fields: FieldSet) -> FieldSet:
    made: FieldSet = {}
    for step, below in fields.items():
        if step == elements.SELF or not below:
            made[step] = below
            continue
        name = step[2:] if step.startswith(elements.FIELD) else None
        inner = with_named_fields(_inner(site, name), below)
        if name is not None and site is not None and name in site.declared and elements.SELF not in inner:
            inner = {elements.SELF: EMPTY, **inner}
        made[step] = inner
    return made


def _inner(site: Site | None, name: str | None) -> Site | None:
    if site is None:
        return None
    if name is not None:
        return site.field(name) if site.relation in (MAP, DEDUCED, OPAQUE) else None
    return site.items if site.relation in (KEYED, SET) else None
