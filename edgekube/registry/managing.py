"""Who manages what, in the verbs: metadata.managedFields of everything that is written.

Enters: objects before and after a write, in the version that was asked for, and the Context that says who writes.
Leaves: the new object with its managedFields; for server-side apply the object itself.
Holds: managedFields are made of the object as its sender meant it, before admission and the strategy change it; what the strategy
would drop again is managed by nobody. A subresource never changes managedFields by what it sends of them.
Source: k8s.io/apiserver pkg/endpoints/handlers (create.go, update.go, patch.go); k8s.io/apimachinery pkg/util/managedfields.
Next: api.managed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from edgekube import limits
from edgekube.api import errors, schemas
from edgekube.api.kinds import Kind
from edgekube.api.managed import entries as listed
from edgekube.api.managed import last_applied, scale, updater
from edgekube.api.managed.blank import blank
from edgekube.api.managed.conflicts import Conflicts
from edgekube.api.managed.entries import APPLY, BEFORE_FIRST_APPLY, UPDATE, Entries, key_of
from edgekube.api.managed.fieldsets import Filter
from edgekube.api.managed.sites import Site, built_in, site_of
from edgekube.api.objects import Object, metadata_of
from edgekube.registry import conversion
from edgekube.registry.context import Context
from edgekube.registry.custom.converting import convert
from edgekube.registry.state import Registry
from edgekube.registry.strategies.resets import resets

T = TypeVar("T")

#: From the object as it is to the one that its sender wants.
Make: TypeAlias = Callable[[Object], Object]

_FIELD: Final = "managedFields"
#: In place of a list that nobody sent.
_UNSENT: Final = object()


class Unconverted(Exception):
    """Only a webhook can say what an object is in another version; see settled()."""

    def __init__(self, text: bytes, api_version: str) -> None:
        super().__init__()
        self.text = text
        self.api_version = api_version


async def settled(registry: Registry, kind: Kind, context: Context, attempt: Callable[[], T]) -> T:
    """What ``attempt`` answers once every conversion that it asks for was made. It is called again after each."""
    for _ in range(limits.MANAGED_CONVERSIONS_MAX):
        try:
            return attempt()
        except Unconverted as missing:
            definition = registry.custom.of(kind)
            if definition is None:
                raise errors.not_found(kind.group, kind.plural, "") from None
            (converted,) = await convert(registry, definition, [orjson.loads(missing.text)], missing.api_version)
            context.conversions[missing.text, missing.api_version] = converted
    raise errors.internal("managedFields name too many versions")


class KindVersions:
    """api.managed.updater.Versions of one kind, as it is served."""

    def __init__(self, registry: Registry, kind: Kind, subresource: str, context: Context) -> None:
        self._registry = registry
        self._kind = kind
        self._subresource = subresource
        self._context = context

    def row(self, api_version: str) -> Kind | None:
        if api_version == self._kind.api_version:
            return self._kind
        row = self._registry.kinds.by_kind(api_version, self._kind.kind)
        return row if row is not None and row.resource == self._kind.resource else None

    def site(self, api_version: str) -> Site | None:
        row = self.row(api_version)
        if row is None:
            return None
        definition = None if row.custom else schemas.name_of(row.api_version, row.kind)
        return built_in(definition) if definition else site_of(self._registry.shape_of(row))

    def convert(self, obj: Object, api_version: str) -> Object | None:
        given = str(obj.get("apiVersion") or self._kind.api_version)
        if given == api_version:
            return obj
        here, there = self.row(given), self.row(api_version)
        if here is None or there is None:
            return None
        definition = self._registry.custom.of(there) if there.custom else None
        if definition is not None and definition.webhook:
            text = orjson.dumps(obj)
            known = self._context.conversions.get((text, api_version))
            if known is None:
                raise Unconverted(text, api_version)
            return known
        converted = conversion.object_from_storage(there, conversion.to_storage(here, obj))
        return {**converted, "kind": there.kind, "apiVersion": there.api_version}

    def resets(self, api_version: str) -> Filter:
        row = self.row(api_version)
        return resets(row, self._subresource) if row is not None else None


def for_create(registry: Registry, kind: Kind, obj: Object, context: Context) -> None:
    """A new object, complete with defaults."""
    new, sent = _without_field(obj)
    entries = _sent_or(sent, {})
    versions = KindVersions(registry, kind, "", context)
    _put(obj, _updated(registry, versions, kind, "", _blank(versions, kind), new, entries, context))


def for_update(registry: Registry, kind: Kind, old: Object, new: Object, subresource: str, context: Context) -> None:
    """``old`` is left as it is; ``new`` is complete with defaults."""
    _of_update(registry, kind, old, new, subresource, context, begin=False)


def _of_update(
    registry: Registry, kind: Kind, old: Object, new: Object, subresource: str, context: Context, *, begin: bool
) -> None:
    """``begin``: somebody may be the first to manage anything."""
    after, sent = _without_field(new)
    before, kept = _without_field(old)
    known = listed.read(None if kept is _UNSENT else kept)
    entries = known if subresource or sent is _UNSENT or sent == kept else _sent_or(sent, known)
    if entries or begin:  # else nobody has managed anything yet, and nobody begins to by an update
        versions = KindVersions(registry, kind, subresource, context)
        entries = _updated(registry, versions, kind, subresource, before, after, entries, context)
    _put(new, entries)


def _without_field(obj: Object) -> tuple[Object, Any]:
    """The object without its managedFields, and these; the object itself stays as it is."""
    metadata = metadata_of(obj)
    if _FIELD not in metadata:
        return obj, _UNSENT
    metadata = dict(metadata)
    sent = metadata.pop(_FIELD)
    return {**obj, "metadata": metadata}, sent


def _sent_or(sent: Any, kept: Entries) -> Entries:
    """What the client sent, if it makes sense; an empty list is meant."""
    if sent is _UNSENT or sent is None:
        return kept
    if listed.is_reset(sent):
        return {}
    try:
        return listed.parse(sent) or kept
    except ValueError:
        return kept


def _updated(
    registry: Registry,
    versions: KindVersions,
    kind: Kind,
    subresource: str,
    old: Object,
    new: Object,
    entries: Entries,
    context: Context,
) -> Entries:
    key = key_of(context.field_manager, UPDATE, kind.api_version, subresource)
    now = registry.now()
    made = updater.update(versions, old, new, kind.api_version, entries, key, now, reconcile=kind.custom)
    return made if made is entries else listed.capped(made)


def _blank(versions: KindVersions, kind: Kind) -> Object:
    """What a new object is compared with."""
    said = {"apiVersion": kind.api_version, "kind": kind.kind}
    site = versions.site(kind.api_version)
    return said if kind.custom or site is None else {**blank(site), **said}


def _put(obj: Object, entries: Entries) -> None:
    put(obj, listed.write(entries))


def put(obj: Object, written: list[Object] | None) -> None:
    if written is None:
        metadata_of(obj).pop(_FIELD, None)
    else:
        metadata_of(obj)[_FIELD] = written


def applied(registry: Registry, kind: Kind, old: Object | None, config: Object, subresource: str, context: Context) -> Object:
    """What becomes of ``old`` (None: it is made) when ``config`` is applied to it. StatusError BadRequest, Conflict."""
    if metadata_of(config).get(_FIELD) is not None:
        raise errors.bad_request("metadata.managedFields must be nil")
    versions = KindVersions(registry, kind, subresource, context)
    live: Object = dict(old) if old is not None else {"apiVersion": kind.api_version, "kind": kind.kind}
    live["metadata"] = metadata = dict(live.get("metadata") or {})
    entries = listed.read(metadata.pop(_FIELD, None))
    now, version = registry.now(), kind.api_version
    if old is not None and not entries:
        first = key_of(BEFORE_FIRST_APPLY, UPDATE, version, subresource)
        entries = updater.update(versions, _blank(versions, kind), live, version, entries, first, now, reconcile=False)
    key = key_of(context.field_manager, APPLY, version, subresource)

    def lay(*, force: bool) -> updater.Applied:
        return updater.apply(versions, live, config, version, entries, key, now, force=force)

    try:
        done = lay(force=context.force)
    except Conflicts as conflicts:
        if not _are_kubectls_own(versions, kind, live, conflicts, context):
            raise conflicts.status() from None
        done = lay(force=True)
    made = done.object if done.object is not None else live
    if context.field_manager == last_applied.KUBECTL:
        last_applied.remember(made, config)
    _put(made, done.entries)
    return made


def _are_kubectls_own(versions: KindVersions, kind: Kind, live: Object, conflicts: Conflicts, context: Context) -> bool:
    """Only with what kubectl applied itself, from the client's side. StatusError Conflict names the others alone."""
    site = versions.site(kind.api_version)
    if context.field_manager != last_applied.KUBECTL or site is None:
        return False
    allowed = last_applied.own_fields(site, live, kind.api_version)
    if not allowed:
        return False
    left = conflicts.without(allowed)
    if left.by_manager:
        raise left.status()
    return True


