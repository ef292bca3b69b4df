"""The object that a new one is compared with: what a type has before anything is said.

Enters: the Site of a whole object.
Leaves: a value with the structs, and the zeros of other fields, that Go always writes; null for lists and maps. So nobody comes
to manage ``spec`` itself by creating something in it, nor a field by leaving it empty.
Holds: pure; made once for a type, and never changed.
Source: k8s.io/apimachinery pkg/util/managedfields: a new object is compared with an empty one of its type.
Next: registry.managing.
"""

from __future__ import annotations

from functools import cache

from edgekube.api.managed.sites import KEYED, LEAF, MAP, SET, Site
from edgekube.api.objects import Object
from edgekube.api.schemas import zero_of


@cache
def blank(site: Site) -> Object:
    made: Object = {}
    for name in site.node.always:
        inner = site.field(name)
        if inner is None:
            continue
        if inner.struct and inner.relation == MAP:
            made[name] = blank(inner)
        elif inner.relation in (MAP, KEYED, SET):
            made[name] = None
        elif inner.relation == LEAF and (zero := zero_of(site.declared[name])) is not None:
            made[name] = zero
    return made
