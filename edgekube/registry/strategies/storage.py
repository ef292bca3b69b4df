"""Volumes know since when they are in their phase; a claim's two ways to name its source agree; drivers count their changes.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/core/persistentvolume{,claim}, storage/csidriver;
pkg/api/persistentvolumeclaim).
Next: registry.create, registry.update.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_SINCE: Final = "lastPhaseTransitionTime"
#: What the old field ``dataSource`` may name by itself; anything else is dropped there without a word.
_OLD_SOURCES: Final = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


class VolumeStrategy(Strategy):
    def first_status(self, obj: Object) -> Object:
        return {"phase": "Pending", _SINCE: metadata_of(obj).get("creationTimestamp")}

    def stamp_times(self, obj: Object, old: Object, now: str) -> None:
        status, before = obj.get("status") or {}, old.get("status") or {}
        since, since_before = status.get(_SINCE), before.get(_SINCE)
        if status.get("phase") == before.get("phase"):
            since = since or since_before
        elif since is None or since == since_before:
            since = now
        if since:
            obj["status"] = {**status, _SINCE: since}


class ClaimStrategy(Strategy):
    def first_status(self, obj: Object) -> Object:
        return {"phase": "Pending"}

    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        _agree_on_source(obj, None)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        _agree_on_source(obj, old)


def _agree_on_source(claim: Object, old: Object | None) -> None:
    spec, before = claim.get("spec"), (old or {}).get("spec") or {}
    if not isinstance(spec, dict):
        return
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    had = before.get("dataSource") or before.get("dataSourceRef")
    if (
        source is not None
        and not reference
        and not had
        and (source.get("apiGroup") or "", source.get("kind")) not in _OLD_SOURCES
    ):
        del spec["dataSource"]
        return
    named = ("apiGroup", "kind", "name")
    if source and not reference:
        spec["dataSourceRef"] = {key: source[key] for key in named if source.get(key) is not None}
    elif reference and not source and not reference.get("namespace"):
        spec["dataSource"] = {key: reference[key] for key in named if reference.get(key) is not None}


class CsiDriverStrategy(Strategy):
    """Changes of its spec count, from nothing."""

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        generation = int(metadata_of(old).get("generation") or 0)
        if obj.get("spec") != old.get("spec"):
            metadata_of(obj)["generation"] = generation + 1
        elif generation:
            metadata_of(obj)["generation"] = generation
