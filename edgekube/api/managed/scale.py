"""Who manages the number of replicas: the same managers, seen through the subresource scale and back.

Enters: the entries of an object, and where its kind has its replicas in each version.
Leaves: the entries of its Scale; and of the object again, once the Scale was written.
Holds: pure; entries of a version that is not served are dropped on the way back, as upstream drops them.
Source: k8s.io/apimachinery pkg/util/managedfields/scalehandler.go.
Next: registry.managing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec.structs import replace

from edgekube.api.managed import fieldsets
from edgekube.api.managed.entries import Entries, Entry, Key

#: Where a version has its replicas: the steps of a path; () for a version without scale; None for one that is not served.
Place: TypeAlias = Callable[[str], tuple[str, ...] | None]
_IN_SCALE: Final = ("f:spec", "f:replicas")
_SCALE_VERSION: Final = "autoscaling/v1"


def _set_of(path: tuple[str, ...]) -> fieldsets.FieldSet:
    made: fieldsets.FieldSet = {}
    for step in reversed(path):
        made = {step: made}
    return made


def _key_below(key: Key) -> Key:
    return replace(key, api_version=_SCALE_VERSION) if key.api_version else key


def of_scale(entries: Entries, place: Place) -> Entries:
    made: Entries = {}
    for key, entry in entries.items():
        path = place(entry.api_version)
        if path and fieldsets.has(entry.fields, path):
            made[_key_below(key)] = Entry(_SCALE_VERSION, entry.applied, _set_of(_IN_SCALE), entry.time)
    return made


def of_parent(entries: Entries, scaled: Entries, api_version: str, place: Place) -> Entries:
    """``entries`` of the object before, ``scaled`` those of its Scale now; ``api_version`` is the object's. Whoever is new has no
    time, as upstream gives none."""
    made: Entries = {}
    left = dict(scaled)
    for key, entry in entries.items():
        path = place(entry.api_version)
        if path is None:
            continue
        if not path or not fieldsets.has(entry.fields, path) or left.pop(_key_below(key), None) is not None:
            made[key] = entry
        else:
            fields = fieldsets.difference(entry.fields, _set_of(path))
            if fields:
                made[key] = entry.changed(fields)
    here = place(api_version)
    for key, entry in left.items():
        if here and fieldsets.has(entry.fields, _IN_SCALE):
            above = replace(key, api_version=api_version) if key.api_version else key
            known = made.get(above)
            fields = _set_of(here) if known is None else fieldsets.union(known.fields, _set_of(here))
            made[above] = Entry(api_version, entry.applied, fields, known.time if known is not None else "")
    return made
