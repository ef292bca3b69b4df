"""What a write means for every manager of an object's fields.

Enters: the object before and after (update), or before and the configuration that is applied (apply); the entries; and
Versions, which knows the other versions of the kind.
Leaves: the entries that then hold, and for apply the object.
Holds: pure. Whoever changes a field takes it from the others; whoever applies must not, unless it is forced. What an applier no
longer says, and nobody else manages, goes.
Source: sigs.k8s.io/structured-merge-diff merge/update.go; k8s.io/apimachinery managedfieldsupdater.go, stripmeta.go.
Next: registry.managing.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from msgspec import Struct

from edgekube.api.errors import failed
from edgekube.api.managed import elements, fieldsets, schema_changes, validity
from edgekube.api.managed.compare import Comparison, compare
from edgekube.api.managed.conflicts import Conflicts
from edgekube.api.managed.entries import Entries, Entry, Key
from edgekube.api.managed.fields_of import fields_of
from edgekube.api.managed.fieldsets import EMPTY, FieldSet, Filter
from edgekube.api.managed.merge import merge
from edgekube.api.managed.named_fields import with_named_fields
from edgekube.api.managed.remove import removed
from edgekube.api.managed.sites import Site
from edgekube.api.objects import Object

#: What nobody manages: the server writes it, or it says which object this is. Fields of the object, then of its metadata.
_UNMANAGED: Final = frozenset({"f:apiVersion", "f:kind"})
_UNMANAGED_METADATA: Final = frozenset({
    elements.SELF, "f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName", "f:generation",
    "f:managedFields", "f:resourceVersion",
})  # fmt: skip


class Versions(Protocol):
    """The served versions of one kind."""

    def site(self, api_version: str) -> Site | None:
        """None: no such version is served."""
        ...

    def convert(self, obj: Object, api_version: str) -> Object | None:
        """The object in another version, or itself in its own; None: no such version is served. ``obj`` stays as it is."""
        ...

    def resets(self, api_version: str) -> Filter:
        """What this way of writing can change; None: everything."""
        ...


class Applied(Struct, frozen=True):
    #: None: the object is as it was.
    object: Object | None
    entries: Entries


def update(
    versions: Versions, old: Object, new: Object, api_version: str, entries: Entries, key: Key, now: str, *, reconcile: bool
) -> Entries:
    """``old`` and ``new`` without managedFields, in ``api_version``. ``reconcile``: the type may have changed since."""
    if reconcile:
        entries = _reconciled(versions, old, entries)
    site = _site(versions, api_version)
    comparison = compare(site, old, new).filtered(versions.resets(api_version))
    if comparison.is_same and all(entry.api_version == api_version for entry in entries.values()):
        return entries
    left, _ = _contested(versions, old, new, api_version, comparison, entries, key)
    taken = _managed(fieldsets.union(comparison.modified, comparison.added))
    if taken:
        own = left.get(key)
        if own is None:
            left[key] = Entry(api_version, applied=False, fields=taken, time=now)
        else:
            left[key] = own.changed(fieldsets.union(own.fields, taken)).at(now)
    return left


def apply(
    versions: Versions, old: Object, config: Object, api_version: str, entries: Entries, key: Key, now: str, *, force: bool
) -> Applied:
    """StatusError BadRequest for a configuration that does not fit; Conflicts when others manage what it would change."""
    entries = _reconciled(versions, old, entries)
    site = _site(versions, api_version)
    if found := validity.faults(site, config):
        raise failed(f"failed to create typed patch object ({_described(config)}): {validity.told(found)}")
    try:
        merged = merge(site, old, config)
    except ValueError as error:
        raise failed(f"failed to merge config: {error}") from None
    last = entries.get(key)
    resets = versions.resets(api_version)
    fields = fields_of(site, config)
    entries = dict(entries)
    entries[key] = Entry(
        api_version, applied=True, fields=fields if resets is None else resets(fields), time=last.time if last else ""
    )
    if last is not None and _gives_up(last, entries[key]):
        merged = _pruned(versions, merged, api_version, entries, last)
    comparison = compare(site, old, merged).filtered(resets)
    entries, conflicts = _contested(versions, old, merged, api_version, comparison, entries, key)
    if conflicts and not force:
        raise Conflicts(conflicts)
    own = entries.get(key)
    if own is not None:
        kept = _managed(own.fields)
        if kept:
            entries[key] = own.changed(kept)
        else:
            del entries[key]
    if merged == old:
        return Applied(None, entries)
    if key in entries:
        entries[key] = entries[key].at(now)
    return Applied(merged, entries)


def _managed(fields: FieldSet) -> FieldSet:
    """Without what nobody manages; what stands below ``metadata`` itself stays."""
    metadata = fields.get("f:metadata")
    if metadata is None and fields.keys().isdisjoint(_UNMANAGED):
        return fields
    made = {step: below for step, below in fields.items() if step not in _UNMANAGED}
    if metadata is not None:
        kept = {step: below for step, below in metadata.items() if step not in _UNMANAGED_METADATA}
        if kept:
            made["f:metadata"] = kept
        else:
            del made["f:metadata"]
    return made


def _described(config: Object) -> str:
    metadata = config.get("metadata") or {}
    api_version, kind = config.get("apiVersion"), config.get("kind")
    group_version = api_version if "/" in str(api_version) else f"/{api_version}"
    return f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}; {group_version}, Kind={kind}"


def _site(versions: Versions, api_version: str) -> Site:
    site = versions.site(api_version)
    if site is None:
        raise LookupError(f"{api_version} is not served")
    return site


def _contested(
    versions: Versions,
    old: Object,
    new: Object,
    api_version: str,
    comparison: Comparison,
    entries: Entries,
    key: Key,
) -> tuple[Entries, dict[Key, FieldSet]]:
    """The entries without what the change takes from them, and for each manager but ``key`` what that is."""
    comparisons = {api_version: comparison}
    kept: Entries = {}
    conflicts: dict[Key, FieldSet] = {}
    for other, entry in entries.items():
        if other == key and entry.applied:
            if entry.fields:
                kept[other] = entry
            continue
        theirs = comparisons.get(entry.api_version)
        if theirs is None:
            theirs = _compared(versions, old, new, entry.api_version)
            if theirs is None:
                continue  # the version is no longer served, and with it goes what was managed in it
            comparisons[entry.api_version] = theirs
        fields = entry.fields
        if other != key and (theirs.modified or theirs.added):
            contested = fieldsets.union(
                fieldsets.intersection(fields, theirs.modified), fieldsets.intersection(fields, theirs.added)
            )
            if contested:
                conflicts[other] = contested
                fields = fieldsets.difference(fields, contested)
        if theirs.removed:
            fields = fieldsets.difference(fields, theirs.removed)
        if fields:
            kept[other] = entry.changed(fields)
    return kept, conflicts


def _compared(versions: Versions, old: Object, new: Object, api_version: str) -> Comparison | None:
    site = versions.site(api_version)
    before, after = versions.convert(old, api_version), versions.convert(new, api_version)
    if site is None or before is None or after is None:
        return None
    return compare(site, before, after).filtered(versions.resets(api_version))


def _reconciled(versions: Versions, old: Object, entries: Entries) -> Entries:
    """The entries as the types have them now: what was merged by fields may have become one leaf since."""
    made: Entries = {}
    for key, entry in entries.items():
        site = versions.site(entry.api_version)
        if site is None:
            continue
        made[key] = entry.changed(schema_changes.reconciled(site, entry.fields))
    return made


# --- what an applier gives up ----------------------------------------------------------------------------------------------


def _gives_up(last: Entry, now: Entry) -> bool:
    """Who says all that he said the last time loses nothing: whatever was pruned would come back."""
    if last.api_version != now.api_version:
        return bool(last.fields)
    return last.fields != now.fields and bool(fieldsets.difference(last.fields, now.fields))


def _pruned(versions: Versions, merged: Object, api_version: str, entries: Entries, last: Entry) -> Object:
    """``merged`` without what was applied last time, is not this time, and nobody else manages."""
    site = versions.site(last.api_version)
    converted = versions.convert(merged, last.api_version)
    if site is None or converted is None:
        return merged
    before = with_named_fields(site, last.fields)
    pruned = _object(removed(site, converted, before))
    pruned = _with_owned_back(versions, converted, pruned, last.api_version, entries)
    pruned = _with_dangling_back(versions, site, converted, pruned, before, last.api_version)
    back = versions.convert(pruned, api_version)
    return back if back is not None else pruned


def _object(value: Any) -> Object:
    return value if type(value) is dict else {}


def _with_owned_back(versions: Versions, merged: Object, pruned: Object, version: str, entries: Entries) -> Object:
    """What others manage, or what is applied anew, comes back; first in the version that was pruned."""
    managed: dict[str, FieldSet] = {}
    for entry in entries.values():
        managed[entry.api_version] = fieldsets.union(managed.get(entry.api_version, EMPTY), entry.fields)
    order = [version, *(other for other in managed if other != version)] if version in managed else list(managed)
    current = version
    for other in order:
        site = versions.site(other)
        one, two = versions.convert(merged, other), versions.convert(pruned, other)
        if site is None or one is None or two is None:
            continue
        merged, current = one, other
        every = with_named_fields(site, fields_of(site, merged))
        left = with_named_fields(site, fields_of(site, two))
        keep = fieldsets.union(left, with_named_fields(site, managed[other]))
        pruned = _object(removed(site, merged, fieldsets.difference(every, keep)))
    if current != version:
        back = versions.convert(pruned, version)
        return back if back is not None else pruned
    return pruned


def _with_dangling_back(versions: Versions, site: Site, merged: Object, pruned: Object, last: FieldSet, version: str) -> Object:
    """Only what the applier managed last time may go."""
    left = with_named_fields(site, fields_of(site, pruned))
    every = with_named_fields(site, fields_of(site, merged))
    gone = fieldsets.intersection(fieldsets.difference(every, left), last)
    return _object(removed(site, merged, gone))
