"""Custom kinds: status is a part of its own where the definition says so; everything but metadata counts as a change.

Enters: the new object and the stored one.
Leaves: the object to store, changed in place.
Holds: pure (source: apiextensions pkg/registry/customresource, strategy.go and status_strategy.go).
Next: registry.custom.objects.
"""

from __future__ import annotations

from edgekube.api.objects import Object, metadata_of
from edgekube.registry.strategies.base import Strategy


class CustomStrategy(Strategy):
    def first_status(self, obj: Object) -> Object | None:
        return None

    def is_change_of_intent(self, obj: Object, old: Object) -> bool:
        return {**obj, "metadata": None} != {**old, "metadata": None}

    def prepare_for_status_update(self, obj: Object, old: Object) -> None:
        """Only status comes through; of metadata, who manages which fields."""
        status, metadata = obj.get("status"), metadata_of(obj)
        has_status, managed, revision = "status" in obj, metadata.get("managedFields"), metadata.get("resourceVersion")
        obj.clear()
        obj |= {key: value for key, value in old.items() if key != "status"}
        obj["metadata"] = {key: value for key, value in metadata_of(old).items() if key != "managedFields"}
        if managed:
            obj["metadata"]["managedFields"] = managed
        if revision:
            obj["metadata"]["resourceVersion"] = revision
        if has_status:
            obj["status"] = status
