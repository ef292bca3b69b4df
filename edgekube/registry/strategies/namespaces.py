"""Namespaces: Active, then Terminating until spec.finalizers is empty.

Enters: the new namespace and the stored one.
Leaves: the namespace to store, changed in place.
Holds: pure (source: k8s.io/kubernetes pkg/registry/core/namespace).
Next: registry.create, registry.delete; the namespace controller empties and finalizes.
"""

from __future__ import annotations

from typing import Final

from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy

_FINALIZER: Final = "kubernetes"
_NAME_LABEL: Final = "kubernetes.io/metadata.name"


class NamespaceStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        obj["spec"] = {"finalizers": [*finalizers] if _FINALIZER in finalizers else [*finalizers, _FINALIZER]}
        self._label(obj)

    def first_status(self, obj: Object) -> Object:
        return {"phase": "Active"}

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        if "spec" in old:
            obj["spec"] = old["spec"]
        self._label(obj)

    def prepare_for_finalize(self, obj: Object, old: Object) -> None:
        """Only spec.finalizers comes through."""
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        obj["spec"] = {"finalizers": finalizers} if finalizers else {}
        if "status" in old:
            obj["status"] = old["status"]

    def holds_back_deletion(self, obj: Object) -> bool:
        return bool((obj.get("spec") or {}).get("finalizers"))

    def mark_deleting(self, obj: Object) -> None:
        obj.setdefault("status", {})["phase"] = "Terminating"

    def _label(self, obj: Object) -> None:
        """Every namespace carries its name as a label, so that selectors can name it."""
        metadata = metadata_of(obj)
        labels = metadata.get("labels") or {}
        if labels.get(_NAME_LABEL) != metadata.get("name"):
            metadata["labels"] = {**labels, _NAME_LABEL: metadata.get("name", "")}