def scaled(
    registry: Registry, kind: Kind, scale_kind: Kind, current: Object, shown: Object, make: Make, context: Context
) -> tuple[Object, list[Object] | None]:
    """What ``make`` makes of the Scale that an object shows, and the object's managedFields once that is written."""
    entries = listed.read(metadata_of(current).get(_FIELD))

    def place(api_version: str) -> tuple[str, ...] | None:
        row = KindVersions(registry, kind, "", context).row(api_version)
        if row is None:
            return None
        path = row.scale_paths[0] if row.scale_paths is not None else ".spec.replicas" if "scale" in row.subresources else ""
        return tuple(f"f:{name}" for name in path.split(".") if name)

    old = {**shown, "metadata": {**metadata_of(shown), _FIELD: listed.write(scale.of_scale(entries, place))}}
    if old["metadata"][_FIELD] is None:
        del old["metadata"][_FIELD]
    made = make(orjson.loads(orjson.dumps(old)))
    if context.operation != APPLY:
        _of_update(registry, scale_kind, old, made, "scale", context, begin=True)
    after = listed.read(metadata_of(made).pop(_FIELD, None))
    return made, listed.write(scale.of_parent(entries, after, kind.api_version, place))


def after_mutation(obj: Object, before: list[Object] | None, context: Context) -> None:
    """Whoever changes an object at admission may spoil this list: then it stays as it was, and the client is told."""
    sent = metadata_of(obj).get(_FIELD)
    if sent is None or sent == before:
        return
    try:
        listed.parse(sent)
    except ValueError as error:
        context.warn(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating "
            f"admission controller; please fix your requests: {error}"
        )
        if before is None:
            del metadata_of(obj)[_FIELD]
        else:
            metadata_of(obj)[_FIELD] = before


def is_only_time(new: Object, old: Object) -> bool:
    """Do the two differ in nothing but the times in managedFields? Then nothing is written."""
    if new.keys() != old.keys() or any(new[key] != old[key] for key in new if key != "metadata"):
        return False  # by far the most updates
    one, other = metadata_of(new).get(_FIELD) or [], metadata_of(old).get(_FIELD) or []
    if len(one) != len(other):
        return False
    if any(_timeless(mine) != _timeless(theirs) for mine, theirs in zip(one, other, strict=True)):
        return False
    return _without_list(new) == _without_list(old)


def _timeless(entry: Object) -> Object:
    return {key: value for key, value in entry.items() if key != "time"}


def _without_list(obj: Object) -> Object:
    return {key: value for key, value in metadata_of(obj).items() if key != _FIELD}
