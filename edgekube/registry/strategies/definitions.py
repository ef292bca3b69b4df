"""CustomResourceDefinitions: stored versions are remembered, and a deleted one stays until its instances are gone.

Enters: the new definition and the stored one.
Leaves: the definition to store, changed in place.
Holds: a version that was ever the stored one stays in status.storedVersions until somebody takes it out (source: apiextensions
pkg/registry/customresourcedefinition).
Next: registry.custom.definitions settles names; reconcile.instances deletes what a deleted definition leaves.
"""

from __future__ import annotations

from edgekube.api.custom.conditions import CLEANUP_FINALIZER, TERMINATING, set_condition
from edgekube.api.objects import Object, metadata_of
from edgekube.api.verbs import UserInfo
from edgekube.registry.strategies.base import Strategy


class DefinitionStrategy(Strategy):
    def prepare_for_create(self, obj: Object, user: UserInfo) -> None:
        super().prepare_for_create(obj, user)
        _remember_stored_version(obj)

    def prepare_for_update(self, obj: Object, old: Object) -> None:
        super().prepare_for_update(obj, old)
        if "status" in obj:
            obj["status"] = {**obj["status"], "storedVersions": list(obj["status"].get("storedVersions") or ())}
        _remember_stored_version(obj)

    def before_deletion(self, obj: Object) -> None:
        finalizers: list[str] = metadata_of(obj).setdefault("finalizers", [])
        if CLEANUP_FINALIZER not in finalizers:
            finalizers.append(CLEANUP_FINALIZER)

    def mark_deleting(self, obj: Object) -> None:
        message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
        now = str(metadata_of(obj)["deletionTimestamp"])
        set_condition(obj, TERMINATING, "True", "InstanceDeletionPending", message, now)


def _remember_stored_version(crd: Object) -> None:
    status = crd.setdefault("status", {})
    held: list[str] = status.setdefault("storedVersions", [])
    for version in (crd.get("spec") or {}).get("versions") or ():
        if isinstance(version, dict) and version.get("storage"):
            name = str(version.get("name") or "")
            if name not in held:
                held.append(name)
            break
